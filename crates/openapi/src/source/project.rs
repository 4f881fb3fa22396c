//! What names mean: definitions of the parsed files, and dotted names of everything outside of them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use ruff_python_ast::{Expr, Stmt, StmtClassDef, StmtFunctionDef, StmtImport, StmtImportFrom, TypeParams};

use super::{
    file::{SourceFile, for_each_statement, imports_within, inside, join},
    known,
};

/// How many imports and aliases are followed for one name; a loop of imports ends here.
const HOPS: usize = 16;

/// Index of a file.
pub(super) type ModuleId = usize;

/// The parsed files with their names looked up.
pub(super) struct Project<'a> {
    files: &'a [SourceFile],
    folder: Option<PathBuf>,
    modules: HashMap<&'a str, ModuleId>,
    names: Vec<Names<'a>>,
}

#[derive(Default)]
struct Names<'a> {
    symbols: HashMap<&'a str, Symbol<'a>>,
    /// Parameters of `type` statements, by the address of what the name stands for.
    parameters: HashMap<*const Expr, &'a TypeParams>,
    /// Modules of `from module import *`.
    stars: Vec<String>,
}

enum Symbol<'a> {
    Class(&'a StmtClassDef),
    Function(&'a StmtFunctionDef),
    Value(&'a Expr),
    /// A module, by its absolute name.
    Module(String),
    /// A name of a module.
    Member(String, &'a str),
}

/// What an expression names.
pub(super) enum Meaning<'a> {
    /// A class of a parsed file.
    Class(ModuleId, &'a StmtClassDef),
    /// A function of a parsed file.
    Function(ModuleId, &'a StmtFunctionDef),
    /// A value assigned in a parsed file.
    Value(ModuleId, &'a Expr),
    /// A parsed file.
    Module(ModuleId),
    /// Something of a package or of Python, by its dotted name.
    External(String),
    /// Nothing that the files define.
    Unknown,
}

impl<'a> Project<'a> {
    /// The model's own file.
    pub(super) const MAIN: ModuleId = 0;

    pub(super) fn new(files: &'a [SourceFile], folder: Option<&Path>) -> Self {
        let modules = files.iter().enumerate().map(|(id, file)| (file.module.as_str(), id)).collect();
        let names = files.iter().map(Names::of).collect();
        Self { files, folder: folder.map(Path::to_path_buf), modules, names }
    }

    pub(super) fn main_body(&self) -> &'a [Stmt] {
        &self.files[Self::MAIN].body
    }

    /// The parsed files' statements.
    pub(super) fn bodies(&self) -> impl Iterator<Item = (ModuleId, &'a [Stmt])> {
        self.files.iter().map(|file| file.body.as_slice()).enumerate()
    }

    pub(super) fn main_path(&self) -> &Path {
        &self.files[Self::MAIN].path
    }

    /// What a name or an attribute means in a module.
    pub(super) fn meaning(&self, module: ModuleId, expr: &Expr) -> Meaning<'a> {
        match expr {
            Expr::Name(name) => self.name(module, name.id.as_str(), 0),
            Expr::Attribute(attribute) => {
                let of = self.meaning(module, &attribute.value);
                self.member(of, attribute.attr.as_str())
            }
            _ => Meaning::Unknown,
        }
    }

    /// What a name of a module means.
    pub(super) fn named(&self, module: ModuleId, name: &str) -> Meaning<'a> {
        self.name(module, name, 0)
    }

    /// The parameters that a `type` statement declares for what its name stands for.
    pub(super) fn type_parameters(&self, module: ModuleId, value: &Expr) -> Option<&'a TypeParams> {
        self.names[module].parameters.get(&std::ptr::from_ref(value)).copied()
    }

    /// The dotted name of something outside of the files, as `typing.Optional`.
    pub(super) fn external(&self, module: ModuleId, expr: &Expr) -> Option<String> {
        match self.meaning(module, expr) {
            Meaning::External(name) => Some(name),
            _ => None,
        }
    }

    fn member(&self, of: Meaning<'a>, name: &str) -> Meaning<'a> {
        match of {
            // The own package under its full name, as `import churn.schemas` binds it, has modules of the files.
            Meaning::External(outer) => {
                let whole = format!("{outer}.{name}");
                self.module(&whole).map_or(Meaning::External(whole), Meaning::Module)
            }
            Meaning::Module(id) => self.imported(&self.files[id].module, name, 0),
            Meaning::Class(id, class) => {
                nested_class(class, name).map_or(Meaning::Unknown, |class| Meaning::Class(id, class))
            }
            Meaning::Function(..) | Meaning::Value(..) | Meaning::Unknown => Meaning::Unknown,
        }
    }

    fn name(&self, module: ModuleId, name: &str, hops: usize) -> Meaning<'a> {
        if hops > HOPS {
            return Meaning::Unknown;
        }
        match self.names[module].symbols.get(name) {
            Some(Symbol::Class(class)) => Meaning::Class(module, class),
            Some(Symbol::Function(function)) => Meaning::Function(module, function),
            Some(Symbol::Value(value)) => Meaning::Value(module, value),
            Some(Symbol::Module(path)) => {
                self.module(path).map_or_else(|| Meaning::External(path.clone()), Meaning::Module)
            }
            Some(Symbol::Member(path, member)) => self.imported(path, member, hops),
            None => self.starred(module, name, hops),
        }
    }

    /// What `from path import member` means.
    fn imported(&self, path: &str, member: &str, hops: usize) -> Meaning<'a> {
        // The folder's own file is known as a module of that name, and has no modules below it.
        let below = if path == "__init__" { "" } else { path };
        let submodule = self.module(&join(below, member)).map(Meaning::Module);
        match self.module(path) {
            Some(id) => match self.name(id, member, hops + 1) {
                Meaning::Unknown => submodule.unwrap_or(Meaning::Unknown),
                known => known,
            },
            None => submodule.unwrap_or_else(|| Meaning::External(join(path, member))),
        }
    }

    /// What a name means that the module itself does not define: something of a starred module, or a builtin.
    fn starred(&self, module: ModuleId, name: &str, hops: usize) -> Meaning<'a> {
        for star in &self.names[module].stars {
            let found = match self.module(star) {
                Some(id) => self.name(id, name, hops + 1),
                None if known::is_known(&join(star, name)) => Meaning::External(join(star, name)),
                None => Meaning::Unknown,
            };
            if !matches!(found, Meaning::Unknown) {
                return found;
            }
        }
        let builtin = format!("builtins.{name}");
        if known::is_known(&builtin) { Meaning::External(builtin) } else { Meaning::Unknown }
    }

    fn module(&self, path: &str) -> Option<ModuleId> {
        let path = self.folder.as_ref().map(|folder| inside(folder, path))?;
        self.modules.get(path.as_str()).copied()
    }
}

impl<'a> Names<'a> {
    fn of(file: &'a SourceFile) -> Self {
        let mut names = Self::default();
        for_each_statement(&file.body, &mut |statement| names.add(file, statement));
        let within = imports_within(&file.body);
        let mut local = Self::default();
        within.into_iter().for_each(|statement| local.add(file, statement));
        // What functions import for themselves is known by name, too, as far as the file itself has no such name.
        for (name, symbol) in local.symbols {
            names.symbols.entry(name).or_insert(symbol);
        }
        names
    }

    fn add(&mut self, file: &'a SourceFile, statement: &'a Stmt) {
        match statement {
            Stmt::ClassDef(class) => self.add_class(class),
            Stmt::FunctionDef(function) => {
                drop(self.symbols.insert(function.name.as_str(), Symbol::Function(function)))
            }
            Stmt::Assign(assign) => {
                let names = assign.targets.iter().filter_map(Expr::as_name_expr);
                self.symbols.extend(names.map(|name| (name.id.as_str(), Symbol::Value(&assign.value))));
            }
            Stmt::AnnAssign(assign) => {
                if let (Expr::Name(name), Some(value)) = (&*assign.target, &assign.value) {
                    self.symbols.insert(name.id.as_str(), Symbol::Value(value));
                }
            }
            Stmt::TypeAlias(alias) => {
                if let Expr::Name(name) = &*alias.name {
                    self.symbols.insert(name.id.as_str(), Symbol::Value(&alias.value));
                }
                let declared = alias.type_params.as_deref();
                self.parameters.extend(declared.map(|declared| (std::ptr::from_ref(&*alias.value), declared)));
            }
            Stmt::Import(import) => self.add_import(import),
            Stmt::ImportFrom(import) => self.add_import_from(file, import),
            _ => {}
        }
    }

    /// A class, and those nested within as far as no other has their name: hints inside the class use them bare.
    fn add_class(&mut self, class: &'a StmtClassDef) {
        self.symbols.insert(class.name.as_str(), Symbol::Class(class));
        for inner in class.body.iter().filter_map(Stmt::as_class_def_stmt) {
            self.symbols.entry(inner.name.as_str()).or_insert(Symbol::Class(inner));
        }
    }

    fn add_import(&mut self, import: &'a StmtImport) {
        for alias in &import.names {
            let path = alias.name.as_str();
            match &alias.asname {
                Some(name) => self.symbols.insert(name.as_str(), Symbol::Module(path.to_owned())),
                None => {
                    let root = path.split('.').next().unwrap_or(path);
                    self.symbols.insert(root, Symbol::Module(root.to_owned()))
                }
            };
        }
    }

    fn add_import_from(&mut self, file: &'a SourceFile, import: &'a StmtImportFrom) {
        let module = import.module.as_ref().map_or("", |module| module.as_str());
        let module = file.absolute(import.level, module);
        for alias in &import.names {
            let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
            match alias.name.as_str() {
                "*" => self.stars.push(module.clone()),
                member => drop(self.symbols.insert(name, Symbol::Member(module.clone(), member))),
            }
        }
    }
}

fn nested_class<'a>(class: &'a StmtClassDef, name: &str) -> Option<&'a StmtClassDef> {
    class.body.iter().filter_map(Stmt::as_class_def_stmt).find(|inner| inner.name.as_str() == name)
}
