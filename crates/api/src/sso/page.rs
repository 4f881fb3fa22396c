//! The page that says why a login by a provider did not succeed, and what else there is.

use axum::response::{IntoResponse, Response};
use http::header;
use kea_http::{ApiError, ProblemKind};

use crate::pages;

const TEMPLATE: &str = include_str!("../../assets/trouble.html");

/// That page. It leads to the login by the same provider again, and to the one with a password, which needs no provider.
pub(super) fn trouble(error: &ApiError, provider: Option<&str>, next: Option<&str>) -> Response {
    let next = pages::escaped(next.unwrap_or("/docs"));
    let again = provider.map_or_else(|| "/login".into(), |name| format!("/auth/sso/{}", pages::escaped(name)));
    let html = TEMPLATE
        .replace("{again}", &format!("{again}?next={next}"))
        .replace("{login}", &format!("/login?next={next}"))
        // Last, so that nothing in it is replaced.
        .replace("{detail}", &as_text(&error.detail));
    let kind = axum::Extension(ProblemKind(error.kind, error.status));
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (error.status, kind, pages::HEADERS, headers, html).into_response()
}

/// A sentence, in which words between backticks are code. What a provider or a browser says is never markup.
fn as_text(sentence: &str) -> String {
    let escaped = sentence
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => part.to_owned(),
        _ => format!("<code>{part}</code>"),
    };
    escaped.split('`').enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_somebody_else_says_is_markup() {
        let told = as_text("the provider `corp` refused: <script src='x'>\"&\"</script>");
        assert_eq!(
            told,
            "the provider <code>corp</code> refused: &lt;script src=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/script&gt;"
        );
    }
}
