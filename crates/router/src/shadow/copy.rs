//! One copy on its way: sent once, its answer held against the caller's, and counted.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kea_core::shadow::Shadow;
use kea_http::RequestId;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout_at},
};

use super::{Kept, LARGEST, Outcome, body::Theirs, compare};
use crate::{
    forward::Aside,
    path::Protocol,
    table::{ServiceEntry, VersionEntry},
};

/// How much longer than the shadow a caller may take to read its answer, for that to be compared.
const GRACE: Duration = Duration::from_secs(1);

/// A request as a shadow gets it.
pub(super) struct Copied {
    pub(super) service: Arc<ServiceEntry>,
    pub(super) rule: Shadow,
    pub(super) kept: Arc<Kept>,
    pub(super) parts: Parts,
    pub(super) function: Box<str>,
    pub(super) protocol: Protocol,
    pub(super) client: IpAddr,
    pub(super) deadline: Instant,
    /// Among the copies that may be under way.
    pub(super) place: OwnedSemaphorePermit,
}

/// What the shadow answered.
#[derive(Debug)]
enum Ours {
    Whole(Bytes),
    TooLarge,
    Failed(String),
}

impl Copied {
    /// Sends it, waits for the caller's answer, and counts what became of both.
    pub(super) async fn run(self, body: Bytes, theirs: oneshot::Receiver<Theirs>) {
        let Some(version) = self.service.version(Some(self.rule.version.as_str())) else { return };
        let (ours, took) = self.ask(version, body).await;
        let theirs = timeout_at(self.deadline + GRACE, theirs).await;
        let theirs = theirs.ok().and_then(|told| told.ok());
        let outcome = outcome(theirs, ours, self.rule.tolerance(), self.protocol).await;
        version.metrics.copies.count(&outcome, took);
        self.tell(&outcome);
        drop(self.place);
    }

    /// The shadow's answer, and how long it took for the head of it.
    async fn ask(&self, version: &VersionEntry, body: Bytes) -> (Ours, Duration) {
        let Self { service, parts, function, client, deadline, .. } = self;
        let aside = Aside { service, version, parts, function, client: *client, deadline: *deadline };
        let began = Instant::now();
        let answered = aside.send(body).await;
        let took = began.elapsed();
        let ours = match answered {
            Ok(response) if response.status().is_success() => {
                let read = timeout_at(*deadline, read(response.into_body())).await;
                read.unwrap_or_else(|_elapsed| Ours::Failed("its answer did not end in time".into()))
            }
            Ok(response) => Ours::Failed(status(response.status())),
            Err(reason) => Ours::Failed(reason),
        };
        (ours, took)
    }

    /// Writes a line about a difference or a failure, unless one was written lately. What was answered is not told.
    fn tell(&self, outcome: &Outcome) {
        let told = matches!(outcome, Outcome::Different(_) | Outcome::Failed(_)) && self.kept.may_tell();
        let (service, version) = (&self.service.route.id, &self.rule.version);
        let request = self.parts.extensions.get::<RequestId>().map_or("", |id| &id.0);
        match outcome {
            Outcome::Different(pointer) if told => {
                let pointer = if pointer.is_empty() { "the whole" } else { pointer };
                tracing::warn!(%service, %version, request_id = request, pointer, "a shadow answers differently");
            }
            Outcome::Failed(reason) if told => {
                tracing::warn!(%service, %version, request_id = request, reason, "a shadow does not answer");
            }
            _ => {}
        }
    }
}

fn status(status: StatusCode) -> String {
    format!("it answered {}", status.as_u16())
}

async fn read(body: Body) -> Ours {
    match Limited::new(body, LARGEST).collect().await {
        Ok(whole) => Ours::Whole(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Ours::TooLarge,
        Err(error) => Ours::Failed(error.to_string()),
    }
}

/// What two answers come to. Where the caller got none, nobody can say what a good one would have been.
async fn outcome(theirs: Option<Theirs>, ours: Ours, tolerance: f64, protocol: Protocol) -> Outcome {
    match (theirs, ours) {
        (None | Some(Theirs::Error), _) | (_, Ours::TooLarge) => Outcome::NotCompared,
        (Some(_), Ours::Failed(reason)) => Outcome::Failed(reason),
        (Some(Theirs::TooLarge), Ours::Whole(_)) => Outcome::NotCompared,
        (Some(Theirs::Whole(theirs)), Ours::Whole(ours)) => {
            // Where nothing else waits for it: large answers take milliseconds.
            let compared = move || compare::answers(&theirs.concat(), &ours, tolerance, protocol);
            tokio::task::spawn_blocking(compared).await.unwrap_or(Outcome::NotCompared)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_outcome_needs_an_answer_to_the_caller() {
        let whole = |text: &'static str| Some(Theirs::Whole(vec![Bytes::from(text)]));
        let failed = || Ours::Failed("gone".into());
        for (theirs, ours, expected) in [
            (whole("[1]"), Ours::Whole("[1.0]".into()), Outcome::Same),
            (whole("[1]"), Ours::Whole("[2]".into()), Outcome::Different("/0".into())),
            (whole("[1]"), failed(), Outcome::Failed("gone".into())),
            (whole("[1]"), Ours::TooLarge, Outcome::NotCompared),
            (Some(Theirs::TooLarge), failed(), Outcome::Failed("gone".into())),
            (Some(Theirs::TooLarge), Ours::Whole("[1]".into()), Outcome::NotCompared),
            (Some(Theirs::Error), failed(), Outcome::NotCompared),
            (Some(Theirs::Error), Ours::Whole("[1]".into()), Outcome::NotCompared),
            (None, failed(), Outcome::NotCompared),
            (None, Ours::Whole("[1]".into()), Outcome::NotCompared),
        ] {
            let case = format!("{theirs:?}, {ours:?}");
            assert_eq!(outcome(theirs, ours, 0.0, Protocol::Kea).await, expected, "{case}");
        }
    }
}
