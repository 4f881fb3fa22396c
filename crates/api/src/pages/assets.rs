//! Scripts, styles and icons of the pages.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use kea_http::ApiError;
use sha2::{Digest, Sha256};
use utoipa_swagger_ui::Config;

use super::HEADERS;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// KEA's own files.
const OWN: [(&str, &str, &str); 7] = [
    ("kea.css", CSS, include_str!("../../assets/kea.css")),
    ("kea.svg", "image/svg+xml", include_str!("../../assets/kea.svg")),
    ("session.js", JAVASCRIPT, include_str!("../../assets/session.js")),
    ("login.js", JAVASCRIPT, include_str!("../../assets/login.js")),
    ("services.js", JAVASCRIPT, include_str!("../../assets/services.js")),
    ("service.js", JAVASCRIPT, include_str!("../../assets/service.js")),
    ("samples.js", JAVASCRIPT, include_str!("../../assets/samples.js")),
];

/// Files of Swagger UI, as the crate brings them.
const SWAGGER_UI: [(&str, &str); 2] = [("swagger-ui.css", CSS), ("swagger-ui-bundle.js", JAVASCRIPT)];

/// A file with its entity tag.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    tag: String,
    bytes: Cow<'static, [u8]>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let own = OWN.iter().map(|(name, kind, text)| Asset::new(name, kind, Cow::Borrowed(text.as_bytes())));
    let swagger_ui = SWAGGER_UI.iter().map(|(name, kind)| Asset::new(name, kind, swagger_ui(name)));
    own.chain(swagger_ui).collect()
});

impl Asset {
    fn new(name: &'static str, content_type: &'static str, bytes: Cow<'static, [u8]>) -> Self {
        let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
        Self { name, content_type, tag, bytes }
    }
}

fn swagger_ui(name: &str) -> Cow<'static, [u8]> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json")));
    file.ok().flatten().expect("the crate is built with its files").bytes
}

/// `GET /docs/assets/{file}`
pub(super) async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let asset = ASSETS.iter().find(|asset| asset.name == file).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "no-such-file", format!("the pages have no file `{file}`"))
    })?;
    let tag = [(header::ETAG, asset.tag.as_str())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == asset.tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, HEADERS, tag).into_response());
    }
    let body = match &asset.bytes {
        Cow::Borrowed(bytes) => axum::body::Body::from(*bytes),
        Cow::Owned(bytes) => axum::body::Body::from(bytes.clone()),
    };
    Ok((HEADERS, tag, [(header::CONTENT_TYPE, asset.content_type)], body).into_response())
}
