//! Cuts a flow of bytes into lines, with memory for one line of bounded length.

use std::mem::take;

/// Lines end with a line feed, a carriage return, or both: a progress bar is a line at each of its steps, and no line
/// holds what would break an event stream. A carriage return alone ends no empty line.
pub(crate) struct Lines {
    limit: usize,
    kept: Vec<u8>,
    cut: u64,
    after_return: bool,
}

impl Lines {
    /// Of each line, `limit` bytes are kept.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), cut: 0, after_return: false }
    }

    /// Takes `bytes` and gives each line that ends in them.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(String)) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if take(&mut self.after_return) {
                if *first == b'\n' {
                    give(self.line());
                    rest = &rest[1..];
                    continue;
                }
                self.end(&mut give);
            }
            let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
            self.keep(&rest[..length]);
            match rest.get(length) {
                Some(b'\n') => give(self.line()),
                Some(_) => self.after_return = true,
                None => {}
            }
            rest = rest.get(length + 1..).unwrap_or_default();
        }
    }

    /// Gives what has come of a line that has not ended, if anything.
    pub(crate) fn end(&mut self, mut give: impl FnMut(String)) {
        if !self.kept.is_empty() {
            give(self.line());
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        self.cut += (bytes.len() - room) as u64;
    }

    fn line(&mut self) -> String {
        let (mut kept, mut cut) = (take(&mut self.kept), take(&mut self.cut));
        if cut == 0 {
            return String::from_utf8(kept).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into());
        }
        let halved = kept.utf8_chunks().last().map_or(0, |last| last.invalid().len());
        kept.truncate(kept.len() - halved);
        cut += halved as u64;
        format!("{}… ({cut} bytes cut)", String::from_utf8_lossy(&kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]], limit: usize) -> Vec<String> {
        let mut lines = Lines::new(limit);
        let mut given = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |line| given.push(line));
        }
        lines.end(|line| given.push(line));
        given
    }

    /// The same lines come out however the bytes are cut into pieces.
    fn check(text: &[u8], limit: usize, expected: &[&str]) {
        for size in [1, 2, 3, 7, text.len().max(1)] {
            assert_eq!(lines_of(&text.chunks(size).collect::<Vec<_>>(), limit), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn lines_end_with_a_line_feed() {
        check(b"", 99, &[]);
        check(b"one\ntwo\n", 99, &["one", "two"]);
        check(b"one\n\ntwo", 99, &["one", "", "two"]);
    }

    #[test]
    fn a_carriage_return_ends_a_line_too() {
        check(b"one\r\ntwo\r\n\r\nthree", 99, &["one", "two", "", "three"]);
        check(b"\r10 %\r20 %\rdone\n", 99, &["10 %", "20 %", "done"]);
        check(b"a\r", 99, &["a"]);
        check(b"a\r\r\nb", 99, &["a", "", "b"]);
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        check(b"a\xffb\nc\xc3", 99, &["a\u{fffd}b", "c\u{fffd}"]);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        check(b"123456\nabc\n", 4, &["1234… (2 bytes cut)", "abc"]);
        check(b"1234\n", 4, &["1234"]);
        check("äöü\n".as_bytes(), 3, &["ä… (4 bytes cut)"]);
        check("äöü\n".as_bytes(), 4, &["äö… (2 bytes cut)"]);
    }

    #[test]
    fn megabytes_without_an_end_take_no_memory() {
        let mut lines = Lines::new(1024);
        for _ in 0..1_000 {
            lines.feed(&[b'x'; 65_536], |line| panic!("{line}"));
        }
        assert!(lines.kept.capacity() <= 65_536, "{}", lines.kept.capacity());
        let mut given = Vec::new();
        lines.end(|line| given.push(line));
        assert_eq!(given, [format!("{}… (65534976 bytes cut)", "x".repeat(1024))]);
    }
}
