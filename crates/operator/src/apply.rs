//! Making objects what they are to be: server-side apply, by one field manager, and only where something differs.

use std::{fmt::Debug, sync::Arc};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
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
    pub(crate) async fn apply_dynamic(
        &self,
        resource: &ApiResource,
        seen: Option<&Arc<DynamicObject>>,
        mut wanted: Value,
    ) -> Result<bool, Error> {
        mark(&mut wanted);
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.owner.namespace(), resource);
        let what = format!("apply {} `{name}`", resource.kind);
        let there = match seen {
            Some(seen) => Some(seen.clone()),
            None => api.get_opt(name).await.map_err(Error::kube(what.clone()))?.map(Arc::new),
        };
        self.may_take(there.as_deref(), &resource.kind)?;
        if there.is_some_and(|there| is_applied(&wanted, &there)) {
            return Ok(false);
        }
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        api.patch(name, &params, &Patch::Apply(&wanted)).await.map_err(Error::kube(what))?;
        Ok(true)
    }

    /// Removes an object of a `kind` that is wanted no more; somebody else's is left alone. Returns whether there was one.
    pub(crate) async fn remove<K>(&self, api: &Api<K>, kind: &str, seen: Option<&Arc<K>>) -> Result<bool, Error>
    where
        K: Resource + Clone + Debug + DeserializeOwned,
    {
        let Some(seen) = seen.filter(|seen| is_owned(&***seen, self.owner.metadata.uid.as_deref())) else {
            return Ok(false);
        };
        let name = seen.name_any();
        match api.delete(&name, &DeleteParams::background()).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::kube(format!("delete {kind} `{name}`"))(error)),
        }
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

fn is_applied(wanted: &Value, seen: &DynamicObject) -> bool {
    let mut seen = serde_json::to_value(seen).expect("objects of Kubernetes have a JSON text");
    // Items of lists do not say what they are.
    for field in ["apiVersion", "kind"] {
        seen[field] = wanted[field].clone();
    }
    is_part(wanted, &seen)
}

/// Fields whose values, or whose values' values, are quantities: Kubernetes gives them back in another form, as `500M` for
/// `500000000`.
const QUANTITIES: [&str; 4] = ["divisor", "limits", "requests", "sizeLimit"];

/// Whether all that is in `wanted` is in `seen`, too. What `seen` has beyond it is somebody else's, or a default.
pub(crate) fn is_part(wanted: &Value, seen: &Value) -> bool {
    is_part_by(wanted, seen, |wanted, seen| wanted == seen)
}

fn is_part_by(wanted: &Value, seen: &Value, same: fn(&Value, &Value) -> bool) -> bool {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => wanted.iter().all(|(key, value)| match seen.get(key) {
            None => is_left_out(key, value),
            Some(seen) if QUANTITIES.contains(&key.as_str()) => is_part_by(value, seen, same_quantity),
            Some(seen) => is_part_by(value, seen, same),
        }),
        (Value::Array(wanted), Value::Array(seen)) => {
            wanted.len() == seen.len() && wanted.iter().zip(seen).all(|(wanted, seen)| is_part_by(wanted, seen, same))
        }
        (wanted, seen) => same(wanted, seen),
    }
}

/// Whether Kubernetes keeps no trace of a field. Others that are `false` or 0 it keeps, since there that is no default.
fn is_left_out(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(set) => key == "readOnly" && !set,
        Value::Number(_) | Value::Object(_) => false,
    }
}

fn same_quantity(wanted: &Value, seen: &Value) -> bool {
    match (quantity(wanted), quantity(seen)) {
        // Fractions are rounded on their way to a number.
        (Some(wanted), Some(seen)) => (wanted - seen).abs() <= wanted.abs() * 1e-12,
        _ => wanted == seen,
    }
}

/// A quantity of Kubernetes as a number: `1.5Gi`, `500m`, `1e3`, `2`.
fn quantity(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.as_str(),
        other => return other.as_f64(),
    };
    let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let binary = |power| Some(number * 1024_f64.powi(power));
    match suffix {
        "n" => Some(number / 1e9),
        "u" => Some(number / 1e6),
        "m" => Some(number / 1e3),
        "" => Some(number),
        "k" => Some(number * 1e3),
        "M" => Some(number * 1e6),
        "G" => Some(number * 1e9),
        "T" => Some(number * 1e12),
        "P" => Some(number * 1e15),
        "E" => Some(number * 1e18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _exponent => text.parse().ok(),
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

    #[test]
    fn a_quantity_in_another_form_is_no_difference() {
        let memory = |text: &str| json!({"limits": {"memory": text}});
        for (wanted, seen) in [
            ("1024Mi", "1Gi"),
            ("500000000", "500M"),
            ("0.5", "500m"),
            ("0.7", "700m"),
            ("1000", "1k"),
            ("1e3", "1k"),
            ("1.5Gi", "1536Mi"),
            ("0", "0"),
        ] {
            assert!(is_part(&memory(wanted), &memory(seen)), "{wanted} {seen}");
        }
        for (wanted, seen) in [("500M", "501M"), ("1Gi", "1G"), ("1", "1m"), ("1", "much")] {
            assert!(!is_part(&memory(wanted), &memory(seen)), "{wanted} {seen}");
        }
        // Elsewhere another text is another one.
        assert!(!is_part(&json!({"value": "1000m"}), &json!({"value": "1"})));
    }

    #[test]
    fn what_is_empty_may_be_left_out() {
        assert!(is_part(&json!({"name": "LOG", "value": ""}), &json!({"name": "LOG"})));
        assert!(is_part(&json!({"name": "data", "readOnly": false}), &json!({"name": "data"})));
        assert!(!is_part(&json!({"value": ""}), &json!({"value": "x"})));
        assert!(!is_part(&json!({"automountServiceAccountToken": false}), &json!({})));
        assert!(!is_part(&json!({"name": "tmp", "emptyDir": {}}), &json!({"name": "tmp"})));
        assert!(!is_part(&json!({"replicas": 0}), &json!({})));
    }

    #[test]
    fn an_item_of_a_list_is_what_was_applied() {
        let wanted = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                            "metadata": {"name": "iris"}, "spec": {"maxUnavailable": 1}});
        let item =
            |most: u32| serde_json::from_value(json!({"metadata": {"name": "iris"}, "spec": {"maxUnavailable": most}}));
        assert!(is_applied(&wanted, &item(1).unwrap()));
        assert!(!is_applied(&wanted, &item(2).unwrap()));
    }
}
