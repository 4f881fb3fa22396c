//! Operations of an existing web service, as its own source describes them. They are documented, and nothing is held
//! against them: such a service validates by itself.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Field;

/// One method of one path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebOperation {
    /// Its name, unique within the service.
    pub name: String,
    /// The method.
    pub method: WebMethod,
    /// The path below the service's own, as `/items/{id}`.
    pub path: String,
    /// What it does: a sentence, and more of it in further paragraphs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether its author advises against it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deprecated: bool,
    /// What it takes besides a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<WebParameter>,
    /// The body that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<WebBody>,
    /// What it answers, by status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<WebAnswer>,
}

/// A method of HTTP that a document of OpenAPI has a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum WebMethod {
    Get,
    Put,
    Post,
    Delete,
    Options,
    Head,
    Patch,
    Trace,
}

impl WebMethod {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Options, Self::Head, Self::Patch, Self::Trace];

    /// Its name in lower case, as documents have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
            Self::Options => "options",
            Self::Head => "head",
            Self::Patch => "patch",
            Self::Trace => "trace",
        }
    }
}

impl FromStr for WebMethod {
    type Err = UnknownMethod;

    /// Reads it in upper or lower case.
    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownMethod)
    }
}

impl fmt::Display for WebMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().to_ascii_uppercase())
    }
}

/// A method that documents of OpenAPI have no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("documents of OpenAPI have no such method")]
pub struct UnknownMethod;

/// A value that an operation takes besides its body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebParameter {
    /// Where a request has it.
    #[serde(rename = "in")]
    pub place: WebPlace,
    /// Its name and its values.
    pub field: Field,
}

/// Where a request has a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebPlace {
    /// A segment of the path.
    Path,
    /// The query.
    Query,
    /// A header.
    Header,
    /// A cookie.
    Cookie,
}

impl WebPlace {
    /// Its name in documents of OpenAPI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

/// The body that an operation takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebBody {
    /// Its media type.
    pub media_type: String,
    /// An OpenAPI 3.0 schema of it.
    pub schema: Value,
    /// Whether a request without it is refused.
    pub required: bool,
}

/// What an operation answers with one status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebAnswer {
    /// The status.
    pub status: u16,
    /// When it is answered.
    pub description: String,
    /// The media type of its body; without one nothing is said of a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// An OpenAPI 3.0 schema of its body, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}
