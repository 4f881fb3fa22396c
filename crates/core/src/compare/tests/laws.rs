//! What holds of all schemas: nothing differs from itself, and one way is the other way turned round.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::compare::{
    found::{Found, Moved},
    schema::{self, Context},
};

/// Schemas as Python sources make them.
fn schemas() -> impl Strategy<Value = Value> {
    let least = prop::option::of(-2..3).prop_map(|least: Option<i32>| ("minimum", least));
    let most = prop::option::of(-2..3).prop_map(|most: Option<i32>| ("maximum", most));
    let number = (prop::sample::select(vec!["integer", "number"]), least, most).prop_map(|(kind, least, most)| {
        let mut schema = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        schema.extend([least, most].into_iter().filter_map(|(word, value)| Some((word.to_owned(), value?.into()))));
        Value::Object(schema)
    });
    let choice = prop::sample::subsequence(vec!["a", "b", "c"], 1..=3);
    let choice = choice.prop_map(|values| json!({"type": "string", "enum": values}));
    let plain =
        prop_oneof![number, choice, Just(json!({"type": "string"})), Just(json!({"type": "boolean"})), Just(json!({}))];
    plain.prop_recursive(3, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            objects(inner.clone()),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|members| json!({"anyOf": members})),
            inner.prop_map(nullable),
        ]
    })
}

fn objects(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let members = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), (inner, any::<bool>()), 0..3);
    (members, any::<bool>()).prop_map(|(members, is_closed)| {
        let required: Vec<&str> =
            members.iter().filter(|(_, (_, required))| *required).map(|(name, _)| *name).collect();
        let named: Map<String, Value> =
            members.iter().map(|(name, (inner, _))| ((*name).to_owned(), inner.clone())).collect();
        json!({"type": "object", "properties": named, "required": required, "additionalProperties": !is_closed})
    })
}

fn nullable(mut schema: Value) -> Value {
    if schema.get("type").is_some() {
        schema["nullable"] = true.into();
    }
    schema
}

fn found(before: &Value, after: &Value) -> Vec<Found> {
    schema::compare("", before, after, &Context::new([false, false]))
}

/// What is found the other way round, in an order of its own.
fn turned(found: Vec<Found>) -> Vec<String> {
    let moved = |moved| match moved {
        Moved::Added { .. } => "removed",
        Moved::Removed { .. } => "added",
        Moved::Narrowed => "widened",
        Moved::Widened => "narrowed",
        Moved::Changed => "changed",
        Moved::Default => "default",
        Moved::Words => "words",
        Moved::Unknown => "unknown",
    };
    sorted(found.into_iter().map(|found| format!("{} {}", found.pointer, moved(found.moved))))
}

fn as_it_is(found: Vec<Found>) -> Vec<String> {
    let moved = |moved| match moved {
        Moved::Added { .. } => "added",
        Moved::Removed { .. } => "removed",
        Moved::Narrowed => "narrowed",
        Moved::Widened => "widened",
        Moved::Changed => "changed",
        Moved::Default => "default",
        Moved::Words => "words",
        Moved::Unknown => "unknown",
    };
    sorted(found.into_iter().map(|found| format!("{} {}", found.pointer, moved(found.moved))))
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines.dedup();
    lines
}

/// The same schema, whose members are in other places and behind a reference.
fn rewritten(schema: &Value) -> Value {
    json!({"allOf": [{"$ref": "#/$defs/It"}], "description": "the same", "$defs": {"It": schema}})
}

proptest! {
    #[test]
    fn nothing_differs_from_itself(schema in schemas()) {
        prop_assert_eq!(found(&schema, &rewritten(&schema)), vec![]);
        prop_assert_eq!(found(&rewritten(&schema), &schema), vec![]);
    }

    #[test]
    fn one_way_is_the_other_way_turned_round(before in schemas(), after in schemas()) {
        prop_assert_eq!(turned(found(&before, &after)), as_it_is(found(&after, &before)));
    }
}
