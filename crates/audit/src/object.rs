//! A JSON object, member by member, for the thread that writes a line for each request: names need no escapes, and few
//! values do, so that most of a line is copied.

use std::fmt::Display;

/// What is being written.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// What stands before the next member.
    before: u8,
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `out`.
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Ends it; it has a member at least.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.quote(value);
    }

    pub(crate) fn some_text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(crate) fn number(&mut self, name: &'static str, value: impl Into<u64>) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value.into()).as_bytes());
    }

    pub(crate) fn some_number(&mut self, name: &'static str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    /// Texts, as an array.
    pub(crate) fn texts<'t>(&mut self, name: &'static str, values: impl IntoIterator<Item = &'t str>) {
        self.name(name);
        self.out.push(b'[');
        for (nth, value) in values.into_iter().enumerate() {
            if nth > 0 {
                self.out.push(b',');
            }
            self.quote(value);
        }
        self.out.push(b']');
    }

    /// What is shown in characters that need no escapes, as times and addresses are.
    pub(crate) fn shown(&mut self, name: &'static str, value: impl Display) {
        use std::io::Write;
        self.name(name);
        self.out.push(b'"');
        write!(self.out, "{value}").expect("memory takes all that is written");
        self.out.push(b'"');
    }

    fn name(&mut self, name: &'static str) {
        debug_assert!(is_plain(name));
        self.out.extend_from_slice(&[std::mem::replace(&mut self.before, b','), b'"']);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn quote(&mut self, value: &str) {
        if is_plain(value) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            serde_json::to_writer(&mut *self.out, value).expect("text is JSON, and memory takes all that is written");
        }
    }
}

/// Whether a text is the same between quotes. All of it is looked at, since the processor compares many bytes at once.
fn is_plain(text: &str) -> bool {
    let escaped = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    !text.bytes().fold(false, |any, byte| any | escaped(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn written(write: impl FnOnce(&mut Object<'_>)) -> Value {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        write(&mut object);
        object.end();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn members_are_those_that_were_given() {
        let value = written(|object| {
            object.texts("none", []);
            object.texts("two", ["a", "b\n"]);
            object.number("zero", 0u32);
            object.some_number("most", Some(u64::MAX));
            object.some_number("nothing", None::<u32>);
            object.some_text("no text", None);
            object.shown("shown", std::net::Ipv4Addr::LOCALHOST);
        });
        let right = json!({"none": [], "two": ["a", "b\n"], "zero": 0, "most": u64::MAX, "shown": "127.0.0.1"});
        assert_eq!(value, right);
    }

    proptest! {
        #[test]
        fn any_text_and_number_is_read_as_it_was_given(text in any::<String>(), number in any::<u64>()) {
            let value = written(|object| {
                object.text("text", &text);
                object.number("number", number);
            });
            prop_assert_eq!(value, json!({"text": text, "number": number}));
        }
    }
}
