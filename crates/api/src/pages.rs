//! The documentation pages: a list of services, and Swagger UI for each. Their files are part of the binary, and a
//! browser loads nothing from elsewhere. The pages themselves hold no data: their scripts fetch it with the token.

mod assets;
mod cards;

use axum::{
    Router,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, header};

use crate::ApiState;

/// Scripts and styles come from this server alone and none is inline, so a service's description cannot bring its own.
/// Swagger UI's style sheet has its icons within it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                                       form-action 'self'; frame-ancestors 'none'";

/// Headers of every page and file.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// The paths that are no operations of the API.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/docs")))
        .route("/docs", get(async || page(include_str!("../assets/services.html"))))
        .route("/docs/services.json", get(cards::list))
        // One page for all: its script reads from the address which document to show.
        .route("/docs/api", get(document_page))
        .route("/docs/{serviceId}", get(document_page))
        .route("/docs/assets/{file}", get(assets::serve))
}

async fn document_page() -> Response {
    page(include_str!("../assets/service.html"))
}

fn page(html: &'static str) -> Response {
    (HEADERS, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}
