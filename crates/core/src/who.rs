//! Names of users and roles: parsed once at the edge, passed on as they are.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest username: an e-mail address fits in most cases, and a line of the log with it.
const USERNAME_MAX: usize = 64;

/// Longest name of a role, as of other names.
const ROLE_MAX: usize = 63;

/// A user's name: 1 to 64 letters, digits, `.`, `_`, `@`, `+` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// A role's name: 1 to 63 lower-case letters, digits and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

/// Why a text is no name of a user or role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhoError {
    /// No name of a user.
    #[error(
        "`{0}` is not a username: use 1 to 64 letters, digits, `.`, `_`, `@`, `+` and `-`, beginning with a letter or digit"
    )]
    NotAUsername(String),
    /// No name of a role.
    #[error(
        "`{0}` is not the name of a role: use 1 to 63 lower-case letters, digits and `-`, beginning with a letter or digit"
    )]
    NotARole(String),
}

impl FromStr for Username {
    type Err = WhoError;

    fn from_str(text: &str) -> Result<Self, WhoError> {
        let well_formed = (1..=USERNAME_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if well_formed { Ok(Self(text.into())) } else { Err(WhoError::NotAUsername(text.into())) }
    }
}

impl FromStr for RoleName {
    type Err = WhoError;

    fn from_str(text: &str) -> Result<Self, WhoError> {
        let well_formed = (1..=ROLE_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-');
        if well_formed { Ok(Self(text.into())) } else { Err(WhoError::NotARole(text.into())) }
    }
}

macro_rules! text_like {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = WhoError;
            fn try_from(text: String) -> Result<Self, WhoError> {
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
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "example": $example})
            }
        }
    };
}
text_like!(Username, "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$", "ada");
text_like!(RoleName, "^[a-z0-9][a-z0-9-]{0,62}$", "engineer");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_and_roles_are_plain() {
        for good in ["admin", "ada.lovelace", "ada@example.org", "A1", &"x".repeat(64)] {
            assert!(good.parse::<Username>().is_ok(), "{good}");
        }
        for bad in ["", " ada", "-ada", "@ada", "a b", "a/b", "a\0", "åsa", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Username>().is_err(), "{bad:?}");
        }
        for good in ["admin", "team-a", "1", &"x".repeat(63)] {
            assert!(good.parse::<RoleName>().is_ok(), "{good}");
        }
        for bad in ["", "Admin", "-a", "a b", "a,b", "a_b", &"x".repeat(64)] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad:?}");
        }
    }
}
