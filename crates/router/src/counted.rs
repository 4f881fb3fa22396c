//! What became of a request of a version, counted once: by the head of its answer, or, where a call of gRPC says only after
//! its messages how it ended, by these.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use kea_core::service::Engine;
use kea_http::{
    ApiError,
    grpc::{self, Code},
};

use crate::{
    RouterError,
    identify::Admitted,
    metrics::VersionMetrics,
    trial::{self, Told},
};

/// A request that is to be counted.
pub(crate) struct Counted {
    metrics: Arc<VersionMetrics>,
    /// Whether versions are compared by it: whoever asks for one by name is none of those among whom it is tried.
    pub(crate) on_trial: bool,
    /// Whether it is a call of gRPC that a web service answers.
    is_call: bool,
    /// When the time is over that its caller gives a call.
    over: Option<Instant>,
}

impl Counted {
    pub(crate) fn of(admitted: &Admitted) -> Self {
        let (request, version) = (&admitted.request, admitted.version());
        let is_call = version.engine == Engine::External && grpc::is_call(request.version(), request.headers());
        let time = is_call.then(|| grpc::timeout(request.headers())).flatten();
        Self {
            metrics: version.metrics.clone(),
            on_trial: admitted.any_version && admitted.service.route.canary.is_some(),
            is_call,
            over: time.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    /// The answer, which counts itself. It `took` so long to its head, since it was handed to the version.
    pub(crate) fn answered(self, answered: Result<Response, RouterError>, took: Option<Duration>) -> Response {
        let told = trial::told(&answered);
        let is_call = self.is_call && matches!(&answered, Ok(response) if response.status() == StatusCode::OK);
        let response = answered.unwrap_or_else(|error| ApiError::from(error).into_response());
        if !is_call {
            self.count(told, response.status(), took);
            return response;
        }
        let ends = Ending { counted: self, took };
        match grpc::told(response.headers()) {
            Some(code) => ends.with(code),
            None if response.body().is_end_stream() => ends.with(Code::Unknown as u32),
            None => return response.map(|body| Body::new(Counting { body, ends: Some(ends) })),
        }
        response
    }

    fn count(&self, told: Told, status: StatusCode, took: Option<Duration>) {
        self.metrics.answered(status);
        if self.on_trial {
            self.metrics.trial.count(told, took);
        }
    }
}

/// A call of which the end is to be counted.
struct Ending {
    counted: Counted,
    took: Option<Duration>,
}

impl Ending {
    /// It ended with that status of gRPC, and counts as what would be the same in HTTP.
    fn with(self, code: u32) {
        let Self { counted, took } = self;
        // A caller in a hurry says nothing of the version, whoever noticed first that the time was over.
        let is_hurried =
            code == Code::DeadlineExceeded as u32 && counted.over.is_some_and(|over| Instant::now() >= over);
        let (told, status) = match code {
            0 => (Told::Answered, StatusCode::OK),
            _ if is_hurried => (Told::Nothing, StatusCode::GATEWAY_TIMEOUT),
            _ if grpc::is_failure(code) => (Told::Failed, StatusCode::INTERNAL_SERVER_ERROR),
            _ => (Told::Answered, StatusCode::BAD_REQUEST),
        };
        counted.count(told, status, took);
    }

    /// Its caller left before the end, which says nothing against the version.
    fn left(self) {
        self.counted.count(Told::Answered, StatusCode::OK, self.took);
    }
}

/// The messages of an answer, after which its call is counted.
struct Counting {
    body: Body,
    ends: Option<Ending>,
}

impl Counting {
    fn ended(&mut self, code: u32) {
        if let Some(ends) = self.ends.take() {
            ends.with(code);
        }
    }
}

impl HttpBody for Counting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &polled {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = grpc::told(trailers).unwrap_or(Code::Unknown as u32);
                    self.ended(code);
                }
            }
            Some(Err(_)) => self.ended(Code::Unavailable as u32),
            None => self.ended(Code::Unknown as u32),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counting {
    /// A server does not ask for what comes after the end.
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.ended(Code::Unknown as u32);
        }
        if let Some(ends) = self.ends.take() {
            ends.left();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// A call whose caller gives it so many milliseconds, on trial.
    fn call(millis: Option<u64>) -> Counted {
        let over = millis.map(|millis| Instant::now() + Duration::from_millis(millis));
        Counted { metrics: Arc::default(), on_trial: true, is_call: true, over }
    }

    fn fields(code: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(grpc::STATUS, http::HeaderValue::from_static(code))])
    }

    type Part = Result<Frame<Bytes>, std::io::Error>;

    fn message() -> Part {
        Ok(Frame::data(Bytes::from_static(b"message")))
    }

    fn body(parts: Vec<Part>) -> Body {
        Body::new(StreamBody::new(stream::iter(parts)))
    }

    /// Requests and errors as whoever judges the version counts them, and answers by the class of their status.
    fn counts(metrics: &VersionMetrics) -> (u64, u64, String) {
        let tally = metrics.trial.tally();
        let mut told = String::new();
        metrics.write("app", "1", 1, &mut told);
        let classes = told.lines().filter(|line| line.starts_with("kea_requests_total") && line.ends_with(" 1"));
        let class = |line: &str| line.split("status=\"").nth(1).map(|rest| rest[..3].to_owned());
        (tally.requests, tally.errors, classes.filter_map(class).collect())
    }

    async fn read(counted: Counted, body: Body) -> (u64, u64, String) {
        let metrics = counted.metrics.clone();
        let answer = counted.answered(Ok(Response::new(body)), Some(Duration::ZERO));
        assert_eq!(counts(&metrics), (0, 0, String::new()), "it is not over");
        let _ = answer.into_body().collect().await;
        counts(&metrics)
    }

    #[tokio::test]
    async fn a_call_counts_as_its_trailers_say() {
        for (code, failed, class) in [
            ("0", 0, "2xx"),
            ("3", 0, "4xx"),
            ("5", 0, "4xx"),
            ("2", 1, "5xx"),
            ("4", 1, "5xx"),
            ("12", 1, "5xx"),
            ("13", 1, "5xx"),
            ("14", 1, "5xx"),
            ("15", 1, "5xx"),
            ("no number", 1, "5xx"),
        ] {
            let trailers = body(vec![message(), Ok(Frame::trailers(fields(code)))]);
            assert_eq!(read(call(None), trailers).await, (1, failed, class.into()), "{code}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_says_nothing_of_its_end_has_failed() {
        assert_eq!(read(call(None), body(vec![message()])).await, (1, 1, "5xx".into()));
        let broken = vec![message(), Err(std::io::Error::other("gone"))];
        assert_eq!(read(call(None), body(broken)).await, (1, 1, "5xx".into()));
        let metrics = VersionMetrics::default();
        let counted = Counted { metrics: Arc::new(metrics), ..call(None) };
        let metrics = counted.metrics.clone();
        drop(counted.answered(Ok(Response::new(Body::empty())), None));
        assert_eq!(counts(&metrics), (1, 1, "5xx".into()));
    }

    #[tokio::test]
    async fn a_caller_who_leaves_or_is_in_a_hurry_says_nothing_against_a_version() {
        let endless = stream::iter([message()]).chain(stream::pending());
        let counted = call(None);
        let metrics = counted.metrics.clone();
        let answer = counted.answered(Ok(Response::new(Body::new(StreamBody::new(endless)))), Some(Duration::ZERO));
        let mut messages = answer.into_body();
        assert!(messages.frame().await.is_some());
        drop(messages);
        assert_eq!(counts(&metrics), (1, 0, "2xx".into()));
        let late = || body(vec![message(), Ok(Frame::trailers(fields("4")))]);
        assert_eq!(read(call(Some(0)), late()).await, (0, 0, "5xx".into()));
        assert_eq!(read(call(Some(60_000)), late()).await, (1, 1, "5xx".into()));
    }

    #[test]
    fn what_is_over_with_its_head_is_counted_by_it() {
        let head = |counted: Counted, status: u16, code: &'static str| {
            let metrics = counted.metrics.clone();
            let mut response = Response::new(body(vec![message()]));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().extend(fields(code));
            drop(counted.answered(Ok(response), None));
            counts(&metrics)
        };
        assert_eq!(head(call(None), 200, "14"), (1, 1, "5xx".into()));
        assert_eq!(head(call(None), 200, "5"), (1, 0, "4xx".into()));
        assert_eq!(head(call(None), 503, "0"), (1, 1, "5xx".into()), "the status of HTTP comes first");
        let no_call = Counted { is_call: false, ..call(None) };
        assert_eq!(head(no_call, 200, "14"), (1, 0, "2xx".into()));
        let by_name = Counted { on_trial: false, ..call(None) };
        assert_eq!(head(by_name, 200, "14"), (0, 0, "5xx".into()));
    }
}
