//! Requests of custom functions.

use serde_json::json;

use super::*;

#[track_caller]
fn accepts(schema: Value, value: &str) {
    let validator = validator(Layout::Arguments, vec![argument("x", schema)]);
    let body = format!(r#"{{"inputs": {{"x":{value}}}}}"#);
    match validator.decode("predict", body.as_bytes()) {
        Ok(Call::Arguments(inputs)) => assert_eq!(inputs.get(), format!(r#"{{"x":{value}}}"#)),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refuses(schema: Value, value: &str, pointer: &str, words: &[&str]) {
    let validator = validator(Layout::Arguments, vec![argument("x", schema)]);
    only(&violations(&validator, &format!(r#"{{"inputs": {{"x":{value}}}}}"#)), pointer, words);
}

#[test]
fn arguments_are_held_against_their_schemas() {
    let order = json!({
        "type": "object",
        "properties": {
            "items": { "type": "array", "items": { "$ref": "#/$defs/Item" } },
            "note": { "type": "string", "nullable": true, "maxLength": 3 },
        },
        "required": ["items"],
        "additionalProperties": false,
        "$defs": { "Item": { "type": "object", "properties": { "price": { "type": "number", "minimum": 0, "exclusiveMinimum": true } } } },
    });
    accepts(order.clone(), r#"{"items": [{"price": 1}], "note": null}"#);
    refuses(
        order.clone(),
        r#"{"items": [{"price": 1}, {"price": "1"}]}"#,
        "/inputs/x/items/1/price",
        &["number", "string \"1\""],
    );
    refuses(order.clone(), r#"{"items": [{"price": 0}]}"#, "/inputs/x/items/0/price", &["more than 0"]);
    refuses(order.clone(), r#"{"items": [], "note": "long"}"#, "/inputs/x/note", &["at most 3 characters"]);
    refuses(order.clone(), "{}", "/inputs/x/items", &["nothing", "give `items`"]);
    refuses(order.clone(), r#"{"items": [], "a/b": 1}"#, "/inputs/x/a~1b", &["no such property", "number 1"]);
    refuses(order, "5", "/inputs/x", &["object", "number 5"]);
}

#[test]
fn each_place_has_one_violation() {
    let grade = json!({"type": "integer", "enum": [1, 2], "minimum": 1});
    refuses(grade.clone(), r#""one""#, "/inputs/x", &["one of 1,2", "string \"one\""]);
    refuses(grade, "0", "/inputs/x", &["one of 1,2", "number 0"]);
    let code = json!({"type": "string", "minLength": 3, "pattern": "^[a-z]+$"});
    refuses(code.clone(), r#""A""#, "/inputs/x", &["at least 3 characters and text that matches ^[a-z]+$"]);
    refuses(code, "5", "/inputs/x", &["string", "number 5"]);
    let twice = json!({"allOf": [{"type": "integer"}, {"type": "integer"}]});
    let validator = validator(Layout::Arguments, vec![argument("x", twice)]);
    assert_eq!(violations(&validator, r#"{"inputs": {"x": "a"}}"#)[0].expected, "integer");
}

#[test]
fn nullable_is_honoured_wherever_it_stands() {
    let reference =
        json!({ "allOf": [{ "$ref": "#/$defs/N" }], "nullable": true, "$defs": { "N": { "type": "integer" } } });
    accepts(reference.clone(), "null");
    accepts(reference.clone(), "5");
    refuses(reference, r#""a""#, "/inputs/x", &["integer"]);
    let choice = json!({ "type": "string", "enum": ["a"], "nullable": true });
    accepts(choice.clone(), "null");
    refuses(choice, r#""b""#, "/inputs/x", &["one of"]);
    let nested = json!({ "anyOf": [{ "type": "array", "items": { "type": "integer", "nullable": true } }, { "type": "string" }] });
    accepts(nested.clone(), "[1, null]");
    refuses(nested, "[1, true]", "/inputs/x/1", &["integer or null"]);
    // Words inside of examples and defaults are data.
    accepts(
        json!({ "type": "object", "default": { "nullable": true }, "properties": { "nullable": { "type": "boolean" } } }),
        r#"{"nullable": true}"#,
    );
}

#[test]
fn keys_that_come_twice_and_unreadable_numbers_are_refused() {
    refuses(json!({}), r#"[{"a": 1, "a": 2}]"#, "/inputs/x/0/a", &["again"]);
    refuses(json!({}), "1e400", "/inputs/x", &["number 1e400", "out of range"]);
}

#[test]
fn arguments_may_be_left_out_unless_they_are_required() {
    let mut optional = argument("y", json!({ "type": "integer" }));
    optional.required = false;
    let validator = validator(Layout::Arguments, vec![argument("x", json!({ "type": "integer" })), optional]);
    assert_eq!(validator.check("predict", br#"{"inputs": {"x": 5}}"#), Ok(()));
    only(&violations(&validator, r#"{"inputs": {"y": 5}}"#), "/inputs/x", &["nothing", "give `x`"]);
    only(&violations(&validator, r#"{"inputs": {"x": 1, "z": 5}}"#), "/inputs/z", &["no such input"]);
}

#[test]
fn typed_arguments_have_the_schema_of_their_type() {
    let validator =
        validator(Layout::Arguments, vec![scalar("n", Datatype::Uint8), array("m", Datatype::Fp32, &[-1, 2])]);
    assert_eq!(validator.check("predict", br#"{"inputs": {"n": 5, "m": [[1, 2.5]]}}"#), Ok(()));
    only(&violations(&validator, r#"{"inputs": {"n": 256, "m": []}}"#), "/inputs/n", &["at most 255"]);
    only(&violations(&validator, r#"{"inputs": {"n": 0, "m": [[1]]}}"#), "/inputs/m/0", &["at least 2 items"]);
}
