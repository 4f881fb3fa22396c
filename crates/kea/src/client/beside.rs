//! Paths of KEA beside its management API, for those who are not logged in yet.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;

use super::{Answer, Client, MANAGEMENT_TIMEOUT};
use crate::failure::Failure;

impl Client {
    /// GET of a path, given as its segments; the status tells successes apart.
    pub(crate) async fn get_beside(&self, path: &[&str]) -> Result<(StatusCode, Answer), Failure> {
        self.beside(self.http.request(Method::GET, self.server.join(path.iter().copied(), &[]))).await
    }

    /// POST of `body` as JSON.
    pub(crate) async fn post_beside(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<(StatusCode, Answer), Failure> {
        let url = self.server.join(path.iter().copied(), &[]);
        self.beside(self.http.request(Method::POST, url).json(body)).await
    }

    /// POST without a body.
    pub(crate) async fn post_empty_beside(&self, path: &[&str]) -> Result<(StatusCode, Answer), Failure> {
        self.beside(self.http.request(Method::POST, self.server.join(path.iter().copied(), &[]))).await
    }

    async fn beside(&self, request: RequestBuilder) -> Result<(StatusCode, Answer), Failure> {
        let response = self.send(request.timeout(MANAGEMENT_TIMEOUT)).await?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.broken(&error))?;
        Ok((status, Answer(text)))
    }
}
