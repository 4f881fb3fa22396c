//! Models that are artifacts of a registry.

use super::{Got, Job};
use crate::FetchError;

/// An artifact, as `host/repository:tag` or `host/repository@sha256:…`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    reference: String,
}

impl Artifact {
    pub(crate) fn parse(rest: &str) -> Result<Self, String> {
        Ok(Self { reference: rest.to_owned() })
    }

    pub(super) fn shown(&self) -> String {
        format!("oci://{}", self.reference)
    }

    pub(super) async fn fetch(&self, _job: &Job<'_>) -> Result<Got, FetchError> {
        Err(FetchError::NoObject { what: self.shown() })
    }
}
