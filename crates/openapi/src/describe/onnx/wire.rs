//! The fields of a message of Protocol Buffers in a file, one after the other: what is not asked for is skipped, so that
//! a graph of gigabytes costs no memory.

use std::io::{self, Read, Seek, SeekFrom};

/// One field that has a length of its own: its number, and the part of the file that it is.
pub(super) struct Part {
    pub(super) number: u64,
    start: u64,
    pub(super) length: u64,
}

/// A message within a file.
pub(super) struct Message<'f, F> {
    file: &'f mut F,
    at: u64,
    end: u64,
}

impl<'f, F: Read + Seek> Message<'f, F> {
    /// The whole file as one message.
    pub(super) fn whole(file: &'f mut F) -> io::Result<Self> {
        let end = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, at: 0, end })
    }

    /// A part of the message as one of its own.
    pub(super) fn within(&mut self, part: &Part) -> Message<'_, F> {
        Message { file: self.file, at: part.start, end: part.start + part.length }
    }

    /// The next field with a length; numbers before it are skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<Part>> {
        self.file.seek(SeekFrom::Start(self.at))?;
        while self.at < self.end {
            let key = self.varint()?;
            match key & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                5 => self.skip(4)?,
                2 => {
                    let length = self.varint()?;
                    let part = Part { number: key >> 3, start: self.at, length };
                    self.at = part.start.checked_add(length).filter(|end| *end <= self.end).ok_or_else(cut_off)?;
                    return Ok(Some(part));
                }
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "it has a field of no known kind")),
            }
        }
        Ok(None)
    }

    /// The bytes of a part.
    pub(super) fn bytes(&mut self, part: &Part, limit: u64) -> io::Result<Vec<u8>> {
        if part.length > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a description has over {limit} bytes")));
        }
        self.file.seek(SeekFrom::Start(part.start))?;
        let mut bytes = vec![0; usize::try_from(part.length).map_err(io::Error::other)?];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.end).ok_or_else(cut_off)?;
        self.file.seek(SeekFrom::Start(self.at)).map(drop)
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.at >= self.end {
                return Err(cut_off());
            }
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "it has a number of over 64 bits"))
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early")
}
