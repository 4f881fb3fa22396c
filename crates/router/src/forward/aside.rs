//! A request beside all others: sent once, to one replica, and at the cost of nothing but its version.

use std::net::IpAddr;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::request::Parts;
use kea_audit::Recorder;
use tokio::time::Instant;

use super::{
    Relay,
    attempt::{Failure, attempt},
};
use crate::table::{ServiceEntry, VersionEntry};

/// A request that takes no place of its service's gate and nothing of its budget, and has no record.
pub(crate) struct Aside<'a> {
    pub(crate) service: &'a ServiceEntry,
    /// Whose replicas it is for.
    pub(crate) version: &'a VersionEntry,
    pub(crate) parts: &'a Parts,
    pub(crate) function: &'a str,
    pub(crate) client: IpAddr,
    pub(crate) deadline: Instant,
}

impl Aside<'_> {
    /// The head of a replica's answer, or why there is none.
    pub(crate) async fn send(self, body: Bytes) -> Result<Response, String> {
        let Self { service, version, parts, function, client, deadline } = self;
        let now = Instant::now();
        let relay = Relay {
            parts,
            function,
            is_idempotent: true,
            client,
            service,
            version,
            record: Recorder::default(),
            upload: None,
            came: now,
            began: now,
            deadline,
            is_hurried: false,
        };
        let endpoint = version.pool.pick(&[], client, true).cloned().ok_or("it has no replica")?;
        attempt(&relay, &endpoint, &mut Body::from(body)).await.map_err(said)
    }
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::NotSent(reason) | Failure::Full(reason) | Failure::Broken(reason) => reason,
        Failure::Timeout => "no answer in time".into(),
        Failure::Caller(error) => error.detail,
    }
}
