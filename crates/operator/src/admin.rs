//! The Secret of the first admin, and of the key that signs sessions: made where they are missing, the same for all
//! routers.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use rand::{Rng, distr::Alphanumeric};
use serde_json::json;

use crate::names;

/// Name of the Secret.
pub const ADMIN_SECRET: &str = "kea-admin";

/// Its key that holds the password of `admin`.
pub const PASSWORD_KEY: &str = "password";

/// Letters of a password that is made: more than 100 bits.
const PASSWORD_LETTERS: usize = 24;

/// Makes the Secret, or what is missing in it. What is there is never changed.
pub(crate) async fn ensure_secrets(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let labels = BTreeMap::from([("app.kubernetes.io/name".to_string(), "kea".to_string())]);
    let Some(secret) = secrets.get_opt(ADMIN_SECRET).await? else {
        let secret = Secret {
            metadata: ObjectMeta { name: Some(ADMIN_SECRET.into()), labels: Some(labels), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([(
                PASSWORD_KEY.into(),
                ByteString(random_letters(PASSWORD_LETTERS).into_bytes()),
            )])),
            ..Secret::default()
        };
        return match secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        };
    };
    if secret.data.is_some_and(|data| data.contains_key(PASSWORD_KEY)) {
        return Ok(());
    }
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = json!({"stringData": {PASSWORD_KEY: random_letters(PASSWORD_LETTERS)}});
    secrets.patch(ADMIN_SECRET, &params, &Patch::Merge(&patch)).await.map(drop)
}

/// So many letters and digits by chance, as in passwords and tokens.
pub(crate) fn random_letters(count: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(count).map(char::from).collect()
}
