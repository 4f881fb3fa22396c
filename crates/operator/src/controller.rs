//! The operator as a whole: it waits for its turn, then reconciles whatever changes.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures_util::{StreamExt, TryStreamExt};
use kea_containerizer::RegistrySettings;
use kube::{
    Client,
    core::{ApiResource, GroupVersionKind},
    runtime::{
        applier,
        controller::{Action, Config},
        events::{Recorder, Reporter},
        reflector::ObjectRef,
    },
};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin, ask, backoff,
    error::Error,
    images::Images,
    lease::Candidate,
    metrics::Metrics,
    mutual_tls::MutualTls,
    peers::{self, Peers},
    reconcile::{Context, reconcile},
    resources::MlDeployment,
    routers,
    settings::ClusterSettings,
    watch::{Caches, Change, Listener},
    webhook::{self, Webhook},
};

/// Reconciliations at the same time: they wait for the API server most of the time.
const AT_ONCE: u16 = 16;

/// The operator of a cluster.
pub struct Operator {
    client: Client,
    settings: ClusterSettings,
    registries: RegistrySettings,
    identity: String,
    context: Arc<OnceLock<Arc<Context>>>,
    webhook: OnceLock<Webhook>,
}

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
#[error("the cluster cannot be reached: {0}")]
pub struct ClusterError(#[from] pub(crate) kube::Error);

impl Operator {
    /// An operator that acts for `identity`, which must be another one for each of several.
    pub fn new(client: Client, settings: ClusterSettings, registries: RegistrySettings, identity: String) -> Self {
        Self { client, settings, registries, identity, context: Arc::default(), webhook: OnceLock::new() }
    }

    /// Acts whenever it is its turn, until `stop` is cancelled. Serves the validating webhook on `webhook` meanwhile,
    /// where that is given.
    ///
    /// # Errors
    /// The cluster cannot be asked what it can do.
    pub async fn run(&self, webhook: Option<TcpListener>, stop: &CancellationToken) -> Result<(), ClusterError> {
        let Some(listener) = webhook else { return self.operate(stop).await };
        let webhook = self.webhook.get_or_init(|| Webhook::new(&self.client, &self.settings.namespace));
        let context = self.context.clone();
        let caches = move || context.get().map(|context| context.caches.clone());
        let serving = async {
            webhook.run(listener, caches, stop).await;
            Ok(())
        };
        tokio::try_join!(self.operate(stop), serving).map(drop)
    }

    async fn operate(&self, stop: &CancellationToken) -> Result<(), ClusterError> {
        let pending = Arc::new(Pending::default());
        let noted = pending.clone();
        let listener: Listener = Arc::new(move |change| noted.put(change));
        let budgets = disruption_budgets(&self.client).await?;
        let http = ask::client().build().expect("a client without special wishes can be made");
        let caches = Caches::start(&self.client, &self.settings, Some(&budgets), &listener, stop).await;
        let context = Arc::new(Context {
            images: Images::new(self.client.clone(), self.registries.clone()),
            events: Recorder::new(self.client.clone(), Reporter { controller: "kea-operator".into(), instance: None }),
            metrics: Metrics::default(),
            peers: Peers::new(&self.client, &self.settings.namespace, http.clone()),
            http,
            budgets,
            mutual_tls: self.settings.replica_mtls.then(|| MutualTls::new(&self.client, &self.settings.namespace)),
            home: routers::home(&self.client, &self.settings).await,
            failures: backoff::Failures::default(),
            switched: Mutex::default(),
            client: self.client.clone(),
            settings: self.settings.clone(),
            caches,
        });
        let context = self.context.get_or_init(|| context).clone();
        while !stop.is_cancelled() {
            self.turn(&context, &pending, stop).await;
        }
        Ok(())
    }

    /// Whether everything has been seen once, and the webhook is served where it is to be.
    pub fn is_ready(&self) -> bool {
        self.context.get().is_some() && self.webhook.get().is_none_or(Webhook::is_serving)
    }

    /// Metrics in Prometheus' text format.
    pub fn metrics(&self) -> String {
        self.context.get().map_or_else(String::new, |context| context.metrics.text())
    }

    /// Makes what KEA itself needs in its namespace.
    async fn prepare(&self, context: &Context) {
        let namespace = &self.settings.namespace;
        tokio::join!(
            persist("the first admin's password cannot be kept", || admin::ensure_secrets(&self.client, namespace)),
            persist("the routers' token cannot be kept", || peers::ensure_secret(&self.client, namespace)),
            persist("the routers have no PodDisruptionBudget", || {
                routers::keep_most(&self.client, namespace, &context.budgets)
            }),
            async {
                if self.webhook.get().is_none() {
                    let what = "a configuration of the webhook, which is off, cannot be removed";
                    persist(what, || webhook::remove_configuration(&self.client, namespace)).await;
                }
            },
        );
    }

    /// Waits for the Lease, and acts until it is lost.
    async fn turn(&self, context: &Arc<Context>, changed: &Pending, stop: &CancellationToken) {
        let mut candidate = Candidate::new(&self.client, &self.settings.namespace, self.identity.clone());
        tokio::select! {
            () = candidate.lead() => {}
            () = stop.cancelled() => return,
        }
        tracing::info!(identity = self.identity, "leads");
        context.metrics.leads(true);
        tokio::select! {
            // What is under way is dropped with the Lease: another operator may have it from then on.
            () = candidate.keep(stop) => {}
            ((), ()) = async { tokio::join!(self.prepare(context), Box::pin(certified(context, changed))) } => {}
        }
        context.metrics.leads(false);
        tracing::info!(identity = self.identity, "leads no more");
    }
}

/// Tries until it is done, ever less often.
async fn persist<F>(failing: &str, attempt: impl Fn() -> F)
where
    F: Future<Output = Result<(), kube::Error>>,
{
    let mut failures = 0;
    while let Err(error) = attempt().await {
        failures += 1;
        let pause = backoff::pause(failures);
        tracing::warn!(?pause, "{failing}: {error}");
        tokio::time::sleep(pause).await;
    }
}

/// Changes that nobody has looked at yet, each once. An operator that does not lead only keeps what there is to know: it
/// begins with everything when its turn comes.
#[derive(Default)]
struct Pending {
    changes: Mutex<HashSet<Change>>,
    more: Notify,
}

impl Pending {
    fn put(&self, change: Change) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if change == Change::All {
            changes.clear();
        }
        if !changes.contains(&Change::All) {
            changes.insert(change);
        }
        drop(changes);
        self.more.notify_one();
    }

    fn take(&self) -> HashSet<Change> {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Acts, and keeps the certificates of gateway and replicas meanwhile, where they have any.
async fn certified(context: &Arc<Context>, changed: &Pending) {
    let acting = act(context, changed);
    let Some(mutual_tls) = &context.mutual_tls else { return acting.await };
    mutual_tls.begin().await;
    tokio::select! {
        () = acting => {}
        () = mutual_tls.keep(|| changed.put(Change::All)) => {}
    }
}

/// Reconciles what changes, beginning with everything.
async fn act(context: &Arc<Context>, changed: &Pending) {
    let (queue, queued) = mpsc::unbounded_channel::<ObjectRef<MlDeployment>>();
    let put = |change: &Change| {
        for (namespace, name) in context.caches.affected(change) {
            if context.caches.deployment(&namespace, &name).is_none() {
                context.forget(&namespace, &name);
                continue;
            }
            context.metrics.queued(1);
            let _ = queue.send(ObjectRef::new(&name).within(&namespace));
        }
    };
    drop(changed.take());
    put(&Change::All);
    let metrics = context.clone();
    let requests = futures_util::stream::unfold(queued, |mut queued| async move {
        let next = queued.recv().await?;
        Some((Ok::<_, Infallible>(next), queued))
    })
    .inspect_ok(move |_| metrics.metrics.queued(-1));
    let config = Config::default().concurrency(AT_ONCE);
    let store = context.caches.deployments.clone();
    let reconciling = applier(
        |object, context| Box::pin(reconcile(object, context)),
        later,
        context.clone(),
        store,
        requests,
        config,
    )
    .for_each(|_outcome| std::future::ready(()));
    let feeding = async {
        loop {
            changed.more.notified().await;
            changed.take().iter().for_each(put);
        }
    };
    tokio::select! {
        () = reconciling => {}
        () = feeding => {}
    }
}

/// What becomes of an object whose reconciliation failed.
#[allow(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn later(object: Arc<MlDeployment>, error: &Error, context: Arc<Context>) -> Action {
    let pause = context.failures.count(object.namespace(), object.name());
    tracing::warn!(namespace = object.namespace(), service = object.name(), ?pause, "is tried again: {error}");
    Action::requeue(pause)
}

/// The API of PodDisruptionBudgets: `policy/v1` since Kubernetes 1.21, before it `policy/v1beta1`.
async fn disruption_budgets(client: &Client) -> Result<ApiResource, kube::Error> {
    let groups = client.list_api_groups().await?;
    let policy = groups.groups.iter().find(|group| group.name == "policy");
    let has_v1 = policy.is_some_and(|group| group.versions.iter().any(|version| version.version == "v1"));
    let version = if has_v1 { "v1" } else { "v1beta1" };
    let kind = GroupVersionKind::gvk("policy", version, "PodDisruptionBudget");
    Ok(ApiResource::from_gvk_with_plural(&kind, "poddisruptionbudgets"))
}
