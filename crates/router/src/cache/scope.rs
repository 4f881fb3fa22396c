//! What of the cache is meant by names, and what of it is of no use after a change.

use std::sync::Arc;

use kea_core::VersionId;
use kea_http::ApiError;

use super::{Scope, function_part};
use crate::{
    RouterError,
    table::{ServiceEntry, Table},
};

impl Table {
    /// The answers of a service or a function that there is.
    pub(crate) fn scope(&self, service: &str, function: Option<&str>) -> Result<Scope, ApiError> {
        let entry = self.services.get(service).ok_or_else(|| RouterError::NoService(service.into()))?;
        let Some(function) = function else { return Ok(Scope::Service(service.into())) };
        for version in &entry.versions {
            if let Some(validator) = &version.validator
                && validator.contract().function(function).is_some()
            {
                return Ok(Scope::Function { service: service.into(), function: function_part(function).into() });
            }
        }
        Err(RouterError::NoPath(format!("{service}/{function}")).into())
    }

    /// Services that have lost a version since `before`, with the versions that they have.
    pub(crate) fn changed_versions(&self, before: &Self) -> Vec<(String, Vec<(VersionId, i64)>)> {
        let lost = |entry: &Arc<ServiceEntry>| {
            let after = self.services.get(entry.route.id.as_str());
            if after.is_some_and(|after| Arc::ptr_eq(after, entry)) {
                return None;
            }
            let running = after.map_or_else(Vec::new, |after| versions(after));
            let all_there = versions(entry).iter().all(|version| running.contains(version));
            (!all_there).then(|| (entry.route.id.to_string(), running))
        };
        before.services.values().filter_map(lost).collect()
    }
}

fn versions(entry: &ServiceEntry) -> Vec<(VersionId, i64)> {
    entry.versions.iter().map(|version| (version.version.clone(), version.made_at)).collect()
}
