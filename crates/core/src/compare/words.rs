//! How values, types and layouts are told to people.

use serde_json::Value;

use crate::contract::Layout;

/// Longest text that is told of one side of a change, in characters.
const LONGEST: usize = 80;

/// Most values of a list that are named.
const NAMED: usize = 8;

/// What requests of a layout look like.
pub(super) fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Features => "named features, one row or many",
        Layout::Tensors => "named tensors",
        Layout::Arguments => "named arguments of one call",
        Layout::Opaque => "passed on as it is",
    }
}

/// A value as JSON, cut where it is long.
pub(super) fn value(value: &Value) -> String {
    shortened(&value.to_string())
}

/// `"a", "b" and 3 more`.
pub(super) fn list<'a>(values: impl ExactSizeIterator<Item = &'a Value>) -> String {
    let more = values.len().saturating_sub(NAMED);
    let named: Vec<String> = values.take(NAMED).map(value).collect();
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// A text cut where it is long; `nothing` where it is empty.
pub(super) fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None if text.is_empty() => "nothing".into(),
        None => text,
    }
}

/// A name as a part of a JSON pointer.
pub(super) fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
