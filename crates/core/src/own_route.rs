//! Paths and hosts of its own that a service has beside the standard ones.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{change::invalid, name::ServiceId, port::DeployError};

/// First segments of paths that are KEA's own on every host: its API, its pages, and what tells how it is.
pub const KEA_SEGMENTS: [&str; 14] = [
    ".well-known",
    "api",
    "auth",
    "docs",
    "favicon.ico",
    "healthz",
    "login",
    "logout",
    "metrics",
    "oauth2",
    "openapi.json",
    "readyz",
    "v1",
    "v2",
];

/// Longest path of a route, in bytes.
pub const PATH_MAX: usize = 1024;

/// Most routes of one service.
const ROUTES_MAX: usize = 100;

/// Requests that reach a service: those below a path, of one host or of all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnRoute {
    /// The host that is asked for, without port; all hosts where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub host: Option<Host>,
    /// The path that is before the function's name; all paths of the host where it is not given.
    #[serde(default)]
    #[schemars(with = "String")]
    pub path: RoutePath,
}

impl fmt::Display for OwnRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host.as_ref().map_or("", |host| &host.0), self.path.as_str())
    }
}

/// A host's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

/// A path of plain segments, without a `/` at its end; `/` alone is all paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoutePath(String);

/// Why a text is no host or path of a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A host of other characters.
    #[error("`{0}` is not the name of a host: write it as `models.example`, without scheme, port and path")]
    Host(String),
    /// A path of other characters.
    #[error("`{0}` is not a path: write it as `/iris` or `/models/iris`, of letters, digits and `-._~`")]
    Path(String),
    /// A path that KEA has itself.
    #[error("`{0}` hides a path of KEA's own: choose another first word than {words}", words = KEA_SEGMENTS.join(", "))]
    Kea(String),
}

impl Host {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoutePath {
    /// The path; `/` where it is all of them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RoutePath {
    fn default() -> Self {
        Self("/".into())
    }
}

impl FromStr for Host {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let well_formed = text.len() <= 253 && text.split('.').all(label);
        if well_formed { Ok(Self(text.to_ascii_lowercase())) } else { Err(RouteError::Host(text.into())) }
    }
}

impl FromStr for RoutePath {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let wrong = || RouteError::Path(text.into());
        let inner = text.strip_prefix('/').ok_or_else(wrong)?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            return Ok(Self::default());
        }
        let plain = |segment: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            !matches!(segment, "" | "." | "..") && segment.bytes().all(known)
        };
        let well_formed = text.len() <= PATH_MAX && inner.split('/').all(plain);
        let first = inner.split('/').next().unwrap_or_default();
        match well_formed {
            false => Err(wrong()),
            true if KEA_SEGMENTS.contains(&first) => Err(RouteError::Kea(text.into())),
            true => Ok(Self(format!("/{inner}"))),
        }
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = RouteError;
            fn try_from(text: String) -> Result<Self, RouteError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
text_like!(Host);
text_like!(RoutePath);

/// Whether the routes that a request asks for can be, whatever others have.
///
/// # Errors
/// All paths of all hosts; more than anyone needs.
pub fn check(routes: &[OwnRoute]) -> Result<(), DeployError> {
    if let Some(at) = routes.iter().position(|route| route.host.is_none() && route.path == RoutePath::default()) {
        let detail = "this would be all paths of all hosts: give a `host`, or a `path` as `/iris`";
        return Err(invalid(&format!("/routes/{at}"), detail));
    }
    if routes.len() > ROUTES_MAX {
        return Err(invalid("/routes", format!("{} routes are too many: at most {ROUTES_MAX}", routes.len())));
    }
    Ok(())
}

/// Whether none of the routes belongs to another service already.
///
/// # Errors
/// `Conflict`, which names the route and who has it.
pub fn check_free<'a>(
    id: &ServiceId,
    routes: &[OwnRoute],
    others: impl IntoIterator<Item = (&'a ServiceId, &'a [OwnRoute])>,
) -> Result<(), DeployError> {
    for (other, theirs) in others.into_iter().filter(|(other, _)| *other != id) {
        if let Some(taken) = routes.iter().find(|route| theirs.contains(route)) {
            return Err(DeployError::Conflict(format!(
                "the route `{taken}` is that of the service `{other}`: choose another, or remove it there first"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(json: &str) -> Result<OwnRoute, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn hosts_and_paths_are_read_in_one_form() {
        let same =
            [r#"{"host": "Models.Example", "path": "/iris/"}"#, r#"{"host": "models.example", "path": "/iris"}"#];
        assert_eq!(route(same[0]), route(same[1]));
        assert_eq!(route(same[0]).unwrap().to_string(), "models.example/iris");
        assert_eq!(route(r#"{"host": "models.example"}"#).unwrap().to_string(), "models.example/");
    }

    #[test]
    fn what_no_request_could_mean_is_refused() {
        for path in ["", "iris", "//iris", "/iris//x", "/a/../b", "/.", "/%2e%2e", "/a b", "/a?b", "/é", "/a\\b", "/*"]
        {
            assert_eq!(path.parse::<RoutePath>(), Err(RouteError::Path(path.into())));
        }
        for host in ["", "a..b", "models.example:80", "http://a", "-a", "a-", "*.example", "a_b", "é"] {
            assert_eq!(host.parse::<Host>(), Err(RouteError::Host(host.into())));
        }
        assert!(route(r#"{"path": "/iris", "method": "GET"}"#).is_err());
    }

    #[test]
    fn keas_own_paths_are_never_hidden() {
        for segment in KEA_SEGMENTS {
            for path in [format!("/{segment}"), format!("/{segment}/x")] {
                assert_eq!(path.parse::<RoutePath>(), Err(RouteError::Kea(path)));
            }
        }
        assert!("/apis".parse::<RoutePath>().is_ok() && "/x/api".parse::<RoutePath>().is_ok());
        assert!(check(&[route("{}").unwrap()]).is_err());
    }

    #[test]
    fn a_route_of_another_service_is_a_conflict_that_names_it() {
        let (iris, other): (ServiceId, ServiceId) = ("iris".parse().unwrap(), "other".parse().unwrap());
        let routes = [route(r#"{"path": "/a"}"#).unwrap(), route(r#"{"host": "a.example"}"#).unwrap()];
        assert!(check_free(&iris, &routes, [(&iris, &routes[..])]).is_ok());
        assert!(check_free(&iris, &routes[..1], [(&other, &routes[1..])]).is_ok());
        let conflict = check_free(&iris, &routes, [(&other, &routes[1..])]).unwrap_err().to_string();
        assert!(conflict.contains("`a.example/`") && conflict.contains("`other`"), "{conflict}");
    }
}
