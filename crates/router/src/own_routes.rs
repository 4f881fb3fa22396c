//! Paths and hosts of its own that a service has: which request is whose, and what it is on the standard path.

use std::{collections::HashMap, sync::Arc};

use axum::extract::Request;
use http::{Uri, header, uri::PathAndQuery};
use kea_core::{
    Engine,
    contract::DEFAULT_FUNCTION,
    management::BASE_PATH,
    own_route::{KEA_SEGMENTS, OwnRoute, PATH_MAX},
};

use crate::{
    grpc,
    table::{ServiceEntry, Table},
};

/// The path before a function's name by which a request came, where that is not the standard one; a request extension.
#[derive(Clone, Debug)]
pub(crate) struct Prefix(pub(crate) Box<str>);

/// All routes, by host and path. A host of its own comes before all hosts, then the longest path does.
#[derive(Debug, Default)]
pub(crate) struct OwnRoutes {
    /// Under the empty name, those of all hosts.
    hosts: HashMap<Box<str>, HashMap<Box<str>, Arc<str>>>,
}

impl OwnRoutes {
    /// The routes of these services. Where two have the same one, as documents of a cluster can, the first by name has it.
    pub(crate) fn of<'a>(services: impl Iterator<Item = (&'a Arc<str>, &'a [OwnRoute])>) -> Self {
        let mut named: Vec<_> = services.filter(|(_, routes)| !routes.is_empty()).collect();
        named.sort_unstable_by_key(|(name, _)| *name);
        let mut all = Self::default();
        for (name, routes) in named {
            for route in routes {
                let host = route.host.as_ref().map_or("", |host| host.as_str());
                let paths = all.hosts.entry(host.into()).or_default();
                let holder = paths.entry(route.path.as_str().into()).or_insert_with(|| name.clone());
                if holder != name {
                    tracing::warn!(%route, service = %name, %holder, "a route is another service's already");
                }
            }
        }
        all
    }

    /// Whose a request is, and what is left of its path, without a `/` before it.
    pub(crate) fn find<'p>(&self, host: &str, path: &'p str) -> Option<(&Arc<str>, &'p str)> {
        if self.hosts.is_empty() || !is_plain(path) {
            return None;
        }
        let first = path[1..].split('/').next().unwrap_or_default();
        if KEA_SEGMENTS.contains(&first) {
            return None;
        }
        let host = bare(host).to_ascii_lowercase();
        let of_host = self.hosts.get(&*host).and_then(|paths| longest(paths, path));
        of_host.or_else(|| longest(self.hosts.get("")?, path))
    }
}

/// The route of the longest path that is that of the request up to the end of a segment.
fn longest<'r, 'p>(paths: &'r HashMap<Box<str>, Arc<str>>, path: &'p str) -> Option<(&'r Arc<str>, &'p str)> {
    // What is longer than any route is not looked for, so that a long path costs no more.
    let mut end = match path.as_bytes().get(..=PATH_MAX) {
        Some(start) => start.iter().rposition(|byte| *byte == b'/')?,
        None => path.len(),
    };
    loop {
        let prefix = path[..end].trim_end_matches('/');
        let prefix = if prefix.is_empty() { "/" } else { prefix };
        if let Some(service) = paths.get(prefix) {
            return Some((service, path[prefix.len()..].trim_start_matches('/')));
        }
        end = path[..end].rfind('/').filter(|_| prefix != "/")?;
    }
}

/// Whether all that read a path read it in the same way: it has no empty segments, none that lead up, and no separators
/// that are written as something else.
pub(crate) fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let decoded = lower.replace("%2e", ".");
    let hidden = ["//", "\\", "%2f", "%5c", "%00"].iter().any(|part| lower.contains(part));
    path.starts_with('/') && !hidden && !decoded.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Table {
    /// What a request that came by a service's own route is on the standard path, and the path of that route.
    pub(crate) fn standard_uri(&self, request: &Request) -> Option<(Uri, Prefix)> {
        let (uri, headers) = (request.uri(), request.headers());
        let asked = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = uri.authority().map(|authority| authority.as_str()).or(asked).unwrap_or_default();
        if kea_http::grpc::is_call(request.version(), headers) {
            return grpc::standard_uri(&self.own_routes, host, uri, headers);
        }
        let (service, rest) = self.own_routes.find(host, uri.path())?;
        let is_bare_call = rest.is_empty() && !is_web_service(self.services.get(service)?);
        let function = if is_bare_call { DEFAULT_FUNCTION } else { rest };
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let path = format!("{BASE_PATH}/services/{service}/{function}{query}");
        let asked = uri.path();
        let prefix = asked[..asked.len() - rest.len()].trim_end_matches('/');
        Some((Uri::from(path.parse::<PathAndQuery>().ok()?), Prefix(prefix.into())))
    }
}

fn is_web_service(entry: &ServiceEntry) -> bool {
    entry.version(None).is_some_and(|version| version.engine == Engine::External)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Routes as `SERVICE HOST/PATH`.
    fn routes(lines: &[&str]) -> OwnRoutes {
        let parsed: Vec<(Arc<str>, Vec<OwnRoute>)> = lines
            .iter()
            .map(|line| {
                let (service, place) = line.split_once(' ').unwrap();
                let (host, path) = place.split_at(place.find('/').unwrap());
                let host = Some(host).filter(|host| !host.is_empty()).map(|host| host.parse().unwrap());
                (service.into(), vec![OwnRoute { host, path: path.parse().unwrap() }])
            })
            .collect();
        OwnRoutes::of(parsed.iter().map(|(name, routes)| (name, &routes[..])))
    }

    fn check(host: &str, path: &str, expected: Option<(&str, &str)>) {
        let routes = routes(&["a /iris", "b /iris/v", "c models.example/", "d models.example/iris", "e /x/y"]);
        let found = routes.find(host, path).map(|(service, rest)| (&**service, rest));
        assert_eq!(found, expected, "{host} {path}");
    }

    #[test]
    fn the_longest_path_of_whole_segments_wins() {
        check("", "/iris", Some(("a", "")));
        check("", "/iris/", Some(("a", "")));
        check("", "/iris/predict", Some(("a", "predict")));
        check("", "/iris/v/predict", Some(("b", "predict")));
        check("", "/iris/vv", Some(("a", "vv")));
        check("", "/irises", None);
        check("", "/x", None);
        check("", "/x/y/items/5", Some(("e", "items/5")));
        check("", "/", None);
    }

    #[test]
    fn a_host_of_its_own_comes_first_in_any_case_and_with_any_port() {
        check("Models.Example:8080", "/iris/predict", Some(("d", "predict")));
        check("models.example", "/predict", Some(("c", "predict")));
        check("models.example", "/", Some(("c", "")));
        check("models.example.org", "/iris", Some(("a", "")));
        check("[::1]:8080", "/iris", Some(("a", "")));
    }

    #[test]
    fn keas_own_paths_and_paths_in_disguise_are_nobodys() {
        for path in ["/api/v1/k8c/services", "/docs", "/metrics", "/.well-known/jwks.json"] {
            check("models.example", path, None);
        }
        for path in [
            "//iris",
            "/iris//predict",
            "/iris/../x",
            "/iris/..",
            "/iris/%2e%2E/x",
            "/iris/.%2e",
            "/./iris",
            "/x%2fy",
            "/iris/a%5Cb",
            "/iris\\predict",
            "",
        ] {
            check("models.example", path, None);
        }
    }

    #[test]
    fn a_route_of_two_services_is_that_of_the_first_by_name() {
        let both = routes(&["b /iris", "a /iris"]);
        assert_eq!(&**both.find("", "/iris").unwrap().0, "a");
    }

    fn paths() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]{1,2}", 1..4).prop_map(|segments| format!("/{}", segments.join("/")))
    }

    proptest! {
        #[test]
        fn what_is_found_is_the_longest_prefix(known in prop::collection::vec(paths(), 0..6), asked in paths()) {
            let lines: Vec<String> = known.iter().map(|path| format!("s{path} {path}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let routes = routes(&lines);
            let below = |path: &&String| asked == **path || asked.starts_with(&format!("{path}/"));
            let expected = known.iter().filter(below).max_by_key(|path| path.len());
            let found = routes.find("any.example:1", &asked);
            prop_assert_eq!(found.map(|(service, _)| &service[1..]), expected.map(String::as_str));
            if let (Some((_, rest)), Some(path)) = (found, expected) {
                let whole = format!("{path}/{rest}");
                prop_assert_eq!(whole.trim_end_matches('/'), asked);
            }
        }

        #[test]
        fn any_path_is_found_or_not(host in "[a-z.:\\[\\]0-9]{0,12}", path in "[/.%2eEfF\\\\a]{0,16}") {
            let routes = routes(&["a /a", "h h.example/"]);
            if let Some((_, rest)) = routes.find(&host, &path) {
                prop_assert!(!rest.starts_with('/') && is_plain(&path));
            }
        }
    }
}
