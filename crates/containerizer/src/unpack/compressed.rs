//! Readers of compressed tar archives, bounded in memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::Kind;

/// What `xz -9` needs, and a little more; an archive may ask for sixty times of it.
const XZ_MEMORY_KIB: u32 = 80 << 10;
/// What `zstd --long` needs.
const ZSTD_WINDOW: u64 = 128 << 20;

/// What is in `file`, which is compressed as `kind` says, or not at all.
pub(super) fn reader(kind: Kind, file: File) -> Box<dyn Read> {
    let file = BufReader::with_capacity(1 << 16, file);
    match kind {
        Kind::Gzip => Box::new(MultiGzDecoder::new(file)),
        Kind::Bzip2 => Box::new(MultiBzDecoder::new(file)),
        Kind::Xz => Box::new(XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB)),
        Kind::Zstd => Box::new(Zstd::new(file)),
        Kind::Tar | Kind::Zip => Box::new(file),
    }
}

/// Reads all frames of a Zstandard file; the library reads one.
struct Zstd<R> {
    source: R,
    frame: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW);
        Self { source, frame, in_frame: false }
    }

    /// Begins the next frame, if there is one.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            self.in_frame = true;
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                self.frame
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let read = self.frame.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.in_frame = false;
        }
    }
}
