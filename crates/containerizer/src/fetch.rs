//! Fetches models from other machines into a folder of KEA's own. Each kind of place is a module; what they bring is
//! put onto the shelf by the workspace.

mod git;
mod http;
mod hub;
mod objects;
mod oci;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kea_core::management::StepState;

pub(crate) use self::{
    git::Repository,
    http::HttpFile,
    hub::HubModel,
    objects::{Objects, Vendor},
    oci::Artifact,
};
use crate::{
    FETCH, FetchError, Progress,
    progress::Pace,
    registry::Registries,
    shelf::{Staging, size},
    unpack, within,
};

/// A model that is elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    /// A file to download by HTTP.
    Http(HttpFile),
    /// Objects of a store: S3, Google Cloud Storage, Azure Blob Storage.
    Objects(Objects),
    /// A folder of a git repository.
    Git(Repository),
    /// A model of a hub that speaks as Hugging Face's.
    Hub(HubModel),
    /// An artifact of a registry.
    Oci(Artifact),
}

/// How a fetch is bounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most files.
    pub(crate) files: usize,
    /// Most bytes of all files.
    pub(crate) bytes: u64,
    /// How long the other side may be silent.
    pub(crate) silence: Duration,
    /// How long a tool may run.
    pub(crate) tool: Duration,
}

/// One fetch.
pub(crate) struct Job<'a> {
    /// Where to put what is fetched.
    pub(crate) staging: &'a Staging,
    pub(crate) bounds: Bounds,
    /// The mark of what was fetched of this source before and is still there.
    pub(crate) known: Option<&'a str>,
    /// The way to registries.
    pub(crate) registries: &'a Registries,
    /// The Python that starts tools.
    pub(crate) python: Option<&'a Path>,
    pub(crate) progress: &'a dyn Progress,
    /// Keeps it from being told of every chunk.
    pub(crate) pace: Mutex<Pace>,
}

/// What came of a fetch.
#[derive(Debug)]
pub(crate) enum Got {
    /// The source is what it was, as its mark proves.
    Unchanged,
    New(Landed),
}

/// What was fetched, in the staging folder.
#[derive(Debug)]
pub(crate) struct Landed {
    /// The file or folder.
    pub(crate) path: PathBuf,
    /// What will be different as soon as the source is; `None` where nothing can prove that.
    pub(crate) mark: Option<String>,
    /// Sentences for the user.
    pub(crate) notes: Vec<String>,
}

impl Remote {
    /// Fetches the model.
    pub(crate) async fn fetch(&self, job: &Job<'_>) -> Result<Got, FetchError> {
        match self {
            Self::Http(file) => file.fetch(job).await,
            Self::Objects(objects) => objects.fetch(job).await,
            Self::Git(repository) => repository.fetch(job).await,
            Self::Hub(model) => model.fetch(job).await,
            Self::Oci(artifact) => artifact.fetch(job).await,
        }
    }

    /// The source as people may see it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Http(file) => file.shown(),
            Self::Objects(objects) => objects.shown(),
            Self::Git(repository) => repository.shown(),
            Self::Hub(model) => model.shown(),
            Self::Oci(artifact) => artifact.shown(),
        }
    }
}

impl Job<'_> {
    fn tell(&self, detail: &str) {
        if self.pace.lock().unwrap_or_else(PoisonError::into_inner).due() {
            self.progress.step(FETCH, StepState::Running, detail);
        }
    }

    fn is_known(&self, mark: &str) -> bool {
        self.known == Some(mark)
    }
}

/// One of several files that a source lists.
#[derive(Debug)]
struct Listed<T> {
    /// Its name within the model.
    name: String,
    bytes: u64,
    /// How the place calls it.
    at: T,
}

/// Files that a source lists, checked before the first is fetched.
struct Listing<T> {
    what: String,
    bounds: Bounds,
    bytes: u64,
    files: Vec<Listed<T>>,
}

impl<T> Listing<T> {
    fn new(what: String, bounds: Bounds) -> Self {
        Self { what, bounds, bytes: 0, files: Vec::new() }
    }

    fn add(&mut self, name: &str, bytes: u64, at: T) -> Result<(), FetchError> {
        let name = safe(&self.what, name)?;
        self.bytes = self.bytes.saturating_add(bytes);
        self.files.push(Listed { name, bytes, at });
        let Bounds { files, bytes, .. } = self.bounds;
        if self.files.len() > files {
            return Err(FetchError::TooManyFiles { limit: files });
        }
        if self.bytes > bytes { Err(FetchError::TooLarge { limit: bytes }) } else { Ok(()) }
    }
}

/// How far the fetch of several files is.
struct Count {
    files: usize,
    total: usize,
    bytes: u64,
}

impl Count {
    fn of(total: usize) -> Self {
        Self { files: 0, total, bytes: 0 }
    }

    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    fn told(&self, further: u64) -> String {
        let bytes = size(self.bytes + further);
        match self.total {
            1 => format!("{bytes} downloaded"),
            total => format!("{bytes} downloaded, {} of {total} files", self.files),
        }
    }
}

/// A name that `what` lists, as a path below the model's folder.
fn safe(what: &str, name: &str) -> Result<String, FetchError> {
    unpack::safe(name.as_bytes()).map_err(|why| FetchError::Hostile {
        archive: what.to_owned(),
        entry: name.escape_debug().take(200).collect(),
        why,
    })
}

/// The path of a file of the model in the staging folder; its own folder exists afterwards.
fn place(staging: &Staging, name: &str) -> Result<PathBuf, FetchError> {
    let below = Path::new(MODEL).join(name);
    let parent = below.parent().unwrap_or(Path::new(MODEL));
    within::make_folders(staging.path(), parent).map_err(FetchError::storing(staging.path()))?;
    Ok(staging.path().join(below))
}

/// The folder within the staging folder where a model's files lie.
const MODEL: &str = "model";

/// The last name of a path in a store.
fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}
