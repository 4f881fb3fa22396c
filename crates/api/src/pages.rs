//! The documentation pages: a list of services, and Swagger UI for each. Their files are part of the binary, and a
//! browser loads nothing from elsewhere. The pages themselves hold no data: their scripts fetch it with the token.

mod assets;
mod cards;
mod login;

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, header};

pub(crate) use self::login::{escaped, to_login};
use crate::{ApiState, guard};

/// Scripts and styles come from this server alone and none is inline, so a service's description cannot bring its own.
/// Swagger UI's style sheet has its icons within it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                                       form-action 'self'; frame-ancestors 'none'";

/// Headers of every page and file.
pub(crate) const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// The paths that are no operations of the API.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/docs")))
        .route("/login", get(async || page(include_str!("../assets/login.html"))))
        .route("/docs", get(async || page(include_str!("../assets/services.html"))))
        .route("/docs/services.json", get(cards::list))
        // One page for all: its script reads from the address which document to show.
        .route("/docs/api", get(document_page))
        .route("/docs/{serviceId}", get(service_page))
        .route("/docs/assets/{file}", get(assets::serve))
}

async fn document_page() -> Response {
    page(include_str!("../assets/service.html"))
}

/// The page of a service: for browsers that may see it, and to the login for others. The page itself holds nothing that
/// is secret, so that a program gets it as it is.
async fn service_page(State(state): State<ApiState>, Path(name): Path<String>, request: Request) -> Response {
    let headers = request.headers();
    if login::is_navigation(headers) && !guard::may_look(&state, headers, name.parse().ok().as_ref()) {
        return login::redirect(request.uri());
    }
    document_page().await
}

fn page(html: &'static str) -> Response {
    (HEADERS, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}
