//! A ring of certificates in a Secret that all operators share.

use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

use super::Ring;
use crate::error::Error;

/// How often what is kept is looked at: what is changed by hand is put right, and what another operator renewed is heard
/// of long before it is to be used.
pub(crate) const LOOK: Duration = Duration::from_secs(60);

/// The next look after one that failed, or that has not come to its end.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The Secret's key.
const KEY: &str = "certificates.json";

/// Tries of a change that another operator's overtook.
const TRIES: usize = 5;

/// Where a ring is kept.
pub(crate) struct Kept<T> {
    secrets: Api<Secret>,
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// In the Secret of that name, in KEA's own namespace.
    pub(crate) fn new(client: &Client, namespace: &str, name: &'static str) -> Self {
        Self { secrets: Api::namespaced(client.clone(), namespace), name, of: PhantomData }
    }

    /// The certificates of all operators; `renew` may ask for others. Of two operators that renew, the second takes what
    /// the first one made.
    ///
    /// # Errors
    /// The API server's, and a Secret that holds something else.
    pub(crate) async fn shared(&self, renew: impl Fn(&Ring<T>) -> Option<Ring<T>>) -> Result<Ring<T>, Error> {
        let name = self.name;
        for _ in 0..TRIES {
            let secret = self.secrets.get_opt(name).await.map_err(Error::kube(format!("read Secret `{name}`")))?;
            let kept = secret.as_ref().map_or_else(|| Ok(Ring::default()), |secret| self.ring(secret))?;
            let Some(renewed) = renew(&kept) else { return Ok(kept) };
            match write(&self.secrets, name, secret, self.data(&renewed)).await {
                Ok(()) => {
                    tracing::info!(secret = name, "certificates were renewed");
                    return Ok(renewed);
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(Error::kube(format!("write Secret `{name}`"))(error)),
            }
        }
        Err(Error::Behind(name.into()))
    }

    /// What is to be done where what is kept cannot be used.
    pub(crate) fn unreadable(&self, why: &str) -> Error {
        let name = self.name;
        Error::Refused(format!("what Secret `{name}` holds cannot be used ({why}): delete it, and it is made anew"))
    }

    fn data(&self, ring: &Ring<T>) -> BTreeMap<String, ByteString> {
        let text = serde_json::to_vec(ring).expect("certificates have a JSON text");
        BTreeMap::from([(KEY.to_string(), ByteString(text))])
    }

    fn ring(&self, secret: &Secret) -> Result<Ring<T>, Error> {
        let kept = secret.data.as_ref().and_then(|data| data.get(KEY));
        kept.map_or_else(
            || Ok(Ring::default()),
            |text| serde_json::from_slice(&text.0).map_err(|error| self.unreadable(&error.to_string())),
        )
    }
}

/// Makes a Secret of KEA's own, or replaces what is in it, unless it is another one by now than the one `before`.
pub(crate) async fn write(
    secrets: &Api<Secret>,
    name: &str,
    before: Option<Secret>,
    data: BTreeMap<String, ByteString>,
) -> Result<(), kube::Error> {
    let (params, data) = (PostParams::default(), Some(data));
    match before {
        Some(before) => secrets.replace(name, &params, &Secret { data, ..before }).await.map(drop),
        None => {
            let labels = BTreeMap::from([("app.kubernetes.io/name".to_string(), "kea".to_string())]);
            let metadata = ObjectMeta { name: Some(name.into()), labels: Some(labels), ..ObjectMeta::default() };
            secrets.create(&params, &Secret { metadata, data, ..Secret::default() }).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;
    use crate::certificates::Identity;

    #[tokio::test]
    async fn a_secret_that_somebody_broke_says_what_to_do() {
        let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let kept: Kept<Identity> = Kept::new(&client, "kea", "kea-webhook");
        let broken = Secret { data: Some([(KEY.to_string(), ByteString(b"{".to_vec()))].into()), ..Secret::default() };
        let Err(error) = kept.ring(&broken) else { panic!("it is no ring") };
        assert!(error.to_string().contains("Secret `kea-webhook`"), "{error}");
        assert!(error.to_string().contains("delete it, and it is made anew"), "{error}");
        assert!(kept.ring(&Secret::default()).is_ok(), "an empty one is filled");
    }
}
