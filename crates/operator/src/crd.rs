//! The definitions of the custom resources, made from the documents' types.

use kea_core::documents::{DeploymentDocument, ModelDocument};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::resources::{DeploymentStatus, GROUP, VERSION};

/// Says that Kubernetes keeps whatever is there.
const ANYTHING: &str = "x-kubernetes-preserve-unknown-fields";

/// Says that a value is a whole number or a text.
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// Both definitions, MLModel first.
pub fn custom_resource_definitions() -> [Value; 2] {
    [model(), deployment()]
}

fn model() -> Value {
    let columns = json!([
        column("Version", "string", ".spec.version", "Version of the model."),
        column("Framework", "string", ".spec.modelFramework", "What made it."),
        column("Source", "string", ".spec.source", "Where it comes from."),
        column("Image", "string", ".spec.image", "An image that serves it."),
        column("Age", "date", ".metadata.creationTimestamp", "When it was made."),
    ]);
    definition(
        &Names { kind: "MLModel", plural: "mlmodels", singular: "mlmodel", short: "mlm" },
        &columns,
        json!({
            "description": "A model and where it comes from.",
            "properties": {"spec": schema::<ModelDocument>()},
        }),
    )
}

fn deployment() -> Value {
    let columns = json!([
        column("Model", "string", ".status.model", "The model that it runs."),
        column("Version", "string", ".status.liveVersion", "The version that answers."),
        column("Ready", "string", ".status.ready", "Replicas that answer, of those wanted."),
        column("Status", "string", ".status.state", "How far it is."),
        column("URL", "string", ".status.url", "Where to call it."),
        column("Age", "date", ".metadata.creationTimestamp", "When it was made."),
        wide("Reason", ".status.reason", "Why it is not deployed."),
        wide("Image", ".status.image", "Its image."),
    ]);
    let mut definition = definition(
        &Names { kind: "MLDeployment", plural: "mldeployments", singular: "mldeployment", short: "mld" },
        &columns,
        json!({
            "description": "How a model is to be run.",
            "properties": {"spec": schema::<DeploymentDocument>(), "status": schema::<DeploymentStatus>()},
        }),
    );
    definition["spec"]["versions"][0]["subresources"] = json!({
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    });
    definition
}

struct Names {
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static str,
}

fn definition(names: &Names, columns: &Value, mut schema: Value) -> Value {
    let Names { kind, plural, singular, short } = names;
    schema["type"] = "object".into();
    schema["required"] = json!(["spec"]);
    let properties = schema["properties"].as_object_mut().expect("the callers give properties");
    properties.insert("apiVersion".into(), json!({"type": "string"}));
    properties.insert("kind".into(), json!({"type": "string"}));
    properties.insert("metadata".into(), json!({"type": "object"}));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": format!("{kind}List"),
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["kea"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

fn column(name: &str, kind: &str, path: &str, description: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path, "description": description})
}

/// A column of `kubectl get -o wide`.
fn wide(name: &str, path: &str, description: &str) -> Value {
    let mut column = column(name, "string", path, description);
    column["priority"] = 1.into();
    column
}

/// The structural schema of a type.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.remove("title");
    }
    structural(&mut schema);
    schema
}

/// Says in the words of a structural schema what JSON Schema says otherwise.
fn structural(schema: &mut Value) {
    let Value::Object(object) = schema else {
        // `true`: any value. What it may be is checked by whoever reads it.
        *schema = json!({ANYTHING: true});
        return;
    };
    // A field that is not there is not there; `null` is no other way to say so.
    object.remove("nullable");
    // KEA knows the defaults, and says them in the descriptions. The scale subresource alone needs one.
    object.retain(|key, value| key != "default" || value.is_number());
    if object.get("additionalProperties").is_some_and(Value::is_boolean) {
        object.remove("additionalProperties");
    }
    choices(object);
    for key in ["items", "additionalProperties"] {
        object.get_mut(key).into_iter().for_each(structural);
    }
    let properties = object.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(|properties| properties.values_mut()).for_each(structural);
    if !["type", INT_OR_STRING].iter().any(|key| object.contains_key(*key)) {
        object.insert(ANYTHING.into(), true.into());
    }
}

/// A choice is one of texts, or a text or a number, or something that may be left out.
fn choices(object: &mut Map<String, Value>) {
    let Some(Value::Array(mut choices)) = object.remove("anyOf").or_else(|| object.remove("oneOf")) else {
        object
            .get_mut("enum")
            .and_then(Value::as_array_mut)
            .into_iter()
            .for_each(|values| values.retain(|v| !v.is_null()));
        return;
    };
    choices.retain(|choice| choice["type"] != "null" && choice["enum"] != json!([null]));
    let of_type = |kind: &str| choices.iter().find(|choice| choice["type"] == kind);
    if let (Some(text), Some(_number)) = (of_type("string"), of_type("number")) {
        // Amounts and spans, for which Kubernetes has a word of its own.
        object.extend(text.get("pattern").map(|pattern| ("pattern".to_string(), pattern.clone())));
        object.insert(INT_OR_STRING.into(), true.into());
        return;
    }
    if let [one] = &choices[..] {
        let one = one.as_object().cloned().unwrap_or_default();
        one.into_iter().for_each(|(key, value)| {
            object.entry(key).or_insert(value);
        });
        return self::choices(object);
    }
    let words: Vec<Value> = choices
        .iter()
        .flat_map(|choice| match &choice["enum"] {
            Value::Array(words) => words.clone(),
            _ => vec![choice["const"].clone()],
        })
        .collect();
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), words.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rule of a structural schema that its types could break: each node has a type, or says that it has none.
    fn check(schema: &Value, path: &str) {
        let object = schema.as_object().unwrap_or_else(|| panic!("{path} is no object"));
        for forbidden in ["$ref", "anyOf", "oneOf", "nullable", "const", "definitions", "components"] {
            assert!(!object.contains_key(forbidden), "{path} has `{forbidden}`");
        }
        let has_type = ["type", INT_OR_STRING, ANYTHING].iter().any(|key| object.contains_key(*key));
        assert!(has_type, "{path} has no type");
        let words = object.get("enum").and_then(Value::as_array);
        assert!(words.is_none_or(|words| words.iter().all(Value::is_string)), "{path} has an odd enum");
        for (name, inner) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let inner_path = format!("{path}.{name}");
            let described = inner.get("description").is_some() || path == "root";
            assert!(described, "{inner_path} has no description");
            check(inner, &inner_path);
        }
        for key in ["items", "additionalProperties"] {
            object.get(key).into_iter().for_each(|inner| check(inner, &format!("{path}.{key}")));
        }
    }

    #[test]
    fn the_schemas_are_structural_and_described() {
        for definition in custom_resource_definitions() {
            check(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "root");
        }
    }

    #[test]
    fn bounds_and_defaults_are_said() {
        let [_, deployment] = custom_resource_definitions();
        let spec = &deployment["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        assert_eq!(spec["replicas"]["maximum"], 1000);
        assert_eq!(spec["replicas"]["default"], 1);
        assert_eq!(spec["timeout"]["x-kubernetes-int-or-string"], true);
        assert_eq!(spec["loadBalancer"]["properties"]["algorithm"]["enum"][0], "round_robin");
    }
}
