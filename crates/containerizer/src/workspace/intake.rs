//! Puts what was named or fetched onto the shelf: one file, a folder, or what is in an archive.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use super::Fetched;
use crate::{
    FetchError,
    downloads::Known,
    fetch::Landed,
    progress::Report,
    shelf::{self, Shelf, Staging, Stored, size},
    tree::{self, Tree, Walk},
    unpack::{self, Most},
};

/// The way onto the shelf.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) shelf: Shelf,
    /// KEA's own folder.
    pub(super) root: PathBuf,
    pub(super) most: Most,
    pub(super) swept: Arc<Once>,
}

/// A model that is on this machine, before it is on the shelf.
struct Found {
    tree: Tree,
    /// Its name, where it is one file.
    file: Option<String>,
    /// Whether it was unpacked.
    unpacked: bool,
}

impl Intake {
    /// A folder for a fetch, on the shelf's disk.
    pub(super) fn staging(&self) -> Result<Staging, FetchError> {
        fs::create_dir_all(&self.root).map_err(FetchError::storing(&self.root))?;
        self.swept.call_once(|| self.shelf.sweep());
        self.shelf.staging()
    }

    /// Copies what is at `path`, which is the user's.
    pub(super) fn copy(&self, path: &Path, report: &Report) -> Result<Fetched, FetchError> {
        let staging = self.staging()?;
        let own = self.own()?;
        let real = fs::canonicalize(path).map_err(FetchError::reading(path))?;
        if real.starts_with(&own) && !real.starts_with(own.join("models")) {
            return Err(FetchError::OwnData { path: path.to_owned() });
        }
        let found = self.find(path, &real, &staging, report)?;
        let stored = match found.unpacked {
            true => self.shelf.take(&found.tree.entries, self.most.bytes, report)?,
            false => self.shelf.put(&found.tree.entries, self.most.bytes, report)?,
        };
        Ok(fetched(&stored, &found, &[]))
    }

    /// The name that what is at `path` would have on the shelf.
    pub(super) fn digest(&self, path: &Path, report: &Report) -> Result<String, FetchError> {
        let staging = self.staging()?;
        let real = fs::canonicalize(path).map_err(FetchError::reading(path))?;
        let found = self.find(path, &real, &staging, report)?;
        shelf::digest_of(&found.tree.entries, report)
    }

    /// Puts what was fetched onto the shelf, and says what to know it by.
    pub(super) fn keep(
        &self,
        landed: Landed,
        staging: &Staging,
        source: &str,
        report: &Report,
    ) -> Result<(Fetched, Option<Known>), FetchError> {
        let Landed { path, mark, notes } = landed;
        let root = fs::canonicalize(&path).map_err(FetchError::reading(&path))?;
        let keep = || {
            let found = self.find(&path, &root, staging, report)?;
            let stored = self.shelf.take(&found.tree.entries, self.most.bytes, report)?;
            Ok((found, stored))
        };
        let (found, stored) = keep().map_err(|error: FetchError| error.told_from(&root, source))?;
        let model = stored.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let known = mark.map(|mark| Known { mark, model, file: found.file.clone(), notes: notes.clone() });
        Ok((fetched(&stored, &found, &notes), known))
    }

    /// What was fetched before and is still there.
    pub(super) fn again(&self, known: &Known) -> Fetched {
        self.shelf.used(&known.model);
        let folder = self.shelf.folder(&known.model);
        let mut told = vec!["unchanged since it was fetched before".to_owned()];
        told.extend_from_slice(&known.notes);
        Fetched {
            path: Some(known.file.as_ref().map_or(folder.clone(), |file| folder.join(file))),
            detail: told.join("; "),
        }
    }

    /// The files of what is at `path`; `real` is the same after links.
    fn find(&self, path: &Path, real: &Path, staging: &Staging, report: &Report) -> Result<Found, FetchError> {
        let metadata = fs::metadata(real).map_err(FetchError::reading(path))?;
        if metadata.is_dir() {
            let tree = Walk::tree(real, &self.own()?, self.most.files)?;
            return Ok(Found { tree, file: None, unpacked: false });
        }
        if !metadata.is_file() {
            return Err(FetchError::Special { path: path.to_owned() });
        }
        // The name that the user gave counts, since it may have the ending that says what the file is.
        let named = if path.extension().is_some() { path } else { real };
        if let Some(kind) = unpack::bundle(named).map_err(FetchError::reading(path))? {
            return self.unpack(named, kind, staging, report);
        }
        let mut entry = tree::single(named, &metadata)?;
        entry.path = real.to_owned();
        let file = Some(entry.name.clone());
        Ok(Found { tree: Tree { entries: vec![entry], secrets: Vec::new() }, file, unpacked: false })
    }

    fn unpack(
        &self,
        archive: &Path,
        kind: unpack::Kind,
        staging: &Staging,
        report: &Report,
    ) -> Result<Found, FetchError> {
        let folder = staging.path().join("unpacked");
        unpack::unpack(archive, kind, &folder, self.most, report)?;
        let top = unpack::top(&folder)?;
        let root = fs::canonicalize(&top).map_err(FetchError::storing(&top))?;
        let shown = archive.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let tree = Walk::tree(&root, &self.own()?, self.most.files);
        let tree = tree.map_err(|error| error.told_from(&root, &shown))?;
        Ok(Found { tree, file: None, unpacked: true })
    }

    fn own(&self) -> Result<PathBuf, FetchError> {
        fs::canonicalize(&self.root).map_err(FetchError::storing(&self.root))
    }
}

fn fetched(stored: &Stored, found: &Found, notes: &[String]) -> Fetched {
    let Found { tree, file, unpacked } = found;
    let path = file.as_ref().map_or_else(|| stored.folder.clone(), |file| stored.folder.join(file));
    let mut told = vec![origin(stored, *unpacked)];
    told.extend_from_slice(notes);
    told.extend(left_out(&tree.secrets));
    Fetched { path: Some(path), detail: told.join("; ") }
}

fn origin(stored: &Stored, unpacked: bool) -> String {
    let origin = match (stored.reused, unpacked) {
        (true, _) => "there already",
        (false, true) => "unpacked",
        (false, false) => "copied",
    };
    format!("{}, {origin}", size(stored.bytes))
}

/// How many names a sentence shows.
const SHOWN: usize = 3;

fn left_out(secrets: &[String]) -> Option<String> {
    let shown: Vec<String> = secrets.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = secrets.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = shown.join(", ");
    (!secrets.is_empty())
        .then(|| format!("{shown}{more} left out, which may be secret: a line `!NAME` in `.keaignore` takes one back"))
}
