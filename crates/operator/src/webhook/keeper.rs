//! What the webhook needs in the cluster: its certificates in a Secret that all operators share, and the configuration
//! by which Kubernetes asks it. Each operator keeps both; who comes second finds nothing left to do.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, rbac::v1::ClusterRole},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{PATH, served::Served};
use crate::{
    apply::is_part,
    certificates::{Identity, Kept, LOOK, Ring, SOON, authorities},
    error::Error,
    names,
    resources::{GROUP, VERSION},
};

/// Secret of the certificates.
pub(crate) const SECRET: &str = "kea-webhook";

/// Service of the operators that serve the webhook.
pub(crate) const SERVICE: &str = "kea-webhook";

/// How long Kubernetes waits for an answer before it goes on without one, in seconds.
const ANSWER_SECONDS: u32 = 5;

/// Keeps certificates and configuration.
pub(super) struct Keeper {
    certificates: Kept<Identity>,
    configurations: Api<ValidatingWebhookConfiguration>,
    roles: Api<ClusterRole>,
    namespace: String,
}

impl Keeper {
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            certificates: Kept::new(client, namespace, SECRET),
            configurations: Api::all(client.clone()),
            roles: Api::all(client.clone()),
            namespace: namespace.into(),
        }
    }

    /// Looks again and again until `stop` is cancelled.
    pub(super) async fn keep(&self, served: &Served, stop: &CancellationToken) {
        loop {
            let pause = match self.look(served, Timestamp::now()).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!("the webhook's certificate or configuration cannot be kept: {error}");
                    SOON
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look. Trust comes first: a certificate is used, and an authority dropped, only where the look before this one
    /// has left a configuration that trusts what follows. Returns the pause until the next look.
    async fn look(&self, served: &Served, now: Timestamp) -> Result<Duration, Error> {
        let make = || Identity::new(&host(&self.namespace), now);
        let ring = self.certificates.shared(|kept| kept.is_over(now).then(|| kept.renewed(now, make))).await?;
        if !served.has_certificate() {
            self.serve(served, ring.oldest(now))?;
        }
        if self.trust(&ring).await? {
            return Ok(SOON);
        }
        self.serve(served, ring.used(now))?;
        self.certificates
            .shared(|kept| (*kept == ring).then(|| kept.renewed(now, make)).filter(|renewed| renewed != kept))
            .await?;
        Ok(LOOK)
    }

    fn serve(&self, served: &Served, identity: Option<&Identity>) -> Result<(), Error> {
        identity.map_or(Ok(()), |identity| served.put(identity).map_err(|why| self.certificates.unreadable(&why)))
    }

    /// Makes the configuration trust all of the certificates. Returns whether it did not yet.
    async fn trust(&self, ring: &Ring<Identity>) -> Result<bool, Error> {
        let name = configuration_name(&self.namespace);
        let role_name = names::of_installation("kea-operator", &self.namespace);
        let role = self.roles.get_opt(&role_name).await;
        let role = role.map_err(Error::kube(format!("read ClusterRole `{role_name}`")))?;
        let wanted = configuration(&self.namespace, &authorities(ring), role.as_ref());
        let doing = format!("apply ValidatingWebhookConfiguration `{name}`");
        let seen = self.configurations.get_opt(&name).await.map_err(Error::kube(doing.clone()))?;
        let is_so = seen.is_some_and(|seen| {
            is_part(&wanted, &serde_json::to_value(&seen).expect("objects of Kubernetes have a JSON text"))
        });
        if is_so {
            return Ok(false);
        }
        let params = PatchParams::apply(names::FIELD_MANAGER).force();
        self.configurations.patch(&name, &params, &Patch::Apply(&wanted)).await.map_err(Error::kube(doing))?;
        tracing::info!(configuration = name, "Kubernetes asks the webhook");
        Ok(true)
    }
}

/// What API servers call the webhook.
fn host(namespace: &str) -> String {
    format!("{SERVICE}.{namespace}.svc")
}

/// Name of the ValidatingWebhookConfiguration of the KEA in `namespace`.
pub(crate) fn configuration_name(namespace: &str) -> String {
    names::of_installation("kea", namespace)
}

/// It belongs to the operator's ClusterRole, with which it goes: an operator that has ended removes nothing.
fn configuration(namespace: &str, authorities: &str, owner: Option<&ClusterRole>) -> Value {
    let mut configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {
            "name": configuration_name(namespace),
            "labels": {"app.kubernetes.io/name": "kea", "app.kubernetes.io/component": "operator"},
        },
        "webhooks": [{
            "name": format!("validate.{GROUP}"),
            "clientConfig": {
                "service": {"namespace": namespace, "name": SERVICE, "path": PATH, "port": 443},
                "caBundle": ByteString(authorities.as_bytes().to_vec()),
            },
            "rules": [{
                "apiGroups": [GROUP],
                "apiVersions": [VERSION],
                "resources": ["mlmodels", "mldeployments"],
                "operations": ["CREATE", "UPDATE"],
                "scope": "Namespaced",
            }],
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": ANSWER_SECONDS,
            "admissionReviewVersions": ["v1"],
        }],
    });
    if let Some(owner) = owner {
        configuration["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": owner.name_any(),
            "uid": owner.uid().unwrap_or_default(),
        }]);
    }
    configuration
}

/// Removes the configuration that an operator with the webhook left. One that may not be removed, or not be asked for,
/// costs nothing but a refused connection at each change.
pub(crate) async fn remove_configuration(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    match configurations.delete(&configuration_name(namespace), &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn the_configuration_is_what_kubernetes_keeps_of_it() {
        let role = ClusterRole {
            metadata: ObjectMeta {
                name: Some("kea-operator-ml".into()),
                uid: Some("u".into()),
                ..ObjectMeta::default()
            },
            ..ClusterRole::default()
        };
        let wanted = configuration("ml", "PEM", Some(&role));
        let kept: ValidatingWebhookConfiguration = serde_json::from_value(wanted.clone()).unwrap();
        let kept = serde_json::to_value(kept).unwrap();
        assert!(is_part(&wanted, &kept), "{kept}");
        let changed = configuration("ml", "another PEM", Some(&role));
        assert!(!is_part(&changed, &kept), "another authority is a change");
        insta::assert_json_snapshot!(wanted);
    }
}
