//! Server-sent events (WHATWG HTML, 9.2): the data of each event, as it comes.

use std::collections::VecDeque;

use reqwest::Response;

/// The events of a stream.
#[derive(Debug)]
pub(crate) struct Events {
    response: Response,
    parser: Parser,
    ready: VecDeque<String>,
}

impl Events {
    /// Reads the body of `response`.
    pub(super) fn new(response: Response) -> Self {
        Self { response, parser: Parser::default(), ready: VecDeque::new() }
    }

    /// Data of the next event; `None` once the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Ok(Some(data));
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.ready.extend(self.parser.push(&chunk));
        }
    }
}

/// Puts chunks together to lines and lines to events.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: Option<String>,
    after_carriage_return: bool,
}

impl Parser {
    /// Takes a chunk, cut anywhere; returns the data of the events that it ends.
    fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for byte in chunk {
            let ends_the_same_line = self.after_carriage_return && *byte == b'\n';
            self.after_carriage_return = *byte == b'\r';
            match byte {
                _ if ends_the_same_line => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                _ => self.line.push(*byte),
            }
        }
        events
    }

    fn end_line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return self.data.take();
        }
        // A line that starts with a colon is a comment, which keeps the connection alive; its field's name is empty.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => self.data = Some(value.into()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &str, expected: &[&str]) {
        for size in 1..=stream.len() {
            let mut parser = Parser::default();
            let events: Vec<_> = stream.as_bytes().chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            assert_eq!(events, expected, "in chunks of {size}");
        }
    }

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        check("data: one\n\ndata: zwei ü\n\n", &["one", "zwei ü"]);
    }

    #[test]
    fn each_end_of_line_is_understood() {
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]);
    }

    #[test]
    fn lines_of_one_event_are_joined() {
        check("data: a\ndata:  b\ndata\n\n", &["a\n b\n"]);
    }

    #[test]
    fn comments_and_other_fields_are_no_data() {
        check(": keep alive\n\nid: 7\nevent: log\ndata:x\nretry: 5\n\n", &["x"]);
    }

    #[test]
    fn an_unfinished_event_is_none() {
        check("data: a\n\ndata: b\n", &["a"]);
    }
}
