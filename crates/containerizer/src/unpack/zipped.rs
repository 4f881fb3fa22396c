//! Zip archives.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use zip::{ZipArchive, read::ZipFile};

use super::Unpacked;
use crate::FetchError;

/// A link's target is its content; a longer one is none.
const TARGET: u64 = 4096;

pub(super) fn unpack(mut file: File, unpacked: &mut Unpacked<'_>) -> Result<(), FetchError> {
    let declared = declared(&mut file).map_err(|error| unpacked.broken(&error))?;
    // The library makes room for all entries before the first can be looked at.
    if declared > unpacked.most.files as u64 {
        return Err(FetchError::TooManyFiles { limit: unpacked.most.files });
    }
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| unpacked.broken(&error))?;
    if archive.has_duplicate_names() {
        return Err(unpacked.broken(&"it has two entries of the same name"));
    }
    for index in 0..archive.len() {
        unpacked.count()?;
        let mut entry = archive.by_index(index).map_err(|error| unpacked.broken(&error))?;
        take(&mut entry, unpacked)?;
    }
    Ok(())
}

fn take(entry: &mut ZipFile<'_, impl Read>, unpacked: &mut Unpacked<'_>) -> Result<(), FetchError> {
    const KIND: u32 = 0o170_000;
    let name = entry.name_raw().to_vec();
    let mode = entry.unix_mode().unwrap_or(0);
    let kind = mode & KIND;
    if entry.is_dir() {
        unpacked.folder(&name)
    } else if entry.is_symlink() {
        let mut target = Vec::new();
        entry.take(TARGET).read_to_end(&mut target).map_err(|error| unpacked.broken(&error))?;
        unpacked.symbolic(&name, &target)
    } else if kind == 0 || kind == 0o100_000 {
        unpacked.file(&name, mode & 0o100 != 0, entry)
    } else {
        let name = String::from_utf8_lossy(&name);
        Err(unpacked.hostile(&name, "is neither a file, a folder nor a link (a device or a pipe)"))
    }
}

/// How many entries the archive says that it has, at its end.
fn declared(file: &mut File) -> io::Result<u64> {
    const END: usize = 22;
    const COMMENT: u64 = 1 << 16;
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(COMMENT + END as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut last = Vec::new();
    file.take(COMMENT + END as u64).read_to_end(&mut last)?;
    file.rewind()?;
    let ends = last.windows(END).enumerate().filter(|(_, end)| end.starts_with(b"PK\x05\x06"));
    // Which of several the library takes is its affair: all of them count.
    let most = ends.map(|(at, end)| match number(&end[10..12]) {
        0xffff => large(file, &last[..at]).unwrap_or(0xffff),
        count => count,
    });
    most.max().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has no end: was it cut off?"))
}

/// The same of an archive with more than 65,535 entries; `before` is what comes before its short end.
fn large(mut file: &File, before: &[u8]) -> Option<u64> {
    let locator = before.last_chunk::<20>().filter(|locator| locator.starts_with(b"PK\x06\x07"))?;
    let mut end = [0; 56];
    file.seek(SeekFrom::Start(number(&locator[8..16]))).ok()?;
    file.read_exact(&mut end).ok()?;
    file.rewind().ok()?;
    end.starts_with(b"PK\x06\x06").then(|| number(&end[32..40]))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
