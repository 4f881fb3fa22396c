//! Answers of pods: little of each is read, and nothing of them is believed.

use reqwest::{Client, ClientBuilder, redirect::Policy};
use serde::de::DeserializeOwned;

/// A client that asks pods, and nobody in their place.
pub(crate) fn client() -> ClientBuilder {
    Client::builder().no_proxy().redirect(Policy::none())
}

/// The document of an answer of at most `most` bytes.
///
/// # Errors
/// Why there is none: a status that is no success, a body that is too large or something else.
pub(crate) async fn json<T: DeserializeOwned>(answer: reqwest::Response, most: usize) -> Result<T, String> {
    let mut answer = answer.error_for_status().map_err(why)?;
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(why)? {
        body.extend_from_slice(&part);
        if body.len() > most {
            return Err(format!("it is larger than {most} bytes"));
        }
    }
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

/// What went wrong, to its cause: the first words alone do not say it.
#[allow(clippy::needless_pass_by_value, reason = "used in map_err")]
pub(crate) fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
