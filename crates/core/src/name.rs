//! Names that cannot hold nonsense: parsed once at the edge, passed on as they are.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Last path segments of the management API that a service of the same name would hide.
const RESERVED: [&str; 8] = ["api", "audit", "cache", "loadbalancer", "methods", "openapi", "validate", "versions"];

/// RFC 1123: the name is also a Kubernetes Service's, whose DNS label has at most 63 bytes.
const LABEL_MAX: usize = 63;

/// Longest version that still fits a Kubernetes label value.
const VERSION_MAX: usize = 63;

/// A service's name: an RFC 1123 DNS label that is not a path of the management API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceId(String);

impl ServiceId {
    /// The name that a model gets when its author gives none: `Iris Classifier` becomes `iris-classifier`.
    pub fn derive(model_name: &str) -> Result<Self, NameError> {
        let lowered = model_name.to_lowercase();
        let words = lowered.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").parse()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A model's version: 1 to 63 letters, digits, `.`, `_` or `-`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(String);

impl VersionId {
    /// The version that a model gets when nothing names one.
    pub fn first() -> Self {
        Self("1".into())
    }

    /// What follows `self` among `taken`: the next whole number that is free.
    pub fn successor(&self, taken: &[VersionId]) -> Self {
        let highest = taken.iter().chain([self]).filter_map(|version| version.0.parse::<u64>().ok()).max();
        Self((highest.unwrap_or(taken.len() as u64) + 1).to_string())
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A service name that is no DNS label.
    #[error(
        "`{0}` is not a service name: use 1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit"
    )]
    NotALabel(String),
    /// A service name that would hide a path of the management API.
    #[error("`{0}` is a path of the management API, so no service can have this name: choose another")]
    Reserved(String),
    /// A version of other characters.
    #[error(
        "`{0}` is not a version: use 1 to 63 letters, digits, `.`, `_` and `-`, beginning with a letter or digit, for example `2` or `2.1.0`"
    )]
    NotAVersion(String),
}

impl FromStr for ServiceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let well_formed = (1..=LABEL_MAX).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match text {
            _ if !well_formed => Err(NameError::NotALabel(text.into())),
            _ if RESERVED.contains(&text) => Err(NameError::Reserved(text.into())),
            _ => Ok(Self(text.into())),
        }
    }
}

impl FromStr for VersionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let well_formed = (1..=VERSION_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if well_formed { Ok(Self(text.into())) } else { Err(NameError::NotAVersion(text.into())) }
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
text_like!(ServiceId);
text_like!(VersionId);

impl JsonSchema for ServiceId {
    fn schema_name() -> Cow<'static, str> {
        "ServiceId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A service's name: 1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit.",
            "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            "not": {"enum": RESERVED},
            "example": "iris",
        })
    }
}

impl JsonSchema for VersionId {
    fn schema_name() -> Cow<'static, str> {
        "VersionId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A version's name: 1 to 63 letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
            "example": "1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_a_dns_label() {
        for good in ["iris", "a", "9", "iris-2", &"x".repeat(63)] {
            assert!(good.parse::<ServiceId>().is_ok(), "{good}");
        }
        for bad in ["", "Iris", "iris_2", "-iris", "iris-", "iris.2", "ïris", &"x".repeat(64)] {
            assert_eq!(bad.parse::<ServiceId>(), Err(NameError::NotALabel(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_path_of_the_api_is_no_service_name() {
        assert_eq!("audit".parse::<ServiceId>(), Err(NameError::Reserved("audit".into())));
    }

    #[test]
    fn a_name_is_derived_from_the_models() {
        assert_eq!(ServiceId::derive("Iris Classifier_v2!").unwrap().as_str(), "iris-classifier-v2");
        assert!(ServiceId::derive("!!").is_err());
    }

    #[test]
    fn a_version_follows_the_highest_number() {
        let version = |text: &str| text.parse::<VersionId>().unwrap();
        assert_eq!(version("1").successor(&[version("1"), version("7")]), version("8"));
        assert_eq!(version("beta").successor(&[version("beta")]), version("2"));
        assert!("../1".parse::<VersionId>().is_err());
        assert!("".parse::<VersionId>().is_err());
    }
}
