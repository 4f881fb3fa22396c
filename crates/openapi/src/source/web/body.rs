//! The body of a request, put together of what a function takes of it.

use kea_core::contract::web::WebBody;
use serde_json::{Map, Value, json};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// One part of a body.
pub(super) struct BodyPart {
    pub(super) name: String,
    pub(super) schema: Value,
    pub(super) required: bool,
    pub(super) kind: PartKind,
}

/// How a part is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartKind {
    /// The whole body, as JSON, where it is alone.
    Json,
    /// A member of the body, even where it is alone.
    Member,
    /// A field of a form.
    Form,
    /// A file of a form.
    File,
}

/// The body of these parts; `None` without any.
pub(super) fn of_parts(mut parts: Vec<BodyPart>) -> Option<WebBody> {
    let required = parts.iter().any(|part| part.required);
    let has = |kind: PartKind| parts.iter().any(|part| part.kind == kind);
    let media_type = match (has(PartKind::File), has(PartKind::Form)) {
        (true, _) => MULTIPART,
        (false, true) => FORM,
        (false, false) => JSON,
    };
    let schema = match parts.len() {
        0 => return None,
        1 if parts[0].kind == PartKind::Json => parts.remove(0).schema,
        _ => object(parts),
    };
    Some(WebBody { media_type: media_type.to_owned(), schema, required })
}

fn object(parts: Vec<BodyPart>) -> Value {
    let required: Vec<String> = parts.iter().filter(|part| part.required).map(|part| part.name.clone()).collect();
    let properties: Map<String, Value> = parts.into_iter().map(|part| (part.name, part.schema)).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// The schema of a file in a form.
pub(super) fn file() -> Value {
    json!({"type": "string", "format": "binary"})
}
