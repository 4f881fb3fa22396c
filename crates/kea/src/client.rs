//! The client of the management API: one function a verb, every answer either as it came or a [`Failure`].

mod beside;
mod server_url;
mod sse;
mod tokens;
mod trust;

use std::time::Duration;

use kea_core::management::{BASE_PATH, Problem};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use server_url::ServerUrl;
pub(crate) use sse::Events;
pub(crate) use tokens::Tokens;

use crate::failure::Failure;

/// On a network that works, a handshake takes far less; a machine that is down would take minutes to be noticed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The management API answers at once, also where the work behind it takes long. Calls of models are not bounded here:
/// the gateway does that.
const MANAGEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of an answer that is not KEA's is shown.
const EXCERPT_CHARS: usize = 200;

/// A connection to one KEA.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: ServerUrl,
    tokens: Tokens,
}

/// A successful answer's body, as the server wrote it.
#[derive(Debug)]
pub(crate) struct Answer(String);

impl Answer {
    /// The body.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The body as one of the API's schemas.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(Failure::Unreadable)
    }
}

impl Client {
    /// A client of the KEA at `server`; without a token it can log in and read what is public.
    pub(crate) fn new(server: ServerUrl, tokens: Tokens) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kea/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirected POST would become a GET, and a token would go where nobody sent it.
            .redirect(redirect::Policy::none());
        if server.is_loopback() {
            builder = builder.no_proxy();
        }
        let builder = trust::with_certificates(builder)?;
        let http = builder.build().map_err(|error| transport(&server, &error))?;
        Ok(Self { http, server, tokens })
    }

    /// The KEA that is asked.
    pub(crate) fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// The token that is sent, where there is one; renewed where it has ended.
    pub(crate) async fn token(&self) -> Result<Option<String>, Failure> {
        let current = self.tokens.current();
        match current.as_deref().filter(|_| self.tokens.has_ended()) {
            Some(ended) => Ok(self.tokens.renew(&self.http, &self.server, ended).await?.or(current)),
            None => Ok(current),
        }
    }

    /// GET of a path of the management API, given as its segments.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::GET, path, query).timeout(MANAGEMENT_TIMEOUT)).await
    }

    /// POST of `body` as JSON.
    pub(crate) async fn post(&self, path: &[&str], body: &(impl Serialize + Sync)) -> Result<Answer, Failure> {
        self.answer(self.request(Method::POST, path, &[]).timeout(MANAGEMENT_TIMEOUT).json(body)).await
    }

    /// POST without a body.
    pub(crate) async fn post_empty(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::POST, path, &[]).timeout(MANAGEMENT_TIMEOUT)).await
    }

    /// PUT of `body` as JSON.
    pub(crate) async fn put(&self, path: &[&str], body: &(impl Serialize + Sync)) -> Result<Answer, Failure> {
        self.answer(self.request(Method::PUT, path, &[]).timeout(MANAGEMENT_TIMEOUT).json(body)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::DELETE, path, query).timeout(MANAGEMENT_TIMEOUT)).await
    }

    /// POST of a body that is JSON already, as long as it takes.
    pub(crate) async fn call(&self, path: &[&str], query: &[(&str, &str)], json: String) -> Result<Answer, Failure> {
        let request = self.request(Method::POST, path, query);
        self.answer(request.header(header::CONTENT_TYPE, "application/json").body(json)).await
    }

    /// GET of a stream of server-sent events.
    pub(crate) async fn events(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Events, Failure> {
        let request = self.request(Method::GET, path, query).header(header::ACCEPT, "text/event-stream");
        let response = self.send(request).await?;
        Ok(Events::new(response))
    }

    /// Tells what went wrong with an answer while it was read.
    pub(crate) fn broken(&self, error: &reqwest::Error) -> Failure {
        transport(&self.server, error)
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let url = self.server.join(BASE_PATH.split('/').chain(path.iter().copied()), query);
        self.http.request(method, url)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.send(request).await?;
        response.text().await.map(Answer).map_err(|error| self.broken(&error))
    }

    /// Sends a request with the token, and once more with another one where the server says that it has ended.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let again = request.try_clone();
        let token = self.token().await?;
        let mut response = self.send_as(request, token.as_deref()).await?;
        if let (StatusCode::UNAUTHORIZED, Some(again), Some(ended)) = (response.status(), again, token)
            && let Some(fresh) = self.tokens.renew(&self.http, &self.server, &ended).await?
        {
            response = self.send_as(again, Some(&fresh)).await?;
        }
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn send_as(&self, request: RequestBuilder, token: Option<&str>) -> Result<Response, Failure> {
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.map_err(|error| self.broken(&error))
    }

    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        if let Some(location) = response.headers().get(header::LOCATION).filter(|_| status.is_redirection()) {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            return Failure::Redirected { server: self.server.clone(), location };
        }
        let body = match response.text().await {
            Ok(body) => body,
            Err(error) => return self.broken(&error),
        };
        let Ok(problem) = serde_json::from_str::<Box<Problem>>(&body) else {
            let excerpt = body.chars().take(EXCERPT_CHARS).collect();
            return Failure::NotKea { server: self.server.clone(), status: status.as_u16(), excerpt };
        };
        match status {
            StatusCode::UNAUTHORIZED => Failure::LoginNeeded { server: self.server.clone(), problem },
            _ => Failure::Refused(problem),
        }
    }
}

fn transport(server: &ServerUrl, error: &reqwest::Error) -> Failure {
    if error.is_connect() && refused(error) {
        return Failure::Unreachable(server.clone());
    }
    // The outermost error only repeats the address; the innermost says what happened.
    let innermost = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source()).last();
    let why = innermost.map(ToString::to_string).unwrap_or_default();
    Failure::Transport { server: server.clone(), why }
}

fn refused(error: &reqwest::Error) -> bool {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut io_errors = chain.filter_map(|error| error.downcast_ref::<std::io::Error>());
    io_errors.any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Segments of a service's paths.
pub(crate) fn service_path(service: &kea_core::ServiceId) -> [&str; 2] {
    ["services", service.as_str()]
}

/// Builds a URL below another: empty segments are left out, others are escaped.
fn extend<'a>(base: &Url, segments: impl Iterator<Item = &'a str>, query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments.filter(|segment| !segment.is_empty()));
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

#[cfg(test)]
mod tests;
