//! A call that can be pasted into a shell.

use kea_core::{
    Datatype, Engine, Field, ValueType,
    contract::DEFAULT_FUNCTION,
    management::{MethodInfo, ServiceDetails},
};
use serde_json::{Map, Value, json};

use super::{Session, service};

/// A longer line is no help to anybody.
const MAX_CHARS: usize = 2_000;

/// A curl line that calls the service; `None` where no inputs are known that it would take.
pub(super) async fn curl(session: &Session, details: &ServiceDetails) -> Option<String> {
    // An existing web service has a language of its own.
    if details.engine == Some(Engine::External) {
        return None;
    }
    let answer = session.client.get(&["services", details.service_id.as_str(), "methods"], &[]).await.ok()?;
    let methods: Vec<MethodInfo> = answer.read().ok()?;
    let method = methods.iter().find(|method| method.name == DEFAULT_FUNCTION).or(methods.first())?;
    let url = service::absolute(&method.path, session);
    let token = (!details.settings.access.public).then_some(session.token_in_shell.as_str());
    let line = line(&url, token, &json!({"inputs": inputs(&method.inputs)?}));
    (line.len() <= MAX_CHARS).then_some(line)
}

fn line(url: &str, token: Option<&str>, body: &Value) -> String {
    let token = token.map(|token| format!(" -H \"Authorization: Bearer {token}\"")).unwrap_or_default();
    let body = body.to_string().replace('\'', r"'\''");
    format!("curl -s {url}{token} -H 'Content-Type: application/json' -d '{body}'")
}

/// Inputs that the fields allow; `None` where one of them cannot be guessed.
fn inputs(fields: &[Field]) -> Option<Value> {
    let needed = fields.iter().filter(|field| field.required || field.example.is_some());
    let members = needed.map(|field| Some((field.name.clone(), value(field)?)));
    members.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn value(field: &Field) -> Option<Value> {
    let told = field.example.as_ref().or(field.default.as_ref()).or(field.choices.first());
    if let Some(told) = told {
        return Some(told.clone());
    }
    match &field.value {
        ValueType::Scalar { datatype } => Some(scalar(*datatype, field)),
        ValueType::Tensor { datatype, shape } => Some(tensor(&scalar(*datatype, field), shape)),
        ValueType::Json { schema } => json_value(schema),
    }
}

fn scalar(datatype: Datatype, field: &Field) -> Value {
    let allowed = 1f64.clamp(field.minimum.unwrap_or(f64::MIN), field.maximum.unwrap_or(f64::MAX));
    match datatype {
        Datatype::Bool => json!(true),
        Datatype::Bytes => json!("text"),
        datatype if datatype.is_float() => json!(allowed),
        // The bounds of an integer are whole numbers.
        _ => json!(allowed as i64),
    }
}

/// Nested arrays of one element; a dimension of any length has length 1.
fn tensor(element: &Value, shape: &[i64]) -> Value {
    let length = |dimension: &i64| usize::try_from(*dimension).unwrap_or(1);
    shape.iter().rev().fold(element.clone(), |inner, dimension| Value::Array(vec![inner; length(dimension)]))
}

fn json_value(schema: &Value) -> Option<Value> {
    let told = schema.get("example").or(schema.get("default")).or(schema.pointer("/enum/0"));
    if let Some(told) = told {
        return Some(told.clone());
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    match schema.get("type")?.as_str()? {
        "boolean" => Some(json!(true)),
        "string" if schema.get("pattern").is_none() && schema.get("format").is_none() => Some(json!("text")),
        "integer" => Some(json!(1.max(bound("minimum").unwrap_or(1.0) as i64))),
        "number" => Some(json!(1f64.max(bound("minimum").unwrap_or(1.0)))),
        "array" => Some(Value::Array(vec![json_value(schema.get("items")?)?])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: ValueType) -> Field {
        Field::new("x", value)
    }

    #[test]
    fn examples_are_taken_and_the_rest_is_guessed_within_bounds() {
        let fp64 = || field(ValueType::Scalar { datatype: Datatype::Fp64 });
        let check = |field: Field, expected: Value| assert_eq!(inputs(&[field]), Some(json!({"x": expected})));
        check(Field { example: Some(json!(5.1)), ..fp64() }, json!(5.1));
        check(Field { minimum: Some(10.0), ..fp64() }, json!(10.0));
        check(Field { choices: vec![json!(7)], ..fp64() }, json!(7));
        check(field(ValueType::Scalar { datatype: Datatype::Int64 }), json!(1));
        check(field(ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, 2] }), json!([[1.0, 1.0]]));
        check(
            field(ValueType::Json { schema: json!({"type": "array", "items": {"type": "string"}}) }),
            json!(["text"]),
        );
        assert_eq!(inputs(&[field(ValueType::Json { schema: json!({"$ref": "#/$defs/A"}) })]), None);
        assert_eq!(inputs(&[Field { required: false, ..fp64() }]), Some(json!({})));
    }

    #[test]
    fn the_line_survives_the_shell() {
        let line = line("http://localhost/x", Some("$(kea token)"), &json!({"inputs": {"x": "it's"}}));
        let expected = "curl -s http://localhost/x -H \"Authorization: Bearer $(kea token)\" \
            -H 'Content-Type: application/json' -d '{\"inputs\":{\"x\":\"it'\\''s\"}}'";
        assert_eq!(line, expected);
    }
}
