//! What every operation answers besides predictions: problems, headers, and how callers are known.

use serde_json::{Map, Value, json};

/// Name, status and meaning of each problem.
const PROBLEMS: [(&str, u16, &str); 10] = [
    ("BadRequest", 400, "The request does not fit the schema; `errors` names each field."),
    ("Unauthorized", 401, "There is no valid token."),
    ("Forbidden", 403, "The token's user may not call this function."),
    ("NotFound", 404, "There is no such service, function or version."),
    ("PayloadTooLarge", 413, "The body is larger than the service takes."),
    ("TooManyRequests", 429, "The caller sends more than it may; `Retry-After` says when to try again."),
    ("ModelFailed", 500, "The model raised an error; `detail` has its text."),
    (
        "BadGateway",
        502,
        "The replica could not be reached or broke off, or its answer does not fit the contract and has to.",
    ),
    ("Unavailable", 503, "No replica can take the request now; `Retry-After` says when to try again."),
    ("Timeout", 504, "The replica did not answer in time."),
];

/// Statuses after which a client should wait.
const RETRY: [u16; 2] = [429, 503];

/// Statuses of requests that KEA reads and runs itself.
const READ: [u16; 2] = [400, 500];

/// Headers of every answer of a service.
const HEADERS: [(&str, &str); 3] = [
    ("kea-service", "The service that answered."),
    ("kea-version", "The version that answered."),
    ("kea-cache", "Whether the answer came from the response cache."),
];

/// The `responses` of an operation: its own success, and references to the problems.
pub(super) fn responses(success: Value) -> Value {
    let problems = PROBLEMS.iter().map(|(name, status, _)| (status.to_string(), reference("responses", name)));
    Value::Object([("200".to_owned(), success)].into_iter().chain(problems).collect())
}

/// The problems that KEA answers for a web service, to which requests are passed on unread.
pub(super) fn passed_on() -> Map<String, Value> {
    let own = PROBLEMS.iter().filter(|(_, status, _)| !READ.contains(status));
    own.map(|(name, status, _)| (status.to_string(), reference("responses", name))).collect()
}

/// References to the headers of a service's answers.
pub(super) fn header_references() -> Value {
    HEADERS.iter().map(|(name, _)| ((*name).to_owned(), reference("headers", name))).collect::<Map<_, _>>().into()
}

pub(super) fn headers() -> Value {
    let header = |(name, words): &(&str, &str)| {
        let schema = match *name {
            "kea-cache" => json!({"type": "string", "enum": ["hit", "miss", "bypass"]}),
            _ => json!({"type": "string"}),
        };
        ((*name).to_owned(), json!({"description": words, "schema": schema}))
    };
    HEADERS.iter().map(header).collect::<Map<_, _>>().into()
}

pub(super) fn problems() -> Value {
    let problem = |(name, status, words): &(&str, u16, &str)| {
        let mut response = json!({
            "description": words,
            "content": {"application/problem+json": {"schema": reference("schemas", "Problem")}},
        });
        if RETRY.contains(status) {
            response["headers"] = json!({
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
            });
        }
        ((*name).to_owned(), response)
    };
    PROBLEMS.iter().map(problem).collect::<Map<_, _>>().into()
}

/// The schemas of `kea_core::management::Problem` and of what is in it.
pub(super) fn schemas() -> Map<String, Value> {
    let text = |words: &str| json!({"type": "string", "description": words});
    let problem = json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": text("A URI that names the kind of problem."),
            "title": text("The kind of problem in words."),
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": text("What is wrong and what to do."),
            "instance": text("The request's id, which the log has too."),
            "errors": {
                "type": "array",
                "description": "What is wrong with the request, for validation.",
                "items": reference("schemas", "Violation"),
            },
            "missing": {
                "type": "object",
                "description": "The permission that the caller lacks, where that is why.",
                "required": ["verb", "service", "function"],
                "properties": {
                    "verb": text("What would have to be allowed."),
                    "service": {"type": "string", "nullable": true, "description": "The service."},
                    "function": {"type": "string", "nullable": true, "description": "The function, for calls."},
                },
            },
        },
    });
    let violation = json!({
        "type": "object",
        "description": "One thing that is wrong with a request.",
        "required": ["pointer", "expected", "received", "detail"],
        "properties": {
            "pointer": text("JSON pointer (RFC 6901) to the field, as `/inputs/petal_width`."),
            "expected": text("What was expected there."),
            "received": text("What came."),
            "detail": text("What to do."),
        },
    });
    Map::from_iter([("Problem".to_owned(), problem), ("Violation".to_owned(), violation)])
}

pub(super) fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The token of `POST /auth/login`.",
        },
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}
