//! Single sign-on as a browser and a command see it, with providers that are not there. What a real one does is tried end
//! to end.

use std::sync::Arc;

use kea_auth::oidc::Provider;
use serde_json::json;

use crate::support::{Answer, TestApi};

/// At whose port nothing listens.
const AWAY: &str = "name = \"corp\"\ntitle = \"The <b>Corp</b>\"\nissuer = \"http://127.0.0.1:9\"\nclient-id = \"kea\"\ndevice = true\n";

async fn api() -> TestApi {
    let provider = Provider::new(toml::from_str(AWAY).unwrap()).unwrap();
    TestApi::with_providers(vec![Arc::new(provider)]).await
}

async fn get(api: &TestApi, path: &str, headers: &[(&str, &str)]) -> Answer {
    api.send("GET", path, headers, "").await
}

/// A page for people, which cannot bring scripts of its own.
fn is_page(answer: &Answer, status: u16, says: &str) {
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, "text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").starts_with("default-src 'self';"));
    assert!(answer.text.contains(says), "{}", answer.text);
}

#[tokio::test]
async fn everybody_hears_which_providers_there_are() {
    let listed = get(&api().await, "/auth/sso", &[]).await;
    assert_eq!(listed.json, json!({"providers": [{"name": "corp", "title": "The <b>Corp</b>"}]}));
    assert_eq!(get(&TestApi::start().await, "/auth/sso", &[]).await.json, json!({"providers": []}));
}

#[tokio::test]
async fn a_provider_that_is_down_gives_a_page_that_leads_to_the_login_with_a_password() {
    let answer = get(&api().await, "/auth/sso/corp?next=/docs/iris%3Fx%3D%22", &[]).await;
    is_page(&answer, 502, "the provider <code>corp</code> cannot be reached");
    assert!(answer.text.contains("href=\"/login?next=/docs/iris%3Fx%3D%22\""), "{}", answer.text);
    assert!(answer.text.contains("href=\"/auth/sso/corp?next=/docs/iris%3Fx%3D%22\""));
}

#[tokio::test]
async fn what_a_browser_is_lured_to_is_refused_on_a_page() {
    let api = api().await;
    for (path, status, says) in [
        ("/auth/sso/other", 404, "no provider <code>other</code>"),
        ("/auth/sso/corp?next=//evil.example", 400, "no page of this server"),
        ("/auth/sso/corp?next=https://evil.example", 400, "no page of this server"),
        ("/auth/sso/corp?port=4711", 400, "<code>challenge</code>"),
        ("/auth/sso/corp?port=x", 400, "port"),
        ("/auth/sso/corp?page=/docs", 400, "unknown field"),
        ("/auth/sso/corp/callback?code=c&state=s", 400, "not begun in this browser"),
        ("/auth/sso/%3Cscript%3E", 404, "&lt;script&gt;"),
    ] {
        let answer = get(&api, path, &[("cookie", "kea_sso=a.b.c")]).await;
        is_page(&answer, status, says);
        assert!(!answer.text.contains("<script") && !answer.text.contains("href=\"/auth/sso/<"), "{path}");
    }
}

#[tokio::test]
async fn a_browser_begins_where_the_provider_sends_it_back_to() {
    let api = api().await;
    let begins = async |host: &str, query: &str| {
        let answer = get(&api, &format!("/auth/sso/corp?next=/docs{query}"), &[("host", host)]).await;
        (answer.status.as_u16(), answer.header("location").to_owned())
    };
    let moved = "https://kea.example/auth/sso/corp?next=/docs&moved";
    assert_eq!(begins("localhost:8080", "").await, (303, moved.into()));
    assert_eq!(begins("localhost:8080", "&moved").await.0, 502, "a proxy gives another host");
    assert_eq!(begins("KEA.example", "").await.0, 502, "it is there, and the provider is away");
}

#[tokio::test]
async fn a_command_is_answered_in_json() {
    let api = api().await;
    let verifier = "v".repeat(43);
    let code = format!(r#"{{"code": "nothing", "verifier": "{verifier}"}}"#);
    for (path, body, status) in [
        ("/auth/sso/corp/token", code.as_str(), 400),
        ("/auth/sso/corp/token", r#"{"code": "x"}"#, 400),
        ("/auth/sso/corp/device", "", 502),
        ("/auth/sso/other/device", "", 404),
        ("/auth/sso/corp/device/token", r#"{"handle": "a.b.c"}"#, 400),
        ("/auth/sso/corp/device/token", r#"{"handle": 1}"#, 400),
    ] {
        let answer = api.send("POST", path, &[("content-type", "application/json")], body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (status, "application/problem+json"),
            "{path}"
        );
        assert!(answer.json["detail"].is_string());
    }
}

#[tokio::test]
async fn a_page_of_another_site_begins_no_login_of_a_device() {
    let api = api().await;
    for (name, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("origin", "https://evil.example", 403),
        // The provider is away: it was asked.
        ("sec-fetch-site", "same-origin", 502),
    ] {
        let answer = api.send("POST", "/auth/sso/corp/device", &[(name, value)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn the_end_of_a_local_session_leads_nowhere_else() {
    let answer = api().await.call("POST", "/api/v1/k8c/auth/logout", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("kea-provider-logout")), (204, ""));
}
