//! Making objects what they are to be: server-side apply, by one field manager, and only where something differs.

use std::{fmt::Debug, sync::Arc};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{error::Error, names, resources::MlDeployment, watch::is_owned};

/// Applies objects of one MLDeployment.
pub(crate) struct Applier<'a> {
    pub(crate) client: &'a Client,
    pub(crate) owner: &'a MlDeployment,
}

impl Applier<'_> {
    /// Makes an object what it is to be; `seen` is what the cache has of it. Returns whether anything was written.
    ///
    /// # Errors
    /// The API server's, and an object of that name that somebody else made.
    pub(crate) async fn apply<K>(&self, seen: Option<&Arc<K>>, wanted: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let mut wanted_json = serde_json::to_value(wanted).expect("objects of Kubernetes have a JSON text");
        mark(&mut wanted_json);
        if let Some(seen) = seen {
            self.may_take(Some(&**seen), &K::kind(&()))?;
            let seen_json = serde_json::to_value(&**seen).expect("objects of Kubernetes have a JSON text");
            if is_part(&wanted_json, &seen_json) {
                return Ok(false);
            }
        }
        let name = wanted.name_any();
        let api: Api<K> = Api::namespaced(self.client.clone(), self.owner.namespace());
        let what = format!("apply {} `{name}`", K::kind(&()));
        if seen.is_none() {
            let there = api.get_opt(&name).await.map_err(Error::kube(what.clone()))?;
            self.may_take(there.as_ref(), &K::kind(&()))?;
            if there.is_some_and(|there| model(&there) != model(wanted)) {
                return Err(Error::Behind(name));
            }
        }
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&wanted_json)).await.map_err(Error::kube(what))?;
        Ok(true)
    }

    /// The same for an object whose type this program does not have.
    pub(crate) async fn apply_dynamic(&self, resource: &ApiResource, mut wanted: Value) -> Result<bool, Error> {
        mark(&mut wanted);
        let wanted = &wanted;
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.owner.namespace(), resource);
        let what = format!("apply {} `{name}`", resource.kind);
        let there = api.get_opt(name).await.map_err(Error::kube(what.clone()))?;
        if let Some(there) = &there
            && is_part(wanted, &serde_json::to_value(there).expect("objects of Kubernetes have a JSON text"))
        {
            return Ok(false);
        }
        self.may_take(there.as_ref(), &resource.kind)?;
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        api.patch(name, &params, &Patch::Apply(wanted)).await.map_err(Error::kube(what))?;
        Ok(true)
    }

    /// What somebody else made is left alone, unless they hand it over.
    fn may_take<K: ResourceExt>(&self, there: Option<&K>, kind: &str) -> Result<(), Error> {
        let Some(there) = there else { return Ok(()) };
        let handed_over = there.annotations().get(names::ADOPT).is_some_and(|value| value == "true");
        if handed_over || is_owned(there, self.owner.metadata.uid.as_deref()) {
            return Ok(());
        }
        let name = there.name_any();
        Err(Error::Refused(format!(
            "there is a {kind} `{name}` that KEA did not make: rename or delete it, or hand it over with \
             `kubectl annotate {} {name} {}=true`",
            kind.to_lowercase(),
            names::ADOPT,
        )))
    }
}

/// The model of a version's Deployment; nothing for other objects.
fn model<K: ResourceExt>(object: &K) -> Option<&String> {
    object.annotations().get(names::MODEL)
}

/// Notes on an object what it is made of.
fn mark(wanted: &mut Value) {
    let digest = names::short_digest(&wanted.to_string());
    let annotations = &mut wanted["metadata"]["annotations"];
    if annotations.is_null() {
        *annotations = Value::Object(serde_json::Map::new());
    }
    annotations[names::APPLIED] = digest.into();
}

/// Whether all that is in `wanted` is in `seen`, too. What `seen` has beyond it is somebody else's, or a default.
pub(crate) fn is_part(wanted: &Value, seen: &Value) -> bool {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => {
            wanted.iter().all(|(key, value)| seen.get(key).is_some_and(|seen| is_part(value, seen)))
        }
        (Value::Array(wanted), Value::Array(seen)) => {
            wanted.len() == seen.len() && wanted.iter().zip(seen).all(|(wanted, seen)| is_part(wanted, seen))
        }
        (wanted, seen) => wanted == seen,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_foreign_fields_are_no_difference() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}});
        let seen =
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}, "type": "ClusterIP"}});
        assert!(is_part(&wanted, &seen));
        let drifted = json!({"spec": {"ports": [{"port": 81}], "selector": {"a": "b"}}});
        assert!(!is_part(&wanted, &drifted));
        let another = json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "selector": {"a": "b"}}});
        assert!(!is_part(&wanted, &another));
    }
}
