//! Unpacks bundles of files, trusting nothing that they say: names, links, sizes and counts may be made up.
//!
//! Nothing is written through a link: files are written first and links last, and where several archives share a folder
//! each part of the way is looked at. What an archive declares is never believed: what comes out of it is counted.

mod compressed;
mod names;
mod tarred;
#[cfg(test)]
mod tests;
mod zipped;

use std::{
    collections::HashSet,
    fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::{
    FetchError, detect,
    progress::Report,
    shelf::size,
    within::{is_plain, make_folders},
};
pub(crate) use names::safe;

/// What names of bundles end with. A model that is an archive itself is called otherwise, and stays as it is.
const ENDINGS: [&str; 11] =
    [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst"];
/// What is copied at once.
const CHUNK: usize = 1 << 16;
/// Enough of a file to know an archive by.
const LOOK: usize = 512;

/// What an archive is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Tar,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// How much may come out of an archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Files, folders and links.
    pub(crate) files: usize,
    /// Bytes of all files together.
    pub(crate) bytes: u64,
}

/// What the file at `path` is, if it is a bundle by its name and by its content, and no model of its own.
pub(crate) fn bundle(path: &Path) -> io::Result<Option<Kind>> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    if !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Ok(None);
    }
    match kind_of(path)? {
        // What is broken is told of when it is unpacked.
        Some(Kind::Zip) if detect::is_zipped_model(path).unwrap_or(false) => Ok(None),
        kind => Ok(kind),
    }
}

/// What archive the file at `path` is by its content.
pub(crate) fn kind_of(path: &Path) -> io::Result<Option<Kind>> {
    let mut first = Vec::new();
    fs::File::open(path)?.take(LOOK as u64).read_to_end(&mut first)?;
    Ok(kind(&first))
}

fn kind(first: &[u8]) -> Option<Kind> {
    match first {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Kind::Zip),
        [0x1f, 0x8b, ..] => Some(Kind::Gzip),
        [b'B', b'Z', b'h', ..] => Some(Kind::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Kind::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Kind::Zstd),
        _ if first.get(257..262) == Some(b"ustar") => Some(Kind::Tar),
        _ => None,
    }
}

/// Unpacks the archive at `path` into the folder `into`, which is made. What an archive that is refused has left there
/// is for the caller to remove. Returns how much of `most` is left.
pub(crate) fn unpack(path: &Path, kind: Kind, into: &Path, most: Most, report: &Report) -> Result<Most, FetchError> {
    let archive = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    fs::create_dir_all(into).map_err(FetchError::storing(into))?;
    let mut unpacked =
        Unpacked { archive, into, most, report, seen: 0, bytes: 0, taken: HashSet::new(), links: Vec::new() };
    let file = fs::File::open(path).map_err(FetchError::reading(path))?;
    match kind {
        Kind::Zip => zipped::unpack(file, &mut unpacked)?,
        _ => tarred::unpack(compressed::reader(kind, file), &mut unpacked)?,
    }
    let left = Most { files: most.files - unpacked.seen, bytes: most.bytes - unpacked.bytes };
    unpacked.link()?;
    Ok(left)
}

/// Calls `see` with the name of each entry of the tar archive at `path`, however it is compressed, and with its content.
pub(crate) fn look(path: &Path, see: impl FnMut(&str, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
    let kind = kind_of(path)?.ok_or_else(|| io::Error::other("it is no archive"))?;
    tarred::look(compressed::reader(kind, fs::File::open(path)?), see)
}

/// The folder of an unpacked archive that is the model's: where all is in one folder, that one.
pub(crate) fn top(unpacked: &Path) -> Result<PathBuf, FetchError> {
    let items = fs::read_dir(unpacked).map_err(FetchError::storing(unpacked))?;
    let items: Vec<_> = items.flatten().filter(|item| !is_litter(&item.file_name().to_string_lossy())).collect();
    match items.as_slice() {
        [only] if only.file_type().is_ok_and(|kind| kind.is_dir()) => Ok(only.path()),
        _ => Ok(unpacked.to_owned()),
    }
}

/// What macOS puts beside the files of its archives.
fn is_litter(name: &str) -> bool {
    name == "__MACOSX" || name == ".DS_Store" || name.starts_with("._")
}

/// A folder that an archive is unpacked into, and what of the archive was seen.
struct Unpacked<'a> {
    archive: String,
    into: &'a Path,
    most: Most,
    report: &'a Report,
    seen: usize,
    bytes: u64,
    /// Names of files and links.
    taken: HashSet<String>,
    /// Links that are to be made, and where they lead.
    links: Vec<(String, String)>,
}

impl Unpacked<'_> {
    /// Counts one more entry, whatever it is.
    fn count(&mut self) -> Result<(), FetchError> {
        self.seen += 1;
        let limit = self.most.files;
        if self.seen > limit { Err(FetchError::TooManyFiles { limit }) } else { self.report.still_wanted() }
    }

    fn folder(&mut self, name: &[u8]) -> Result<(), FetchError> {
        let name = self.safe(name)?;
        self.make_folder(&name, Path::new(&name))
    }

    fn file(&mut self, name: &[u8], executable: bool, content: &mut dyn Read) -> Result<(), FetchError> {
        let (name, mut file) = self.create(name, executable)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match content.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(&error)),
            };
            self.measure(read as u64)?;
            file.write_all(&chunk[..read]).map_err(FetchError::storing(self.into))?;
            self.report.still_wanted()?;
            self.report.tell(|| format!("{} unpacked, at {name}", size(self.bytes)));
        }
    }

    /// A second name of a file that came before.
    fn same_file(&mut self, name: &[u8], as_file: &[u8]) -> Result<(), FetchError> {
        let source = self.safe(as_file)?;
        let shown = String::from_utf8_lossy(name).into_owned();
        let found = fs::symlink_metadata(self.into.join(&source)).ok().filter(fs::Metadata::is_file);
        let metadata = found.filter(|_| is_plain(self.into, Path::new(&source)));
        let metadata = metadata.ok_or_else(|| self.hostile(&shown, "is a link to a file that did not come before"))?;
        self.measure(metadata.len())?;
        let (name, file) = self.create(name, false)?;
        drop(file);
        fs::copy(self.into.join(source), self.into.join(name)).map(drop).map_err(FetchError::storing(self.into))
    }

    /// Notes a link, which is made when all files are there.
    fn symbolic(&mut self, name: &[u8], target: &[u8]) -> Result<(), FetchError> {
        let name = self.safe(name)?;
        let target = std::str::from_utf8(target).ok().filter(|target| names::stays_within(&name, target));
        let target = target.ok_or_else(|| self.hostile(&name, "is a link out of the archive"))?;
        if !self.taken.insert(name.clone()) {
            return Err(self.hostile(&name, TWICE));
        }
        self.links.push((name, target.to_owned()));
        Ok(())
    }

    fn link(mut self) -> Result<(), FetchError> {
        for (name, target) in std::mem::take(&mut self.links) {
            let path = self.into.join(&name);
            self.make_folder(&name, Path::new(&name).parent().unwrap_or(Path::new("")))?;
            symlink(target, path).map_err(|error| self.colliding(&name, error))?;
        }
        Ok(())
    }

    fn create(&mut self, name: &[u8], executable: bool) -> Result<(String, fs::File), FetchError> {
        let name = self.safe(name)?;
        if !self.taken.insert(name.clone()) {
            return Err(self.hostile(&name, TWICE));
        }
        self.make_folder(&name, Path::new(&name).parent().unwrap_or(Path::new("")))?;
        let mode = if executable { 0o700 } else { 0o600 };
        let file = fs::File::options().write(true).create_new(true).mode(mode).open(self.into.join(&name));
        file.map(|file| (name.clone(), file)).map_err(|error| self.colliding(&name, error))
    }

    fn make_folder(&self, name: &str, folder: &Path) -> Result<(), FetchError> {
        make_folders(self.into, folder).map_err(|error| self.colliding(name, error))
    }

    fn measure(&mut self, bytes: u64) -> Result<(), FetchError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let limit = self.most.bytes;
        if self.bytes > limit { Err(FetchError::TooLarge { limit }) } else { Ok(()) }
    }

    fn safe(&self, name: &[u8]) -> Result<String, FetchError> {
        safe(name).map_err(|why| self.hostile(&String::from_utf8_lossy(name), why))
    }

    fn colliding(&self, name: &str, error: io::Error) -> FetchError {
        match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => self.hostile(name, TWICE),
            _ => FetchError::storing(self.into)(error),
        }
    }

    fn hostile(&self, entry: &str, why: &'static str) -> FetchError {
        FetchError::Hostile { archive: self.archive.clone(), entry: entry.escape_debug().take(200).collect(), why }
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> FetchError {
        FetchError::Broken { archive: self.archive.clone(), why: why.to_string() }
    }
}

const TWICE: &str = "comes twice, is both a file and a folder, or lies below a link";
