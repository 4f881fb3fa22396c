//! What can keep the operator from doing its work.

use crate::{objects::PodError, wish::Refusal};

/// Why a reconciliation did not come to its end; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refuses, or cannot be reached.
    #[error("{doing}: {}", said(.source))]
    Kube {
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The cache does not have yet what the API server has.
    #[error("`{0}` is known to the API server as another version than to the cache: it is looked at again")]
    Behind(String),
    /// What is asked for cannot be, and the status says so.
    #[error("{0}")]
    Refused(String),
}

/// What went wrong, in the API server's own words where it has any.
pub(crate) fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    pub(crate) fn kube(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kube { doing, source: Box::new(source) }
    }

    /// Whether the API server says that what was asked for may not be done, or is malformed. A conflict is neither: it
    /// is over with the change that it was with.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Kube { doing, source } => match &**source {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Some(Refusal {
                    reason: "Refused",
                    message: format!("Kubernetes refuses ({doing}): {}", status.message),
                }),
                _ => None,
            },
            Self::Behind(_) => None,
            Self::Refused(message) => Some(Refusal { reason: "Refused", message: message.clone() }),
        }
    }
}

impl From<PodError> for Refusal {
    fn from(error: PodError) -> Self {
        Self { reason: "Invalid", message: error.to_string() }
    }
}
