//! The documents `Role` and `RoleBinding`, written as Kubernetes' own: the files of `kea auth apply -f`.

use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    documents::{API_VERSION, DocumentError, Metadata},
    policy::{Binding, BindingSpec, PolicyName, Role, RoleSpec, Rule, Subject},
};

/// What a document asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyDocument {
    /// That there is such a role.
    Role(Role),
    /// That these have a role.
    Binding(Binding),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RoleDocument {
    api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    #[serde(default)]
    description: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BindingDocument {
    api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    role_ref: RoleRef,
    subjects: Vec<Subject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RoleRef {
    #[serde(default, rename = "kind")]
    _kind: RoleKind,
    name: PolicyName,
}

/// Roles are bound, and nothing else.
#[derive(Default, Deserialize, JsonSchema)]
enum RoleKind {
    #[default]
    Role,
}

/// Reads documents, in their order.
///
/// # Errors
/// Another kind, or fields that its kind does not have; no document at all.
pub fn policies(documents: Vec<Value>) -> Result<Vec<PolicyDocument>, DocumentError> {
    let read: Vec<_> = documents.into_iter().map(policy).collect::<Result<_, _>>()?;
    if read.is_empty() { Err(DocumentError::NoPolicy) } else { Ok(read) }
}

fn policy(document: Value) -> Result<PolicyDocument, DocumentError> {
    match document.get("kind").and_then(Value::as_str) {
        Some("Role") => role(document),
        Some("RoleBinding") => binding(document),
        other => Err(DocumentError::PolicyKind(other.unwrap_or_default().into())),
    }
}

fn role(document: Value) -> Result<PolicyDocument, DocumentError> {
    let malformed = malformed("Role", &document);
    let RoleDocument { api_version, metadata, description, rules, .. } = parse(document, &malformed)?;
    known(api_version)?;
    rules.iter().try_for_each(Rule::check).map_err(|error| malformed(error.to_string()))?;
    let name = metadata.name.parse().map_err(|error| malformed(format!("{error}")))?;
    Ok(PolicyDocument::Role(Role { name, spec: RoleSpec { description, rules } }))
}

fn binding(document: Value) -> Result<PolicyDocument, DocumentError> {
    let malformed = malformed("RoleBinding", &document);
    let BindingDocument { api_version, metadata, role_ref, subjects, .. } = parse(document, &malformed)?;
    known(api_version)?;
    if subjects.is_empty() {
        return Err(malformed("`subjects` is empty: name who has the role".into()));
    }
    let name = metadata.name.parse().map_err(|error| malformed(format!("{error}")))?;
    Ok(PolicyDocument::Binding(Binding { name, spec: BindingSpec { role: role_ref.name, subjects } }))
}

fn malformed(kind: &'static str, document: &Value) -> impl Fn(String) -> DocumentError + use<> {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?").to_owned();
    move |why| DocumentError::Malformed { kind, name: name.clone(), why }
}

fn parse<T: DeserializeOwned>(
    document: Value,
    malformed: &impl Fn(String) -> DocumentError,
) -> Result<T, DocumentError> {
    serde_json::from_value(document).map_err(|error| malformed(error.to_string()))
}

fn known(api_version: String) -> Result<(), DocumentError> {
    if api_version == API_VERSION { Ok(()) } else { Err(DocumentError::ApiVersion(api_version)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(document: Value) -> String {
        policies(vec![document]).unwrap_err().to_string()
    }

    #[test]
    fn documents_are_written_as_those_of_kubernetes() {
        let read = policies(vec![
            json!({
                "apiVersion": API_VERSION, "kind": "Role", "metadata": {"name": "teacher"},
                "rules": [{"verbs": ["predict"], "services": ["grades"], "functions": ["set_grades"]}],
            }),
            json!({
                "apiVersion": API_VERSION, "kind": "RoleBinding", "metadata": {"name": "teachers"},
                "roleRef": {"kind": "Role", "name": "teacher"}, "subjects": [{"kind": "Group", "name": "staff"}],
            }),
        ]);
        let [PolicyDocument::Role(role), PolicyDocument::Binding(binding)] = &read.unwrap()[..] else { panic!() };
        assert_eq!((role.name.as_str(), role.spec.rules[0].functions.len()), ("teacher", 1));
        assert_eq!(
            (binding.spec.role.as_str(), binding.spec.subjects[0].to_string()),
            ("teacher", "group staff".into())
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let role = |rules: Value| json!({"apiVersion": API_VERSION, "kind": "Role", "metadata": {"name": "a"}, "rules": rules});
        assert!(refused(role(json!([{"verbs": ["read"]}]))).contains("Role `a`: name the services"));
        assert!(refused(role(json!([{"verb": ["read"]}]))).contains("unknown field `verb`"));
        assert!(refused(json!({"kind": "MLModel"})).contains("`kind: MLModel` is no role"));
        let binding = json!({
            "apiVersion": API_VERSION, "kind": "RoleBinding", "metadata": {"name": "b"},
            "roleRef": {"name": "teacher"}, "subjects": [],
        });
        assert!(refused(binding).contains("`subjects` is empty"));
        assert!(policies(Vec::new()).unwrap_err().to_string().contains("no Role or RoleBinding"));
    }
}
