//! One at a time for each key: among the tasks of this process, other processes, and tools that a killed one has left.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

/// How often a lock that is held elsewhere is tried.
const PAUSE: Duration = Duration::from_millis(100);

/// Locks in a folder, which is made when it is first needed.
#[derive(Debug)]
pub(crate) struct Locks {
    folder: PathBuf,
    /// Those that are held or waited for in this process.
    here: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _here: OwnedMutexGuard<()>,
    /// The locked file: a tool that inherits it keeps the lock for as long as it lives.
    pub(crate) file: File,
}

impl Locks {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, here: Mutex::default() }
    }

    /// Waits until nobody else holds the lock of `key`, which is a file's name.
    pub(crate) async fn hold(&self, key: &str) -> io::Result<Held> {
        let here = self.here(key).lock_owned().await;
        let folder = self.folder.clone();
        let path = folder.join(format!("{key}.lock"));
        fs::create_dir_all(&folder)?;
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
            match file.try_lock() {
                // Another may have removed the file between its opening and its locking: then the lock is nobody's.
                Ok(()) if is_at(&file, &path) => return Ok(Held { _here: here, file }),
                Ok(()) => {}
                // A wait for the system cannot be given up, and this one may last as long as an installation.
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Removes the files of locks that nobody holds.
    pub(crate) fn sweep(&self) {
        for item in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = item.path();
            if path.extension().is_some_and(|ending| ending == "lock")
                && let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn here(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.retain(|_, lock| Arc::strong_count(lock) > 1);
        here.entry(key.to_owned()).or_default().clone()
    }
}

/// Whether the open file is the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_can_be_given_up_and_ends_with_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Locks::new(folder.path().to_owned()), Locks::new(folder.path().to_owned()));
        let held = theirs.hold("key").await.unwrap();
        assert!(tokio::time::timeout(PAUSE * 3, ours.hold("key")).await.is_err());
        let waiting = ours.hold("key");
        let (_, got) = tokio::join!(async { drop(held) }, waiting);
        got.unwrap();
    }

    #[tokio::test]
    async fn only_what_nobody_holds_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::new(folder.path().to_owned());
        let _held = locks.hold("held").await.unwrap();
        drop(locks.hold("left").await.unwrap());
        locks.sweep();
        assert!(folder.path().join("held.lock").exists() && !folder.path().join("left.lock").exists());
    }
}
