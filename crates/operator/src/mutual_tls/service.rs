//! The certificate of one service, in a Secret beside its pods.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::{CERTIFICATE, Issuing, KEY, secret_data};
use crate::{apply::Applier, certificates::Signed, error::Error, names, objects, resources::MlDeployment};

impl Issuing {
    /// Makes the Secret of a service what it is to be; says whether anything was written. It is asked for each time and
    /// not watched: who watches Secrets may list those of others, too.
    ///
    /// # Errors
    /// The API server's, and a Secret of that name that somebody else made.
    pub(crate) async fn certify(&self, applier: &Applier<'_>) -> Result<bool, Error> {
        let owner = applier.owner;
        let name = names::of_certificate(owner.name());
        let secrets: Api<Secret> = Api::namespaced(applier.client.clone(), owner.namespace());
        let seen = secrets.get_opt(&name).await.map_err(Error::kube(format!("read Secret `{name}`")))?.map(Arc::new);
        let wanted = self.secret(owner, seen.as_deref())?;
        applier.apply(seen.as_ref(), &wanted).await
    }

    /// The Secret as it is to be. A certificate that this authority has signed stays.
    fn secret(&self, owner: &MlDeployment, seen: Option<&Secret>) -> Result<Secret, Error> {
        let host = names::tls_host(owner.namespace(), owner.name());
        let signed = match seen.and_then(|seen| self.kept(seen, &host)) {
            Some(kept) => kept,
            None => self.replicas.sign(&host).map_err(|error| {
                let name = super::AUTHORITY_SECRET;
                Error::Refused(format!(
                    "what Secret `{name}` holds cannot be used ({error}): delete it, and it is made anew"
                ))
            })?,
        };
        let seal = self.seal(&signed, &host);
        let data = secret_data(self.gateways.clone(), &signed.certificate, &signed.key);
        Ok(objects::certificate(owner, data, seal))
    }

    /// The certificate in a Secret, where this authority has signed it for that host, and nobody has changed it.
    fn kept(&self, seen: &Secret, host: &str) -> Option<Signed> {
        let text = |key: &str| String::from_utf8(seen.data.as_ref()?.get(key)?.0.clone()).ok();
        let kept = Signed { certificate: text(CERTIFICATE)?, key: text(KEY)? };
        (*seen.annotations().get(names::SEAL)? == self.seal(&kept, host)).then_some(kept)
    }

    /// Tells a certificate of this authority from others. It stands where people can read it, and says nothing of the key.
    fn seal(&self, signed: &Signed, host: &str) -> String {
        let parts = [&self.replicas.certificate, &signed.certificate, &signed.key, host];
        names::short_digest(&parts.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;
    use crate::certificates::Authority;

    fn issuing(gateways: &str) -> Issuing {
        Issuing { replicas: Authority::new("replicas", Timestamp::UNIX_EPOCH), gateways: gateways.into() }
    }

    fn owner(namespace: &str) -> MlDeployment {
        let metadata = json!({"name": "iris", "namespace": namespace, "uid": "u"});
        serde_json::from_value(json!({"apiVersion": "ml.kea-project.io/v1alpha1", "kind": "MLDeployment",
            "metadata": metadata, "spec": {}}))
        .unwrap()
    }

    fn data(secret: &Secret) -> BTreeMap<String, ByteString> {
        secret.data.clone().unwrap()
    }

    #[test]
    fn a_certificate_stays_until_its_authority_its_name_or_itself_is_another_one() {
        let (now, owner) = (issuing("gateway 1"), owner("team"));
        let made = now.secret(&owner, None).unwrap();
        assert_eq!(now.secret(&owner, Some(&made)).unwrap(), made);

        let more = Issuing { gateways: "gateway 1, gateway 2".into(), ..now.clone() };
        let told = more.secret(&owner, Some(&made)).unwrap();
        assert_eq!((&data(&told)[CERTIFICATE], &data(&told)[KEY]), (&data(&made)[CERTIFICATE], &data(&made)[KEY]));
        assert_eq!(data(&told)["ca.crt"].0, b"gateway 1, gateway 2");

        let other = |issuing: &Issuing, owner: &MlDeployment, seen: &Secret| {
            let after = issuing.secret(owner, Some(seen)).unwrap();
            assert_ne!(data(&after)[CERTIFICATE], data(&made)[CERTIFICATE]);
            assert_ne!(data(&after)[KEY], data(&made)[KEY]);
        };
        other(&issuing("gateway 1"), &owner, &made);
        other(&now, &self::owner("other"), &made);
        let mut changed = made.clone();
        changed.data.as_mut().unwrap().insert(CERTIFICATE.into(), ByteString(b"another".to_vec()));
        other(&now, &owner, &changed);
    }
}
