//! Fields that are described by schemas, as those of Python classes are.

use serde_json::{Value, json};

use crate::compare::{
    Effect, Side,
    found::{Found, Moved},
    schema::{self, Context},
};

fn found(before: &Value, after: &Value) -> Vec<Found> {
    schema::compare("", before, after, &Context::new([false, false]))
}

/// How a schema moved where, as `+/x` for more values, `-/x` for fewer, `!/x` for others, `new/x`, `gone/x`.
fn told(before: &Value, after: &Value) -> Vec<String> {
    let word = |moved| match moved {
        Moved::Added { required: true } => "must",
        Moved::Added { required: false } => "new",
        Moved::Removed { taken: false } => "gone",
        Moved::Removed { taken: true } => "ignored",
        Moved::Narrowed => "-",
        Moved::Widened => "+",
        Moved::Changed => "!",
        Moved::Default => "default",
        Moved::Words => "words",
        Moved::Unknown => "?",
    };
    found(before, after).iter().map(|found| format!("{}{}", word(found.moved), found.pointer)).collect()
}

#[track_caller]
fn check(before: Value, after: Value, expected: &[&str]) {
    assert_eq!(told(&before, &after), expected, "{before} -> {after}");
}

fn kind(name: &str) -> Value {
    json!({"type": name})
}

#[test]
fn types_are_sets_of_values() {
    check(kind("integer"), kind("number"), &["+"]);
    check(kind("number"), kind("integer"), &["-"]);
    check(kind("string"), kind("number"), &["!"]);
    check(json!({}), kind("number"), &["-"]);
    check(kind("number"), json!({}), &["+"]);
    check(kind("string"), json!({"type": ["string", "null"]}), &["+"]);
    check(json!({"type": "string", "nullable": true}), kind("string"), &["-"]);
    check(json!({"type": ["string", "integer"]}), kind("integer"), &["-"]);
    check(json!({"enum": [1, 2]}), json!({"type": "integer", "enum": [1, 2]}), &[]);
}

#[test]
fn bounds_and_choices_of_schemas() {
    let number = |keyword: &str, value: f64| json!({"type": "number", keyword: value});
    let text = |keyword: &str, value: u32| json!({"type": "string", keyword: value});
    check(number("minimum", 0.0), number("exclusiveMinimum", 0.0), &["-"]);
    check(json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}), number("minimum", 0.0), &["+"]);
    check(number("maximum", 1.0), number("maximum", 2.0), &["+"]);
    check(text("minLength", 1), text("minLength", 2), &["-"]);
    check(kind("string"), text("minLength", 0), &[]);
    check(text("maxLength", 9), kind("string"), &["+"]);
    check(kind("string"), json!({"type": "string", "pattern": "^a"}), &["-"]);
    check(json!({"type": "string", "pattern": "^a"}), json!({"type": "string", "pattern": "^b"}), &["!"]);
    check(json!({"type": "string", "format": "date"}), kind("string"), &["+"]);
    check(json!({"type": "string", "enum": ["a", "b"]}), json!({"type": "string", "enum": ["a"]}), &["-"]);
    check(
        json!({"type": "string", "enum": ["a", null], "nullable": true}),
        json!({"type": "string", "enum": ["a"]}),
        &["-"],
    );
    check(json!({"const": 1}), json!({"enum": [1.0, 2]}), &["+"]);
}

#[test]
fn arrays_by_their_elements_and_lengths() {
    let array = |items: Value| json!({"type": "array", "items": items});
    check(array(kind("integer")), array(kind("number")), &["+/*"]);
    check(array(kind("integer")), kind("array"), &["+/*"]);
    check(array(array(kind("string"))), array(array(kind("number"))), &["!/*/*"]);
    check(kind("array"), json!({"type": "array", "minItems": 1}), &["-"]);
    check(kind("array"), json!({"type": "array", "uniqueItems": true}), &["-"]);
    check(array(kind("integer")), kind("integer"), &["!"]);
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

#[test]
fn objects_by_their_members() {
    let a = || json!({"a": {"type": "integer"}});
    let both = || json!({"a": {"type": "integer"}, "b": {"type": "string"}});
    check(object(a(), &["a"]), object(both(), &["a"]), &["new/b"]);
    check(object(a(), &["a"]), object(both(), &["a", "b"]), &["must/b"]);
    check(object(both(), &["a"]), object(a(), &["a"]), &["gone/b"]);
    check(object(a(), &["a"]), object(a(), &[]), &["+/a"]);
    check(object(a(), &[]), object(a(), &["a"]), &["-/a"]);
    check(object(a(), &[]), object(json!({"a": {"type": "number"}}), &[]), &["+/a"]);
    let open = |properties: Value| json!({"type": "object", "properties": properties});
    check(open(both()), open(a()), &["ignored/b"]);
    check(open(a()), object(a(), &[]), &["-"]);
    check(object(a(), &[]), open(a()), &["+"]);
    let of = |values: Value| json!({"type": "object", "additionalProperties": values});
    check(of(kind("integer")), of(kind("number")), &["+/*"]);
    check(of(kind("integer")), kind("object"), &["+/*"]);
    let default = |value: i32| object(json!({"a": {"type": "integer", "default": value}}), &[]);
    check(default(1), default(2), &["default/a"]);
}

#[test]
fn alternatives_are_matched_with_each_other() {
    let any = |members: &[Value]| json!({"anyOf": members});
    let (integer, number, string) = (kind("integer"), kind("number"), kind("string"));
    check(any(&[integer.clone(), string.clone()]), any(&[string.clone(), integer.clone()]), &[]);
    check(integer.clone(), any(&[integer.clone(), string.clone()]), &["+"]);
    check(any(&[integer.clone(), string.clone()]), integer.clone(), &["-"]);
    check(any(&[integer.clone(), string.clone()]), any(&[number.clone(), string.clone()]), &["+"]);
    check(any(&[number.clone(), string.clone()]), any(&[integer.clone(), string.clone()]), &["-"]);
    check(json!({"oneOf": [integer, string.clone()]}), any(&[kind("boolean"), string]), &["-", "+"]);
    let one = |minimum: i32| any(&[json!({"type": "integer", "minimum": minimum}), kind("string")]);
    check(one(0), one(1), &["-"]);
    let house = |rooms: &str| any(&[object(json!({"rooms": {"type": rooms}}), &[]), kind("string")]);
    check(house("string"), house("integer"), &["!/rooms"]);
    let null = |members: &[Value]| json!({"anyOf": members, "nullable": true});
    check(null(&[number.clone(), kind("string")]), any(&[number, kind("string")]), &["-"]);
}

#[test]
fn references_are_followed_and_may_come_back_to_themselves() {
    let tree = |value: &str| {
        let node = json!({"type": "object", "properties": {
            "value": {"type": value}, "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}});
        json!({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    };
    check(tree("integer"), tree("number"), &["+/value"]);
    // The same by another name, or without one.
    let renamed = json!({"$ref": "#/$defs/Knot", "$defs": {"Knot": {"type": "integer"}}});
    check(renamed.clone(), kind("integer"), &[]);
    check(json!({"allOf": [{"$ref": "#/$defs/Knot"}], "description": "x", "$defs": renamed["$defs"]}), renamed, &[]);
    let merged = json!({"allOf": [object(json!({"a": {}}), &["a"]), {"properties": {"b": {}}, "required": ["b"]}]});
    check(merged, object(json!({"a": {}, "b": {}}), &["a", "b"]), &[]);
    check(json!({"$ref": "#/$defs/nowhere"}), kind("integer"), &["-"]);
    let endless = json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}});
    check(endless, json!({}), &[]);
}

#[test]
fn what_is_too_large_is_said_to_be_so() {
    // Each level doubles the pairs.
    let nested = |depth: usize, leaf: &str| {
        (0..depth).fold(kind(leaf), |inner, n| {
            let member = format!("m{n}");
            json!({"anyOf": [object(json!({(member.clone()): inner}), &[]), object(json!({(member): inner, "b": {}}), &[])]})
        })
    };
    let all = found(&nested(9, "integer"), &nested(9, "number"));
    assert!(all.iter().any(|found| found.moved == Moved::Unknown), "{all:?}");
    assert!(all.iter().all(|found| found.meaning(Side::Input).0 != Effect::Breaking), "{all:?}");
    let deep = |leaf: &str| (0..500).fold(kind(leaf), |items, _| json!({"type": "array", "items": items}));
    assert_eq!(found(&deep("integer"), &deep("string"))[0].moved, Moved::Unknown);
}
