//! What can go wrong on the way of a model to this machine.

use std::{io, path::PathBuf};

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
    #[error("`{scheme}:` sources cannot be fetched: download the model to the server's machine and give its path")]
    Scheme { scheme: String },
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
    #[error("the folder `{}` holds no files", .path.display())]
    Empty { path: PathBuf },
    #[error("the model has more than {limit} files: give a folder that holds the model only")]
    TooManyFiles { limit: usize },
    #[error("the model is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("{url} answered {status}")]
    Status { url: String, status: u16 },
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

impl FetchError {
    fn may_heal(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Stalled { .. }
            | Self::Network { .. }
            | Self::DiskFull { .. }
            | Self::Storage { .. }
            | Self::Cancelled => true,
            _ => false,
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
