//! Tar archives.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use tar::{Archive, Entry, EntryType};

use super::Unpacked;
use crate::FetchError;

/// What may come between two entries: headers with long names. The library keeps these in memory, however long they say
/// that they are.
const HEADERS: u64 = 1 << 20;

pub(super) fn unpack(archive: Box<dyn Read>, unpacked: &mut Unpacked<'_>) -> Result<(), FetchError> {
    let allowance = Rc::new(Cell::new(HEADERS));
    let mut archive = Archive::new(Allowed { archive, allowance: allowance.clone() });
    let mut entries = archive.entries().map_err(|error| unpacked.broken(&error))?;
    loop {
        allowance.set(HEADERS);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(|error| unpacked.broken(&error))?;
        allowance.set(u64::MAX);
        unpacked.count()?;
        take(&mut entry, unpacked)?;
    }
}

/// Calls `see` with the name of each entry, without a leading `/` or `./`, and with its content.
pub(super) fn look(
    archive: Box<dyn Read>,
    mut see: impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let allowance = Rc::new(Cell::new(HEADERS));
    let mut archive = Archive::new(Allowed { archive, allowance: allowance.clone() });
    let mut entries = archive.entries()?;
    loop {
        allowance.set(HEADERS);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        allowance.set(u64::MAX);
        see(name.trim_start_matches("./").trim_start_matches('/'), &mut entry)?;
        io::copy(&mut entry, &mut io::sink())?;
    }
}

fn take(entry: &mut Entry<'_, impl Read>, unpacked: &mut Unpacked<'_>) -> Result<(), FetchError> {
    let name = entry.path_bytes().into_owned();
    let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => unpacked.file(&name, executable, entry),
        // The folder that was packed is there already.
        EntryType::Directory if name.iter().all(|byte| b"./".contains(byte)) && !name.starts_with(b"..") => Ok(()),
        EntryType::Directory => unpacked.folder(&name),
        EntryType::Symlink => unpacked.symbolic(&name, &target),
        EntryType::Link => unpacked.same_file(&name, &target),
        EntryType::XGlobalHeader => Ok(()),
        _ => {
            let name = String::from_utf8_lossy(&name);
            Err(unpacked.hostile(&name, "is neither a file, a folder nor a link (a device or a pipe)"))
        }
    }
}

/// An archive of which so much may be read.
struct Allowed {
    archive: Box<dyn Read>,
    allowance: Rc<Cell<u64>>,
}

impl Read for Allowed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowance.get().min(buffer.len() as u64) as usize;
        if allowed == 0 && !buffer.is_empty() {
            return Err(io::Error::other("its headers are too long"));
        }
        let read = self.archive.read(&mut buffer[..allowed])?;
        self.allowance.set(self.allowance.get() - read as u64);
        Ok(read)
    }
}
