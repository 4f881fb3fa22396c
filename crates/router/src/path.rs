//! Reading a request's path: which service, which function, which protocol.

use kea_core::{
    contract::DEFAULT_FUNCTION,
    management::{BASE_PATH, RESERVED_FUNCTIONS},
};

/// What a path asks of a service, each part as it is written: see [`kea_http::segment`] for what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServicePath<'a> {
    pub(crate) service: &'a str,
    /// Function, or the path within an existing web service.
    pub(crate) function: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) protocol: Protocol,
}

/// The language of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// KEA's own: `{"inputs": {...}}`.
    Kea,
    /// Open Inference Protocol V2.
    V2,
}

/// Whether a request is the router's rather than the management API's.
pub(crate) fn is_service_request(path: &str) -> bool {
    match below_services(path) {
        Some((_, function)) => !RESERVED_FUNCTIONS.contains(&function),
        None => path == "/v2" || path.starts_with("/v2/"),
    }
}

/// Reads a path of a service: `/api/v1/k8c/services/{id}/{function}` or `/v2/models/{id}[/versions/{v}]/infer`. The
/// function is empty at `/services/{id}/`: the root of an existing web service.
pub(crate) fn read(path: &str) -> Option<ServicePath<'_>> {
    if let Some((service, function)) = below_services(path) {
        return Some(ServicePath { service, function, version: None, protocol: Protocol::Kea });
    }
    let (service, version) = match path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?.split_once("/versions/") {
        Some((service, version)) => (service, Some(version)),
        None => (path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?, None),
    };
    Some(ServicePath { service, function: DEFAULT_FUNCTION, version, protocol: Protocol::V2 })
}

fn below_services(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(BASE_PATH)?.strip_prefix("/services/")?.split_once('/')
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn check(path: &str, expected: Option<(&str, &str, Option<&str>, Protocol)>) {
        let read = read(path).map(|p| (p.service, p.function, p.version, p.protocol));
        assert_eq!(read, expected, "{path}");
    }

    #[test]
    fn paths_name_service_function_and_protocol() {
        check("/api/v1/k8c/services/iris/predict", Some(("iris", "predict", None, Protocol::Kea)));
        check("/api/v1/k8c/services/app/items/5", Some(("app", "items/5", None, Protocol::Kea)));
        check("/api/v1/k8c/services/iris", None);
        check("/api/v1/k8c/services/app/", Some(("app", "", None, Protocol::Kea)));
        check("/v2/models/iris/infer", Some(("iris", "predict", None, Protocol::V2)));
        check("/v2/models/iris/versions/2/infer", Some(("iris", "predict", Some("2"), Protocol::V2)));
        check("/v2/models/iris", None);
        check("/", None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// A path is of the router or of the management API, and what is read of it is in it as it stands: nothing is
        /// decoded or resolved here, so that an escaped separator stays within its part.
        #[test]
        fn what_is_read_stands_in_the_path(path in "(/api/v1/k8c/services/|/v2/models/|/)[a-z0-9/%.;?_-]{0,40}") {
            let Some(read) = read(&path) else { return Ok(()) };
            prop_assert!(is_service_request(&path) || RESERVED_FUNCTIONS.contains(&read.function));
            let again = match (read.protocol, read.version) {
                (Protocol::Kea, _) => format!("{BASE_PATH}/services/{}/{}", read.service, read.function),
                (Protocol::V2, None) => format!("/v2/models/{}/infer", read.service),
                (Protocol::V2, Some(version)) => format!("/v2/models/{}/versions/{version}/infer", read.service),
            };
            prop_assert_eq!(again, path);
        }
    }

    #[test]
    fn management_keeps_its_own_paths() {
        assert!(is_service_request("/api/v1/k8c/services/iris/predict"));
        assert!(is_service_request("/v2/health/ready"));
        assert!(!is_service_request("/api/v1/k8c/services/iris/methods"));
        assert!(!is_service_request("/api/v1/k8c/services/iris/rollback"));
        assert!(!is_service_request("/api/v1/k8c/services/iris"));
        assert!(!is_service_request("/v20"));
    }
}
