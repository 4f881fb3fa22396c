//! How the operator asks routers what they have counted: at a port of theirs that no Service publishes, with a token that
//! both have from one Secret.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::StatusCode;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kea_core::trial::{TRIALS_PATH, TrialReport};
use kube::{Api, Client, api::PostParams};

use crate::{
    admin, ask,
    error::said,
    pods,
    resources::{MlDeployment, RolloutRecord},
    steps::Counts,
};

/// Name of the Secret.
pub(crate) const PEERS_SECRET: &str = "kea-peers";

/// Its key that holds the token.
pub(crate) const TOKEN_KEY: &str = "token";

/// The routers' port at which the operator asks.
pub(crate) const PEERS_PORT: u16 = 8082;

/// The name of that port in their pods.
pub(crate) const PEERS_PORT_NAME: &str = "peers";

/// How often the numbers of one rollout are asked for. Each look may write a status that all watch.
pub(crate) const LOOKS: Duration = Duration::from_secs(2);

/// How long a router may take to tell its numbers.
const TELLS_WITHIN: Duration = Duration::from_secs(2);

/// Most bytes of what a router tells: three tallies with all of their buckets are a tenth of this.
const REPORT_BYTES: usize = 512 << 10;

/// Makes the Secret where there is none. What is there is never changed.
pub(crate) async fn ensure_secret(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if secrets.get_opt(PEERS_SECRET).await?.is_some() {
        return Ok(());
    }
    let labels = BTreeMap::from([("app.kubernetes.io/name".to_string(), "kea".to_string())]);
    let secret = Secret {
        metadata: ObjectMeta { name: Some(PEERS_SECRET.into()), labels: Some(labels), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(TOKEN_KEY.into(), ByteString(admin::random_letters(TOKEN_LETTERS).into_bytes()))])),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => made.map(drop),
    }
}

/// Letters of a token: more than 256 bits.
const TOKEN_LETTERS: usize = 48;

/// Asks routers.
pub(crate) struct Peers {
    http: reqwest::Client,
    secrets: Api<Secret>,
    /// The token, as it was read last.
    token: Mutex<Option<Arc<str>>>,
    /// When each service's numbers were asked for.
    looks: Mutex<HashMap<(String, String), Instant>>,
}

impl Peers {
    pub(crate) fn new(client: &Client, namespace: &str, http: reqwest::Client) -> Self {
        let secrets = Api::namespaced(client.clone(), namespace);
        Self { http, secrets, token: Mutex::default(), looks: Mutex::default() }
    }

    /// Whether it is time to look at a service again; the next time is then later.
    pub(crate) fn is_due(&self, owner: &MlDeployment) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner.namespace().to_string(), owner.name().to_string());
        let is_due = looks.get(&key).is_none_or(|before| before.elapsed() >= LOOKS);
        if is_due {
            looks.insert(key, Instant::now());
        }
        is_due
    }

    /// A service is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.remove(&(namespace.to_string(), name.to_string()));
    }

    /// What all of `routers`, KEA's own pods, have counted at this step of a service's rollout.
    pub(crate) async fn counts(&self, routers: &[Arc<Pod>], service: &str, record: &RolloutRecord) -> Counts {
        let ready: Vec<_> = routers.iter().filter(|pod| pods::is_ready(pod)).collect();
        if ready.is_empty() {
            return Counts { silent: Some("no router is ready".into()), ..Counts::default() };
        }
        let token = match self.token().await {
            Ok(token) => token,
            Err(why) => return Counts { silent: Some(why), ..Counts::default() },
        };
        let told = join_all(ready.iter().map(|pod| self.told(pod, &token, service, record))).await;
        let mut counts = Counts::default();
        for (pod, told) in ready.into_iter().zip(told) {
            counts.add(pod.metadata.name.as_deref().unwrap_or_default(), told);
        }
        counts
    }

    /// What one router tells; nothing yet where it has not heard of the step.
    async fn told(
        &self,
        pod: &Pod,
        token: &str,
        service: &str,
        record: &RolloutRecord,
    ) -> Result<Option<TrialReport>, String> {
        let address =
            pods::port(pod, PEERS_PORT_NAME).ok_or("it has no port for the operator: apply KEA's manifests anew")?;
        let report = self.report(address, token, service).await?;
        let is_same =
            |report: &TrialReport| (report.started_at, report.step) == (record.told.started_at, record.told.step);
        Ok(report.filter(is_same))
    }

    async fn report(&self, address: SocketAddr, token: &str, service: &str) -> Result<Option<TrialReport>, String> {
        let request = self.http.get(format!("http://{address}{TRIALS_PATH}{service}")).bearer_auth(token);
        let answer = request.timeout(TELLS_WITHIN).send().await.map_err(ask::why)?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED => {
                // It may be another one by now.
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(format!("it has another token than Secret `{PEERS_SECRET}`: start the routers anew"))
            }
            _ => ask::json(answer, REPORT_BYTES).await.map(Some),
        }
    }

    async fn token(&self) -> Result<Arc<str>, String> {
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(token);
        }
        let unreadable = |why: &str| format!("Secret `{PEERS_SECRET}` cannot be read: {why}");
        let secret = self.secrets.get(PEERS_SECRET).await.map_err(|error| unreadable(&said(&error)))?;
        let token = secret.data.and_then(|mut data| String::from_utf8(data.remove(TOKEN_KEY)?.0).ok());
        let token: Arc<str> = token.ok_or_else(|| unreadable("it has no `token`"))?.into();
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }
}

impl Counts {
    /// Adds what a router has told.
    fn add(&mut self, router: &str, told: Result<Option<TrialReport>, String>) {
        let counted = match told {
            Ok(None) => Duration::ZERO,
            Ok(Some(TrialReport { new, live, live_since_first, counted_ms, .. })) => {
                self.new += &new;
                self.live += &live;
                self.live_since_first += &live_since_first;
                Duration::from_millis(counted_ms)
            }
            Err(why) => {
                self.silent = Some(format!("router {router} does not tell its numbers: {why}"));
                return;
            }
        };
        if self.shortest.as_ref().is_none_or(|(_, shortest)| counted < *shortest) {
            self.shortest = Some((router.into(), counted));
        }
    }
}
