//! Where models are kept: a folder each, named by the SHA-256 of its files' names and contents.
//!
//! A model appears there whole or not at all: it is written into a folder of its own beside the others, which is
//! renamed at the end. Its files are read-only, since several versions and replicas may share them.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{FetchError, progress::Report, tree::Entry};

/// What unfinished models' folders begin with.
const INCOMING: &str = ".incoming-";
/// A model that need not outlive the process is kept for so long after its last use.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How much is copied at once.
const CHUNK: usize = 1 << 20;
/// Up to so many files each is brought to the disk by itself; for more, the whole file system at once is quicker.
const SYNCED_SINGLY: usize = 64;

/// The folder of all models.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    /// Whether models outlive a power cut.
    durable: bool,
}

/// A model on the shelf.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// How many bytes its files have.
    pub(crate) bytes: u64,
    /// Whether it was there before.
    pub(crate) reused: bool,
}

impl Shelf {
    /// The shelf in `folder`, which is made when it is first needed.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, durable: true }
    }

    /// The same for models that need not outlive this process.
    pub(crate) fn passing(self) -> Self {
        Self { durable: false, ..self }
    }

    /// Copies a model onto the shelf.
    pub(crate) fn put(&self, entries: &[Entry], limit: u64, report: &Report) -> Result<Stored, FetchError> {
        if entries.iter().map(|entry| entry.bytes).sum::<u64>() > limit {
            return Err(FetchError::TooLarge { limit });
        }
        let mut incoming = self.incoming()?;
        for entry in entries {
            incoming.copy(entry, limit, report)?;
        }
        incoming.keep()
    }

    /// The same with files that lie on the shelf's disk and are nobody's: these are moved where that can be done.
    pub(crate) fn take(&self, entries: &[Entry], limit: u64, report: &Report) -> Result<Stored, FetchError> {
        if entries.iter().map(|entry| entry.bytes).sum::<u64>() > limit {
            return Err(FetchError::TooLarge { limit });
        }
        let mut incoming = self.incoming()?;
        // A file may have several names, by links.
        let mut seen = HashSet::new();
        let again: HashSet<&Path> =
            entries.iter().map(|entry| entry.path.as_path()).filter(|path| !seen.insert(*path)).collect();
        for entry in entries {
            if again.contains(entry.path.as_path()) {
                incoming.copy(entry, limit, report)?;
            } else {
                incoming.take(entry, report)?;
            }
        }
        incoming.keep()
    }

    /// The folder of a model.
    pub(crate) fn folder(&self, model: &str) -> PathBuf {
        self.folder.join(model)
    }

    /// Notes that a model is used.
    pub(crate) fn used(&self, model: &str) {
        if !self.durable {
            use_folder(&self.folder(model));
        }
    }

    /// Whether there is such a model, with this file if one is named.
    pub(crate) fn holds(&self, model: &str, file: Option<&str>) -> bool {
        let folder = self.folder(model);
        folder.is_dir() && file.is_none_or(|file| folder.join(file).is_file())
    }

    /// A folder for a model that is on its way.
    fn incoming(&self) -> Result<Incoming, FetchError> {
        Ok(Incoming { staging: self.staging()?, files: Vec::new(), bytes: 0 })
    }

    /// A folder that is removed with what is in it, also where KEA is killed.
    pub(crate) fn staging(&self) -> Result<Staging, FetchError> {
        let storing = || FetchError::storing(&self.folder);
        fs::create_dir_all(&self.folder).map_err(storing())?;
        let (temporary, lock) = loop {
            let temporary = tempfile::Builder::new().prefix(INCOMING).tempdir_in(&self.folder).map_err(storing())?;
            // Another process may take it for abandoned until it is locked.
            let Ok(lock) = File::open(temporary.path()) else { continue };
            lock.lock().map_err(storing())?;
            if temporary.path().is_dir() {
                break (temporary, lock);
            }
        };
        Ok(Staging { shelf: self.folder.clone(), durable: self.durable, temporary, _lock: lock })
    }

    /// Removes what processes that were killed have left half written.
    pub(crate) fn sweep(&self) {
        let Ok(items) = fs::read_dir(&self.folder) else { return };
        for item in items.flatten() {
            let unfinished = item.file_name().to_string_lossy().starts_with(INCOMING);
            let abandoned = || File::open(item.path()).is_ok_and(|folder| folder.try_lock().is_ok());
            if unfinished && abandoned() {
                tracing::info!(folder = %item.path().display(), "removing a model that was never finished");
                let _ = fs::remove_dir_all(item.path());
            } else if !unfinished && !self.durable && is_forgotten(&item.path()) {
                let _ = fs::remove_dir_all(item.path());
            }
        }
    }
}

/// A folder beside the models, on the same disk; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    shelf: PathBuf,
    durable: bool,
    temporary: TempDir,
    /// Tells other processes that the folder is not abandoned.
    _lock: File,
}

impl Staging {
    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.temporary.path()
    }
}

/// A model on its way.
struct Incoming {
    staging: Staging,
    files: Vec<Finished>,
    bytes: u64,
}

/// A file that is whole, and what tells it apart.
struct Finished {
    name: String,
    executable: bool,
    sha256: [u8; 32],
}

impl Incoming {
    /// Path of the file `name`, whose folder exists afterwards.
    fn path(&self, name: &str) -> Result<PathBuf, FetchError> {
        let path = self.staging.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(FetchError::storing(&self.staging.shelf))?;
        }
        Ok(path)
    }

    /// Says that the file `name` is whole.
    fn finished(&mut self, name: &str, executable: bool, sha256: [u8; 32], bytes: u64) {
        self.bytes += bytes;
        self.files.push(Finished { name: name.to_owned(), executable, sha256 });
    }

    fn copy(&mut self, entry: &Entry, limit: u64, report: &Report) -> Result<(), FetchError> {
        let target = self.path(&entry.name)?;
        let storing = || FetchError::storing(&self.staging.shelf);
        let mut from = File::open(&entry.path).map_err(FetchError::reading(&entry.path))?;
        let mut into = File::options().write(true).create_new(true).mode(0o600).open(target).map_err(storing())?;
        let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0_u64, vec![0; CHUNK.min(entry.bytes as usize + 1)]);
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FetchError::reading(&entry.path)(error)),
            };
            bytes += read as u64;
            if self.bytes + bytes > limit {
                return Err(FetchError::TooLarge { limit });
            }
            into.write_all(&chunk[..read]).map_err(storing())?;
            hash.update(&chunk[..read]);
            report.still_wanted()?;
            report.tell(|| format!("{} copied, at {}", size(self.bytes + bytes), entry.name));
        }
        self.finished(&entry.name, entry.executable, hash.finalize().into(), bytes);
        Ok(())
    }

    fn take(&mut self, entry: &Entry, report: &Report) -> Result<(), FetchError> {
        let target = self.path(&entry.name)?;
        let mut file = File::open(&entry.path).map_err(FetchError::reading(&entry.path))?;
        let (mut hash, mut bytes, mut chunk) = (Sha256::new(), 0_u64, vec![0; CHUNK.min(entry.bytes as usize + 1)]);
        loop {
            let read = file.read(&mut chunk).map_err(FetchError::reading(&entry.path))?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            hash.update(&chunk[..read]);
            report.still_wanted()?;
            report.tell(|| format!("{} checked, at {}", size(self.bytes + bytes), entry.name));
        }
        fs::rename(&entry.path, target).map_err(FetchError::storing(&self.staging.shelf))?;
        self.finished(&entry.name, entry.executable, hash.finalize().into(), bytes);
        Ok(())
    }

    /// Puts the model onto the shelf; where the same one is there already, that one is used.
    fn keep(mut self) -> Result<Stored, FetchError> {
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        let folder = self.staging.shelf.join(digest(&self.files));
        let reused = folder.is_dir();
        if reused && !self.staging.durable {
            use_folder(&folder);
        }
        if !reused {
            self.settle()
                .and_then(|()| rename(self.staging.path(), &folder))
                .map_err(FetchError::storing(&self.staging.shelf))?;
        }
        Ok(Stored { folder, bytes: self.bytes, reused })
    }

    /// Makes the files read-only and brings them to the disk, so that a power cut cannot leave an empty file under a
    /// name that says what it holds.
    fn settle(&self) -> io::Result<()> {
        let whole = self.files.len() > SYNCED_SINGLY;
        for file in &self.files {
            let path = self.staging.path().join(&file.name);
            if !whole && self.staging.durable {
                File::open(&path)?.sync_all()?;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(if file.executable { 0o555 } else { 0o444 }))?;
        }
        if !self.staging.durable {
            return Ok(());
        }
        let folder = File::open(self.staging.path())?;
        if whole { Ok(rustix::fs::syncfs(&folder)?) } else { folder.sync_all() }
    }
}

fn use_folder(folder: &Path) {
    // One of another user is used as well, though that cannot be noted.
    let _ = File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
}

/// Whether nobody has used a model for long.
fn is_forgotten(folder: &Path) -> bool {
    let used = fs::metadata(folder).and_then(|folder| folder.modified());
    used.is_ok_and(|used| SystemTime::now().duration_since(used).is_ok_and(|age| age > KEPT))
}

/// Renames a folder, content with another process having put the same model there in between.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(_) if to.is_dir() => Ok(()),
        done => done,
    }
}

/// One name for what the files are called, hold and whether they may be run. Zero bytes end names, which cannot hold
/// them, so that no two models read the same.
fn digest(files: &[Finished]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.name.as_bytes());
        hash.update([0, u8::from(file.executable)]);
        hash.update(file.sha256);
    }
    hex::encode(hash.finalize())
}

/// The same name for files that are not on the shelf.
pub(crate) fn digest_of(entries: &[Entry], report: &Report) -> Result<String, FetchError> {
    let mut files = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut file = File::open(&entry.path).map_err(FetchError::reading(&entry.path))?;
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK.min(entry.bytes as usize + 1)]);
        loop {
            let read = file.read(&mut chunk).map_err(FetchError::reading(&entry.path))?;
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
            report.still_wanted()?;
        }
        files.push(Finished { name: entry.name.clone(), executable: entry.executable, sha256: hash.finalize().into() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(digest(&files))
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
