//! Results on standard output: the API's JSON, or tables for people. Nothing else is ever written there.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{client::Answer, failure::Failure};

/// Width of one level in JSON.
const INDENT: &str = "  ";

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences for people
    Table,
    /// The API's JSON, for programs
    Json,
}

/// What `--output` says: a format, or for `kea build` a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// How results are shown.
    Format(Format),
    /// Where an image is written.
    Folder(PathBuf),
}

impl Target {
    /// Reads it; what is no format is a folder.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match Format::from_str(text, true) {
            Ok(format) => Ok(Self::Format(format)),
            Err(_) if text.is_empty() => Err("give `table` or `json`".to_owned()),
            Err(_) => Ok(Self::Folder(text.into())),
        }
    }

    /// The format, for commands that write no folder.
    pub(crate) fn format(&self) -> Result<Format, Failure> {
        match self {
            Self::Format(format) => Ok(*format),
            Self::Folder(name) => Err(Failure::Usage(format!(
                "`{}` is no format of --output: there are `table` and `json`",
                name.display()
            ))),
        }
    }
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Output in that format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether a program is to read it.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Shows an answer as it came, or what `human` makes of it.
    pub(crate) fn answer<T: DeserializeOwned>(
        self,
        answer: &Answer,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&pretty(answer.text())),
            Format::Table => self.line(&human(&answer.read()?)),
        }
    }

    /// Shows a result that is no answer of the API.
    pub(crate) fn result(self, result: &impl Serialize, human: &str) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&serde_json::to_string_pretty(result).map_err(Failure::Unreadable)?),
            Format::Table => self.line(human),
        }
    }

    /// Writes a text and the end of its line.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.trim_end_matches('\n'))?;
        Ok(stdout.flush()?)
    }
}

/// A table without lines, so that it can be cut by column.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !header.is_empty() {
        table.set_header(header);
    }
    table.add_rows(rows);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A table of names and values.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    table(&[], pairs.into_iter().map(|(name, value)| vec![name.to_string(), value]))
}

/// A JSON value in a table's cell: text without quotes, an object a line a member, all else as JSON.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            let lines = members.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}: {text}"),
                other => format!("{name}: {other}"),
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}

/// JSON with line breaks: order and numbers stay as the server wrote them. What is no JSON stays as it is.
pub(crate) fn pretty(json: &str) -> String {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
    if is_json { indent(json) } else { json.to_string() }
}

fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut chars = json.chars().filter(not_space_outside_text()).peekable();
    let mut in_text = false;
    let mut escaped = false;
    while let Some(c) = chars.next() {
        let closes_empty = matches!((c, chars.peek()), ('[', Some(']')) | ('{', Some('}')));
        match c {
            _ if in_text => {
                in_text = escaped || c != '"';
                escaped = c == '\\' && !escaped;
                out.push(c);
            }
            '"' => {
                in_text = true;
                out.push(c);
            }
            '[' | '{' if closes_empty => {
                out.push(c);
                out.extend(chars.next());
            }
            '[' | '{' => {
                depth += 1;
                out.push(c);
                break_line(&mut out, depth);
            }
            ']' | '}' => {
                depth -= 1;
                break_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push(c),
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(INDENT, depth));
}

fn not_space_outside_text() -> impl FnMut(&char) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    move |c| {
        let keep = in_text || !c.is_ascii_whitespace();
        if *c == '"' && !escaped {
            in_text = !in_text;
        }
        escaped = in_text && *c == '\\' && !escaped;
        keep
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_keeps_its_order_and_its_numbers() {
        let json = r#"{"z":1.0,"a":[12345678901234567890123,{}],"t":"a\"{,:\\","e":[ ]}"#;
        let expected = "{\n  \"z\": 1.0,\n  \"a\": [\n    12345678901234567890123,\n    {}\n  ],\n  \"t\": \"a\\\"{,:\\\\\",\n  \"e\": []\n}";
        assert_eq!(pretty(json), expected);
    }

    #[test]
    fn indented_json_says_the_same() {
        let value = json!({"a": [1, "x , y : [ {", {"b": null, "c": [[]]}], "ü \\ \"": "\n", "": {"d": -1.5e-9}});
        let text = value.to_string();
        assert_eq!(pretty(&text), serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(pretty(&pretty(&text)), pretty(&text));
    }

    #[test]
    fn what_is_no_json_stays_as_it_is() {
        assert_eq!(pretty("hello {"), "hello {");
    }

    #[test]
    fn tables_have_no_lines_and_no_trailing_spaces() {
        let shown = table(&["NAME", "STATUS"], [vec!["iris".into(), "deployed".into()]]);
        assert_eq!(shown, "NAME  STATUS\niris  deployed\n");
    }

    #[test]
    fn a_cell_shows_an_object_line_by_line() {
        assert_eq!(cell(&json!({"setosa": 0.98, "why": "near"})), "setosa: 0.98\nwhy: near");
        assert_eq!(cell(&json!("setosa")), "setosa");
        assert_eq!(cell(&json!([1, 2])), "[1,2]");
    }
}
