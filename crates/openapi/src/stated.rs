//! What authors state, merged into what was found, with the values that JSON schemas have to judge.

use kea_core::{
    Contract, Field, ValueType,
    stated::{self, ADVICE, Contradiction, StatedField, StatedFunction},
};
use serde_json::Value;

use crate::validate::one::{self, Schema};

/// The contract with what is `stated` of its functions. Each choice, default and example that is stated fits its field.
///
/// # Errors
/// The first statement that the model does not bear out.
pub fn merge(contract: Contract, stated: &[StatedFunction]) -> Result<Contract, Contradiction> {
    let merged = stated::merge(contract, stated)?;
    for (index, of) in stated.iter().enumerate() {
        let Some(function) = merged.function(&of.name) else { continue };
        let sides = [("input", &function.inputs, &of.inputs), ("output", &function.outputs, &of.outputs)];
        for (side, fields, stated) in sides {
            for (at, of) in stated.iter().enumerate() {
                let Some(field) = fields.iter().find(|field| field.name == of.name) else { continue };
                let pointer = format!("/functions/{index}/{side}s/{at}");
                let place = format!("the model's {side} `{}` of `{}`", field.name, function.name);
                fit(field, of, &pointer, &place)?;
            }
        }
    }
    Ok(merged)
}

/// Values of a field that a JSON schema describes. Those of tensors were looked at where they were merged.
fn fit(field: &Field, stated: &StatedField, pointer: &str, place: &str) -> Result<(), Contradiction> {
    let ValueType::Json { schema } = &field.value else { return Ok(()) };
    // Choices are of the elements where it is an array, and pass the list that they are. Null is one where a value may be missing.
    let choices = stated.choices.iter().enumerate().filter(|(_, choice)| !choice.is_null());
    let choices = choices.map(|(at, choice)| (format!("/enum/{at}"), choice));
    let values = [("/default", &stated.default), ("/example", &stated.example)];
    let values = values.into_iter().filter_map(|(at, value)| Some((at.to_owned(), value.as_ref()?)));
    let all = [(Schema::of_elements(schema), choices.collect::<Vec<_>>()), (Schema::of_field(field), values.collect())];
    for (schema, values) in all {
        let misfit = values.into_iter().find_map(|(at, value)| Some((at, value, schema.misfit(value)?)));
        if let Some((at, value, one::Misfit { below, expected })) = misfit {
            let value = value.pointer(&below).unwrap_or(value);
            return Err(Contradiction {
                pointer: format!("{pointer}{at}{below}"),
                stated: shown(value),
                place: place.into(),
                found: format!("takes {expected}"),
                advice: ADVICE,
            });
        }
    }
    Ok(())
}

/// Longest value that a message repeats, in characters.
const LONGEST: usize = 80;

fn shown(value: &Value) -> String {
    one::cut(&value.to_string(), LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(schema: &Value, stated: &Value) -> Result<Contract, String> {
        let input = json!({"name": "x", "type": {"json": {"schema": schema}}});
        let function = json!({"name": "predict", "layout": "arguments", "inputs": [input], "outputs": []});
        let contract = serde_json::from_value(json!({"functions": [function]})).unwrap();
        let stated: Vec<StatedFunction> =
            serde_json::from_value(json!([{"name": "predict", "inputs": [stated]}])).unwrap();
        stated::check(&stated).unwrap();
        merge(contract, &stated).map_err(|error| error.to_string())
    }

    #[test]
    fn values_that_a_schema_refuses_are_refused_with_both_places() {
        let date = json!({"type": "object", "properties": {"on": {"type": "string", "format": "date"}}});
        let cases = [
            (
                json!({"type": "number"}),
                json!({"name": "x", "example": "red"}),
                "/example` says \"red\", but the model's",
            ),
            (
                json!({"type": "integer"}),
                json!({"name": "x", "enum": [1, 2.5]}),
                "/0/enum/1` says 2.5, but the model's input",
            ),
            (
                date,
                json!({"name": "x", "example": {"on": "May"}}),
                "/example/on` says \"May\", but the model's input `x` of",
            ),
            (json!({"type": "string", "minLength": 3}), json!({"name": "x", "enum": ["red", "a"]}), "takes at least 3"),
            (
                json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}),
                json!({"name": "x", "example": [1]}),
                "`/functions/0/inputs/0/example` says [1], but the model's input `x` of `predict` takes at least 2 items",
            ),
        ];
        for (schema, stated, expected) in cases {
            let error = merged(&schema, &stated).unwrap_err();
            assert!(error.contains(expected), "{stated}: {error}");
        }
    }

    #[test]
    fn values_that_a_schema_takes_pass() {
        let list =
            json!({"type": "array", "items": {"$ref": "#/$defs/Grade"}, "$defs": {"Grade": {"type": "integer"}}});
        let numbers = json!({"type": "array", "items": {"type": "array", "items": {"type": "number"}}});
        let cases = [
            (json!({}), json!({"name": "x", "type": "integer", "enum": [1, 2], "example": 2})),
            (json!({"type": "string", "nullable": true}), json!({"name": "x", "example": null})),
            (json!({"type": "string", "nullable": true}), json!({"name": "x", "enum": ["red", null]})),
            (list, json!({"name": "x", "example": [1, 2]})),
            (numbers, json!({"name": "x", "enum": [0, 1], "example": [[0, 1], [1]]})),
        ];
        for (schema, stated) in cases {
            assert_eq!(merged(&schema, &stated).err(), None, "{stated}");
        }
    }
}
