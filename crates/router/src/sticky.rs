//! Keeping a caller at the version that answered it first, by a cookie, where versions share the requests.

use http::{HeaderMap, HeaderValue, header};
use kea_core::VersionId;

use crate::{
    identify::Admitted,
    table::{ServiceEntry, VersionEntry},
};

/// How long a caller is kept, in seconds: a day.
const KEPT: u32 = 24 * 3600;

/// Whether callers are kept: it is asked for, and versions share the requests.
fn is_on(service: &ServiceEntry) -> bool {
    let asked = service.route.settings.load_balancer.as_ref().is_some_and(|rule| rule.sticky);
    asked && service.shares_versions()
}

/// The version that the caller had, while it takes requests that name none.
pub(crate) fn kept<'a>(service: &'a ServiceEntry, headers: &HeaderMap) -> Option<&'a VersionEntry> {
    if !is_on(service) {
        return None;
    }
    let version = version(service, headers)?;
    service.version(Some(version)).filter(|found| service.has_share(found))
}

/// What keeps the caller of a request at its version, where it is to be kept and does not say so itself.
pub(crate) fn new_cookie(admitted: &Admitted) -> Option<HeaderValue> {
    let Admitted { service, request, any_version, .. } = admitted;
    let answers = &admitted.version().version;
    if !any_version || !is_on(service) || version(service, request.headers()) == Some(answers.as_str()) {
        return None;
    }
    Some(cookie(service, answers))
}

/// The version that the caller's cookie names.
fn version<'a>(service: &ServiceEntry, headers: &'a HeaderMap) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs.flat_map(|pairs| pairs.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name.strip_prefix("kea-version-")? == service.route.id.as_str()).then_some(value)
    })
}

/// What sets that cookie. Names and versions hold letters, digits, `-`, `.` and `_` alone.
fn cookie(service: &ServiceEntry, version: &VersionId) -> HeaderValue {
    let id = &service.route.id;
    let cookie = format!("kea-version-{id}={version}; Path=/; Max-Age={KEPT}; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(cookie).expect("checked names are a header value")
}
