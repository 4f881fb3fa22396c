//! The validating webhook: what the operator could only mark as failed later is refused while it is being applied.
//!
//! It is a convenience and never a gate: Kubernetes goes on without it (`failurePolicy: Ignore`), and the operator checks
//! everything again. All operators serve it, whichever leads.

mod keeper;
mod review;
mod served;

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use kea_http::{ApiError, body};
use kube::{Api, Client};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::keeper::{SECRET, SERVICE, configuration_name, remove_configuration};
use self::{keeper::Keeper, served::Served};
use crate::{resources::MlModel, watch::Caches};

/// Where reviews are asked for.
const PATH: &str = "/validate";

/// Largest review in bytes: an object before and after, of which Kubernetes takes at most 3 MiB each.
const REVIEW_BYTES: usize = 8 << 20;

/// How long the API server may take to tell a model anew: Kubernetes waits five seconds for the whole answer.
const MODEL_WITHIN: Duration = Duration::from_secs(2);

/// How long reviews under way may take once the operator is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// The webhook of one operator.
pub(crate) struct Webhook {
    client: Client,
    keeper: Keeper,
    served: Arc<Served>,
}

impl Webhook {
    /// A webhook of the KEA in `namespace`.
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        let keeper = Keeper::new(client, namespace);
        Self { client: client.clone(), keeper, served: Arc::default() }
    }

    /// Whether it can answer.
    pub(crate) fn is_serving(&self) -> bool {
        self.served.has_certificate()
    }

    /// Answers reviews and keeps certificate and configuration until `stop` is cancelled. `caches` has nothing before
    /// everything has been seen once.
    pub(crate) async fn run<C>(&self, listener: TcpListener, caches: C, stop: &CancellationToken)
    where
        C: Fn() -> Option<Caches> + Clone + Send + Sync + 'static,
    {
        let (handler, tls) = (handler(caches, self.client.clone()), self.served.tls());
        let serving = kea_http::serve_tls(listener, || tls.clone(), handler, stop.cancelled(), DRAIN);
        tokio::join!(serving, self.keeper.keep(&self.served, stop));
    }
}

/// Answers requests with what `caches` has at that moment.
fn handler<C>(
    caches: C,
    client: Client,
) -> impl Fn(Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static
where
    C: Fn() -> Option<Caches> + Clone + Send + Sync + 'static,
{
    move |request| {
        let (caches, client) = (caches(), client.clone());
        let answered =
            async move |request| answer(request, caches, client).await.unwrap_or_else(ApiError::into_response);
        Box::pin(kea_http::rim(request, answered))
    }
}

/// Answers one request.
async fn answer(request: Request, caches: Option<Caches>, client: Client) -> Result<Response, ApiError> {
    if request.uri().path() != PATH {
        let detail = format!("there is nothing at `{}`: reviews are asked for at `{PATH}`", request.uri().path());
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no-path", detail));
    }
    if request.method() != Method::POST {
        let detail = format!("`{PATH}` takes no {}: send the review by POST", request.method());
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", detail).with_allow("POST"));
    }
    let caches = caches.ok_or_else(|| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the cluster has not been seen yet: try again")
    })?;
    let text = body::read(request.into_body(), REVIEW_BYTES).await?;
    let model = async move |namespace: &str, name: &str| model(&client, namespace, name).await;
    let response = review::review(&text, &caches, model)
        .await
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "malformed-review", error.to_string()))?;
    Ok(Json(response.into_review()).into_response())
}

/// An MLModel as the API server has it now; nothing where it has none, or does not say so in time.
async fn model(client: &Client, namespace: &str, name: &str) -> Option<MlModel> {
    let models: Api<MlModel> = Api::namespaced(client.clone(), namespace);
    match timeout(MODEL_WITHIN, models.get_opt(name)).await {
        Ok(Ok(model)) => model,
        Ok(Err(error)) => {
            tracing::warn!("MLModel `{name}` is judged as it was seen last: {}", crate::error::said(&error));
            None
        }
        Err(_elapsed) => {
            tracing::warn!("MLModel `{name}` is judged as it was seen last: the API server takes too long");
            None
        }
    }
}

#[cfg(test)]
mod tests;
