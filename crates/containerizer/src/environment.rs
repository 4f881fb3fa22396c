//! Python environments: one for each set of requirements, made once and shared by all models that ask for the same.
//!
//! An environment is made where it stays, since its scripts hold its path. It counts from the moment that its mark is
//! written, which is last; one without the mark was interrupted and is made anew.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use kea_core::management::StepState;
use sha2::{Digest, Sha256};

use crate::{
    ENVIRONMENT, Progress,
    locks::Locks,
    python::{Python, on_path},
    tool::{Failure, Run},
};

/// The file that says that an environment is whole.
const COMPLETE: &str = ".complete";
/// What was installed, to the version.
const LOCK: &str = "requirements.lock";

/// Why an environment could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum EnvironmentError {
    #[error("no `python3` is on the server's PATH: install Python 3.9 or newer, or name one with KEA_PYTHON")]
    NoPython,
    #[error("the Python `{}` cannot be used: {why}", .program.display())]
    Python { program: PathBuf, why: String },
    #[error("`{}` is Python {version}, and 3.9 is the oldest that can be used: name a newer one with KEA_PYTHON", .program.display())]
    OldPython { program: PathBuf, version: String },
    #[error(
        "`{}` has no module venv to make environments with: install it (`apt-get install python3-venv`), or install uv", .program.display()
    )]
    NoVenv { program: PathBuf },
    #[error("the requirement `{line}` cannot be used: {why}")]
    Requirement { line: String, why: String },
    #[error("`{what}` failed ({status}): {}", last(.tail))]
    Tool { what: String, status: ExitStatus, tail: Vec<String> },
    #[error("`{what}` did not end within {} s: {}", .limit.as_secs(), last(.tail))]
    TooLong { what: String, limit: Duration, tail: Vec<String> },
    #[error("`{what}` cannot be started: {why}")]
    Start { what: String, why: io::Error },
    #[error("no space is left on the disk of `{}`: free some, then deploy again", .folder.display())]
    DiskFull { folder: PathBuf },
    #[error("KEA's folder `{}` cannot be written: {why}", .folder.display())]
    Storage { folder: PathBuf, why: io::Error },
    #[error("the package onnxruntime in `{}` has no shared library: name one with KEA_ONNXRUNTIME", .folder.display())]
    NoOnnxRuntime { folder: PathBuf },
    #[error("KEA_ONNXRUNTIME names `{}`, which is no file", .path.display())]
    BadOnnxRuntime { path: PathBuf },
}

impl EnvironmentError {
    /// What the failure of the tool `what` means.
    pub(crate) fn of_tool(what: &str, failure: Failure) -> Self {
        let what = what.to_owned();
        match failure {
            Failure::Start(why) => Self::Start { what, why },
            Failure::Ended(status, tail) => Self::Tool { what, status, tail },
            Failure::TooLong(limit, tail) => Self::TooLong { what, limit, tail },
        }
    }

    /// The last lines of the tool that failed.
    pub(crate) fn tail(&self) -> &[String] {
        match self {
            Self::Tool { tail, .. } | Self::TooLong { tail, .. } => tail,
            _ => &[],
        }
    }

    /// Whether it may go better later: an index that does not answer looks like any other failure of the tool.
    pub(crate) fn may_heal(&self) -> bool {
        match self {
            Self::Tool { .. } | Self::TooLong { .. } | Self::DiskFull { .. } | Self::Storage { .. } => true,
            Self::NoPython
            | Self::Python { .. }
            | Self::OldPython { .. }
            | Self::NoVenv { .. }
            | Self::Requirement { .. }
            | Self::Start { .. }
            | Self::NoOnnxRuntime { .. }
            | Self::BadOnnxRuntime { .. } => false,
        }
    }

    fn storing(folder: &Path) -> impl FnOnce(io::Error) -> Self {
        let folder = folder.to_owned();
        move |why| match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { folder },
            _ => Self::Storage { folder, why },
        }
    }
}

fn last(tail: &[String]) -> &str {
    tail.last().map_or("it wrote nothing", String::as_str)
}

/// What makes environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Installer {
    /// uv, at this path.
    Uv(PathBuf),
    /// Python's own venv and pip.
    Pip,
}

impl Installer {
    /// uv where there is one, since it is many times quicker.
    pub(crate) fn find() -> Self {
        on_path("uv").map_or(Self::Pip, Self::Uv)
    }
}

/// An environment that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Whether it was there before.
    pub(crate) reused: bool,
}

impl Environment {
    /// Its Python.
    pub(crate) fn python(&self) -> PathBuf {
        python_of(&self.folder)
    }

    /// The shared library of its onnxruntime.
    pub(crate) fn onnxruntime(&self) -> Result<PathBuf, EnvironmentError> {
        let missing = || EnvironmentError::NoOnnxRuntime { folder: self.folder.clone() };
        let libraries = children(&self.folder.join("lib")).into_iter();
        let mut found = libraries.flat_map(|python| children(&python.join("site-packages/onnxruntime/capi")));
        found.find(|file| is_onnxruntime(file)).ok_or_else(missing)
    }
}

fn is_onnxruntime(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("libonnxruntime.") && (name.contains(".so") || name.ends_with(".dylib"))
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = items.map(|item| item.path()).collect();
    paths.sort();
    paths
}

fn python_of(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// The folder of all environments.
#[derive(Debug)]
pub(crate) struct Environments {
    folder: PathBuf,
    /// How long one tool may take.
    pub(crate) limit: Duration,
    locks: Locks,
}

impl Environments {
    /// The environments in `folder`, which is made when it is first needed.
    pub(crate) fn new(folder: PathBuf, limit: Duration) -> Self {
        Self { locks: Locks::new(folder.clone()), folder, limit }
    }

    /// The environment of `python` with `requirements`, sorted; it is made where there is none yet.
    pub(crate) async fn ensure(
        &self,
        python: &Python,
        installer: &Installer,
        requirements: &[String],
        progress: &dyn Progress,
    ) -> Result<Environment, EnvironmentError> {
        let key = key(python, requirements);
        let folder = self.folder.join(&key);
        if is_complete(&folder) {
            return Ok(Environment { folder, reused: true });
        }
        progress.step(ENVIRONMENT, StepState::Running, "waiting for another deployment that makes the same");
        let held = self.locks.hold(&key).await.map_err(EnvironmentError::storing(&self.folder))?;
        if is_complete(&folder) {
            return Ok(Environment { folder, reused: true });
        }
        let making =
            Making { folder: &folder, python, installer, requirements, limit: self.limit, lock: &held.file, progress };
        if let Err(error) = making.run().await {
            remove(&folder)?;
            return Err(error);
        }
        Ok(Environment { folder, reused: false })
    }
}

/// A name for what the environment holds: Python, KEA's way of making it, and the requirements.
fn key(python: &Python, requirements: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in ["2", &python.version_text(), &python.build].into_iter().chain(requirements.iter().map(String::as_str))
    {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..16])
}

/// Whether the environment is whole, and the Python that it refers to still there.
fn is_complete(folder: &Path) -> bool {
    folder.join(COMPLETE).is_file() && python_of(folder).is_file()
}

fn remove(folder: &Path) -> Result<(), EnvironmentError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EnvironmentError::storing(folder)(error)),
        _ => Ok(()),
    }
}

/// An environment that is being made.
struct Making<'a> {
    folder: &'a Path,
    python: &'a Python,
    installer: &'a Installer,
    requirements: &'a [String],
    limit: Duration,
    lock: &'a File,
    progress: &'a dyn Progress,
}

impl Making<'_> {
    async fn run(&self) -> Result<(), EnvironmentError> {
        remove(self.folder)?;
        self.create().await?;
        self.install().await?;
        let installed = self.freeze().await?;
        self.write(LOCK, &installed.join("\n"))?;
        self.write(COMPLETE, "")
    }

    async fn create(&self) -> Result<(), EnvironmentError> {
        let (python, folder) = (self.python.executable.as_os_str(), self.folder.as_os_str());
        match self.installer {
            Installer::Uv(uv) => {
                let line = [
                    uv.as_os_str(),
                    "venv".as_ref(),
                    "--no-project".as_ref(),
                    "--relocatable".as_ref(),
                    "--python".as_ref(),
                    python,
                    folder,
                ];
                self.tool("uv venv", &line).await?;
            }
            Installer::Pip if !self.python.venv => {
                return Err(EnvironmentError::NoVenv { program: self.python.executable.clone() });
            }
            Installer::Pip => {
                self.tool("python -m venv", &[python, "-m".as_ref(), "venv".as_ref(), folder]).await?;
            }
        }
        Ok(())
    }

    async fn install(&self) -> Result<(), EnvironmentError> {
        self.write("requirements.txt", &self.requirements.join("\n"))?;
        let file = self.folder.join("requirements.txt");
        let from_file = ["-r".as_ref(), file.as_os_str()];
        // Workers write no bytecode: without it each start would compile every module again. pip does so unasked.
        let compiled = ["--compile-bytecode".as_ref()];
        let options = match self.installer {
            Installer::Uv(_) => [&from_file[..], &compiled].concat(),
            Installer::Pip => from_file.to_vec(),
        };
        self.packages("install", &options).await.map(drop)
    }

    /// All that was installed, `name==version` a line.
    async fn freeze(&self) -> Result<Vec<String>, EnvironmentError> {
        self.packages("freeze", &[]).await
    }

    /// A command of pip or uv about the environment's packages.
    async fn packages(&self, what: &str, rest: &[&std::ffi::OsStr]) -> Result<Vec<String>, EnvironmentError> {
        let python = python_of(self.folder);
        let (tool, line) = match self.installer {
            Installer::Uv(uv) => {
                let line = [uv.as_os_str(), "pip".as_ref(), what.as_ref(), "--python".as_ref(), python.as_os_str()];
                ("uv pip", line.to_vec())
            }
            Installer::Pip => ("pip", vec![python.as_os_str(), "-m".as_ref(), "pip".as_ref(), what.as_ref()]),
        };
        self.tool(&format!("{tool} {what}"), &[&line[..], rest].concat()).await
    }

    async fn tool(&self, what: &str, line: &[&std::ffi::OsStr]) -> Result<Vec<String>, EnvironmentError> {
        self.progress.step(ENVIRONMENT, StepState::Running, what);
        let run = Run {
            python: &self.python.executable,
            line: line.iter().map(OsString::from).collect(),
            folder: self.folder.parent().unwrap_or(Path::new("/")),
            limit: self.limit,
            lock: self.lock,
        };
        let told = run.run(|line| self.progress.step(ENVIRONMENT, StepState::Running, line)).await;
        told.map_err(|failure| EnvironmentError::of_tool(what, failure))
    }

    /// Writes a file of the environment, whole or not at all.
    fn write(&self, name: &str, text: &str) -> Result<(), EnvironmentError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(self.folder)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file.persist(self.folder.join(name))?)
        };
        write().map(drop).map_err(EnvironmentError::storing(self.folder))
    }
}

#[cfg(test)]
mod tests;
