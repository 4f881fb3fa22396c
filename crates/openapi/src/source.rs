//! A contract from Python source: a custom model's class, its methods, type hints and docstrings.
//!
//! The source is parsed and never imported, so that a model is documented on a machine that has none of its packages.
//! What the source does not say is left open and noted in the contract's `incomplete`.

mod annotation;
mod arithmetic;
mod arrays;
mod attributes;
mod class;
mod convention;
mod determinism;
mod docstring;
mod extra;
mod file;
mod functional;
mod functions;
mod generics;
mod known;
mod literal;
mod locate;
mod nesting;
mod outputs;
mod project;
mod pydantic;
#[cfg(test)]
mod tests;
mod web;

use std::{
    path::{Path, PathBuf},
    thread,
};

use kea_core::Contract;
use ruff_python_ast::StmtClassDef;

use file::Imports;
use project::Project;

/// Longest file that is read. The longest modules of CPython's own library have a tenth of it.
const FILE_LIMIT: u64 = 4 << 20;

/// Stack of the thread that reads: the tree is walked and freed recursively, [`nesting::LIMIT`] levels at most.
const STACK: usize = 32 << 20;

/// What a source says.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceModel {
    /// Its functions.
    pub contract: Contract,
    /// The file that defines the class.
    pub file: PathBuf,
    /// The class to instantiate; without one, the file's own functions are those of the service.
    pub class: Option<String>,
}

/// Why a source is no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The file or folder cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The file is longer than any source.
    #[error("{} is larger than {limit} bytes: keep data out of the source", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The file is no text.
    #[error("{} is not UTF-8 text: save it as UTF-8", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
    },
    /// An expression or block nests deeper than Python itself compiles.
    #[error("{} nests more than {limit} levels deep: split its longest expression", file.display())]
    TooNested {
        /// The file.
        file: PathBuf,
        /// The most levels that are read.
        limit: usize,
    },
    /// The file is not Python.
    #[error("{}:{line}:{column}: {why}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// The folder has no Python file.
    #[error("{} has no Python file: put the model's class into model.py", folder.display())]
    NoFile {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has several Python files and none is called `model.py`.
    #[error(
        "{} has several Python files ({}): rename the one with the model's class to model.py, or name the file",
        folder.display(), candidates.join(", ")
    )]
    SeveralFiles {
        /// The folder.
        folder: PathBuf,
        /// The files.
        candidates: Vec<String>,
    },
    /// The file has no class that could be the model.
    #[error("{} has no public class: write `class Model:` with a method `predict`", file.display())]
    NoClass {
        /// The file.
        file: PathBuf,
    },
    /// The file makes a web application.
    #[error(
        "{} makes a web application of {framework}: deploy its folder with the command that starts it, as `--command 'exec {command}'`",
        file.display()
    )]
    WebApplication {
        /// The file.
        file: PathBuf,
        /// What it is made with.
        framework: &'static str,
        /// How it is usually started.
        command: &'static str,
    },
    /// The file has several classes that could be the model.
    #[error(
        "{} has several classes that could be the model ({}): give `predict` to one of them only, or begin the names of the others with `_`",
        file.display(), candidates.join(", ")
    )]
    SeveralClasses {
        /// The file.
        file: PathBuf,
        /// The classes.
        candidates: Vec<String>,
    },
    /// Reading failed in an unforeseen way.
    #[error("{} cannot be parsed: please report this file", path.display())]
    Unparsable {
        /// The file or folder.
        path: PathBuf,
    },
}

impl SourceError {
    /// Whether the source is sound and just no model.
    pub fn is_no_class(&self) -> bool {
        matches!(
            self,
            Self::NoFile { .. } | Self::NoClass { .. } | Self::SeveralFiles { .. } | Self::WebApplication { .. }
        )
    }
}

/// Reads a custom model from a `.py` file, or from a folder of them.
///
/// In a folder, `model.py` is meant or else the only Python file that is no test; types that it imports from other
/// files of the folder are followed.
pub fn read(path: &Path) -> Result<SourceModel, SourceError> {
    on_own_stack(path, || read_here(path))
}

/// Reads a web application of FastAPI, Starlette or Flask from a `.py` file or from a folder of them: its routes as
/// operations. `None` where no application is made there.
///
/// In a folder, the file is the one that `command` starts, as `uvicorn package.module:app`, or else the first that makes
/// an application; routers that it imports from other files of the folder are followed.
pub fn read_web(path: &Path, command: &[String]) -> Result<Option<Contract>, SourceError> {
    on_own_stack(path, || web::read(path, command))
}

fn on_own_stack<T: Send>(path: &Path, read: impl FnOnce() -> Result<T, SourceError> + Send) -> Result<T, SourceError> {
    let unparsable = || SourceError::Unparsable { path: path.into() };
    thread::scope(|scope| {
        let reader = thread::Builder::new().name("source".into()).stack_size(STACK);
        let read = reader.spawn_scoped(scope, read).map_err(|error| unreadable(path, &error))?;
        read.join().unwrap_or_else(|_| Err(unparsable()))
    })
}

fn read_here(path: &Path) -> Result<SourceModel, SourceError> {
    let (main, folder) = locate::main_file(path)?;
    let files = file::load(&main, folder.as_deref(), Imports::Outer)?;
    let project = Project::new(&files, folder.as_deref());
    match locate::class(&project) {
        Ok(class) => {
            Ok(SourceModel { contract: contract(&project, class), class: Some(class.name.to_string()), file: main })
        }
        Err(error @ SourceError::NoClass { .. }) if folder.is_none() || locate::is_preferred(&main) => {
            let contract = contract_of_module(&project).ok_or(error)?;
            Ok(SourceModel { contract, class: None, file: main })
        }
        Err(error) => Err(error),
    }
}

fn contract(project: &Project<'_>, class: &StmtClassDef) -> Contract {
    let (functions, incomplete) = functions::of_class(project, class);
    let system = convention::of(project, Project::MAIN, class).map_or("python", convention::Convention::as_str);
    let words = docstring::of(&class.body).or_else(|| docstring::of(project.main_body()));
    Contract {
        description: words.map(|words| words.prose).unwrap_or_default(),
        platform: format!("{system} {}", class.name),
        functions,
        incomplete,
        ..Contract::default()
    }
}

fn contract_of_module(project: &Project<'_>) -> Option<Contract> {
    let (functions, incomplete) = functions::of_module(project);
    let words = docstring::of(project.main_body()).map(|words| words.prose).unwrap_or_default();
    let contract = Contract { description: words, functions, incomplete, ..Contract::default() };
    (!contract.functions.is_empty()).then(|| Contract { platform: "python functions".into(), ..contract })
}

fn unreadable(path: &Path, error: &std::io::Error) -> SourceError {
    SourceError::Unreadable { path: path.into(), why: error.to_string() }
}
