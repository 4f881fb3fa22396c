//! What can go wrong on the way of a model to this machine.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{ENVIRONMENT, FETCH, RECOGNISE, detect::DetectError, environment::EnvironmentError};

/// Why a model could not be prepared. The text is one sentence that says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The model could not be brought here.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What made the model is not known, or not what was said.
    #[error(transparent)]
    Recognise(#[from] DetectError),
    /// Its Python environment could not be made.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

impl PrepareError {
    /// The step that failed, by the name that [`crate::Progress`] is told.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Fetch(_) => FETCH,
            Self::Recognise(_) => RECOGNISE,
            Self::Environment(_) => ENVIRONMENT,
        }
    }

    /// The last lines that the failed tool wrote, oldest first; empty where no tool failed.
    pub fn tail(&self) -> &[String] {
        match self {
            Self::Environment(error) => error.tail(),
            Self::Fetch(_) | Self::Recognise(_) => &[],
        }
    }

    /// Whether the same specification may succeed later without a change of it: a full disk, a network that is down.
    pub fn may_heal(&self) -> bool {
        match self {
            Self::Fetch(error) => error.may_heal(),
            Self::Recognise(_) => false,
            Self::Environment(error) => error.may_heal(),
        }
    }
}

/// Why a model could not be brought to this machine.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum FetchError {
    #[error(
        "neither a source nor a command is given: name the model's file or folder, or the command of a web service"
    )]
    Nothing,
    #[error("`{scheme}:` sources are not known: give a path or one of {known}")]
    Scheme { scheme: String, known: &'static str },
    #[error("`{text}` is not a source: {why}")]
    Malformed { text: String, why: String },
    #[error("`{path}` is a relative path: give an absolute one, it is read on the machine where `kea serve` runs")]
    Relative { path: String },
    #[error("`{}` does not exist; paths are read on the machine where `kea serve` runs", .path.display())]
    NotFound { path: PathBuf },
    #[error("`{}` cannot be read by the user that `kea serve` runs as: {why}", .path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error("`{}` is neither a file nor a folder (it is a device, a socket or a pipe)", .path.display())]
    Special { path: PathBuf },
    #[error("the name `{}` is not valid UTF-8: rename the file", .path.display())]
    Name { path: PathBuf },
    #[error("the link `{}` leads out of the model's folder, to `{}`: put the file itself there", .link.display(), .target.display())]
    Escape { link: PathBuf, target: PathBuf },
    #[error("the link `{}` leads nowhere", .link.display())]
    Dangling { link: PathBuf },
    #[error("the link `{}` leads to a folder that it is in itself", .link.display())]
    Loop { link: PathBuf },
    #[error("`{}` lies within KEA's own data folder", .path.display())]
    OwnData { path: PathBuf },
    #[error("`{}` holds no files that belong to a model", .path.display())]
    Empty { path: PathBuf },
    #[error("the model has more than {limit} files: give a folder that holds the model only")]
    TooManyFiles { limit: usize },
    #[error("the model is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("line {line} of `{file}` is no pattern as `.gitignore` has them: {why}")]
    Excluding { file: &'static str, line: usize, why: String },
    #[error("`{archive}` is not taken: its entry `{entry}` {why}")]
    Hostile { archive: String, entry: String, why: &'static str },
    #[error("`{archive}` cannot be unpacked: {why}")]
    Broken { archive: String, why: String },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answered {status}: {hint}")]
    Refused { url: String, status: u16, hint: &'static str },
    #[error("{url} ended after {bytes} of {total} bytes, several times")]
    Short { url: String, bytes: u64, total: u64 },
    #[error("{what} has the SHA-256 {found}, but {expected} was expected: it is not the file that was meant")]
    Digest { what: String, expected: String, found: String },
    #[error(
        "there is neither `{what}` nor anything below it: check the name, and whether these credentials may see it"
    )]
    NoObject { what: String },
    #[error("`{what}` was refused: {why}; {hint}")]
    StoreDenied { what: String, why: String, hint: &'static str },
    #[error("`{what}` cannot be read: {why}; {hint}")]
    Store { what: String, why: String, hint: &'static str },
    #[error("the settings for `{what}` cannot be used: {why}; {hint}")]
    StoreSettings { what: String, why: String, hint: &'static str },
    #[error(
        "git sources need `git`, which is not on the PATH: install it; where a cluster builds, name an image that has it \
         by `kea manifests --builder-image`, as `python:3.11` (`python:3.11-slim` has none)"
    )]
    NoGit,
    #[error("git sources need `python3`, which is not on the PATH: install it")]
    NoPython,
    #[error("`git {step}` failed for {url}: {why}")]
    Git { url: String, step: String, why: String },
    #[error("`git {step}` does not reach {url}: {why}")]
    GitUnreachable { url: String, step: String, why: String },
    #[error("`git {step}` for {url} took longer than {seconds} s")]
    GitTooLong { url: String, step: String, seconds: u64 },
    #[error("{url} has no branch, tag or commit `{revision}`")]
    NoRevision { url: String, revision: String },
    #[error("{what} cannot be taken as a model: {why}")]
    Artifact { what: String, why: String },
    #[error(transparent)]
    Registry(#[from] crate::registry::RegistryError),
    #[error("{what} holds no `{name}`")]
    NoPart { what: String, name: String },
    #[error("{url} sent nothing for {seconds} s")]
    Stalled { url: String, seconds: u64 },
    #[error("{url} cannot be downloaded: {why}")]
    Network { url: String, why: String },
    #[error("no space is left on the disk of `{}`: free some, then deploy again", .folder.display())]
    DiskFull { folder: PathBuf },
    #[error("KEA's folder `{}` cannot be written: {why}", .folder.display())]
    Storage { folder: PathBuf, why: io::Error },
    #[error("the server is shutting down")]
    Cancelled,
}

/// Whether a server that answers with `status` may answer otherwise later.
pub(crate) fn is_passing(status: u16) -> bool {
    status >= 500 || status == 429 || status == 408
}

impl FetchError {
    fn may_heal(&self) -> bool {
        match self {
            Self::Status { status, .. } | Self::Refused { status, .. } => is_passing(*status),
            Self::Registry(error) => error.may_heal(),
            Self::Stalled { .. }
            | Self::Short { .. }
            | Self::Store { .. }
            | Self::GitUnreachable { .. }
            | Self::GitTooLong { .. }
            | Self::Network { .. }
            | Self::DiskFull { .. }
            | Self::Storage { .. }
            | Self::Cancelled => true,
            _ => false,
        }
    }

    /// The same for people who do not know the folder `root`, where what was fetched lay: names are told from there on.
    pub(crate) fn told_from(self, root: &Path, what: &str) -> Self {
        let within = |path: PathBuf| path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
        match self {
            Self::Escape { link, target } => Self::Escape { link: within(link), target: within(target) },
            Self::Dangling { link } => Self::Dangling { link: within(link) },
            Self::Loop { link } => Self::Loop { link: within(link) },
            Self::Name { path } => Self::Name { path: within(path) },
            Self::Special { path } => Self::Special { path: within(path) },
            Self::Empty { .. } => Self::Empty { path: what.into() },
            other => other,
        }
    }

    /// A failure to read what the user named.
    pub(crate) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |why| match why.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path: path.into() },
            _ => Self::Unreadable { path: path.into(), why },
        }
    }

    /// A failure to write KEA's own files.
    pub(crate) fn storing(folder: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |why| match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { folder: folder.into() },
            _ => Self::Storage { folder: folder.into(), why },
        }
    }
}
