//! One reconciliation: read, check, build, apply, tell. It looks at the present alone, so that it may stop and begin
//! anew at any point.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::{
    autoscaling::v1::HorizontalPodAutoscaler,
    core::v1::{Pod, Service},
};
use kea_core::{
    VersionId,
    replica::{REPORT_PATH, ReplicaReport},
    rollout::RolloutPhase,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::ApiResource,
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
        reflector::ObjectRef,
    },
};
use serde_json::json;

use crate::{
    apply::Applier,
    ask,
    error::Error,
    gate::{self, Barred},
    holders,
    images::{Image, Images},
    metrics::Metrics,
    mutual_tls::{self, MutualTls},
    names,
    objects::{self, VersionParts},
    peers::{LOOKS, Peers},
    pods,
    resources::{DeploymentStatus, MlDeployment, RolloutRecord},
    rollout::{self, Plan, Strength},
    routers::{self, Home},
    settings::ClusterSettings,
    status::{self, Failure, Seen, VersionWish},
    steps::{self, Counts, Look},
    version::{ReplicaRecord, VersionRecord},
    watch::Caches,
    wish::{self, Refusal, Wish},
};

/// A new look at what nothing tells of: registries, and pods that say nothing more.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// A look at everything that is as it should be, in case a watch has missed something.
const RESYNC: Duration = Duration::from_secs(600);

/// A new version takes requests for this long before the one before it is told to stop: routers hear of both from the
/// API server, and must hear of the first one first.
const SETTLE: Duration = Duration::from_millis(1000);

/// How long a replica may take to tell what it offers.
const REPORT_WITHIN: Duration = Duration::from_secs(5);

/// Most bytes of what a replica tells: with the other annotations it must fit into 256 KiB.
const REPORT_BYTES: usize = 200 << 10;

/// Replicas that are asked in one go, should the first ones not answer.
const ASKED: usize = 3;

/// Versions that are kept without replicas, to return to.
const KEPT_VERSIONS: usize = 10;

/// What reconciliations share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Caches,
    pub(crate) images: Images,
    pub(crate) settings: ClusterSettings,
    pub(crate) events: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) http: reqwest::Client,
    /// The API of PodDisruptionBudgets that this cluster has.
    pub(crate) budgets: ApiResource,
    /// Mutual TLS with replicas, where they are to speak it.
    pub(crate) mutual_tls: Option<MutualTls>,
    /// Where routers call replicas from.
    pub(crate) home: Home,
    /// Failures in a row of each object.
    pub(crate) failures: crate::backoff::Failures,
    /// Since when each service's switch has been seen in its status. A new operator begins anew, and waits once more.
    pub(crate) switched: Mutex<HashMap<(String, String), (Switch, Instant)>>,
    /// The routers, as the operator asks them.
    pub(crate) peers: Peers,
}

/// What routers follow before anything is scaled down: the live version, and what became of the one that takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Switch {
    live: Option<VersionId>,
    rollout: Option<(VersionId, RolloutPhase)>,
}

impl Switch {
    fn new(live: Option<&VersionId>, rollout: Option<&RolloutRecord>) -> Self {
        let rollout = rollout.map(|record| (record.told.version.clone(), record.told.phase));
        Self { live: live.cloned(), rollout }
    }
}

impl Context {
    /// A service is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.failures.forget(namespace, name);
        self.peers.forget(namespace, name);
        let mut switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner);
        switched.remove(&(namespace.to_string(), name.to_string()));
    }

    /// Whether replicas are to speak mutual TLS, and do not yet for the sake of a router that cannot.
    fn waits_for_routers(&self) -> bool {
        self.mutual_tls.is_some() && !routers::speak_tls(&self.caches.routers())
    }

    /// Whether the routers have had the time to follow the switch of a service.
    fn is_settled(&self, owner: &MlDeployment, switch: &Switch) -> bool {
        if switch.live.is_none() {
            return true;
        }
        let mut switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner.namespace().to_string(), owner.name().to_string());
        let (seen, since) = switched.entry(key).or_insert_with(|| (switch.clone(), Instant::now()));
        if seen != switch {
            (*seen, *since) = (switch.clone(), Instant::now());
        }
        since.elapsed() >= SETTLE
    }
}

/// Makes what an MLDeployment asks for.
pub(crate) async fn reconcile(owner: Arc<MlDeployment>, context: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    let result = Box::pin(reconciled(&owner, &context)).await;
    context.metrics.reconciled(begun.elapsed(), result.is_ok());
    if result.is_ok() {
        context.failures.forget(owner.namespace(), owner.name());
    }
    result
}

#[tracing::instrument(skip_all, fields(namespace = owner.namespace(), service = owner.name()))]
async fn reconciled(owner: &MlDeployment, context: &Context) -> Result<Action, Error> {
    // Read.
    let caches = &context.caches;
    let mut records = caches.records(owner);
    let pods = caches.pods_of(owner);
    let live = owner.live(&records);
    // Kubernetes removes what belongs to it, once nobody's finalizer holds it.
    if owner.is_leaving() {
        let refusal = held_by_finalizers(owner);
        tell(context, &Seen::before(owner, Err(&refusal), &records, &pods, live.as_ref(), &context.settings)).await?;
        return Ok(Action::await_change());
    }
    // Check.
    let wish = match holders::refusal(owner, caches) {
        Some(refusal) => Err(refusal),
        None => wish::wish(owner, caches.model_of(owner).as_deref(), &records),
    };
    let wish = match wish {
        Ok(wish) => wish,
        Err(refusal) => {
            certify_idle(context, owner, &records).await;
            tell(context, &Seen::before(owner, Err(&refusal), &records, &pods, live.as_ref(), &context.settings))
                .await?;
            return Ok(Action::requeue(RESYNC));
        }
    };
    if wish.paused {
        certify_idle(context, owner, &records).await;
        tell(context, &Seen::before(owner, Ok(&wish), &records, &pods, live.as_ref(), &context.settings)).await?;
        return Ok(Action::requeue(RESYNC));
    }
    let rollout = steps::current(owner, &wish, live.as_ref(), Timestamp::now());
    let wish = steps::acting(wish, rollout.as_ref(), &records);
    let found = image(context, owner, &wish, &records).await?;
    let canary = match wish.of_canary() {
        Some(wish) => Some((image(context, owner, &wish, &records).await?, wish)),
        None => None,
    };
    let canary = canary.as_ref().map(|(image, wish)| VersionWish { wish, image });
    let wanted = VersionWish { wish: &wish, image: &found };
    learn(context, &mut records, &pods).await;
    let barred = gate::barred(owner, &wish, live.as_ref(), &records);
    // What follows from it is done once it is told.
    let rollout = look(context, owner, rollout, canary, &records, &pods, &barred).await;
    // Build, and apply. The next strength follows from what is seen, and requests go to a new version first.
    let plan = plan(wanted, canary, live.as_ref(), &records, &pods, &barred);
    let told = owner.status.as_ref().and_then(|status| status.rollout.as_ref());
    let switch = Switch::new(live.as_ref(), told);
    let settled = Switch::new(plan.live.as_ref(), rollout.as_ref()) == switch && context.is_settled(owner, &switch);
    let (written, refused) = match apply(context, owner, wanted, canary, &records, &plan, settled).await {
        Ok(written) => (written, None),
        Err(error) => (Vec::new(), Some(error.refusal().ok_or(error)?)),
    };
    // Requests go to a version of which everything is known to Kubernetes.
    let now_live = if refused.is_some() { live.as_ref() } else { plan.live.as_ref() };
    let has_images = asked(wanted, canary).all(|version| matches!(version.image, Image::Known(_)));
    if has_images && refused.is_none() && context.settings.registry.is_some() {
        let wishes: Vec<_> = asked(wanted, canary).map(|version| version.wish).collect();
        context.images.clean(caches, owner, &wishes).await?;
    }
    // Tell.
    let seen = Seen {
        image: Some(&found),
        canary,
        rollout: rollout.as_ref(),
        refused: refused.as_ref(),
        written: &written,
        barred: &barred,
        ..Seen::before(owner, Ok(&wish), &records, &pods, now_live, &context.settings)
    };
    let told = tell(context, &seen).await?;
    let next = match (settled, refused, told.reason) {
        (false, None, _) => SETTLE,
        (_, Some(_), _) | (true, None, Some(_)) => LOOK_AGAIN,
        (true, None, None) => RESYNC,
    };
    let is_on_trial = rollout.is_some_and(|rollout| rollout.is_progressing());
    // No change tells that the last router of before is gone.
    let next = if context.waits_for_routers() { next.min(LOOK_AGAIN) } else { next };
    Ok(Action::requeue(if is_on_trial { next.min(LOOKS) } else { next }))
}

/// Keeps the certificate of a service for which nothing else is done: its pods go on. What fails is tried again with the
/// next look.
async fn certify_idle(context: &Context, owner: &MlDeployment, records: &[VersionRecord]) {
    if records.is_empty() {
        return;
    }
    if let Err(error) = certify(context, &Applier { client: &context.client, owner }).await {
        tracing::warn!("the certificate of its replicas cannot be kept: {error}");
    }
}

async fn certify(context: &Context, applier: &Applier<'_>) -> Result<(), Error> {
    let issuing = context.mutual_tls.as_ref().and_then(MutualTls::issuing);
    if let Some(issuing) = issuing {
        let written = issuing.certify(applier).await?;
        context.metrics.applied(written);
    }
    Ok(())
}

/// What becomes of a new version that takes over step by step, where it is time to look at it.
async fn look(
    context: &Context,
    owner: &MlDeployment,
    rollout: Option<RolloutRecord>,
    canary: Option<VersionWish<'_>>,
    records: &[VersionRecord],
    pods: &[Arc<Pod>],
    barred: &[Barred],
) -> Option<RolloutRecord> {
    let record = rollout?;
    let Some(new) = canary.filter(|_| record.is_progressing()) else { return Some(record) };
    let counts = match record.step_started_at {
        Some(_) if !context.peers.is_due(owner) => return Some(record),
        Some(_) => context.peers.counts(&context.caches.routers(), owner.name(), &record).await,
        None => Counts::default(),
    };
    let (version, replicas) = (&new.wish.version, new.wish.replicas);
    let is_known = records.iter().any(|of| of.version == *version && of.replica.is_some());
    let barred = barred.iter().find(|barred| barred.version == *version);
    let held_back = barred.map(|barred| Failure { why: barred.reason(), passes: false });
    let failure = held_back.or_else(|| status::failure(new, pods));
    let look = Look {
        now: Timestamp::now(),
        is_ready: is_known && replicas > 0 && status::ready(pods, version) >= replicas,
        failure: failure.as_ref(),
        counts: &counts,
    };
    Some(steps::looked(&record, &new.wish.settings.rollout, &look))
}

/// The versions that are asked for.
fn asked<'a>(wanted: VersionWish<'a>, canary: Option<VersionWish<'a>>) -> impl Iterator<Item = VersionWish<'a>> {
    std::iter::once(wanted).chain(canary)
}

fn held_by_finalizers(owner: &MlDeployment) -> Refusal {
    let finalizers = owner.metadata.finalizers.as_deref().unwrap_or_default().join(", ");
    Refusal {
        reason: "Terminating",
        message: format!(
            "it is being deleted, and waits for whoever set its finalizers to take them away ({finalizers}); what runs \
             goes on until then"
        ),
    }
}

async fn image(
    context: &Context,
    owner: &MlDeployment,
    wish: &Wish,
    records: &[VersionRecord],
) -> Result<Image, Error> {
    match context.images.image(&context.caches, owner, wish, records, &context.settings).await {
        Ok(image) => Ok(image),
        Err(error) => Ok(Image::Failed(error.refusal().ok_or(error)?)),
    }
}

fn plan(
    wanted: VersionWish<'_>,
    canary: Option<VersionWish<'_>>,
    live: Option<&VersionId>,
    records: &[VersionRecord],
    pods: &[Arc<Pod>],
    barred: &[Barred],
) -> Plan {
    let strength = |record: &VersionRecord| {
        // A replica whose contract is not known cannot be sent requests yet.
        let ready = if record.replica.is_some() { status::ready(pods, &record.version) } else { 0 };
        let barred = barred.iter().any(|barred| barred.version == record.version);
        Strength { asked: record.replicas, ready, has_image: record.image.is_some(), barred }
    };
    let mut seen: BTreeMap<_, _> = records.iter().map(|record| (record.version.clone(), strength(record))).collect();
    for VersionWish { wish, image } in asked(wanted, canary) {
        let has_image = matches!(image, Image::Known(_));
        seen.entry(wish.version.clone()).or_insert(Strength { asked: 0, ready: 0, has_image, barred: false });
    }
    let canary = canary.map(|canary| (&canary.wish.version, canary.wish.replicas));
    rollout::plan(&wanted.wish.version, wanted.wish.replicas, canary, live, &seen)
}

/// Asks a ready replica of each version what it offers, where that is not known yet.
async fn learn(context: &Context, records: &mut [VersionRecord], pods: &[Arc<Pod>]) {
    for record in records.iter_mut().filter(|record| record.replica.is_none()) {
        let ready =
            pods.iter().filter(|pod| pods::version(pod).as_ref() == Some(&record.version) && pods::is_ready(pod));
        let ready = ready.filter_map(|pod| Some((pod, pods::address(pod)?)));
        for (pod, address) in ready.take(ASKED) {
            match report(context, pod, address).await {
                Ok(ReplicaReport { version, engine, contract: Some(contract), .. }) if version == record.version => {
                    record.replica = Some(ReplicaRecord { engine, contract });
                    break;
                }
                Ok(_) => {
                    tracing::warn!(%address, "a ready replica has not told what it offers, or is of another version")
                }
                Err(error) => tracing::warn!(%address, "a ready replica did not tell what it offers: {error}"),
            }
        }
    }
}

/// What a replica says of itself. A model is a stranger: it is given little time, and little is read.
async fn report(context: &Context, pod: &Pod, address: SocketAddr) -> Result<ReplicaReport, String> {
    let (http, url) = match pods::tls_name(pod) {
        None => (context.http.clone(), format!("http://{address}{REPORT_PATH}")),
        Some(host) => {
            let http = mutual_tls::client_for(&context.client, &context.settings.namespace, &host, address).await?;
            (http, format!("https://{host}:{}{REPORT_PATH}", address.port()))
        }
    };
    let answer = http.get(url).timeout(REPORT_WITHIN).send().await.map_err(ask::why)?;
    ask::json(answer, REPORT_BYTES).await
}

/// The versions whose Deployments were written are the answer.
async fn apply(
    context: &Context,
    owner: &MlDeployment,
    wanted: VersionWish<'_>,
    canary: Option<VersionWish<'_>>,
    records: &[VersionRecord],
    plan: &Plan,
    settled: bool,
) -> Result<Vec<VersionId>, Error> {
    let applier = Applier { client: &context.client, owner };
    let has_image = asked(wanted, canary).any(|version| matches!(version.image, Image::Known(_)));
    if has_image || !records.is_empty() {
        certify(context, &applier).await?;
    }
    if has_image {
        of_service(context, &applier, wanted.wish).await?;
    }
    let mut written = Vec::new();
    for version in asked(wanted, canary) {
        if of_version(context, &applier, version, records, plan).await? {
            written.push(version.wish.version.clone());
        }
    }
    let named: Vec<_> = asked(wanted, canary).map(|version| &version.wish.version).collect();
    strengths(context, &applier, &named, records, plan, settled).await.map(|()| written)
}

/// Whether the version's Deployment was written is the answer.
async fn of_version(
    context: &Context,
    applier: &Applier<'_>,
    VersionWish { wish, image }: VersionWish<'_>,
    records: &[VersionRecord],
    plan: &Plan,
) -> Result<bool, Error> {
    let Image::Known(image) = image else { return Ok(false) };
    let owner = applier.owner;
    let record = records.iter().find(|record| record.version == wish.version);
    let parts = VersionParts {
        owner,
        wish,
        version: &wish.version,
        model: &wish.model,
        image,
        replica: record.and_then(|record| record.replica.as_ref()),
        replicas: plan.replicas.get(&wish.version).copied().unwrap_or(0),
        settings: &context.settings,
        mutual_tls: context.mutual_tls.is_some() && image.can_tls() && !context.waits_for_routers(),
    };
    let deployment = objects::deployment(&parts).map_err(|error| Error::Refused(error.to_string()))?;
    let written = applier.apply(record.map(|record| &record.deployment), &deployment).await?;
    context.metrics.applied(written);
    Ok(written)
}

/// What a service has once.
async fn of_service(context: &Context, applier: &Applier<'_>, wish: &Wish) -> Result<(), Error> {
    let owner = applier.owner;
    let made = context.caches.made.as_ref().expect("the operator watches what it makes");
    let account = made.accounts.get(&of(owner, owner.name()));
    let written = applier.apply(account.as_ref(), &objects::service_account(owner)).await?;
    context.metrics.applied(written);
    let service = context.caches.services.get(&of(owner, owner.name()));
    let wanted = objects::service(owner);
    let written = applier.apply(service.as_ref(), &wanted).await?;
    context.metrics.applied(written);
    if let Some(service) = service {
        drop_strays(context, &service, &wanted).await?;
    }
    let policy = made.policies.get(&of(owner, owner.name()));
    let written = applier.apply(policy.as_ref(), &objects::network_policy(owner, &context.home)).await?;
    context.metrics.applied(written);
    let written = disruption_budget(context, applier, wish.replicas).await?;
    context.metrics.applied(written);
    let autoscaler = made.autoscalers.get(&of(owner, owner.name()));
    let written = match &wish.autoscaling {
        Some(asked) => applier.apply(autoscaler.as_ref(), &objects::autoscaler(owner, asked)).await?,
        None => {
            let api: Api<HorizontalPodAutoscaler> = Api::namespaced(context.client.clone(), owner.namespace());
            applier.remove(&api, "HorizontalPodAutoscaler", autoscaler.as_ref()).await?
        }
    };
    context.metrics.applied(written);
    Ok(())
}

/// Whether anything was written is the answer. A single replica has no budget: an unready one, as one that crashes again
/// and again, would keep its node from being emptied.
async fn disruption_budget(context: &Context, applier: &Applier<'_>, replicas: u32) -> Result<bool, Error> {
    let owner = applier.owner;
    let made = context.caches.made.as_ref().expect("the operator watches what it makes");
    let name = ObjectRef::new_with(owner.name(), context.budgets.clone()).within(owner.namespace());
    let seen = made.budgets.get(&name);
    if replicas <= 1 {
        let api = Api::namespaced_with(context.client.clone(), owner.namespace(), &context.budgets);
        return applier.remove(&api, &context.budgets.kind, seen.as_ref()).await;
    }
    let wanted = objects::disruption_budget(owner, &context.budgets.api_version);
    applier.apply_dynamic(&context.budgets, seen.as_ref(), wanted).await
}

/// A selector is a whole: a label of somebody else's in it, as in a Service that was handed over, selects nothing.
async fn drop_strays(context: &Context, seen: &Service, wanted: &Service) -> Result<(), Error> {
    let selector = |service: &Service| service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    let (seen_selector, wanted_selector) = (selector(seen), selector(wanted));
    let strays: BTreeMap<&String, ()> =
        seen_selector.keys().filter(|key| !wanted_selector.contains_key(*key)).map(|key| (key, ())).collect();
    if strays.is_empty() {
        return Ok(());
    }
    let name = seen.metadata.name.clone().unwrap_or_default();
    let api: Api<Service> =
        Api::namespaced(context.client.clone(), seen.metadata.namespace.as_deref().unwrap_or_default());
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
    // `()` is written as null, which removes a key.
    let patch = Patch::Merge(json!({"spec": {"selector": strays}}));
    api.patch(&name, &params, &patch).await.map_err(Error::kube(format!("select the pods of Service `{name}`")))?;
    context.metrics.applied(true);
    Ok(())
}

/// Replicas of other versions than those `asked` for, which nothing else of changes.
async fn strengths(
    context: &Context,
    applier: &Applier<'_>,
    asked: &[&VersionId],
    records: &[VersionRecord],
    plan: &Plan,
    settled: bool,
) -> Result<(), Error> {
    let owner = applier.owner;
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(context.client.clone(), owner.namespace());
    let others = records.iter().filter(|record| !asked.contains(&&record.version));
    for record in others {
        let wanted = plan.replicas.get(&record.version).copied().unwrap_or(0);
        // While requests move to the new version, the one before it stays as it is.
        let fewer_later = !settled && wanted < record.replicas;
        if wanted == record.replicas || fewer_later {
            continue;
        }
        if wanted < record.replicas {
            must_be_live(context, owner).await?;
        }
        let name = record.deployment.metadata.name.clone().unwrap_or_default();
        let patch = json!({"spec": {"replicas": wanted}});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.into()), ..PatchParams::default() };
        let scaled = api.patch(&name, &params, &Patch::Merge(&patch)).await;
        there(scaled.map(drop)).map_err(Error::kube(format!("scale Deployment `{name}`")))?;
        context.metrics.applied(true);
    }
    forget_old(context, &api, owner, asked, records, plan).await
}

/// Refuses to go by a cache that has not seen which version is live now, as it may not have just after that changed: by it,
/// the one that requests go to would be stopped.
async fn must_be_live(context: &Context, owner: &MlDeployment) -> Result<(), Error> {
    let api: Api<MlDeployment> = Api::namespaced(context.client.clone(), owner.namespace());
    let now = api.get_opt(owner.name()).await.map_err(Error::kube("read the status"))?;
    let live = |deployment: &MlDeployment| deployment.status.as_ref().and_then(|status| status.live_version.clone());
    match now {
        Some(now) if live(&now) != live(owner) => Err(Error::Behind(owner.name().into())),
        Some(_) | None => Ok(()),
    }
}

/// Removes the oldest versions that have no replicas, but for those `asked` for: they would only be made again.
async fn forget_old(
    context: &Context,
    api: &Api<k8s_openapi::api::apps::v1::Deployment>,
    owner: &MlDeployment,
    asked: &[&VersionId],
    records: &[VersionRecord],
    plan: &Plan,
) -> Result<(), Error> {
    let idle = records.iter().filter(|record| {
        let wanted = plan.replicas.get(&record.version).copied().unwrap_or(0);
        let is_in_use = plan.live.as_ref() == Some(&record.version) || asked.contains(&&record.version);
        wanted == 0 && record.replicas == 0 && !is_in_use
    });
    let idle: Vec<_> = idle.collect();
    for record in &idle[..idle.len().saturating_sub(KEPT_VERSIONS)] {
        let name = record.deployment.metadata.name.clone().unwrap_or_default();
        tracing::info!(service = owner.name(), version = %record.version, "forgets a version");
        let params = kube::api::DeleteParams::background();
        let deleted = api.delete(&name, &params).await;
        there(deleted.map(drop)).map_err(Error::kube(format!("delete Deployment `{name}`")))?;
        context.metrics.applied(true);
    }
    Ok(())
}

/// What is gone needs no change.
fn there(answer: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

fn of<K: kube::Resource<DynamicType = ()>>(owner: &MlDeployment, name: &str) -> ObjectRef<K> {
    ObjectRef::new(name).within(owner.namespace())
}

/// Writes the status where it is another one, and an event where the state is.
async fn tell(context: &Context, seen: &Seen<'_>) -> Result<DeploymentStatus, Error> {
    let owner = seen.owner;
    let status = status::status(seen, Timestamp::now());
    if owner.status.as_ref() == Some(&status) {
        return Ok(status);
    }
    let api: Api<MlDeployment> = Api::namespaced(context.client.clone(), owner.namespace());
    let patch = json!({
        "apiVersion": "ml.kea-project.io/v1alpha1",
        "kind": "MLDeployment",
        // What follows from a look that is older than what somebody else wrote meanwhile is not written.
        "metadata": {"name": owner.name(), "resourceVersion": owner.metadata.resource_version},
        "status": &status,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    match api.patch_status(owner.name(), &params, &Patch::Apply(&patch)).await {
        Ok(_) => {}
        // It was deleted in the meantime.
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(status),
        Err(error) => return Err(Error::kube("write the status")(error)),
    }
    announce(context, owner, &status).await;
    Ok(status)
}

/// An event for each change of the state, of what is in the way, and of the step of a rollout.
async fn announce(context: &Context, owner: &MlDeployment, status: &DeploymentStatus) {
    let before = owner.status.as_ref();
    if let Some((record, told)) = rollout_change(before, status) {
        let is_back = record.told.phase == RolloutPhase::Returned;
        publish(context, owner, is_back, format!("Rollout{}", pascal(record.told.phase.as_str())), told).await;
    }
    let same_state =
        before.is_some_and(|before| before.state == status.state && before.live_version == status.live_version);
    let is_failed = status.state == kea_core::management::Status::Failed;
    let same_reason = before.and_then(|before| before.reason.as_ref()) == status.reason.as_ref();
    if same_state && (!is_failed || same_reason) {
        return;
    }
    let live = status.live_version.as_ref().map_or_else(String::new, |live| format!("version {live} answers"));
    let note = status.reason.clone().unwrap_or(live);
    publish(context, owner, is_failed, pascal(status.state.as_str()), note).await;
}

/// What is told of a rollout, where it has come to another step or phase.
fn rollout_change<'a>(
    before: Option<&DeploymentStatus>,
    status: &'a DeploymentStatus,
) -> Option<(&'a RolloutRecord, String)> {
    let record = status.rollout.as_ref()?;
    let rules = &status.settings.as_ref()?.rollout;
    Some((record, record.change(before.and_then(|before| before.rollout.as_ref()), rules)?))
}

async fn publish(context: &Context, owner: &MlDeployment, is_warning: bool, reason: String, mut note: String) {
    note.truncate(note.floor_char_boundary(1000));
    let event = Event {
        type_: if is_warning { EventType::Warning } else { EventType::Normal },
        reason,
        note: Some(note).filter(|note| !note.is_empty()),
        action: "Reconcile".into(),
        secondary: None,
    };
    let reference = kube::Resource::object_ref(owner, &());
    // Events are for people; a cluster that takes none is no reason to stop.
    if let Err(error) = context.events.publish(&event, &reference).await {
        tracing::debug!("no event: {error}");
    }
}

fn pascal(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
