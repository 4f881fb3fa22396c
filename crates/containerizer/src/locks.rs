//! One at a time for each key: among the tasks of this process, other processes, and tools that a killed one has left.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

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
        let locking = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
            file.lock()?;
            Ok(file)
        });
        let file = locking.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(Held { _here: here, file })
    }

    fn here(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.retain(|_, lock| Arc::strong_count(lock) > 1);
        here.entry(key.to_owned()).or_default().clone()
    }
}
