//! Schemas of a function's inputs and predictions, by its layout.

use kea_core::{Datatype, Field, Function, Layout, ValueType};
use serde_json::{Map, Value, json};

use super::{Document, bounds};

impl Document<'_> {
    /// The schema of a request's body.
    pub(super) fn request(&mut self, function: &Function) -> Value {
        json!({
            "type": "object",
            "required": ["inputs"],
            "properties": {"inputs": self.inputs(function)},
            "additionalProperties": false,
        })
    }

    fn inputs(&mut self, function: &Function) -> Value {
        if function.layout == Layout::Opaque {
            return json!({"type": "object"});
        }
        let input = |field: &Field| (field.name.clone(), self.input(function, field));
        let properties: Map<String, Value> = function.inputs.iter().map(input).collect();
        let mut inputs = json!({"type": "object", "properties": properties, "additionalProperties": false});
        let required: Vec<&str> =
            function.inputs.iter().filter(|f| f.must_be_given(function.layout)).map(|f| f.name.as_str()).collect();
        if !required.is_empty() {
            inputs["required"] = json!(required);
        }
        inputs
    }

    fn input(&mut self, function: &Function, field: &Field) -> Value {
        let schema = match (&field.value, function.layout) {
            (ValueType::Scalar { datatype }, Layout::Arguments) => element(field, *datatype),
            (ValueType::Scalar { datatype }, _) => one_or_many(&asked(field, *datatype)),
            (ValueType::Tensor { datatype, shape }, Layout::Arguments) => nested(element(field, *datatype), shape, 0),
            (ValueType::Tensor { datatype, shape }, _) => row_or_rows(&asked(field, *datatype), shape),
            (ValueType::Json { schema }, _) => self.json(function, field, schema),
        };
        described(field, schema)
    }

    /// The schema of an answer's body.
    pub(super) fn response(&mut self, function: &Function) -> Value {
        json!({
            "type": "object",
            "required": ["predictions"],
            "properties": {
                "predictions": {
                    "type": "array",
                    "description": "One object a row.",
                    "items": self.prediction(function),
                },
            },
        })
    }

    fn prediction(&mut self, function: &Function) -> Value {
        if function.outputs.is_empty() {
            return json!({"type": "object"});
        }
        let output = |field: &Field| (field.name.clone(), self.output(function, field));
        let properties: Map<String, Value> = function.outputs.iter().map(output).collect();
        let mut prediction = json!({"type": "object", "properties": properties});
        let required: Vec<&str> = function.outputs.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
        if !required.is_empty() {
            prediction["required"] = json!(required);
        }
        prediction
    }

    fn output(&mut self, function: &Function, field: &Field) -> Value {
        let schema = match &field.value {
            _ if !field.labels.is_empty() => labelled(&field.labels),
            ValueType::Scalar { datatype } => answered(field, *datatype),
            ValueType::Tensor { datatype, shape } => {
                nested(answered(field, *datatype), shape.get(1..).unwrap_or_default(), 0)
            }
            ValueType::Json { schema } => self.json(function, field, schema),
        };
        described(field, schema)
    }

    /// The contract's own schema, with what it refers to moved to where documents keep it.
    fn json(&mut self, function: &Function, field: &Field, schema: &Value) -> Value {
        let schema = self.hoisted(schema, &format!("{}_{}", function.name, field.name));
        if field.nullable { or_null(schema) } else { schema }
    }
}

/// The schema of one element of a field.
pub(super) fn element(field: &Field, datatype: Datatype) -> Value {
    let mut schema = Map::new();
    let (kind, format) = kind_of(datatype);
    schema.insert("type".into(), kind.into());
    schema.extend(format.map(|format| ("format".to_owned(), format.into())));
    let (minimum, maximum) = bounds::of(field, datatype);
    schema.extend(minimum.map(|minimum| ("minimum".to_owned(), minimum)));
    schema.extend(maximum.map(|maximum| ("maximum".to_owned(), maximum)));
    if field.nullable {
        schema.insert("nullable".into(), true.into());
    }
    if !field.choices.is_empty() {
        let values = field.choices.iter().filter(|choice| !choice.is_null()).cloned();
        let choices: Vec<Value> = values.chain(field.nullable.then_some(Value::Null)).collect();
        schema.insert("enum".into(), choices.into());
    }
    schema.into()
}

/// The schema of one element of a tensor that a request has.
pub(super) fn asked(field: &Field, datatype: Datatype) -> Value {
    element(&Field { nullable: field.has_missing_values(), ..field.clone() }, datatype)
}

/// The schema of one element of an output: NaN and infinities are answered as null.
fn answered(field: &Field, datatype: Datatype) -> Value {
    let nullable = field.nullable || datatype.is_float();
    element(&Field { nullable, ..field.clone() }, datatype)
}

fn kind_of(datatype: Datatype) -> (&'static str, Option<&'static str>) {
    match datatype {
        Datatype::Bool => ("boolean", None),
        Datatype::Bytes => ("string", None),
        Datatype::Fp64 => ("number", Some("double")),
        Datatype::Fp32 => ("number", Some("float")),
        Datatype::Fp16 => ("number", None),
        Datatype::Int64 => ("integer", Some("int64")),
        Datatype::Int32 => ("integer", Some("int32")),
        Datatype::Int8 | Datatype::Int16 | Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 | Datatype::Uint64 => {
            ("integer", None)
        }
    }
}

/// One value for one row, an array for many.
fn one_or_many(element: &Value) -> Value {
    json!({"anyOf": [element, {"type": "array", "items": element, "minItems": 1}]})
}

/// A tensor, which may leave its first dimension out where that is the row.
fn row_or_rows(element: &Value, shape: &[i64]) -> Value {
    let rows = nested(element.clone(), shape, 1);
    match shape {
        [-1 | 1, row @ ..] => json!({"anyOf": [nested(element.clone(), row, 1), rows]}),
        _ => rows,
    }
}

/// Arrays in arrays, of at least `fewest` elements where their number is variable.
fn nested(element: Value, shape: &[i64], fewest: u64) -> Value {
    shape.iter().rev().fold(element, |items, length| match u64::try_from(*length) {
        Ok(length) => json!({"type": "array", "items": items, "minItems": length, "maxItems": length}),
        Err(_) if fewest > 0 => json!({"type": "array", "items": items, "minItems": fewest}),
        Err(_) => json!({"type": "array", "items": items}),
    })
}

/// An object with a number for each label.
fn labelled(labels: &[String]) -> Value {
    let number = json!({"type": "number", "nullable": true});
    let properties: Map<String, Value> = labels.iter().map(|label| (label.clone(), number.clone())).collect();
    json!({"type": "object", "properties": properties, "required": labels, "additionalProperties": false})
}

/// The schema, or null.
fn or_null(mut schema: Value) -> Value {
    let Some(object) = schema.as_object_mut() else { return schema };
    if object.contains_key("type") {
        object.insert("nullable".into(), true.into());
        // Null has to pass the list, too.
        if let Some(Value::Array(choices)) = object.get_mut("enum")
            && !choices.contains(&Value::Null)
        {
            choices.push(Value::Null);
        }
        return schema;
    }
    match object.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(members) if members.iter().any(|member| member.get("nullable") == Some(&Value::Bool(true))) => schema,
        Some(members) => {
            members.push(json!({"type": "string", "nullable": true, "enum": [null]}));
            schema
        }
        // Without a type, anything fits, null too.
        None => schema,
    }
}

/// Adds what the field says in words. Nothing stands beside a reference in OpenAPI 3.0, so that is wrapped.
fn described(field: &Field, schema: Value) -> Value {
    let mut words = Map::new();
    if !field.description.is_empty() {
        words.insert("description".into(), field.description.clone().into());
    }
    words.extend(field.default.clone().map(|default| ("default".to_owned(), default)));
    words.extend(field.example.clone().map(|example| ("example".to_owned(), example)));
    match schema {
        Value::Object(reference) if reference.contains_key("$ref") && !words.is_empty() => {
            words.insert("allOf".into(), json!([reference]));
            Value::Object(words)
        }
        Value::Object(mut schema) => {
            schema.extend(words);
            Value::Object(schema)
        }
        other => other,
    }
}
