//! A rejection as an edge tells it: its kind, one sentence, and the list of what is wrong.

use kea_core::management::Violation;

use crate::validate::Rejection;

impl Rejection {
    /// The kind of problem: last segment of its URI.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoFunction { .. } => "no-function",
            Self::NotJson { .. } => "not-json",
            Self::Invalid(_) => "invalid-request",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// One sentence, without what the list of violations says.
    pub fn sentence(&self) -> String {
        match self {
            Self::Invalid(violations) => match violations.as_slice() {
                [one] => format!("one thing is wrong with the request, at `{}`", one.pointer),
                many => format!("{} things are wrong with the request", many.len()),
            },
            Self::NoFunction { .. } | Self::NotJson { .. } | Self::Unsupported(_) => self.to_string(),
        }
    }

    /// What is wrong with the request; empty where it is no matter of fields.
    pub fn into_violations(self) -> Vec<Violation> {
        match self {
            Self::Invalid(violations) => violations,
            Self::NoFunction { .. } | Self::NotJson { .. } | Self::Unsupported(_) => Vec::new(),
        }
    }
}
