//! What the stages tell the record of their request.

use std::{borrow::Cow, sync::Arc};

use axum::extract::Request;
use http::Extensions;
use kea_audit::{GRPC, Recorder, Stage, User};
use kea_auth::Caller;
use kea_core::{VersionId, service::Engine};
use kea_http::segment;

use crate::{
    identify::Admitted,
    path::{self, Protocol},
    validate::{CallBody, ValidCall},
};

/// What a path asks for, before it is known whether that is there.
pub(crate) fn asked(record: &Recorder, request: &Request) {
    record.action("call", false);
    if let Some(target) = path::read(request.uri().path()) {
        record.service(&named(target.service));
        // By the name that permissions are weighed by, so that refusals are found by it, too.
        record.function(&named(target.function), written(request, target.protocol));
    }
}

/// What is asked of health or metadata.
pub(crate) fn described(record: &Recorder, path: &str) {
    record.action("describe", false);
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        record.service(&named(rest.split('/').next().unwrap_or_default()));
    }
}

/// What a part of a path means, or what it says where it means nothing.
fn named(part: &str) -> Cow<'_, str> {
    segment::decoded(part).unwrap_or(Cow::Borrowed(part))
}

/// Who calls. Told as soon as it is known, so that refusals have it, too.
pub(crate) fn caller(extensions: &Extensions, caller: &Caller) {
    let Caller { username, roles, key, .. } = caller;
    Recorder::of(extensions).user(User { name: username.clone(), roles: roles.clone(), key: key.clone() });
}

/// What answers.
pub(crate) fn admitted(record: &Recorder, admitted: &Admitted) {
    let version = admitted.version();
    // A web service has paths, of which there is no end: they are no functions.
    let contract = version.validator.as_ref().filter(|_| version.engine != Engine::External).map(|v| v.contract());
    let known = contract.is_some_and(|contract| contract.function(&admitted.function).is_some());
    if version.engine == Engine::External && admitted.request.uri().path().contains('%') {
        // A web service has its paths as they are written.
        record.function(&admitted.function, written(&admitted.request, admitted.protocol));
    }
    record.version(name(&version.version), known);
    record.rules(&admitted.service.route.settings.audit);
    record.ended(Stage::Authenticate);
}

/// What it sends. A body that is streamed to a web service is never kept.
pub(crate) fn valid(record: &Recorder, call: &ValidCall) {
    if let CallBody::Whole(body) = &call.body {
        record.payload(&call.admitted.service.route.settings, body);
    }
    record.ended(Stage::Validate);
}

/// Whether its answer comes from the cache.
pub(crate) fn cached(call: &ValidCall, state: &'static str) {
    Recorder::of(&call.parts.extensions).cache(state);
}

/// The language of a request.
fn written(request: &Request, protocol: Protocol) -> &'static str {
    match protocol {
        _ if kea_http::grpc::is_call(request.version(), request.headers()) => GRPC,
        Protocol::Kea => "kea",
        Protocol::V2 => "v2",
    }
}

fn name(version: &VersionId) -> Arc<str> {
    Arc::from(version.as_str())
}
