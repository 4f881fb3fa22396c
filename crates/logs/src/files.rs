//! The numbered files of one service's log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const EXTENSION: &str = "jsonl";

/// A place in a service's log, up to which it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) number: u64,
    pub(crate) size: u64,
}

/// The file that is written. A number is never used twice, so that a reader that has listed the files is not led
/// astray when the next one is begun.
#[derive(Debug)]
pub(crate) struct Current {
    file: File,
    end: End,
}

impl Current {
    /// Opens the newest file of `folder`, or makes the first one.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let number = numbers(folder)?.last().copied().unwrap_or(1);
        let mut current = Self::open_number(folder, number)?;
        current.end_last_line()?;
        Ok(current)
    }

    fn open_number(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path(folder, number);
        let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, end: End { number, size } })
    }

    /// A line that a crash left without its end would swallow the next one.
    fn end_last_line(&mut self) -> io::Result<()> {
        let Some(last) = self.end.size.checked_sub(1) else { return Ok(()) };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        if byte == *b"\n" { Ok(()) } else { self.append(b"\n") }
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Appends whole lines, all of them or none.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self.file.write_all(lines) {
            Ok(()) => {
                self.end.size += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Where this fails too, the next opening ends the line that was begun.
                let _ = self.file.set_len(self.end.size);
                Err(error)
            }
        }
    }

    /// Begins the next file and removes the oldest, so that at most `keep` remain.
    pub(crate) fn rotate(&mut self, folder: &Path, keep: usize) -> io::Result<()> {
        *self = Self::open_number(folder, self.end.number + 1)?;
        let numbers = numbers(folder)?;
        for number in &numbers[..numbers.len().saturating_sub(keep)] {
            fs::remove_file(path(folder, *number))?;
        }
        Ok(())
    }
}

/// The end of what is in `folder`; `None` where there is nothing.
pub(crate) fn end(folder: &Path) -> io::Result<Option<End>> {
    let Some(number) = numbers(folder)?.last().copied() else { return Ok(None) };
    let size = fs::metadata(path(folder, number))?.len();
    Ok(Some(End { number, size }))
}

/// Numbers of the files in `folder`, oldest first; none where there is no folder.
pub(crate) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut numbers = Vec::new();
    for file in listed {
        numbers.extend(number(Path::new(&file?.file_name())));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(name: &Path) -> Option<u64> {
    let ours = name.extension().is_some_and(|extension| extension == EXTENSION);
    ours.then(|| name.file_stem()?.to_str()?.parse().ok()).flatten()
}

/// The file of that number.
pub(crate) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_crash_left_open_is_ended() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(path(folder.path(), 7), "whole\ntorn").unwrap();
        let mut current = Current::open(folder.path()).unwrap();
        current.append(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(path(folder.path(), 7)).unwrap(), "whole\ntorn\nnext\n");
        assert_eq!(end(folder.path()).unwrap(), Some(current.end()));
    }

    #[test]
    fn the_newest_files_remain() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
        let mut current = Current::open(folder.path()).unwrap();
        for _ in 0..5 {
            current.append(b"line\n").unwrap();
            current.rotate(folder.path(), 3).unwrap();
        }
        assert_eq!(numbers(folder.path()).unwrap(), [4, 5, 6]);
        assert!(folder.path().join("notes.txt").exists());
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_files() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(end(&folder.path().join("none")).unwrap(), None);
    }
}
