//! How the operator itself asks a replica that is reached by mutual TLS: as the gateway does, with its certificate.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::{Certificate, Identity};

use super::{CA, CERTIFICATE, GATEWAY_SECRET, KEY};
use crate::{ask, error::said};

/// A client that calls `host` at an address, and believes nobody else. It is made for one replica: each is asked once.
///
/// # Errors
/// Why there is none.
pub(crate) async fn client_for(
    client: &Client,
    namespace: &str,
    host: &str,
    address: SocketAddr,
) -> Result<reqwest::Client, String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let unreadable = |why: &str| format!("Secret `{GATEWAY_SECRET}` cannot be used: {why}");
    let secret = secrets.get(GATEWAY_SECRET).await.map_err(|error| unreadable(&said(&error)))?;
    let part = |name: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(name)).map(|part| part.0.clone());
        found.ok_or_else(|| unreadable(&format!("it has no `{name}`")))
    };
    let authorities = Certificate::from_pem_bundle(&part(CA)?).map_err(|error| unreadable(&ask::why(error)))?;
    let own = [part(CERTIFICATE)?, part(KEY)?].concat();
    let own = Identity::from_pem(&own).map_err(|error| unreadable(&ask::why(error)))?;
    let builder = ask::client().tls_certs_only(authorities).identity(own).https_only(true).resolve(host, address);
    builder.build().map_err(|error| unreadable(&ask::why(error)))
}
