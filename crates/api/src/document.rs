//! The OpenAPI document of the management API itself, made of the list of routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use kea_core::{management::Problem, policy::PolicyName};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use crate::{
    contracts,
    operation::{Access, Needs, Operation, Success, Tag},
    routes,
    schema_check::{finished, one_enum},
};

/// What schemas of answers are called where those of requests have the same name and another shape.
const ANSWERED: &str = "View";

/// `GET /openapi.json`
pub(crate) async fn serve(headers: HeaderMap) -> Response {
    static TEXT: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&openapi_document()).expect("a JSON value is written"));
    contracts::unless_known(&headers, TEXT.clone())
}

/// The OpenAPI 3.0 document of the management API.
pub fn openapi_document() -> Value {
    let mut schemas = Schemas::new();
    let operations: Vec<Operation> = routes::all().into_iter().map(|route| route.operation).collect();
    let mut written: Vec<(Operation, Value, Value)> = Vec::new();
    for operation in operations {
        let asked = asked(&operation, &mut schemas);
        let answered = responses(&operation, &mut schemas);
        written.push((operation, asked, answered));
    }
    let problem = finished_reference::<Problem>(&mut schemas.answers);
    let (components, renamed) = schemas.merged();

    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (operation, mut asked, mut answered) in written {
        rename(&mut answered, &renamed);
        asked["responses"] = answered;
        paths.entry(operation.path).or_default().insert(operation.verb.name().into(), asked);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "KEA management API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Deploys machine learning models as services, documents them, and routes requests to them.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": Tag::ALL.map(|tag| json!({"name": tag.name(), "description": tag.description()})),
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": problems(&problem),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The token that `POST /api/v1/k8c/auth/login` answers.",
                },
            },
        },
    })
}

/// What is asked of the caller, and what is said of the operation.
fn asked(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut written = json!({
        "tags": [operation.tag.name()],
        "operationId": operation.id,
        "summary": operation.summary,
        "security": security(operation.access),
    });
    if let Some(description) = operation.description {
        written["description"] = description.into();
    }
    let parameters = parameters(operation, &mut schemas.requests);
    if !parameters.is_empty() {
        written["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        let schema = (body.schema)(&mut schemas.requests);
        let content = json!({"application/json": {"schema": schema, "example": body.example}});
        written["requestBody"] = json!({"required": true, "content": content});
    }
    written
}

/// An empty requirement among others makes a token optional.
fn security(access: Access) -> Value {
    match access {
        Access::Token => json!([{"bearer": []}]),
        Access::TokenUnlessPublic | Access::Gateway => json!([{"bearer": []}, {}]),
        Access::Open => json!([]),
    }
}

fn parameters(operation: &Operation, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = path_parameters(&operation.path, generator);
    if let Some(query) = operation.query {
        let schema = query(generator);
        parameters.extend(query_parameters(&finished(generator, schema)));
    }
    parameters
}

fn path_parameters(path: &str, generator: &mut SchemaGenerator) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let (description, schema) = match name {
            "name" => ("The name of the role or binding.", generator.subschema_for::<PolicyName>().to_value()),
            "serviceId" => ("The service's name.", generator.subschema_for::<kea_core::ServiceId>().to_value()),
            "username" => ("The user's name.", json!({"type": "string"})),
            "sessionId" => ("The session's identifier.", json!({"type": "string"})),
            "keyId" => ("The key's identifier.", json!({"type": "string"})),
            _ => ("The function's name.", json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})),
        };
        json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
    };
    names.map(parameter).collect()
}

fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let described = schema.as_object_mut().and_then(|schema| {
            // A parameter that is left out is not `null`.
            schema.remove("nullable");
            schema.remove("description")
        });
        let mut parameter =
            json!({"name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": schema});
        if let Some(description) = described {
            parameter["description"] = description;
        }
        parameter
    };
    schema["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    let Success { status, .. } = operation.success;
    responses.insert(status.as_u16().to_string(), success(&operation.success, &mut schemas.answers));
    for status in failures(operation) {
        let reference = json!({"$ref": format!("#/components/responses/{}", problem_name(status))});
        responses.insert(status.as_u16().to_string(), reference);
    }
    responses.insert("5XX".into(), json!({"$ref": "#/components/responses/ServerError"}));
    Value::Object(responses)
}

fn success(success: &Success, generator: &mut SchemaGenerator) -> Value {
    let mut written = json!({"description": success.description});
    for (content_type, schema) in &success.content {
        written["content"][*content_type]["schema"] = schema(generator).to_value();
    }
    for (name, meaning) in &success.headers {
        written["headers"][*name] = json!({"description": meaning, "schema": {"type": "string"}});
    }
    written
}

/// Statuses that follow from what an operation takes, and its own.
fn failures(operation: &Operation) -> BTreeSet<StatusCode> {
    // An unknown query parameter is refused everywhere.
    let mut statuses = BTreeSet::from([StatusCode::BAD_REQUEST]);
    statuses.extend(&operation.also);
    if operation.access != Access::Open {
        statuses.insert(StatusCode::UNAUTHORIZED);
    }
    if operation.access != Access::Open && operation.needs != Needs::Nothing {
        statuses.insert(StatusCode::FORBIDDEN);
    }
    if operation.path.contains('{') {
        statuses.insert(StatusCode::NOT_FOUND);
    }
    if operation.body.is_some() {
        let body = [StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE];
        statuses.extend(body);
    }
    statuses
}

fn problem_name(status: StatusCode) -> String {
    status.canonical_reason().expect("statuses of the list are registered ones").replace(' ', "")
}

/// The answers that are errors.
fn problems(problem: &Value) -> Value {
    let headers = |name: &str, meaning: &str| json!({name: {"description": meaning, "schema": {"type": "string"}}});
    let content = json!({"application/problem+json": {"schema": problem}});
    let problem = |description: &str| json!({"description": description, "content": content});
    let with =
        |description: &str, headers: Value| json!({"description": description, "content": content, "headers": headers});
    let retry = || headers("Retry-After", "Seconds to wait.");
    json!({
        "BadRequest": problem("The request does not fit: `errors` names each wrong field."),
        "Unauthorized": with("A valid token is needed.", headers("WWW-Authenticate", "Always `Bearer`.")),
        "Forbidden": problem("The caller may not: `missing` names the permission."),
        "NotFound": problem("There is no such thing."),
        "RequestTimeout": problem("The body stopped arriving."),
        "Conflict": problem("The request contradicts what there is."),
        "PayloadTooLarge": problem("The body is too large."),
        "UnsupportedMediaType": problem("The body is not of the type `application/json`."),
        "TooManyRequests": with("Too many requests.", retry()),
        "ServerError": with("The request was right, but could not be met now.", retry()),
        "NotModified": {
            "description": "The caller has the document already.",
            "headers": headers("ETag", "The document's entity tag."),
        },
    })
}

/// Schemas of what is read and of what is written: of one type they differ, since a field that may be left out of a
/// request is always present in an answer.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::openapi3().with(|settings| {
                // Before the transforms that turn constants and `null` into OpenAPI's words.
                settings.transforms.insert(0, Box::new(RecursiveTransform(one_enum)));
                settings.transforms.insert(1, Box::new(RecursiveTransform(nullable_reference)));
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// All schemas, and what those of answers are called now.
    fn merged(mut self) -> (Map<String, Value>, BTreeMap<String, String>) {
        let mut all = self.requests.take_definitions(true);
        let answers = self.answers.take_definitions(true);
        let renamed = differing(&all, &answers);
        for (name, mut schema) in answers {
            rename(&mut schema, &renamed);
            all.insert(renamed.get(&name).unwrap_or(&name).clone(), schema);
        }
        (all, renamed)
    }
}

/// Names that mean another schema in answers, because it differs or because one that it refers to does.
fn differing(requests: &Map<String, Value>, answers: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    loop {
        let before = renamed.len();
        for (name, schema) in answers {
            let mut schema = schema.clone();
            rename(&mut schema, &renamed);
            if requests.get(name).is_some_and(|asked| *asked != schema) {
                renamed.insert(name.clone(), format!("{name}{ANSWERED}"));
            }
        }
        if renamed.len() == before {
            return renamed;
        }
    }
}

/// Lets references point to the new names.
fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), &*member) {
                    ("$ref", Value::String(reference)) => {
                        let new = reference.rsplit_once('/').and_then(|(place, name)| {
                            renamed.get(name).map(|new| Value::String(format!("{place}/{new}")))
                        });
                        *member = new.unwrap_or_else(|| member.clone());
                    }
                    _ => rename(member, renamed),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| rename(element, renamed)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes "this schema or null" as OpenAPI 3.0 does.
fn nullable_reference(schema: &mut Schema) {
    let Some([reference, null]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) else { return };
    if *null != json!({"type": "null"}) {
        return;
    }
    let reference = reference.clone();
    schema.remove("anyOf");
    schema.insert("allOf".into(), json!([reference]));
    schema.insert("nullable".into(), true.into());
}

fn finished_reference<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}
