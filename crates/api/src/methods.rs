//! What a service offers as a list: functions of a model, operations of a web service.

use kea_core::{
    Contract, Field, Function, ServiceId, ValueType,
    contract::web::{WebAnswer, WebOperation},
    management::{BASE_PATH, MethodInfo},
};

/// Name of a web service's body among inputs and outputs.
const BODY: &str = "body";

/// All that the contract has.
pub(crate) fn of(id: &ServiceId, contract: &Contract) -> Vec<MethodInfo> {
    let functions = contract.functions.iter().map(|function| function_of(id, function));
    functions.chain(contract.operations.iter().map(|operation| operation_of(id, operation))).collect()
}

fn function_of(id: &ServiceId, function: &Function) -> MethodInfo {
    MethodInfo {
        name: function.name.clone(),
        description: function.description.clone(),
        method: "POST".into(),
        path: format!("{BASE_PATH}/services/{id}/{}", function.name),
        inputs: function.inputs.clone(),
        outputs: function.outputs.clone(),
    }
}

fn operation_of(id: &ServiceId, operation: &WebOperation) -> MethodInfo {
    let body = operation.body.as_ref().map(|body| Field {
        required: body.required,
        description: body.media_type.clone(),
        ..Field::new(BODY, ValueType::Json { schema: body.schema.clone() })
    });
    let good = operation.answers.iter().find(|answer| answer.status < 400);
    MethodInfo {
        name: operation.name.clone(),
        description: operation.description.clone(),
        method: operation.method.to_string(),
        path: format!("{BASE_PATH}/services/{id}{}", operation.path),
        inputs: operation.parameters.iter().map(|parameter| parameter.field.clone()).chain(body).collect(),
        outputs: good.and_then(answered).into_iter().collect(),
    }
}

/// The body of an answer, where something is known of it.
fn answered(answer: &WebAnswer) -> Option<Field> {
    let schema = answer.schema.clone()?;
    let description = answer.media_type.clone().unwrap_or_default();
    Some(Field { description, ..Field::new(BODY, ValueType::Json { schema }) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_of_a_web_service_are_listed_with_their_method() {
        let field = Field::new("id", ValueType::Json { schema: json!({"type": "integer"}) });
        let operation = json!({
            "name": "change", "method": "put", "path": "/items/{id}",
            "parameters": [{"in": "path", "field": field}],
            "body": {"mediaType": "application/json", "schema": {"type": "object"}, "required": true},
            "answers": [
                {"status": 404, "description": "", "schema": {}},
                {"status": 200, "description": "", "mediaType": "application/json", "schema": {"type": "string"}},
            ],
        });
        let contract = Contract { operations: vec![serde_json::from_value(operation).unwrap()], ..Contract::default() };
        let [method] = &of(&"app".parse().unwrap(), &contract)[..] else { panic!("one operation") };
        assert_eq!((&*method.method, &*method.path), ("PUT", "/api/v1/k8c/services/app/items/{id}"));
        let names = |fields: &[Field]| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&method.inputs), names(&method.outputs)),
            (vec!["id".into(), BODY.into()], vec![BODY.into()])
        );
        assert_eq!(method.outputs[0].value, ValueType::Json { schema: json!({"type": "string"}) });
    }
}
