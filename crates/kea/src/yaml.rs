//! YAML that every reader takes for the same. Those of YAML 1.1, as `kubectl` and Python's, take `off` and `yes` for
//! booleans, which the writer knows nothing of.

use serde_yaml_ng::Value;

/// What YAML 1.1 takes for a boolean and YAML 1.2 for a text, in lower case.
const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];

/// Stands around a word that is to be quoted; a character for private use, which texts have no use for.
const MARK: char = '\u{E0F0}';

/// The value as YAML.
///
/// # Errors
/// None that JSON could have.
pub(crate) fn write(value: Value) -> Result<String, serde_yaml_ng::Error> {
    let text = serde_yaml_ng::to_string(&marked(value))?;
    Ok(WORDS.iter().fold(text, |text, word| quoted(&text, word)))
}

fn is_word(text: &str) -> bool {
    WORDS.iter().any(|word| spellings(word).iter().any(|spelled| spelled == text))
}

fn mark(text: String) -> String {
    if is_word(&text) { format!("{MARK}{text}{MARK}") } else { text }
}

fn marked(value: Value) -> Value {
    match value {
        Value::String(text) => mark(text).into(),
        Value::Sequence(values) => values.into_iter().map(marked).collect(),
        Value::Mapping(members) => {
            Value::Mapping(members.into_iter().map(|(key, value)| (marked(key), marked(value))).collect())
        }
        other => other,
    }
}

/// The marks around that word as quotes.
fn quoted(text: &str, word: &str) -> String {
    let plain = |text: String, word: &String| text.replace(&format!("{MARK}{word}{MARK}"), &format!("'{word}'"));
    spellings(word).iter().fold(text.to_owned(), plain)
}

/// As YAML 1.1 spells it.
fn spellings(word: &str) -> [String; 3] {
    let (first, rest) = word.split_at(1);
    [word.to_owned(), word.to_ascii_uppercase(), first.to_ascii_uppercase() + rest]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_that_some_readers_take_for_booleans_are_quoted() {
        let value = json!({"enum": ["off", "Yes", "NO", "offer"], "y": true, "text": "- off\n- on\n"});
        let text = write(serde_yaml_ng::to_value(&value).unwrap()).unwrap();
        for line in ["- 'off'", "- 'Yes'", "- 'NO'", "- offer", "'y': true", "  - off", "  - on"] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert_eq!(serde_yaml_ng::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
