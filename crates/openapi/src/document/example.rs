//! Examples: the author's where there is one, else values made from the schema.

use kea_core::{Datatype, Field, Function, Layout, ValueType};
use serde_json::{Map, Value, json};

use super::schema::element;

/// Most elements of an array in an example; a picture's pixels help nobody.
const ELEMENTS: usize = 1024;

/// Nesting that is followed.
const DEPTH: usize = 32;

/// How many rows an example has, and its inputs.
pub(super) struct ExampleInputs {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) inputs: Value,
    pub(super) rows: usize,
}

/// Examples of a function's `inputs`; none where a value cannot be made up.
pub(super) fn of_inputs(function: &Function) -> Vec<ExampleInputs> {
    let one = |inputs| ExampleInputs { name: "one", summary: "One row", inputs, rows: 1 };
    // Documents are sorted, and pages show the first example.
    let many = |inputs| ExampleInputs { name: "several", summary: "Many rows", inputs, rows: 2 };
    let call = |inputs| ExampleInputs { name: "call", summary: "One call", inputs, rows: 1 };
    match function.layout {
        Layout::Features | Layout::Tensors if !function.inputs.is_empty() => {
            let rows = inputs(function, &|field| twice(function.layout, field));
            inputs(function, &one_row).map(one).into_iter().chain(rows.map(many)).collect()
        }
        Layout::Arguments => inputs(function, &one_row).map(call).into_iter().collect(),
        Layout::Features | Layout::Tensors | Layout::Opaque => Vec::new(),
    }
}

fn inputs(function: &Function, value: &dyn Fn(&Field) -> Option<Value>) -> Option<Value> {
    let mut inputs = Map::new();
    for field in &function.inputs {
        match value(field) {
            Some(value) => drop(inputs.insert(field.name.clone(), value)),
            None if field.must_be_given(function.layout) => return None,
            None => {}
        }
    }
    Some(inputs.into())
}

fn one_row(field: &Field) -> Option<Value> {
    field.example.clone().or_else(|| match &field.value {
        ValueType::Scalar { datatype } => of_schema(&element(field, *datatype)),
        ValueType::Tensor { datatype, shape } => {
            let row = shape.strip_prefix(&[-1]).unwrap_or(shape);
            filled(&of_schema(&element(field, *datatype))?, row)
        }
        ValueType::Json { schema } => field.default.clone().or_else(|| of_schema(schema)),
    })
}

/// Two rows that are the same.
fn twice(layout: Layout, field: &Field) -> Option<Value> {
    let row = one_row(field)?;
    match &field.value {
        ValueType::Scalar { .. } if !row.is_array() || layout == Layout::Tensors => Some(json!([row, row])),
        ValueType::Tensor { shape, .. } if shape.first() == Some(&-1) && depth(&row) + 1 == shape.len() => {
            Some(json!([row, row]))
        }
        // An input without rows is the same for all of them.
        ValueType::Tensor { shape, .. } if shape.first() != Some(&-1) => Some(row),
        _ => None,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.first().map_or(0, depth),
        _ => 0,
    }
}

/// Arrays of a shape, one element long where the length is variable.
fn filled(element: &Value, shape: &[i64]) -> Option<Value> {
    let lengths: Vec<usize> = shape.iter().map(|length| usize::try_from(*length).unwrap_or(1)).collect();
    let elements = lengths.iter().try_fold(1_usize, |product, length| product.checked_mul(*length))?;
    let too_long = elements > ELEMENTS || lengths.iter().any(|length| *length > ELEMENTS);
    (!too_long).then(|| lengths.iter().rev().fold(element.clone(), |inner, length| vec![inner; *length].into()))
}

/// An example of an answer of `rows` predictions; `None` where a value cannot be made up.
pub(super) fn of_predictions(function: &Function, rows: usize) -> Option<Value> {
    if function.outputs.is_empty() {
        return None;
    }
    let mut prediction = Map::new();
    for field in &function.outputs {
        match class(function, field).or_else(|| output(field)) {
            Some(value) => drop(prediction.insert(field.name.clone(), value)),
            None if field.required => return None,
            None => {}
        }
    }
    Some(json!({"predictions": vec![Value::Object(prediction); rows]}))
}

/// The class that is the likeliest one by the example's probabilities.
fn class(function: &Function, field: &Field) -> Option<Value> {
    let text = field.name == "label" && matches!(field.value, ValueType::Scalar { datatype: Datatype::Bytes });
    let labels = function.outputs.iter().map(|output| &output.labels).find(|labels| !labels.is_empty())?;
    (text && field.example.is_none()).then(|| labels[0].clone().into())
}

fn output(field: &Field) -> Option<Value> {
    if !field.labels.is_empty() {
        let first = &field.labels[0];
        let share = |label: &String| (label.clone(), json!(if label == first { 1.0 } else { 0.0 }));
        return (field.labels.len() <= ELEMENTS).then(|| field.labels.iter().map(share).collect::<Map<_, _>>().into());
    }
    field.example.clone().or_else(|| match &field.value {
        ValueType::Scalar { datatype } => of_schema(&element(field, *datatype)),
        ValueType::Tensor { datatype, shape } => {
            filled(&of_schema(&element(field, *datatype))?, shape.get(1..).unwrap_or_default())
        }
        ValueType::Json { schema } => of_schema(schema),
    })
}

/// A value that fits a schema; `None` where it cannot be made up.
pub(super) fn of_schema(schema: &Value) -> Option<Value> {
    Sampler { definitions: schema }.value(schema, 0)
}

struct Sampler<'s> {
    /// The schema that references point into.
    definitions: &'s Value,
}

impl Sampler<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        let given = ["example", "default"].into_iter().find_map(|keyword| schema.get(keyword));
        if let Some(given) = given.or_else(|| first_choice(schema)) {
            return Some(given.clone());
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.value(self.definitions.pointer(reference.strip_prefix('#')?)?, depth + 1);
        }
        for several in ["anyOf", "oneOf"] {
            if let Some(members) = schema.get(several).and_then(Value::as_array) {
                return members.iter().find_map(|member| self.value(member, depth + 1));
            }
        }
        match schema.get("type").and_then(Value::as_str)? {
            "boolean" => Some(true.into()),
            "integer" => whole(schema),
            "number" => number(schema),
            "string" => text(schema),
            "array" => self.array(schema, depth),
            "object" => self.object(schema, depth),
            _ => None,
        }
    }

    fn array(&self, schema: &Value, depth: usize) -> Option<Value> {
        let fewest = length(schema, "minItems").unwrap_or(0);
        let most = length(schema, "maxItems").unwrap_or(usize::MAX);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        if fewest > ELEMENTS || (unique && fewest > 1) {
            return None;
        }
        let item = schema.get("items").and_then(|items| self.value(items, depth + 1));
        match item {
            Some(item) => Some(vec![item; fewest.max(1).min(most)].into()),
            None => (fewest == 0).then(|| json!([])),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Option<Value> {
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut object = Map::new();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            match self.value(property, depth + 1) {
                Some(value) => drop(object.insert(name.clone(), value)),
                None if required.contains(&Value::from(name.as_str())) => return None,
                None => {}
            }
        }
        (length(schema, "minProperties").unwrap_or(0) <= object.len()).then(|| object.into())
    }
}

fn first_choice(schema: &Value) -> Option<&Value> {
    let choices = schema.get("enum")?.as_array()?;
    choices.iter().find(|choice| !choice.is_null()).or(choices.first())
}

fn length(schema: &Value, keyword: &str) -> Option<usize> {
    schema.get(keyword)?.as_u64()?.try_into().ok()
}

fn flag(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword) == Some(&Value::Bool(true))
}

fn whole(schema: &Value) -> Option<Value> {
    let bound = |keyword: &str| schema.get(keyword).and_then(as_whole);
    let low = bound("minimum").map(|low| low + i128::from(flag(schema, "exclusiveMinimum")));
    let high = bound("maximum").map(|high| high - i128::from(flag(schema, "exclusiveMaximum")));
    let step = bound("multipleOf").unwrap_or(1).max(1);
    let wanted = 1.max(low.unwrap_or(i128::MIN)).min(high.unwrap_or(i128::MAX));
    let below = wanted.div_euclid(step) * step;
    let fits = |value: &i128| low.is_none_or(|low| low <= *value) && high.is_none_or(|high| *value <= high);
    let value = [below, below + step].into_iter().find(fits)?;
    i64::try_from(value).map(Value::from).or_else(|_| u64::try_from(value).map(Value::from)).ok()
}

fn as_whole(value: &Value) -> Option<i128> {
    let float = || value.as_f64().map(|float| float.ceil() as i128);
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from)).or_else(float)
}

fn number(schema: &Value) -> Option<Value> {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    if bound("multipleOf").is_some() {
        return None;
    }
    let value = match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => low / 2.0 + high / 2.0,
        (Some(low), None) => low + 1.0,
        (None, Some(high)) => high - 1.0,
        (None, None) => 1.5,
    };
    value.is_finite().then(|| value.into())
}

fn text(schema: &Value) -> Option<Value> {
    let text = |text: &str| Some(text.into());
    match schema.get("format").and_then(Value::as_str) {
        _ if schema.get("pattern").is_some() => None,
        Some("date-time") => text("2026-01-31T12:00:00Z"),
        Some("date") => text("2026-01-31"),
        Some("duration") => text("P1D"),
        Some("uuid") => text("9b2f4a52-6c1e-4f0a-8d3b-2a5e7c9d1f60"),
        Some("email") => text("someone@example.com"),
        Some("uri") => text("https://example.com/"),
        Some("byte") => text("a2Vh"),
        Some(_) => None,
        None => {
            let fewest = length(schema, "minLength").unwrap_or(0);
            let most = length(schema, "maxLength").unwrap_or(usize::MAX);
            let word: String = "text".chars().chain(std::iter::repeat('x')).take(fewest.max(4).min(most)).collect();
            (fewest <= ELEMENTS).then(|| word.into())
        }
    }
}
