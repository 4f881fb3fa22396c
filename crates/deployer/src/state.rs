//! What a service loop knows of its service, and how that looks to the rule of deployment.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use kea_core::{
    VersionId,
    management::{StepState, StepStatus},
    next_step::{Prepared, Seen, SeenReplica, SeenVersion, Wanted, WantedCanary},
    rollout::{Rollout, RolloutPhase},
    routing::ServiceRoute,
    service::{Canary, PreparedModel, Service, Version},
    shadow::Shadow,
};
use tokio_util::sync::CancellationToken;

use crate::{gate::Weighed, replica::ReplicaEvent, trial::Trial};

/// A version whose replicas ended this often before one was ever ready counts as failed.
const FAILED_AFTER: u32 = 3;

/// One service, as its loop sees it.
pub(crate) struct ServiceState {
    pub(crate) service: Service,
    pub(crate) versions: BTreeMap<VersionId, VersionState>,
    pub(crate) live: Option<VersionId>,
    /// A version that takes over step by step, as it was looked at last.
    pub(crate) trial: Option<Trial>,
    /// What was published last, kept while it is still true.
    pub(crate) route: Option<Arc<ServiceRoute>>,
}

/// One version, as the loop sees it.
pub(crate) struct VersionState {
    pub(crate) version: Version,
    pub(crate) preparation: Preparation,
    /// How often a preparation has begun: what an earlier one tells late is of no interest.
    pub(crate) attempt: u64,
    /// Steps of the preparation, in the order in which they began.
    pub(crate) steps: Vec<StepStatus>,
    pub(crate) replicas: BTreeMap<u32, ReplicaState>,
    /// Why it does not become ready; cleared when a replica does.
    pub(crate) failure: Option<String>,
    /// What it would break for callers of the live version, where that was compared.
    pub(crate) weighed: Option<Weighed>,
}

/// How far a version's model and environment are.
pub(crate) enum Preparation {
    No,
    /// Under way, until it is done or this is cancelled.
    Running(CancellationToken),
    Done(PreparedModel),
    Failed,
}

/// One replica, as the loop sees it.
pub(crate) struct ReplicaState {
    pub(crate) name: Arc<str>,
    pub(crate) phase: Phase,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
    pub(crate) reason: Option<String>,
    pub(crate) stop: CancellationToken,
    /// Ends since it was last ready.
    failures: u32,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Unready,
    /// Ended; waits to be started again.
    Waiting,
    Stopping,
}

impl Phase {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
        }
    }
}

impl ServiceState {
    pub(crate) fn new(service: Service, versions: Vec<Version>) -> Self {
        let versions = versions.into_iter().map(|version| (version.id.clone(), VersionState::new(version)));
        let versions: BTreeMap<_, _> = versions.collect();
        // The version that answered before a restart is the one to come back first.
        let live = service.live_history.last().filter(|live| versions.contains_key(*live)).cloned();
        Self { service, versions, live, trial: None, route: None }
    }

    pub(crate) fn wanted(&self) -> Wanted {
        let Service { replicas, deleted, .. } = self.service;
        let canary = |canary: Canary| WantedCanary { replicas: canary.replicas(replicas), version: canary.version };
        let shadow = |shadow: Shadow| WantedCanary { replicas: shadow.replicas(replicas), version: shadow.version };
        let canary = self.service.in_shadow().map(shadow).or_else(|| self.service.beside().map(canary));
        Wanted { version: self.service.stable().clone(), replicas, canary, deleted }
    }

    pub(crate) fn seen(&self) -> Seen {
        let versions = self.versions.iter().map(|(id, version)| (id.clone(), version.seen()));
        Seen { live: self.live.clone(), versions: versions.collect() }
    }

    /// The version that is to answer.
    pub(crate) fn wanted_version(&self) -> Option<&VersionState> {
        self.versions.get(&self.service.version)
    }

    /// The canary or shadow that runs beside the live version, and how many replicas it is to have.
    pub(crate) fn canary(&self) -> Option<(&VersionState, u32)> {
        let WantedCanary { version, replicas } = self.wanted().canary?;
        Some((self.versions.get(&version)?, replicas))
    }

    /// Whether anybody wants that version to run.
    pub(crate) fn is_wanted(&self, version: &VersionId) -> bool {
        let Wanted { version: wanted, canary, .. } = self.wanted();
        wanted == *version || canary.is_some_and(|canary| canary.version == *version)
    }

    /// Whether a new version is taking over step by step.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.service.rollout.as_ref().is_some_and(Rollout::is_progressing)
    }

    /// The version beside the live one, and its share of the requests at this moment. A version that was promoted keeps
    /// its share until it has all of its replicas, and with them all requests.
    pub(crate) fn share(&self) -> Option<Canary> {
        let weight = |rollout: &Rollout| {
            let rules = &self.service.settings.rollout;
            match rollout.phase {
                RolloutPhase::Progressing => Some(Trial::weight(self.trial.as_ref(), rollout, rules)),
                RolloutPhase::Promoted => Some(rules.weight(rollout.step)),
                RolloutPhase::Returned => None,
            }
        };
        let weight = self.service.rollout.as_ref().and_then(weight);
        let new = weight.map(|weight| Canary { version: self.service.version.clone(), weight });
        let is_barred = |version: &VersionId| self.versions.get(version).is_some_and(VersionState::is_barred);
        let canary = new.or_else(|| self.service.canary.clone()).filter(|canary| !is_barred(&canary.version));
        canary.filter(|canary| self.live.as_ref() != Some(&canary.version))
    }

    /// The version that gets copies of the requests at this moment.
    pub(crate) fn shadow(&self) -> Option<Shadow> {
        self.service.in_shadow().filter(|shadow| self.live.as_ref() != Some(&shadow.version))
    }
}

impl VersionState {
    pub(crate) fn new(version: Version) -> Self {
        let here = |prepared: &PreparedModel| {
            let parts = [&prepared.path, &prepared.python, &prepared.onnxruntime];
            parts.into_iter().flatten().all(|path| path.exists())
        };
        let preparation = match version.prepared.clone() {
            Some(prepared) if here(&prepared) => Preparation::Done(prepared),
            _ => Preparation::No,
        };
        Self {
            version,
            preparation,
            attempt: 0,
            steps: Vec::new(),
            replicas: BTreeMap::new(),
            failure: None,
            weighed: None,
        }
    }

    /// Whether the preparation of that number is under way.
    pub(crate) fn is_at(&self, attempt: u64) -> bool {
        self.attempt == attempt && matches!(self.preparation, Preparation::Running(_))
    }

    /// Gives up a preparation that is under way; another wish begins it anew.
    pub(crate) fn give_up(&mut self) {
        if let Preparation::Running(work) = &self.preparation {
            work.cancel();
            self.preparation = Preparation::No;
            self.steps.clear();
        }
    }

    /// Forgets that it failed.
    pub(crate) fn try_again(&mut self) {
        self.failure = None;
        if matches!(self.preparation, Preparation::Failed) {
            self.preparation = Preparation::No;
        }
    }

    /// Notes how far a step of the preparation is.
    pub(crate) fn step(&mut self, name: &str, state: StepState, detail: String) {
        match self.steps.iter_mut().find(|step| step.name == name) {
            Some(step) => (step.state, step.detail) = (state, detail),
            None => self.steps.push(StepStatus { name: name.into(), state, detail }),
        }
    }

    pub(crate) fn ready_replicas(&self) -> u32 {
        let ready = self.replicas.values().filter(|replica| replica.phase == Phase::Ready).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Notes what happened to a replica.
    pub(crate) fn note(&mut self, ordinal: u32, event: ReplicaEvent) {
        let Some(replica) = self.replicas.get_mut(&ordinal) else { return };
        let stopping = replica.phase == Phase::Stopping;
        let phase = match event {
            ReplicaEvent::Started { pid } => {
                replica.pid = Some(pid);
                Phase::Starting
            }
            ReplicaEvent::Listening { address } => {
                replica.address = Some(address);
                replica.phase
            }
            ReplicaEvent::Ready { contract } => {
                replica.failures = 0;
                replica.reason = None;
                self.failure = None;
                // The same contract stays the same `Arc`, so that routers need not compile it again.
                if self.version.contract.as_deref() != Some(&*contract) {
                    self.version.contract = Some(contract);
                }
                Phase::Ready
            }
            ReplicaEvent::Unready { reason } => {
                replica.reason.get_or_insert(reason);
                Phase::Unready
            }
            ReplicaEvent::Failed { reason } => {
                self.failure = Some(reason.clone());
                replica.reason = Some(reason);
                Phase::Unready
            }
            ReplicaEvent::Ended { reason } => {
                replica.ended(&reason, &mut self.failure);
                Phase::Waiting
            }
            ReplicaEvent::Stopped => {
                self.replicas.remove(&ordinal);
                return;
            }
        };
        if !stopping {
            replica.phase = phase;
        }
    }

    fn seen(&self) -> SeenVersion {
        let prepared = match self.preparation {
            Preparation::No => Prepared::No,
            Preparation::Running(_) => Prepared::Running,
            Preparation::Done(_) => Prepared::Yes,
            Preparation::Failed => Prepared::Failed,
        };
        let replica = |replica: &ReplicaState| match replica.phase {
            Phase::Ready => SeenReplica::Ready,
            Phase::Starting | Phase::Unready | Phase::Waiting => SeenReplica::Starting,
            Phase::Stopping => SeenReplica::Stopping,
        };
        let replicas = self.replicas.iter().map(|(ordinal, state)| (*ordinal, replica(state))).collect();
        SeenVersion { prepared, replicas, barred: self.is_barred() }
    }
}

impl ReplicaState {
    pub(crate) fn new(name: Arc<str>, stop: CancellationToken) -> Self {
        Self { name, phase: Phase::Starting, address: None, pid: None, restarts: 0, reason: None, stop, failures: 0 }
    }

    /// What it said itself before it ended says more than how it ended.
    fn ended(&mut self, reason: &str, failure: &mut Option<String>) {
        self.address = None;
        self.pid = None;
        self.restarts += 1;
        self.failures += 1;
        let generic = self.reason.as_deref().is_none_or(|said| said == "its process is ending");
        if generic {
            self.reason = Some(format!("its process ended ({reason})"));
        }
        if self.failures >= FAILED_AFTER && failure.is_none() {
            *failure = self.reason.as_ref().map(|reason| format!("{} keeps failing: {reason}", self.name));
        }
    }
}
