//! Names of users: parsed once at the edge, passed on as they are.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest username: an e-mail address fits in most cases, and a line of the log with it.
const USERNAME_MAX: usize = 64;

/// A user's name: 1 to 64 letters, digits, `.`, `_`, `@`, `+` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// A text is no name of a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a username: use 1 to 64 letters, digits, `.`, `_`, `@`, `+` and `-`, beginning with a letter or digit"
)]
pub struct NotAUsername(String);

impl FromStr for Username {
    type Err = NotAUsername;

    fn from_str(text: &str) -> Result<Self, NotAUsername> {
        let well_formed = (1..=USERNAME_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if well_formed { Ok(Self(text.into())) } else { Err(NotAUsername(text.into())) }
    }
}

impl Username {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Username {
    type Error = NotAUsername;

    fn try_from(text: String) -> Result<Self, NotAUsername> {
        text.parse()
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Username {
    fn schema_name() -> Cow<'static, str> {
        "Username".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$", "example": "ada"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_are_plain() {
        for good in ["admin", "ada.lovelace", "ada@example.org", "A1", &"x".repeat(64)] {
            assert!(good.parse::<Username>().is_ok(), "{good}");
        }
        for bad in ["", " ada", "-ada", "@ada", "a b", "a/b", "a\0", "åsa", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Username>().is_err(), "{bad:?}");
        }
    }
}
