//! JSON values as literals of programming languages.

use serde_json::{Map, Value};

/// Longest object or array that stands on one line, in bytes.
const LINE: usize = 88;

/// How a language writes values.
pub(crate) struct Dialect {
    /// What `true`, `false` and `null` are called.
    words: [&'static str; 3],
    /// What one level of nesting is indented by.
    indent: &'static str,
    /// Whether a member called `__proto__` is something else than a member.
    has_prototypes: bool,
}

pub(crate) const JSON: Dialect = Dialect { words: ["true", "false", "null"], indent: "  ", has_prototypes: false };

pub(crate) const PYTHON: Dialect = Dialect { words: ["True", "False", "None"], indent: "    ", has_prototypes: false };

pub(crate) const JAVASCRIPT: Dialect = Dialect { words: ["true", "false", "null"], indent: "  ", has_prototypes: true };

impl Dialect {
    /// The literal of a value, which begins on a line that is indented `depth` times.
    pub(crate) fn of(&self, value: &Value, depth: usize) -> String {
        let short = self.on_one_line(value);
        match value {
            Value::Object(members) if short.len() > LINE => self.object(members, depth),
            // Rows stand below each other, the numbers of one beside each other.
            Value::Array(items)
                if short.len() > LINE && items.iter().any(|item| item.is_array() || item.is_object()) =>
            {
                self.lines(items.iter().map(|item| self.of(item, depth + 1)), ["[", "]"], depth)
            }
            _ => short,
        }
    }

    fn object(&self, members: &Map<String, Value>, depth: usize) -> String {
        let member = |(name, value): (&String, &Value)| format!("{}: {}", self.name(name), self.of(value, depth + 1));
        self.lines(members.iter().map(member), ["{", "}"], depth)
    }

    fn lines(&self, parts: impl Iterator<Item = String>, [open, close]: [&str; 2], depth: usize) -> String {
        let (own, inner) = (self.indent.repeat(depth), self.indent.repeat(depth + 1));
        let parts: Vec<String> = parts.map(|part| format!("{inner}{part}")).collect();
        format!("{open}\n{}\n{own}{close}", parts.join(",\n"))
    }

    fn on_one_line(&self, value: &Value) -> String {
        let [yes, no, nothing] = self.words;
        match value {
            Value::Bool(true) => yes.into(),
            Value::Bool(false) => no.into(),
            Value::Null => nothing.into(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => quoted(text),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.on_one_line(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) => {
                let member =
                    |(name, value): (&String, &Value)| format!("{}: {}", self.name(name), self.on_one_line(value));
                format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn name(&self, name: &str) -> String {
        match name {
            "__proto__" if self.has_prototypes => "[\"__proto__\"]".into(),
            name => quoted(name),
        }
    }
}

/// A text within double quotes. What JSON escapes, Python, JavaScript and Go escape in the same way.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_language_has_its_words() {
        let value = json!({"__proto__": [true, false, null, 1.5, "é\n"]});
        assert_eq!(PYTHON.of(&value, 0), r#"{"__proto__": [True, False, None, 1.5, "é\n"]}"#);
        assert_eq!(JAVASCRIPT.of(&value, 0), r#"{["__proto__"]: [true, false, null, 1.5, "é\n"]}"#);
        assert_eq!(JSON.of(&value, 0), r#"{"__proto__": [true, false, null, 1.5, "é\n"]}"#);
    }

    #[test]
    fn what_is_too_long_for_a_line_has_several_and_means_the_same() {
        let value = json!({"rows": [vec![1.25; 20], vec![2.5; 20]], "name": "x"});
        let text = JSON.of(&value, 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let starts: Vec<&str> = text.lines().map(|line| line.get(..9).unwrap_or(line)).collect();
        assert_eq!(starts, ["{", "    \"name", "    \"rows", "      [1.", "      [2.", "    ]", "  }"]);
    }
}
