//! Where parts of images are kept between builds: blobs by their digest, and notes by what they were made of.
//!
//! Everything appears there whole or not at all: it is written under another name first. What a killed process leaves
//! half written is removed by the next one, and what has not been used for a month as well.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};

use super::ImageError;
use crate::locks::{Held, Locks};

/// What unfinished files and folders begin with.
const INCOMING: &str = ".incoming-";
/// Smaller blobs are not waited for until they are on the disk: they are written at once, so that a power cut leaves
/// them whole or empty, and an empty one counts as none.
const SYNCED: u64 = 1 << 20;
/// What has not been used for so long goes.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The folder of parts of images.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    locks: Arc<Locks>,
}

/// A blob that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

impl Store {
    /// The store in `folder`, which is made when it is first needed.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let locks = Arc::new(Locks::new(folder.join("locks")));
        Self { folder, locks }
    }

    /// Waits until nobody else makes what `key` stands for.
    pub(crate) async fn hold(&self, key: &str) -> Result<Held, ImageError> {
        self.locks.hold(key).await.map_err(ImageError::storing(&self.folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the blob is, if it is there.
    pub(crate) fn blob(&self, digest: &str) -> Option<PathBuf> {
        let path = self.blob_path(digest)?;
        touch(&path).then_some(path)
    }

    fn blob_path(&self, digest: &str) -> Option<PathBuf> {
        let name = digest.strip_prefix("sha256:").filter(|_| is_digest(digest))?;
        Some(self.folder.join("blobs/sha256").join(name))
    }

    /// A new blob, which counts once it is kept.
    pub(crate) fn writer(&self) -> Result<BlobWriter, ImageError> {
        let file =
            self.made("blobs/sha256").and_then(|folder| tempfile::Builder::new().prefix(INCOMING).tempfile_in(folder));
        let file = file.map_err(ImageError::storing(&self.folder))?;
        file.as_file().lock().map_err(ImageError::storing(&self.folder))?;
        Ok(BlobWriter { file: BufWriter::with_capacity(1 << 18, file), hash: Sha256::new(), bytes: 0 })
    }

    /// Keeps a small blob.
    pub(crate) fn put(&self, content: &[u8]) -> Result<Blob, ImageError> {
        let mut writer = self.writer()?;
        writer.write_all(content).map_err(ImageError::storing(&self.folder))?;
        self.keep(writer)
    }

    /// Keeps what was written.
    pub(crate) fn keep(&self, writer: BlobWriter) -> Result<Blob, ImageError> {
        let BlobWriter { file, hash, bytes } = writer;
        let digest = format!("sha256:{}", hex::encode(hash.finalize()));
        let path = self.blob_path(&digest).unwrap_or_default();
        let keep = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            // A power cut must not leave half a file under a name that says what it holds.
            if bytes >= SYNCED {
                file.as_file().sync_all()?;
            }
            file.persist(path)?;
            Ok(())
        };
        keep().map_err(ImageError::storing(&self.folder))?;
        Ok(Blob { digest, bytes })
    }

    /// What was noted under `key`; nothing where it cannot be read, so that it is found out anew.
    pub(crate) fn note<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Option<T> {
        let path = self.folder.join(kind).join(key);
        let text = fs::read(&path).ok()?;
        touch(&path);
        serde_json::from_slice(&text).ok()
    }

    /// Notes something under `key`.
    pub(crate) fn set_note(&self, kind: &str, key: &str, note: &impl Serialize) -> Result<(), ImageError> {
        let write = || {
            let folder = self.made(kind)?;
            let mut file = tempfile::Builder::new().prefix(INCOMING).tempfile_in(&folder)?;
            serde_json::to_writer(&mut file, note)?;
            file.persist(folder.join(key))?;
            Ok(())
        };
        write().map_err(ImageError::storing(&self.folder))
    }

    /// An empty folder for a build, removed with all that is in it when this is dropped.
    pub(crate) fn scratch(&self) -> Result<Scratch, ImageError> {
        let make = || loop {
            let folder = tempfile::Builder::new().prefix(INCOMING).tempdir_in(self.made("builds")?)?;
            // Another process may take it for abandoned until it is locked.
            let Ok(lock) = File::open(folder.path()) else { continue };
            lock.lock()?;
            if folder.path().is_dir() {
                return Ok(Scratch { folder, _lock: lock });
            }
        };
        make().map_err(ImageError::storing(&self.folder))
    }

    /// Removes what was left half done, and what has not been used for long.
    pub(crate) fn sweep(&self) {
        let kinds = ["builds", "blobs/sha256", super::LAYERS, super::FACTS];
        for item in kinds.iter().flat_map(|kind| fs::read_dir(self.folder.join(kind)).into_iter().flatten().flatten()) {
            let path = item.path();
            let Ok(metadata) = item.metadata() else { continue };
            let unfinished = item.file_name().to_string_lossy().starts_with(INCOMING);
            let abandoned = || File::open(&path).is_ok_and(|item| item.try_lock().is_ok());
            let age = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if unfinished && abandoned() {
                let _ = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            } else if metadata.is_file() && age.is_some_and(|age| age > KEPT) {
                let _ = fs::remove_file(path);
            }
        }
        self.locks.sweep();
    }

    fn made(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Whether it is `sha256:` and 64 hexadecimal digits, which can be part of a path and of a URL.
pub(crate) fn is_digest(text: &str) -> bool {
    let name = text.strip_prefix("sha256:");
    name.is_some_and(|name| name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// Notes that a file is used; `false` where there is none, or an empty one.
fn touch(path: &Path) -> bool {
    let used = File::open(path).and_then(|file| {
        // One of another user is used as well, though that cannot be noted.
        let _ = file.set_modified(SystemTime::now());
        file.metadata()
    });
    used.is_ok_and(|file| file.len() > 0)
}

/// A folder of one build.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    /// Tells other processes that the folder is not abandoned.
    _lock: File,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A blob on its way; it is gone when this is dropped.
pub(crate) struct BlobWriter {
    file: BufWriter<NamedTempFile>,
    hash: Sha256,
    bytes: u64,
}

impl BlobWriter {
    /// Digest of what has been written.
    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.hash.clone().finalize()))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Write for BlobWriter {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let written = self.file.write(chunk)?;
        self.hash.update(&chunk[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The digest of a file's content.
pub(crate) fn digest_of(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hash, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&chunk[..read]),
        }
    }
}

/// A name for what parts say, one after the other.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..20])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("images"));
        (folder, store)
    }

    #[test]
    fn a_blob_is_there_once_it_is_whole() {
        let (_folder, store) = store();
        let blob = store.put(b"content").unwrap();
        assert_eq!(blob.digest, "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73");
        assert_eq!((blob.bytes, fs::read(store.blob(&blob.digest).unwrap()).unwrap()), (7, b"content".to_vec()));
        let mut writer = store.writer().unwrap();
        writer.write_all(b"half").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(store.folder.join("blobs/sha256")).unwrap().count(), 1);
    }

    #[test]
    fn what_a_power_cut_left_empty_is_none() {
        let (_folder, store) = store();
        let blob = store.put(b"content").unwrap();
        File::create(store.blob(&blob.digest).unwrap()).unwrap();
        assert_eq!(store.blob(&blob.digest), None);
    }

    #[test]
    fn a_digest_is_no_way_out_of_the_store() {
        let (folder, store) = store();
        fs::write(folder.path().join("secret"), "x").unwrap();
        for digest in ["sha256:../../../secret", "sha256:", "md5:ed70", "../secret"] {
            assert_eq!(store.blob(digest), None, "{digest}");
        }
    }

    #[test]
    fn a_note_that_cannot_be_read_is_none() {
        let (_folder, store) = store();
        store.set_note("layers", "a", &vec![1, 2]).unwrap();
        assert_eq!(store.note::<Vec<u8>>("layers", "a"), Some(vec![1, 2]));
        fs::write(store.folder.join("layers/a"), "[1, ").unwrap();
        assert_eq!(store.note::<Vec<u8>>("layers", "a"), None);
    }

    #[test]
    fn what_a_killed_build_left_is_removed_and_a_running_one_is_not() {
        let (_folder, store) = store();
        let running = store.scratch().unwrap();
        let left = store.folder.join("builds/.incoming-left");
        fs::create_dir_all(left.join("site")).unwrap();
        store.sweep();
        assert!(running.path().is_dir() && !left.exists());
    }

    #[test]
    fn half_a_blob_of_a_killed_build_is_removed_and_one_on_its_way_is_not() {
        let (_folder, store) = store();
        let mut running = store.writer().unwrap();
        running.write_all(b"half").unwrap();
        let left = store.folder.join("blobs/sha256/.incoming-left");
        fs::write(&left, "half").unwrap();
        store.sweep();
        assert!(!left.exists());
        assert!(store.blob(&store.keep(running).unwrap().digest).is_some());
    }

    #[test]
    fn what_has_not_been_used_for_long_goes() {
        let (_folder, store) = store();
        let (old, used) = (store.put(b"old").unwrap(), store.put(b"used").unwrap());
        for blob in [&old, &used] {
            let file = File::open(store.blob(&blob.digest).unwrap()).unwrap();
            file.set_modified(SystemTime::now() - KEPT * 2).unwrap();
        }
        assert!(store.blob(&used.digest).is_some());
        store.sweep();
        assert!(store.blob(&old.digest).is_none() && store.blob(&used.digest).is_some());
    }
}
