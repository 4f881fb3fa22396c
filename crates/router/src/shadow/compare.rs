//! Whether two answers say the same, and where they differ first.

use std::fmt::{self, Write};

use serde_json::{Map, Number, Value};

use super::Outcome;
use crate::path::Protocol;

/// Longest pointer that is told, in bytes: names within an answer may be anything.
const POINTER_MAX: usize = 200;

/// Compares what the live version answered with what the shadow did. Numbers may be apart by that part of the larger one.
pub(super) fn answers(theirs: &[u8], ours: &[u8], tolerance: f64, protocol: Protocol) -> Outcome {
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map(|answer| without_version(answer, protocol));
    match (read(theirs), read(ours)) {
        (Err(_), _) => Outcome::NotCompared,
        (Ok(_), Err(_)) => Outcome::Different(String::new()),
        (Ok(theirs), Ok(ours)) => match first_difference(&theirs, &ours, tolerance) {
            Some(pointer) => Outcome::Different(pointer),
            None => Outcome::Same,
        },
    }
}

/// An answer but for what tells versions apart.
fn without_version(mut answer: Value, protocol: Protocol) -> Value {
    if let (Protocol::V2, Some(fields)) = (protocol, answer.as_object_mut()) {
        fields.remove("model_version");
    }
    answer
}

/// The JSON pointer to the first place at which two documents differ.
fn first_difference(theirs: &Value, ours: &Value, tolerance: f64) -> Option<String> {
    let mut walk = Walk { tolerance, at: Vec::new() };
    walk.differs(theirs, ours).then(|| walk.pointer())
}

/// A step from a value to one within it.
enum Part<'a> {
    Name(&'a str),
    Index(usize),
}

/// A walk through two documents at once, which stops where they differ.
struct Walk<'a> {
    tolerance: f64,
    at: Vec<Part<'a>>,
}

impl<'a> Walk<'a> {
    fn differs(&mut self, theirs: &'a Value, ours: &'a Value) -> bool {
        match (theirs, ours) {
            (Value::Number(a), Value::Number(b)) => !is_near(a, b, self.tolerance),
            (Value::Array(a), Value::Array(b)) => self.arrays_differ(a, b),
            (Value::Object(a), Value::Object(b)) => self.objects_differ(a, b),
            (a, b) => a != b,
        }
    }

    fn arrays_differ(&mut self, theirs: &'a [Value], ours: &'a [Value]) -> bool {
        let both = theirs.iter().zip(ours).enumerate();
        for (index, (a, b)) in both {
            if self.within(Part::Index(index), |walk| walk.differs(a, b)) {
                return true;
            }
        }
        let is_longer = theirs.len() != ours.len();
        is_longer && self.within(Part::Index(theirs.len().min(ours.len())), |_| true)
    }

    fn objects_differ(&mut self, theirs: &'a Map<String, Value>, ours: &'a Map<String, Value>) -> bool {
        for (name, a) in theirs {
            let differs = |walk: &mut Self| ours.get(name).is_none_or(|b| walk.differs(a, b));
            if self.within(Part::Name(name), differs) {
                return true;
            }
        }
        let more = ours.keys().find(|name| !theirs.contains_key(*name));
        more.is_some_and(|name| self.within(Part::Name(name), |_| true))
    }

    /// Goes one step further, and back again where nothing differs there.
    fn within(&mut self, part: Part<'a>, differs: impl FnOnce(&mut Self) -> bool) -> bool {
        self.at.push(part);
        let found = differs(self);
        if !found {
            self.at.pop();
        }
        found
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for part in &self.at {
            // Writing to a String cannot fail.
            let _ = write!(pointer, "/{part}");
        }
        if pointer.len() > POINTER_MAX {
            pointer.truncate(pointer.floor_char_boundary(POINTER_MAX));
            pointer.push('…');
        }
        pointer
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.replace('~', "~0").replace('/', "~1")),
            Self::Index(index) => index.fmt(f),
        }
    }
}

/// Whether two numbers are the same, or near enough. Whole ones count or name something: near is another one.
fn is_near(a: &Number, b: &Number, tolerance: f64) -> bool {
    if is_whole(a) && is_whole(b) {
        return a == b;
    }
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= tolerance * a.abs().max(b.abs()),
        _ => a == b,
    }
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Where the answers differ, with the tolerance that a shadow has where nothing is said.
    #[allow(clippy::needless_pass_by_value, reason = "shorter lines")]
    fn check(theirs: Value, ours: Value, pointer: Option<&str>) {
        assert_eq!(first_difference(&theirs, &ours, 1e-6).as_deref(), pointer, "{theirs} and {ours}");
    }

    #[test]
    fn documents_differ_where_a_value_does() {
        check(json!({"predictions": [{"label": "a"}]}), json!({"predictions": [{"label": "a"}]}), None);
        check(
            json!({"predictions": [{"label": "a"}]}),
            json!({"predictions": [{"label": "b"}]}),
            Some("/predictions/0/label"),
        );
        check(json!([1, [2, {"x": true}]]), json!([1, [2, {"x": false}]]), Some("/1/1/x"));
        check(json!([1, 2]), json!([1, 2, 3]), Some("/2"));
        check(json!([1, 2, 3]), json!([1, 2]), Some("/2"));
        check(json!({"a": 1}), json!({"a": 1, "b": null}), Some("/b"));
        check(json!({"a": 1, "b": null}), json!({"a": 1}), Some("/b"));
        check(json!({"a/b~c": 1}), json!({"a/b~c": 2}), Some("/a~1b~0c"));
        check(json!("1"), json!(1), Some(""));
        check(json!(null), json!(false), Some(""));
        check(json!([]), json!({}), Some(""));
    }

    #[test]
    fn numbers_may_be_a_little_apart_and_whole_ones_may_not() {
        check(json!(0.5), json!(0.500_000_4), None);
        check(json!(0.5), json!(0.500_001), Some(""));
        check(json!(-0.5), json!(-0.500_000_4), None);
        check(json!(-0.5), json!(0.5), Some(""));
        check(json!(1e300), json!(1.000_000_1e300), None);
        check(json!(1e-300), json!(1.000_01e-300), Some(""));
        check(json!(0.0), json!(-0.0), None);
        check(json!(3), json!(3.0), None);
        check(json!(3), json!(3.000_001), None);
        check(json!(1_000_000_000), json!(1_000_000_001), Some(""));
        check(json!(u64::MAX), json!(u64::MAX - 1), Some(""));
    }

    #[test]
    fn what_is_no_json_is_not_compared_unless_only_the_shadow_says_it() {
        let compared = |theirs: &str, ours: &str| answers(theirs.as_bytes(), ours.as_bytes(), 0.0, Protocol::Kea);
        assert_eq!(compared("{}", " {} "), Outcome::Same);
        assert_eq!(compared("<p>", "{}"), Outcome::NotCompared);
        assert_eq!(compared("{}", "<p>"), Outcome::Different(String::new()));
        assert_eq!(compared(r#"{"a": [1]}"#, r#"{"a": [2]}"#), Outcome::Different("/a/0".into()));
    }

    #[test]
    fn the_version_in_an_answer_of_the_inference_protocol_is_no_difference() {
        let of =
            |version: &str, data: u8| format!(r#"{{"model_version": "{version}", "outputs": [{{"data": [{data}]}}]}}"#);
        let compared = |ours: &str| answers(of("1", 1).as_bytes(), ours.as_bytes(), 0.0, Protocol::V2);
        assert_eq!(compared(&of("2", 1)), Outcome::Same);
        assert_eq!(compared(&of("2", 2)), Outcome::Different("/outputs/0/data/0".into()));
    }

    #[test]
    fn a_long_pointer_is_cut() {
        let long = "ü".repeat(1000);
        let pointer = first_difference(&json!({&*long: 1}), &json!({&*long: 2}), 0.0).unwrap();
        assert!(pointer.len() < POINTER_MAX + 4 && pointer.ends_with('…'), "{pointer}");
    }

    fn any_document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::from),
            "[a-z/~]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z/~]{0,3}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// The text of a document, with the fields of each object in the order of before or the opposite one.
    fn text(document: &Value, backwards: bool) -> String {
        let joined = |mut parts: Vec<String>, turn: bool| {
            if turn {
                parts.reverse();
            }
            parts.join(",")
        };
        match document {
            Value::Array(items) => {
                format!("[{}]", joined(items.iter().map(|item| text(item, backwards)).collect(), false))
            }
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| format!("{}: {}", json!(name), text(value, backwards));
                format!("{{{}}}", joined(fields.iter().map(field).collect(), backwards))
            }
            leaf => leaf.to_string(),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_fields_is_no_difference(document in any_document()) {
            let [there, back] = [false, true].map(|backwards| text(&document, backwards));
            let compared = answers(there.as_bytes(), back.as_bytes(), 0.0, Protocol::Kea);
            prop_assert_eq!(compared, Outcome::Same);
        }

        #[test]
        fn both_find_the_same_and_it_is_there(a in any_document(), b in any_document()) {
            let (there, back) = (first_difference(&a, &b, 0.0), first_difference(&b, &a, 0.0));
            prop_assert_eq!(there.is_some(), back.is_some());
            prop_assert!(a != b || there.is_none());
            if let Some(pointer) = there.filter(|pointer| !pointer.ends_with('…')) {
                prop_assert_ne!(a.pointer(&pointer), b.pointer(&pointer));
            }
        }
    }
}
