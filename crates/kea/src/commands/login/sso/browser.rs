//! The browser of this machine: opened, and heard when it comes back.

use std::{
    env,
    process::{Command, Stdio},
    time::Duration,
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use tokio::{net::TcpListener, sync::mpsc};

use crate::failure::Failure;

/// How long the browser may take to get the page that says how it went.
const DRAIN: Duration = Duration::from_secs(1);

/// Names the browser to use, as other programs read it.
const BROWSER: &str = "BROWSER";

/// Whether there is a browser, as far as the environment tells: one is named, or there is a screen.
pub(super) fn is_there() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_screen = match cfg!(target_os = "macos") {
        true => !is_set("SSH_CONNECTION"),
        false => is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"),
    };
    is_set(BROWSER) || has_screen
}

/// Opens it. Where that fails, there is the address that was printed.
pub(super) fn open(url: &str) {
    let usual = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let named = env::var(BROWSER).ok().filter(|name| !name.is_empty());
    let program = named.as_deref().and_then(|names| names.split(':').next()).unwrap_or(usual);
    let quiet = || Stdio::null();
    // It is its own process from then on, and outlives this one.
    drop(Command::new(program).arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn());
}

/// Waits for the browser, and returns the code that it brings.
pub(super) async fn back(listener: TcpListener, state: String) -> Result<String, Failure> {
    let (tell, mut told) = mpsc::channel(1);
    let handler = move |request: Request| {
        let brought = read(request.uri().query().unwrap_or_default(), &state);
        let page = page(brought.as_ref());
        if let Some(brought) = brought {
            // The first one counts.
            drop(tell.try_send(brought));
        }
        std::future::ready(page)
    };
    let mut outcome = None;
    let stop = async { outcome = told.recv().await };
    kea_http::serve(listener, handler, stop, DRAIN).await;
    let brought = outcome.unwrap_or_else(|| Err("the browser did not come back".into()));
    brought.map_err(Failure::NotLoggedIn)
}

/// What a browser brings: a code, or why there is none. `None` for what is not of this login: any page can send a browser
/// here.
fn read(query: &str, state: &str) -> Option<Result<String, String>> {
    let pairs = reqwest::Url::parse(&format!("http://127.0.0.1/?{query}")).ok()?;
    let value = |name: &str| pairs.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    if value("state").as_deref() != Some(state) {
        return None;
    }
    value("code").map(Ok).or_else(|| value("error").map(Err))
}

fn page(brought: Option<&Result<String, String>>) -> Response {
    let (status, text) = match brought {
        None => (StatusCode::NOT_FOUND, "This is no answer to the login that waits here."),
        Some(Ok(_)) => (StatusCode::OK, "You are logged in. Close this page, and go back to the command line."),
        Some(Err(_)) => (StatusCode::OK, "You are not logged in: the command line says why."),
    };
    let html = format!("<!doctype html><html lang=\"en\"><title>KEA</title><p>{text}</p></html>\n");
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_login_is_not_taken() {
        assert_eq!(read("state=s&code=c", "s"), Some(Ok("c".into())));
        assert_eq!(read("state=s&error=not+in+the+group", "s"), Some(Err("not in the group".into())));
        for other in ["state=x&code=c", "code=c", "", "state=s"] {
            assert_eq!(read(other, "s"), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_browser_that_comes_back_ends_the_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let waiting = tokio::spawn(back(listener, "s".into()));
        let get = async |query: &str| reqwest::get(format!("{url}?{query}")).await.unwrap().status();
        assert_eq!(get("state=guess&code=x").await, 404);
        assert_eq!(get("state=s&code=c").await, 200);
        assert_eq!(waiting.await.unwrap().unwrap(), "c");
    }
}
