//! Which of several operators acts: the one that holds the Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The Lease's name.
const NAME: &str = "kea-operator";

/// How long a holder that is not heard of keeps it.
const LASTS: Duration = Duration::from_secs(15);

/// How often the holder says that it is there.
const RENEW: Duration = Duration::from_secs(5);

/// How often the others look.
const RETRY: Duration = Duration::from_secs(2);

/// One operator's claim to the Lease.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    identity: String,
    /// The holder and its sign of life, and since when this operator has seen no other: clocks of machines differ.
    observed: Option<(Option<String>, Option<Timestamp>, Instant)>,
}

impl Candidate {
    pub(crate) fn new(client: &Client, namespace: &str, identity: String) -> Self {
        Self { leases: Api::namespaced(client.clone(), namespace), identity, observed: None }
    }

    /// Waits until this operator holds the Lease.
    pub(crate) async fn lead(&mut self) {
        loop {
            match timeout(RENEW, self.claim()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!("the Lease cannot be claimed: {error}"),
                Err(_elapsed) => tracing::warn!("the Lease cannot be claimed in time"),
            }
            sleep(RETRY).await;
        }
    }

    /// Keeps the Lease; returns once it is lost, or when `stop` is cancelled, after giving it away.
    pub(crate) async fn keep(&mut self, stop: &CancellationToken) {
        let mut heard = Instant::now();
        // Another one may take it a little later.
        while let Some(left) = (LASTS - RETRY).checked_sub(heard.elapsed()) {
            let asked = Instant::now();
            let claim = async {
                sleep(RENEW).await;
                self.claim().await
            };
            let claimed = tokio::select! {
                claimed = timeout(left, claim) => claimed,
                () = stop.cancelled() => return self.release().await,
            };
            match claimed {
                Ok(Ok(true)) => heard = asked + RENEW,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!("the Lease cannot be renewed: {error}"),
                Err(_elapsed) => tracing::warn!("the Lease cannot be renewed in time"),
            }
        }
    }

    /// Takes or renews the Lease where that may be. Whoever writes second is told that it was changed.
    async fn claim(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return taken(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let is_mine = spec.holder_identity.as_deref() == Some(&self.identity);
        if !is_mine && !self.is_over(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(&spec).filter(|_| is_mine)));
        taken(self.leases.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, mine: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: mine.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Whether its holder has given no sign of life for as long as the Lease lasts.
    fn is_over(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
            return true;
        }
        let sign = (spec.holder_identity.clone(), spec.renew_time.as_ref().map(|time| time.0));
        match &self.observed {
            Some((holder, renewed, since)) if (holder, renewed) == (&sign.0, &sign.1) => since.elapsed() > LASTS,
            _ => {
                self.observed = Some((sign.0, sign.1, Instant::now()));
                false
            }
        }
    }

    /// Gives the Lease away, so that another operator need not wait.
    async fn release(&self) {
        let Ok(Some(mut lease)) = self.leases.get_opt(NAME).await else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = Some(String::new());
            let _ = self.leases.replace(NAME, &PostParams::default(), &lease).await;
        }
    }
}

fn taken(answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
