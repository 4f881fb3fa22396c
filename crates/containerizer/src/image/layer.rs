//! Layers of images: tar files that are the same to the byte wherever and whenever they are made of the same files.
//!
//! Entries are in the order of their names and carry no time, owner or user's mask, only whether they may be run.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::{
    ImageError,
    store::{BlobWriter, Store},
};
use crate::{mask::mask, progress::Report};

/// How layers are written. Their content depends on it, so it is part of the key of all that is kept of them.
pub(crate) const FORMAT: &str = "1";

/// A layer in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// Digest of the file as it is sent.
    pub(crate) digest: String,
    /// Digest of what is in it.
    pub(crate) diff_id: String,
    /// Size as it is sent.
    pub(crate) bytes: u64,
}

/// How much time is spent on making a layer small.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effort {
    /// For what is seldom made and often sent.
    Small,
    /// For models, which change most often and seldom get much smaller.
    Quick,
}

/// Something in a layer.
#[derive(Debug)]
pub(crate) enum Content {
    /// A copy of that file.
    File(PathBuf),
    Bytes(Vec<u8>),
    /// A link to that place.
    Link(String),
    Folder,
}

/// What a layer is to hold.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// By path from the image's root, without a leading `/`; whether it may be run, and what it is.
    files: BTreeMap<String, (bool, Content)>,
}

impl Files {
    /// Puts something at `path`, with the folders that lead there.
    pub(crate) fn put(&mut self, path: &str, executable: bool, content: Content) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            self.files.entry(path[..end].to_owned()).or_insert((true, Content::Folder));
        }
        self.files.insert(path.to_owned(), (executable, content));
    }

    /// Puts what is in the folder `from` at `path`. Links stay links; sockets and the like are left out.
    pub(crate) fn put_folder(&mut self, path: &str, from: &Path) -> io::Result<()> {
        for item in fs::read_dir(from)? {
            let item = item?;
            let name = item.file_name().into_string().map_err(|_| io::Error::other("a name is not valid UTF-8"))?;
            let (inside, metadata) = (format!("{path}/{name}"), item.metadata()?);
            if metadata.is_dir() {
                self.put(&inside, true, Content::Folder);
                self.put_folder(&inside, &item.path())?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(item.path())?.to_string_lossy().into_owned();
                self.put(&inside, true, Content::Link(target));
            } else if metadata.is_file() {
                self.put(&inside, metadata.permissions().mode() & 0o100 != 0, Content::File(item.path()));
            }
        }
        Ok(())
    }

    /// Hides the logins of package indexes in the requirements that are among the files: what they name is installed, and
    /// whoever may read the image needs no right to the index.
    pub(crate) fn without_logins(&mut self) -> io::Result<()> {
        for (path, (_, content)) in &mut self.files {
            let Content::File(from) = content else { continue };
            if !is_requirements(path) || fs::metadata(&from)?.len() > REQUIREMENTS {
                continue;
            }
            // What is no text names no index.
            let Ok(text) = String::from_utf8(fs::read(&from)?) else { continue };
            let masked = mask(&text);
            if *masked != text {
                *content = Content::Bytes(masked.into_owned().into_bytes());
            }
        }
        Ok(())
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }
}

/// Larger files are no requirements.
const REQUIREMENTS: u64 = 1 << 20;

/// Whether a file is called as those in which installers read what to install, and where from.
fn is_requirements(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
    match ending {
        "txt" | "in" => stem.contains("require") || stem.contains("constraint"),
        "yaml" | "yml" => stem.contains("conda") || stem.contains("env") || stem.contains("require"),
        "toml" => ["pyproject", "uv", "poetry", "pixi", "pipfile"].contains(&stem),
        "lock" | "conf" | "ini" | "cfg" => true,
        _ => name == "pipfile" || name == "mlmodel" || name == ".condarc",
    }
}

/// Writes a layer of `files` into the store; at most `limit` bytes are taken in.
pub(crate) fn write(
    store: &Store,
    files: &Files,
    effort: Effort,
    limit: u64,
    report: &Report,
) -> Result<Layer, ImageError> {
    let level = match effort {
        Effort::Small => Compression::new(6),
        Effort::Quick => Compression::new(1),
    };
    // 255 is no system in particular; without a time the same content always gives the same file.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(store.writer()?, level);
    let mut tar = tar::Builder::new(Hashed { inner: gzip, hash: Sha256::new(), bytes: 0 });
    for (path, (executable, content)) in &files.files {
        append(&mut tar, path, *executable, content).map_err(|why| unusable(store, path, content, why))?;
        if tar.get_ref().bytes > limit {
            return Err(ImageError::TooLarge { limit });
        }
        report.still_wanted().map_err(|_| ImageError::Cancelled)?;
        report.tell(|| format!("{} written, at {path}", crate::shelf::size(tar.get_ref().bytes)));
    }
    let finish = || -> io::Result<(BlobWriter, String)> {
        let Hashed { inner, hash, .. } = tar.into_inner()?;
        Ok((inner.finish()?, format!("sha256:{}", hex::encode(hash.finalize()))))
    };
    let (writer, diff_id) = finish().map_err(ImageError::storing(store.folder()))?;
    let blob = store.keep(writer)?;
    Ok(Layer { digest: blob.digest, diff_id, bytes: blob.bytes })
}

fn append(
    tar: &mut tar::Builder<Hashed<GzEncoder<BlobWriter>>>,
    path: &str,
    executable: bool,
    content: &Content,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    // The image's user is not the owner: all may read, and nobody needs to write.
    header.set_mode(if executable { 0o755 } else { 0o644 });
    match content {
        Content::Folder => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Content::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)
        }
        Content::Bytes(bytes) => {
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice())
        }
        Content::File(from) => {
            let file = File::open(from)?;
            let size = file.metadata()?.len();
            header.set_size(size);
            // A file that changes meanwhile must not spoil the entries behind it.
            let mut content = Counted { inner: io::Read::take(file, size), read: 0 };
            tar.append_data(&mut header, path, &mut content)?;
            if content.read == size { Ok(()) } else { Err(io::Error::other("it became shorter while it was read")) }
        }
    }
}

fn unusable(store: &Store, path: &str, content: &Content, why: io::Error) -> ImageError {
    match (content, why.kind()) {
        (_, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => ImageError::storing(store.folder())(why),
        (Content::File(from), _) => ImageError::Unreadable { path: from.clone(), why },
        _ => ImageError::Entry { path: path.to_owned(), why },
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// Passes on what is written, and hashes it.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(chunk)?;
        self.hash.update(&chunk[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use flate2::read::GzDecoder;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn made_of(folder: &Path) -> (tempfile::TempDir, Store, Layer) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path().to_owned());
        let mut files = Files::default();
        files.put_folder("models", folder).unwrap();
        let layer = write(&store, &files, Effort::Quick, LIMIT, &Report::to_nobody()).unwrap();
        (place, store, layer)
    }

    fn model(names: &[&str], mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("a/b.txt", folder.path().join("link")).unwrap();
        folder
    }

    #[test]
    fn the_same_files_make_the_same_layer() {
        let (_, _, first) = made_of(model(&["a/b.txt", "c.txt"], 0o600).path());
        let (_, _, second) = made_of(model(&["c.txt", "a/b.txt"], 0o644).path());
        assert_eq!(first, second);
        let (_, _, other) = made_of(model(&["c.txt", "a/b.txt"], 0o755).path());
        assert_ne!(first.digest, other.digest);
    }

    #[test]
    fn a_layer_holds_no_time_owner_or_mask() {
        let (_place, store, layer) = made_of(model(&["a/b.txt", "run.sh"], 0o700).path());
        let mut archive = tar::Archive::new(GzDecoder::new(File::open(store.blob(&layer.digest).unwrap()).unwrap()));
        let entries: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
                format!("{} {:o}", entry.path().unwrap().display(), header.mode().unwrap())
            })
            .collect();
        assert_eq!(
            entries,
            ["models/ 755", "models/a/ 755", "models/a/b.txt 755", "models/link 777", "models/run.sh 755"]
        );
    }

    #[test]
    fn logins_in_requirements_stay_behind() {
        let folder = tempfile::tempdir().unwrap();
        let text = "--index-url https://me:secret@host/simple\nsix\n";
        fs::write(folder.path().join("requirements-dev.txt"), text).unwrap();
        fs::write(folder.path().join("notes.txt"), text).unwrap();
        let mut files = Files::default();
        files.put_folder("models", folder.path()).unwrap();
        files.without_logins().unwrap();
        let shown = |name: &str| match &files.files[name].1 {
            Content::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            other => format!("{other:?}"),
        };
        assert_eq!(shown("models/requirements-dev.txt"), "--index-url https://***@host/simple\nsix\n");
        assert!(shown("models/notes.txt").starts_with("File("), "only what pip reads is looked into");
    }

    #[test]
    fn a_layer_has_bounds() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(place.path().to_owned());
        let mut files = Files::default();
        files.put("big", false, Content::Bytes(vec![0; 5000]));
        let written = write(&store, &files, Effort::Small, 4000, &Report::to_nobody());
        assert!(matches!(written, Err(ImageError::TooLarge { limit: 4000 })));
        assert_eq!(fs::read_dir(place.path().join("blobs/sha256")).unwrap().count(), 0);
    }
}
