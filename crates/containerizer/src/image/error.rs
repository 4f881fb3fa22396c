//! What can go wrong on the way from a model to an image in a registry.

use std::{io, path::PathBuf};

use super::Platform;
use crate::{BASE, DEPENDENCIES, EnvironmentError, IMAGE, PUSH, PrepareError, RegistryError};

/// Why there is no image. The text is one sentence that says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The model could not be brought here, or is not known.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The base image cannot be used.
    #[error("{0}")]
    Base(#[source] ImageError),
    /// The packages could not be installed.
    #[error("{0}")]
    Dependencies(#[source] ImageError),
    /// The image could not be written.
    #[error("{0}")]
    Image(#[source] ImageError),
    /// The image is written, and could not be sent to its registry.
    #[error("{0}")]
    Push(#[source] ImageError),
}

impl BuildError {
    /// The step that failed, by the name that [`crate::Progress`] is told.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Prepare(error) => error.step(),
            Self::Base(_) => BASE,
            Self::Dependencies(_) => DEPENDENCIES,
            Self::Image(_) => IMAGE,
            Self::Push(_) => PUSH,
        }
    }

    /// The last lines that the failed tool wrote, oldest first; empty where no tool failed.
    pub fn tail(&self) -> &[String] {
        match self {
            Self::Prepare(error) => error.tail(),
            Self::Base(error) | Self::Dependencies(error) | Self::Image(error) | Self::Push(error) => match error {
                ImageError::Tool(error) => error.tail(),
                _ => &[],
            },
        }
    }
}

/// Why a part of an image could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say what the fields are")]
pub enum ImageError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Tool(#[from] EnvironmentError),
    #[error(
        "the base image `{image}` has no Python on its search path: name one that has with --base, KEA_BASE_IMAGE_PYTHON or `base-image-python`"
    )]
    NoPython { image: String },
    #[error(
        "the base image `{image}` has Python {found}, but {wanted_by} asks for {wanted}: name another base with --base, or `{{python}}` in KEA_BASE_IMAGE_PYTHON"
    )]
    WrongPython { image: String, found: String, wanted: String, wanted_by: &'static str },
    #[error(
        "neither the base image nor this machine has certificates of authorities, without which KEA cannot speak to others: install ca-certificates"
    )]
    NoCertificates,
    #[error("an ONNX model runs without Python: leave --python out")]
    PythonUnused,
    #[error("`{text}` is no version of Python: write it as `3.11`")]
    PythonVersion { text: String },
    #[error("the base image `{image}` has no {what}, which {whose} needs: choose one of Debian, or of distroless/cc")]
    Lacks { image: String, what: &'static str, whose: &'static str },
    #[error(
        "the base image `{image}` has the GNU C library {found}, and {whose} needs {needed}: choose a newer base, or a KEA that was built on an older system"
    )]
    OldGlibc { image: String, found: String, needed: String, whose: &'static str },
    #[error(
        "there is no KEA program for {platform}: give the path of one with --program {platform}=PATH; this one is for {host}"
    )]
    NoProgram { platform: Platform, host: Platform },
    #[error("`{}` is no program for {platform}", .path.display())]
    WrongProgram { path: PathBuf, platform: Platform },
    #[error(
        "`{line}` is no wheel, and installing it would run what is in it: build a wheel of it (`pip wheel`), put that into the model's folder, and name it in its place"
    )]
    NoWheel { line: String },
    #[error("`{line}` cannot be used for an image: its packages are wheels, found where -i, -f and the like say")]
    Option { line: String },
    #[error("the packages cannot be locked: {why}")]
    Lock { why: String },
    #[error("layer {digest} did not come whole from {registry}: {why}")]
    Broken { digest: String, registry: String, why: String },
    #[error("layer {digest} of the base image cannot be read: {why}")]
    BadLayer { digest: String, why: io::Error },
    #[error("layer {digest} was removed while the image was built: build it again")]
    Gone { digest: String },
    #[error("a layer would have more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("`{path}` cannot be written into a layer: {why}")]
    Entry { path: String, why: io::Error },
    #[error("`{}` cannot be read: {why}", .path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error("`{}` exists and is no image layout: give a new folder", .folder.display())]
    NotALayout { folder: PathBuf },
    #[error(
        "the folder has only a Dockerfile, which KEA does not run by itself: set KEA_DOCKERFILE_BUILDER (or `dockerfile-builder`) to `buildah` or `buildctl`, or build it elsewhere and deploy the image"
    )]
    OnlyDockerfile,
    #[error("the folder has a Dockerfile, which says all of the image itself: leave {option} out")]
    SaidByDockerfile { option: &'static str },
    #[error("`{program}` is no builder of Dockerfiles that KEA knows: there are `buildah` and `buildctl`")]
    UnknownBuilder { program: String },
    #[error("what the Dockerfile's builder wrote cannot be read: {why}")]
    BuilderOutput { why: String },
    #[error("no space is left on the disk of `{}`: free some, then build again", .folder.display())]
    DiskFull { folder: PathBuf },
    #[error("the folder `{}` cannot be written: {why}", .folder.display())]
    Storage { folder: PathBuf, why: io::Error },
    #[error("the build was given up")]
    Cancelled,
}

impl ImageError {
    /// A failure to write KEA's own files.
    pub(crate) fn storing(folder: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |why| match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { folder: folder.into() },
            _ => Self::Storage { folder: folder.into(), why },
        }
    }
}
