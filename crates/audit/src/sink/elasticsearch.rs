//! Elasticsearch, and what speaks its bulk API. A document's id is the hash of its line, and it is created, never
//! indexed: what is sent again is refused as there already, which is as good.

use async_trait::async_trait;
use reqwest::{RequestBuilder, StatusCode, Url, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::Value;

use super::{Deliver, Fate, Line, Refusal, away, client, excerpt, setup};
use crate::AuditError;

/// What lets us in.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nothing is asked for.
    #[default]
    None,
    /// An API key, as Elasticsearch shows it encoded.
    ApiKey(String),
    /// User and password.
    Basic(String, String),
}

/// Without what they hold.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::ApiKey(_) => "ApiKey",
            Self::Basic(..) => "Basic",
        })
    }
}

impl Credentials {
    pub(crate) fn with(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::ApiKey(key) => request.header("authorization", format!("ApiKey {key}")),
            Self::Basic(user, password) => request.basic_auth(user, Some(password)),
        }
    }
}

/// Where Elasticsearch is.
#[derive(Clone, Debug)]
pub struct ElasticsearchOptions {
    /// Its base URL.
    pub url: Url,
    /// What lets us in.
    pub credentials: Credentials,
    /// Name of the data stream.
    pub stream: String,
    /// The index template, as its API takes it; put there before the first record.
    pub template: &'static str,
}

pub(crate) struct Elasticsearch {
    options: ElasticsearchOptions,
    http: reqwest::Client,
    /// Whether the template is there.
    is_set_up: bool,
}

/// What the bulk API answers.
#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Value,
}

impl Elasticsearch {
    pub(crate) fn new(options: ElasticsearchOptions) -> Result<Self, AuditError> {
        Ok(Self { options, http: client()?, is_set_up: false })
    }

    async fn set_up(&mut self) -> Result<(), Refusal> {
        if !self.is_set_up {
            setup::put_template(&self.http, &self.options).await.map_err(Refusal::Away)?;
            self.is_set_up = true;
        }
        Ok(())
    }
}

#[async_trait]
impl Deliver for Elasticsearch {
    fn name(&self) -> &'static str {
        "elasticsearch"
    }

    async fn deliver(&mut self, lines: &[Line]) -> Result<Vec<Fate>, Refusal> {
        self.set_up().await?;
        let url = setup::join(&self.options.url, &[&self.options.stream, "_bulk"]);
        let request = self.http.post(url).header(CONTENT_TYPE, "application/x-ndjson").body(body(lines));
        let response = self.options.credentials.with(request).send().await.map_err(away)?;
        match response.status() {
            StatusCode::OK => fates(&response.bytes().await.map_err(away)?, lines.len()),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::TooLarge),
            _ => Err(Refusal::Away(excerpt(response).await)),
        }
    }
}

fn body(lines: &[Line]) -> String {
    let mut body = String::with_capacity(lines.iter().map(|line| line.text.len() + 100).sum());
    for Line { text, hash } in lines {
        body.push_str("{\"create\":{\"_id\":\"");
        body.push_str(hash);
        body.push_str("\"}}\n");
        body.push_str(text);
        body.push('\n');
    }
    body
}

/// What an answer says of each of `count` lines. One that says it of others is not believed.
fn fates(answer: &[u8], count: usize) -> Result<Vec<Fate>, Refusal> {
    let malformed = |why: String| Refusal::Away(format!("it answers what is no answer of the bulk API: {why}"));
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| malformed(error.to_string()))?;
    if answer.items.len() != count {
        return Err(malformed(format!("{} items for {count} records", answer.items.len())));
    }
    Ok(answer.items.into_iter().map(|item| fate(&item.create)).collect())
}

fn fate(Outcome { status, error }: &Outcome) -> Fate {
    let why = || format!("{status} {error}");
    match status {
        // It is there already, under its own hash.
        200..300 | 409 => Fate::Kept,
        // Overloaded, or something of its own: it may be better later.
        429 | 500.. => Fate::Again(why()),
        _ => Fate::Rejected(why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_created_under_its_hash() {
        let lines = ["a", "b"].map(|hash| Line { text: format!("{{\"x\":\"{hash}\"}}"), hash: hash.into() });
        let expected = "{\"create\":{\"_id\":\"a\"}}\n{\"x\":\"a\"}\n{\"create\":{\"_id\":\"b\"}}\n{\"x\":\"b\"}\n";
        assert_eq!(body(&lines), expected);
    }

    #[test]
    fn an_item_is_kept_sent_again_or_rejected() {
        let answer = |status| {
            format!(
                r#"{{"took":1,"errors":true,"items":[{{"create":{{"_id":"a","status":{status},"error":{{"type":"t"}}}}}}]}}"#
            )
        };
        for (status, expected) in [(201, "Kept"), (409, "Kept"), (429, "Again"), (503, "Again"), (400, "Rejected")] {
            let fate = fates(answer(status).as_bytes(), 1).unwrap().remove(0);
            assert!(format!("{fate:?}").starts_with(expected), "{status}: {fate:?}");
        }
    }

    #[test]
    fn a_malformed_answer_is_no_receipt() {
        for answer in [
            "",
            "<html>",
            "{}",
            r#"{"items":[]}"#,
            r#"{"items":[{"create":{}}]}"#,
            r#"{"items":[{"index":{"status":201}}]}"#,
        ] {
            assert!(matches!(fates(answer.as_bytes(), 1), Err(Refusal::Away(_))), "{answer}");
        }
    }
}
