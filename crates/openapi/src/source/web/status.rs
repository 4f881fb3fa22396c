//! Statuses as sources write them, and what they mean.

use ruff_python_ast::Expr;

use crate::source::{
    literal,
    project::{ModuleId, Project},
};

/// Statuses that have a name in `http.HTTPStatus` and are met in services, with their meaning.
const NAMED: [(u16, &str, &str); 24] = [
    (200, "OK", "What was asked for."),
    (201, "CREATED", "Created."),
    (202, "ACCEPTED", "Accepted, and not done yet."),
    (204, "NO_CONTENT", "Done; there is no body."),
    (301, "MOVED_PERMANENTLY", "It moved for good."),
    (302, "FOUND", "It is elsewhere."),
    (303, "SEE_OTHER", "The answer is elsewhere."),
    (304, "NOT_MODIFIED", "It has not changed."),
    (307, "TEMPORARY_REDIRECT", "It is elsewhere for now."),
    (400, "BAD_REQUEST", "The request is wrong."),
    (401, "UNAUTHORIZED", "The service does not know who asks."),
    (403, "FORBIDDEN", "The service does not allow it."),
    (404, "NOT_FOUND", "There is no such thing."),
    (405, "METHOD_NOT_ALLOWED", "The method is not allowed."),
    (406, "NOT_ACCEPTABLE", "It cannot be had in that form."),
    (409, "CONFLICT", "It conflicts with what is there."),
    (410, "GONE", "It is gone."),
    (413, "REQUEST_ENTITY_TOO_LARGE", "The body is too large."),
    (415, "UNSUPPORTED_MEDIA_TYPE", "The body is of a kind that is not taken."),
    (422, "UNPROCESSABLE_ENTITY", "The request does not fit."),
    (429, "TOO_MANY_REQUESTS", "There are too many requests."),
    (500, "INTERNAL_SERVER_ERROR", "The service failed."),
    (501, "NOT_IMPLEMENTED", "The service does not do this."),
    (503, "SERVICE_UNAVAILABLE", "The service cannot answer now."),
];

/// The status that an expression is: a number, `status.HTTP_201_CREATED` or `HTTPStatus.CREATED`.
pub(super) fn of(project: &Project<'_>, module: ModuleId, expr: &Expr) -> Option<u16> {
    let number = match literal::value(project, module, expr) {
        Some(value) => value.as_u64()?.try_into().ok()?,
        None => named(&project.external(module, expr)?)?,
    };
    (100..=599).contains(&number).then_some(number)
}

fn named(name: &str) -> Option<u16> {
    let name = name.strip_suffix(".value").unwrap_or(name);
    let (package, last) = name.rsplit_once('.')?;
    match package {
        "fastapi.status" | "starlette.status" => last.strip_prefix("HTTP_")?.split('_').next()?.parse().ok(),
        "http.HTTPStatus" => NAMED.iter().find(|(_, name, _)| *name == last).map(|(status, ..)| *status),
        _ => None,
    }
}

/// What a status means.
pub(super) fn meaning(status: u16) -> String {
    let known = NAMED.iter().find(|(number, ..)| *number == status);
    known.map_or_else(|| format!("Status {status}."), |(_, _, meaning)| (*meaning).to_owned())
}
