//! Names of Python, made from names that may be anything.

use std::collections::BTreeSet;

/// Words that are no names. `match`, `case` and `type` can be names.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Names of one place, no two of which are the same.
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// With names that others have already.
    pub(super) fn new(taken: &[&str]) -> Self {
        Self(taken.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The name, or one like it where it is taken.
    pub(super) fn of(&mut self, name: &str) -> String {
        let others = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.to_owned()).chain(others).find(|name| !self.0.contains(name));
        let free = free.expect("there is always another number");
        self.0.insert(free.clone());
        free
    }
}

/// A name as an identifier that is no keyword: as it is where it is one.
pub(super) fn identifier(name: &str) -> String {
    // What Python takes beyond letters, digits and `_` it makes others of.
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // What begins with two underscores a class would call otherwise.
    let clean = match clean.trim_start_matches('_') {
        rest if clean.starts_with("__") => format!("_{rest}"),
        _ => clean,
    };
    match clean {
        clean if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) => format!("_{clean}"),
        clean if KEYWORDS.contains(&clean.as_str()) => format!("{clean}_"),
        clean => clean,
    }
}

/// Whether a name can stand in a class as it is.
pub(super) fn is_identifier(name: &str) -> bool {
    identifier(name) == name
}

/// A name for a class, of which there is none yet: that of a hint of [`camel`]s, which may be empty or a number.
pub(super) fn of_class(hint: &str) -> String {
    match hint.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => hint.to_owned(),
        _ => format!("Type{hint}"),
    }
}

/// A name as a part of that of a class: `petal_width` as `PetalWidth`.
pub(super) fn camel(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.map(|part| part[..1].to_ascii_uppercase() + &part[1..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_one_of_python() {
        let named = ["petal_width", "petal width (cm)", "class", "2nd", "größe", "", "__a", "温度x"].map(identifier);
        assert_eq!(named, ["petal_width", "petal_width__cm_", "class_", "_2nd", "gr__e", "_", "_a", "_x"]);
        assert_eq!(["Page", "", "2"].map(of_class), ["Page", "Type", "Type2"]);
        assert_eq!(["get_top-k", "x"].map(camel), ["GetTopK", "X"]);
        let mut names = Names::new(&["self"]);
        assert_eq!(["self", "a", "a", "a"].map(|name| names.of(name)), ["self_2", "a", "a_2", "a_3"]);
        assert_eq!(["a", "class", "__a", "a b"].map(is_identifier), [true, false, false, false]);
    }
}
