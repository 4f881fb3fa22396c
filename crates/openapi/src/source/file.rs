//! Python files read and parsed: the model's own, and those of its folder that it imports.

use std::{
    collections::{HashSet, VecDeque},
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use ruff_python_ast::{Stmt, Suite};
use ruff_python_parser::{ParseError, parse_module};
use ruff_source_file::LineIndex;

use super::{FILE_LIMIT, SourceError, nesting, unreadable};

/// Files of a folder that are followed; types of a model are spread over fewer.
const FILES: usize = 64;

/// A parsed file.
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    /// Its dotted name as its neighbours import it, without `__init__`.
    pub(super) module: String,
    /// Whether it is a package's `__init__.py`, from which relative imports start.
    pub(super) package: bool,
    pub(super) body: Suite,
}

impl SourceFile {
    /// The absolute name of the module that `level` dots and `module` mean in this file.
    pub(super) fn absolute(&self, level: u32, module: &str) -> String {
        if level == 0 {
            return module.to_owned();
        }
        let mut parts: Vec<&str> = self.module.split('.').filter(|part| !part.is_empty()).collect();
        let up = level as usize - usize::from(self.package);
        // Dots beyond the folder mean that the folder itself is a package: its files are then neighbours.
        parts.truncate(parts.len().saturating_sub(up));
        parts.extend(module.split('.').filter(|part| !part.is_empty()));
        parts.join(".")
    }
}

/// Which imports are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Imports {
    /// Those that run when a file does.
    Outer,
    /// Those within functions, too: web applications are put together there.
    All,
}

/// Parses the main file and, in a folder, what it imports from there. The main file comes first.
pub(super) fn load(main: &Path, folder: Option<&Path>, which: Imports) -> Result<Vec<SourceFile>, SourceError> {
    let (name, package) = module_of(main, folder);
    let mut files = vec![parse(main, name, package)?];
    let Some(folder) = folder else { return Ok(files) };
    let mut seen = HashSet::from([main.to_path_buf()]);
    let mut wanted: VecDeque<String> = imports(&files[0], folder, which).into();
    while let (Some(module), true) = (wanted.pop_front(), files.len() < FILES) {
        let Some((path, package)) = find(folder, &module) else { continue };
        if seen.insert(path.clone()) {
            let file = parse(&path, module, package)?;
            wanted.extend(imports(&file, folder, which));
            files.push(file);
        }
    }
    Ok(files)
}

/// The dotted name of a file as its neighbours import it, and whether it is a package's own.
fn module_of(file: &Path, folder: Option<&Path>) -> (String, bool) {
    let within = folder.and_then(|folder| file.strip_prefix(folder).ok()).or_else(|| file.file_name().map(Path::new));
    let stem = within.unwrap_or(file).with_extension("");
    let mut parts: Vec<String> = stem.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let package = parts.len() > 1 && parts.last().is_some_and(|last| last == "__init__");
    parts.truncate(parts.len() - usize::from(package));
    (parts.join("."), package)
}

fn parse(path: &Path, module: String, package: bool) -> Result<SourceFile, SourceError> {
    let text = text(path)?;
    if nesting::too_deep(&text) {
        return Err(SourceError::TooNested { file: path.into(), limit: nesting::LIMIT });
    }
    let parsed = parse_module(&text).map_err(|error| syntax_error(path, &text, &error))?;
    Ok(SourceFile { path: path.into(), module, package, body: parsed.into_syntax().body })
}

fn text(path: &Path) -> Result<String, SourceError> {
    let failed = |error| unreadable(path, &error);
    // A pipe or a device never ends, so only plain files are read.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SourceError::Unreadable { path: path.into(), why: "it is not a file".into() });
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(SourceError::TooLarge { file: path.into(), limit: FILE_LIMIT });
    }
    String::from_utf8(bytes).map_err(|_| SourceError::NotText { file: path.into() })
}

fn syntax_error(path: &Path, text: &str, error: &ParseError) -> SourceError {
    let place = LineIndex::from_source_text(text).line_column(error.location.start(), text);
    SourceError::Syntax {
        file: path.into(),
        line: place.line.get(),
        column: place.column.get(),
        why: error.error.to_string(),
    }
}

/// Names of all modules that a file may import from its own folder.
fn imports(file: &SourceFile, folder: &Path, which: Imports) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |statement: &Stmt| match statement {
        Stmt::Import(import) => found.extend(import.names.iter().map(|alias| alias.name.to_string())),
        Stmt::ImportFrom(import) => {
            let module = import.module.as_ref().map_or("", |module| module.as_str());
            let module = file.absolute(import.level, module);
            found.extend(import.names.iter().map(|alias| join(&module, alias.name.as_str())));
            found.push(module);
        }
        _ => {}
    };
    for_each_statement(&file.body, &mut add);
    if which == Imports::All {
        imports_within(&file.body).into_iter().for_each(add);
    }
    found.into_iter().map(|module| inside(folder, &module)).collect()
}

/// The module's name as seen from inside the folder, whose own name may lead it.
pub(super) fn inside(folder: &Path, module: &str) -> String {
    let own = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if module.is_empty() || (module == own && find(folder, module).is_none()) {
        return "__init__".to_owned();
    }
    match module.strip_prefix(own.as_str()).and_then(|rest| rest.strip_prefix('.')) {
        Some(rest) if !own.is_empty() && find(folder, module).is_none() => rest.to_owned(),
        _ => module.to_owned(),
    }
}

/// `a.b` of `a` and `b`; `b` of nothing and `b`.
pub(super) fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}.{name}") }
}

/// The file of a module, and whether it is a package.
fn find(folder: &Path, module: &str) -> Option<(PathBuf, bool)> {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !module.split('.').all(plain) {
        return None;
    }
    let stem = module.split('.').fold(folder.to_path_buf(), |path, part| path.join(part));
    let file = stem.with_extension("py");
    let package = stem.join("__init__.py");
    match (file.is_file(), package.is_file()) {
        (_, true) => Some((package, true)),
        (true, false) => Some((file, false)),
        (false, false) => None,
    }
}

/// The imports within the functions of a file.
pub(super) fn imports_within(body: &[Stmt]) -> Vec<&Stmt> {
    let mut found = Vec::new();
    for_each_statement(body, &mut |statement| {
        if let Stmt::FunctionDef(function) = statement {
            for_each_statement(&function.body, &mut |inner| {
                if matches!(inner, Stmt::Import(_) | Stmt::ImportFrom(_)) {
                    found.push(inner);
                }
            });
        }
    });
    found
}

/// Calls `visit` with each statement that runs when the body does, those within `if`, `try` and `with` included.
pub(super) fn for_each_statement<'a>(body: &'a [Stmt], visit: &mut impl FnMut(&'a Stmt)) {
    for statement in body {
        visit(statement);
        match statement {
            Stmt::If(branch) => {
                for_each_statement(&branch.body, visit);
                branch.elif_else_clauses.iter().for_each(|clause| for_each_statement(&clause.body, visit));
            }
            Stmt::Try(attempt) => {
                for body in [&attempt.body, &attempt.orelse, &attempt.finalbody] {
                    for_each_statement(body, visit);
                }
            }
            Stmt::With(with) => for_each_statement(&with.body, visit),
            _ => {}
        }
    }
}
