//! Which file of a folder makes the web application.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::super::{FILE_LIMIT, SourceError, unreadable};

/// Files that usually make it, the likeliest first.
const USUAL: [&str; 9] = ["main", "app", "api", "server", "service", "application", "asgi", "wsgi", "__init__"];

/// Files that are looked into.
const FILES: usize = 64;

/// Where an application may be made.
pub(super) struct Place {
    pub(super) file: PathBuf,
    /// What its imports start from.
    pub(super) folder: PathBuf,
    /// The application's name in the file, where that is known.
    pub(super) name: Option<String>,
}

/// The places to look at, the likeliest first.
pub(super) fn places(path: &Path, command: &[String]) -> Result<Vec<Place>, SourceError> {
    if !fs::metadata(path).map_err(|error| unreadable(path, &error))?.is_dir() {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        return Ok(vec![Place { file: path.to_owned(), folder, name: None }]);
    }
    // What is started may start what another file makes.
    let started = started(path, command);
    let mut files = candidates(path).map_err(|error| unreadable(path, &error))?;
    files.retain(|file| names_a_framework(file));
    files.truncate(FILES);
    let others = files.into_iter().map(|file| Place { file, folder: path.to_owned(), name: None });
    Ok(started.into_iter().chain(others).collect())
}

/// What a command starts, as `uvicorn package.module:app`, `flask --app module run` or `python main.py`.
fn started(folder: &Path, command: &[String]) -> Option<Place> {
    let words = command.iter().flat_map(|word| word.split([' ', '=', '\'', '"', '\n']));
    words.filter(|word| !word.is_empty()).find_map(|word| {
        let (module, name) = word.split_once(':').unwrap_or((word, ""));
        let module = module.strip_suffix(".py").unwrap_or(module);
        let plain = |c: char| c.is_alphanumeric() || c == '_';
        if module.is_empty() || !module.split(['.', '/']).all(|part| !part.is_empty() && part.chars().all(plain)) {
            return None;
        }
        let stem = module.split(['.', '/']).fold(folder.to_owned(), |path, part| path.join(part));
        let files = [stem.with_extension("py"), stem.join("__init__.py"), stem.join("__main__.py")];
        let file = files.into_iter().find(|file| file.is_file())?;
        let name = name.trim_end_matches("()");
        let name = (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned());
        Some(Place { file, folder: folder.to_owned(), name })
    })
}

/// The folder's files, then those of its packages that usually make one.
fn candidates(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = python_files(folder)?;
    let mut packages: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !is_aside(path))
        .collect();
    packages.sort();
    for package in packages {
        files.extend(python_files(&package)?.into_iter().filter(|file| usual(file).is_some()));
    }
    Ok(files)
}

fn python_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "py") && !is_aside(path)).collect();
    files.sort_by_key(|file| (usual(file).unwrap_or(USUAL.len()), file.clone()));
    Ok(files)
}

fn usual(file: &Path) -> Option<usize> {
    let stem = file.file_stem()?.to_str()?;
    USUAL.iter().position(|usual| *usual == stem)
}

/// Tests, environments and what is hidden.
fn is_aside(path: &Path) -> bool {
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = ["tests", "test", "docs", "venv", "env", "node_modules", "site-packages", "conftest", "setup"];
    name.starts_with('.') || name.starts_with("test_") || name.ends_with("_test") || aside.contains(&name.as_str())
}

/// Whether a file says the name of a framework at all: the others need not be parsed.
fn names_a_framework(file: &Path) -> bool {
    let small = fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= FILE_LIMIT);
    small
        && fs::read_to_string(file)
            .is_ok_and(|text| ["fastapi", "flask", "starlette"].iter().any(|name| text.contains(name)))
}
