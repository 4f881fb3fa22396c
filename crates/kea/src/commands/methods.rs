//! `kea methods`.

use kea_core::{Field, ValueType, management::MethodInfo};
use serde_json::Value;

use super::{Session, service, service::ServiceArgs};
use crate::{failure::Failure, output::table};

/// Shows the functions of a service.
pub(crate) async fn run(session: &Session, args: &ServiceArgs) -> Result<(), Failure> {
    let answer = session.client.get(&["services", args.name.as_str(), "methods"], &[]).await?;
    session.output.answer(&answer, |methods: &Vec<MethodInfo>| match methods.is_empty() {
        true => "its functions are not known yet".into(),
        false => methods.iter().map(|method| describe(method, session)).collect::<Vec<_>>().join("\n"),
    })
}

fn describe(method: &MethodInfo, session: &Session) -> String {
    let MethodInfo { name, description, method, path, inputs, outputs } = method;
    let mut text = format!("{name}  {method} {}\n", service::absolute(path, session));
    if !description.is_empty() {
        text.push_str(&format!("{description}\n"));
    }
    for (heading, fields) in [("INPUT", inputs), ("OUTPUT", outputs)] {
        if !fields.is_empty() {
            let header = [heading, "TYPE", "REQUIRED", "EXAMPLE", "DESCRIPTION"];
            text.push_str(&format!("\n{}", table(&header, fields.iter().map(row))));
        }
    }
    text
}

fn row(field: &Field) -> Vec<String> {
    let example = field.example.as_ref().map(Value::to_string).unwrap_or_default();
    let required = if field.required { "yes" } else { "no" };
    vec![field.name.clone(), kind(field), required.into(), example, field.description.clone()]
}

/// The values of a field in short: `FP64`, `FP32 [-1, 784]`, `string`, `one of "a", "b"`.
fn kind(field: &Field) -> String {
    if !field.choices.is_empty() {
        let choices: Vec<_> = field.choices.iter().map(Value::to_string).collect();
        return format!("one of {}", choices.join(", "));
    }
    let kind = match &field.value {
        ValueType::Scalar { datatype } => datatype.to_string(),
        ValueType::Tensor { datatype, shape } => format!("{datatype} {shape:?}"),
        ValueType::Json { schema } => schema.get("type").and_then(Value::as_str).unwrap_or("JSON").into(),
    };
    if field.nullable { format!("{kind} or null") } else { kind }
}

#[cfg(test)]
mod tests {
    use kea_core::Datatype;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_of_a_field_is_told_in_short() {
        let check = |field: Field, expected: &str| assert_eq!(kind(&field), expected);
        let scalar = || Field::new("x", ValueType::Scalar { datatype: Datatype::Fp64 });
        check(scalar(), "FP64");
        check(Field { nullable: true, ..scalar() }, "FP64 or null");
        check(Field { choices: vec![json!("a"), json!(2)], ..scalar() }, "one of \"a\", 2");
        check(Field::new("x", ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, 784] }), "FP32 [-1, 784]");
        check(Field::new("x", ValueType::Json { schema: json!({"type": "string"}) }), "string");
        check(Field::new("x", ValueType::Json { schema: json!({"oneOf": []}) }), "JSON");
    }
}
