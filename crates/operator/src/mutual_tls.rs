//! Mutual TLS between the gateway and KEA's own replicas: what the operator that leads keeps for it.
//!
//! A generation is an authority for replicas, whose key stays with the operators, and one certificate of the gateway. The
//! gateway's, and what it believes of replicas, is in a Secret that routers follow; each service has a certificate of its
//! own in a Secret beside its pods, which goes with it. What follows from a generation is decided here, and who is told of
//! it: replicas in `service.rs`, routers in `routers.rs`, the operator's own questions in `asking.rs`.

mod asking;
mod routers;
mod service;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};

pub(crate) use self::{asking::client_for, routers::follow};
use crate::{
    certificates::{self, Authority, Dated, Identity, Kept, LOOK, Ring, SOON},
    error::Error,
};

/// Secret of the authorities, which operators alone read.
pub(crate) const AUTHORITY_SECRET: &str = "kea-replica-authority";

/// Secret of what the gateway shows to replicas, and of what it believes of them.
pub(crate) const GATEWAY_SECRET: &str = "kea-replica-client";

/// Keys of Secrets, as those of type `kubernetes.io/tls` have them.
const CA: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The name in the gateway's certificate. Replicas ask for none in particular: its authority signs no other.
const GATEWAY: &str = "kea-gateway";

/// What is trusted, and used, together.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    made_at: Timestamp,
    replicas: Authority,
    gateway: Identity,
}

impl Generation {
    fn new(now: Timestamp) -> Self {
        let (replicas, gateway) = (Authority::new("replicas", now), Identity::of_client(GATEWAY, now));
        Self { made_at: now, replicas, gateway }
    }
}

impl Dated for Generation {
    /// All services have to hear of a new one, and nodes to bring it to their pods, which takes them minutes.
    const TRUSTED_FIRST: SignedDuration = SignedDuration::from_hours(1);

    fn made_at(&self) -> Timestamp {
        self.made_at
    }
}

/// What services get now.
#[derive(Clone, PartialEq)]
pub(crate) struct Issuing {
    /// Signs their certificates.
    replicas: Authority,
    /// Authorities of the gateway that their pods believe, in PEM.
    gateways: String,
}

/// Keeps generations, and tells of them.
pub(crate) struct MutualTls {
    kept: Kept<Generation>,
    secrets: Api<Secret>,
    /// Empty before the first look.
    issuing: ArcSwapOption<Issuing>,
}

impl MutualTls {
    /// Of the KEA in `namespace`.
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            kept: Kept::new(client, namespace, AUTHORITY_SECRET),
            secrets: Api::namespaced(client.clone(), namespace),
            issuing: ArcSwapOption::empty(),
        }
    }

    /// What services get; nothing before [`MutualTls::begin`] came to its end.
    pub(crate) fn issuing(&self) -> Option<Arc<Issuing>> {
        self.issuing.load_full()
    }

    /// Looks until there is something that services can get. What was there when this operator led before may have become
    /// something else.
    pub(crate) async fn begin(&self) {
        self.issuing.store(None);
        loop {
            let pause = self.looked(&|| {}).await;
            if self.issuing().is_some() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks again and again, and calls `changed` where services are to get something else.
    pub(crate) async fn keep(&self, changed: impl Fn()) {
        loop {
            tokio::time::sleep(self.looked(&changed).await).await;
        }
    }

    /// The pause until the next look.
    async fn looked(&self, changed: &impl Fn()) -> Duration {
        Box::pin(self.look(Timestamp::now(), changed)).await.unwrap_or_else(|error| {
            tracing::warn!("the certificates of gateway and replicas cannot be kept: {error}");
            SOON
        })
    }

    /// One look. Another generation is made only where all that trust is told of this ring.
    async fn look(&self, now: Timestamp, changed: &impl Fn()) -> Result<Duration, Error> {
        let make = || Generation::new(now);
        let ring = self.kept.shared(|kept| kept.is_over(now).then(|| kept.renewed(now, make))).await?;
        let Some(used) = ring.used(now) else { return Ok(SOON) };
        self.tell_gateway(&ring, used).await?;
        let issuing = Issuing { replicas: used.replicas.clone(), gateways: gateways(&ring) };
        if self.issuing().is_none_or(|before| *before != issuing) {
            self.issuing.store(Some(Arc::new(issuing)));
            changed();
            return Ok(SOON);
        }
        let renew =
            |kept: &Ring<Generation>| (*kept == ring).then(|| kept.renewed(now, make)).filter(|new| new != kept);
        let after = self.kept.shared(renew).await?;
        Ok(if after == ring { LOOK } else { SOON })
    }

    /// Shows replicas what is used, and believes all that there is.
    async fn tell_gateway(&self, ring: &Ring<Generation>, used: &Generation) -> Result<(), Error> {
        let authorities: String = ring.iter().map(|generation| generation.replicas.certificate.as_str()).collect();
        let data = secret_data(authorities, &used.gateway.certificate, &used.gateway.key);
        let doing = || format!("write Secret `{GATEWAY_SECRET}`");
        let seen = self.secrets.get_opt(GATEWAY_SECRET).await.map_err(Error::kube(doing()))?;
        if seen.as_ref().is_some_and(|seen| seen.data.as_ref() == Some(&data)) {
            return Ok(());
        }
        certificates::write(&self.secrets, GATEWAY_SECRET, seen, data).await.map_err(Error::kube(doing()))
    }
}

fn gateways(ring: &Ring<Generation>) -> String {
    ring.iter().map(|generation| generation.gateway.authority.as_str()).collect()
}

fn secret_data(ca: String, certificate: &str, key: &str) -> BTreeMap<String, ByteString> {
    let bytes = |text: String| ByteString(text.into_bytes());
    let parts = [(CA, ca), (CERTIFICATE, certificate.into()), (KEY, key.into())];
    parts.into_iter().map(|(name, text)| (name.into(), bytes(text))).collect()
}
