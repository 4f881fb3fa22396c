//! Reads a file's lines from its end towards its start, with memory for a block and a line.

use std::{fs::File, io, mem::take, os::unix::fs::FileExt};

/// Bytes read at once.
const BLOCK: u64 = 64 << 10;

/// Longest line that is given. What is longer was not written by KEA, and is left out.
const LINE_MAX: usize = 1 << 20;

pub(crate) struct Backwards {
    file: File,
    /// Bytes of the file before those in `buffer`.
    unread: u64,
    buffer: Vec<u8>,
    /// The end of a line that is too long has been dropped, and the rest of it is to follow.
    too_long: bool,
}

impl Backwards {
    /// Of the first `size` bytes of `file`.
    pub(crate) fn new(file: File, size: u64) -> Self {
        Self { file, unread: size, buffer: Vec::new(), too_long: false }
    }

    /// The line before the one that was given last; empty ones too.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                let line = self.buffer.split_off(at + 1);
                self.buffer.truncate(at);
                if !take(&mut self.too_long) {
                    return Ok(Some(line));
                }
            } else if self.unread > 0 {
                self.read_block()?;
            } else {
                let first = take(&mut self.buffer);
                let whole = !first.is_empty() && !take(&mut self.too_long);
                return Ok(whole.then_some(first));
            }
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        if self.buffer.len() > LINE_MAX {
            self.buffer.clear();
            self.too_long = true;
        }
        let length = BLOCK.min(self.unread);
        let start = self.unread - length;
        let mut block = vec![0; length as usize];
        self.file.read_exact_at(&mut block, start)?;
        block.append(&mut self.buffer);
        self.buffer = block;
        self.unread = start;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines_of(text: &[u8], size: usize) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut backwards = Backwards::new(file, size as u64);
        let mut lines = Vec::new();
        while let Some(line) = backwards.next_line().unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        lines
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(lines_of(text.as_bytes(), text.len()), expected);
    }

    #[test]
    fn lines_come_last_first() {
        check("", &[]);
        check("one", &["one"]);
        check("one\ntwo\nthree", &["three", "two", "one"]);
        check("one\n\ntwo\n", &["", "two", "", "one"]);
    }

    #[test]
    fn lines_are_whole_across_blocks() {
        let lines: Vec<String> = (0..9_000).map(|number| format!("{number} {}", "x".repeat(number % 300))).collect();
        let mut read = lines_of(lines.join("\n").as_bytes(), lines.join("\n").len());
        read.reverse();
        assert_eq!(read, lines);
    }

    #[test]
    fn what_comes_after_the_given_size_is_not_read() {
        assert_eq!(lines_of(b"one\ntwo\nthree\n", 8), ["", "two", "one"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let long = "x".repeat(3 * LINE_MAX);
        check(&format!("one\n{long}\ntwo"), &["two", "one"]);
        check(&format!("{long}\ntwo"), &["two"]);
    }
}
