//! The loop of one service: look at what is wanted and seen, do the next steps, publish, wait for a change.

mod rollout;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kea_containerizer::{Progress, Workspace};
use kea_core::{
    VersionId,
    management::StepState,
    next_step::{Step, next_steps},
    port::{ServiceStore, Traffic},
    quantity::Cpu,
    service::{Engine, PreparedModel, Service, Version},
};
use kea_logs::{BUILD, LineWriter, LogBook, Stream};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    directory::{Directory, answering},
    images::{Failure, Images},
    process::Launch,
    replica::{self, ReplicaEvent, ReplicaKey, ReplicaPlan},
    state::{Phase, Preparation, ReplicaState, ServiceState, VersionState},
    view::{self, PublicAddress},
};

/// The name under which KEA itself writes into a service's log.
const KEA: &str = "kea";

/// How long a version's model, environment and image may take: whatever hangs must not hold the place of others for ever.
const PREPARED_WITHIN: Duration = Duration::from_secs(2 * 3600);

/// How often a version that takes over step by step is looked at: more often than any pause that means something.
const LOOKS: Duration = Duration::from_millis(200);

/// What all service loops share.
pub(crate) struct Shared {
    /// Counts what versions answer.
    pub(crate) traffic: Arc<dyn Traffic>,
    pub(crate) store: Arc<dyn ServiceStore>,
    pub(crate) workspace: Arc<Workspace>,
    /// Makes and publishes images, where a registry is configured.
    pub(crate) images: Option<Images>,
    pub(crate) logs: Arc<LogBook>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) address: PublicAddress,
    pub(crate) program: PathBuf,
    pub(crate) body_limit: usize,
    /// Folder in which each replica has its own.
    pub(crate) run_folder: PathBuf,
    /// Cores of this machine, which replicas share where no limit is set.
    pub(crate) cores: u32,
    /// KEA is on its way out: replicas stop, but their services stay wanted.
    pub(crate) shutdown: CancellationToken,
    /// Changes are made one after the other: each reads what there is, decides, and writes.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Preparations that may run at the same time: each starts a Python, and a start brings all services at once.
    pub(crate) preparing: Semaphore,
}

/// What is wanted of a service now.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) service: Service,
    pub(crate) versions: Vec<Version>,
}

/// What happens outside of the loop.
enum Happening {
    Step { version: VersionId, attempt: u64, name: String, state: StepState, detail: String },
    Prepared { version: VersionId, attempt: u64, outcome: Box<Result<PreparedModel, Failure>> },
}

/// Runs a service until it is forgotten or KEA stops.
pub(crate) async fn run(shared: Arc<Shared>, mut wishes: watch::Receiver<Wish>) {
    let Wish { service, versions } = wishes.borrow_and_update().clone();
    let (happenings, mut happened) = mpsc::unbounded_channel();
    let (events, mut replica_events) = mpsc::unbounded_channel();
    let tasks = TaskTracker::new();
    let leaving = shared.shutdown.child_token();
    let state = ServiceState::new(service, versions);
    let mut service = ServiceLoop { shared, state, happenings, events, tasks, leaving };
    let mut looks = tokio::time::interval(LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let forgotten = loop {
        service.weigh();
        service.look().await;
        if service.reconcile().await.is_break() {
            break true;
        }
        service.publish();
        tokio::select! {
            changed = wishes.changed() => match changed {
                Ok(()) => {
                    let wish = wishes.borrow_and_update().clone();
                    service.wish(wish).await;
                }
                Err(_gone) => break false,
            },
            Some(happening) = happened.recv() => service.happen(happening).await,
            _ = looks.tick(), if service.state.is_on_trial() => {}
            Some((key, event)) = replica_events.recv() => service.note(key, event).await,
            () = service.shared.shutdown.cancelled() => break false,
        }
    };
    service.stop_all();
    service.tasks.close();
    service.tasks.wait().await;
    // Who wishes for a service of this name from now on needs another loop.
    drop(wishes);
    if forgotten {
        service.forget().await;
    }
}

struct ServiceLoop {
    shared: Arc<Shared>,
    state: ServiceState,
    happenings: mpsc::UnboundedSender<Happening>,
    events: mpsc::UnboundedSender<(ReplicaKey, ReplicaEvent)>,
    tasks: TaskTracker,
    /// The loop is on its way out: preparations are given up.
    leaving: CancellationToken,
}

impl ServiceLoop {
    /// Does what is to be done next, until only time is needed. Breaks once the service is forgotten.
    async fn reconcile(&mut self) -> std::ops::ControlFlow<()> {
        for step in next_steps(&self.state.wanted(), &self.state.seen()) {
            tracing::debug!(service = %self.state.service.id, ?step, "next step");
            match step {
                Step::Prepare(version) => self.prepare(version),
                Step::Start(version, ordinal) => self.start(version, ordinal),
                Step::GoLive(version) => self.go_live(version).await,
                Step::Stop(version, ordinal) => {
                    self.stop(&version, ordinal);
                }
                Step::Forget => return std::ops::ControlFlow::Break(()),
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Holds back what would break callers, before anything goes by what a version has just told.
    fn weigh(&mut self) {
        for id in self.state.weigh() {
            let why = self.state.versions.get(&id).and_then(|version| version.failure.clone()).unwrap_or_default();
            let service = &self.state.service.id;
            tracing::warn!(%service, version = %id, "a version is held back: {why}");
            self.shared.logs.writer(service, KEA).write(Stream::Kea, format!("version {id} is held back: {why}"));
        }
    }

    fn publish(&mut self) {
        let route = view::route(&mut self.state);
        let details = view::details(&self.state, &self.shared.address);
        let contract =
            self.state.versions.get(answering(&details)).and_then(|version| version.version.contract.clone());
        self.shared.directory.publish(details, contract, route);
    }

    async fn wish(&mut self, wish: Wish) {
        let before = &self.state.service;
        // A version that failed is tried again when it is wished for again.
        let again = wish.service.updated_at != before.updated_at;
        let rollout = match (&before.rollout, &wish.service.rollout) {
            // It may have gone on since the wish was made.
            (Some(own), Some(asked)) if own.started_at == asked.started_at => Some(own.clone()),
            (_, asked) => asked.clone(),
        };
        let live_history = before.live_history.clone();
        self.state.service = Service { live_history, rollout, ..wish.service.clone() };
        // Whoever changed it and this loop may have kept it at the same moment, each without the other's change.
        if self.state.service != wish.service {
            self.keep().await;
        }
        for version in wish.versions {
            self.state.versions.entry(version.id.clone()).or_insert_with(|| VersionState::new(version));
        }
        // What is not wanted any more need not be fetched, installed or built any further.
        let known: Vec<VersionId> = self.state.versions.keys().cloned().collect();
        for id in known {
            let (is_wanted, is_live) = (self.state.is_wanted(&id), self.state.live.as_ref() == Some(&id));
            let Some(version) = self.state.versions.get_mut(&id) else { continue };
            if is_wanted && again {
                version.try_again();
            } else if !is_wanted && !is_live {
                version.give_up();
            }
        }
    }

    fn prepare(&mut self, id: VersionId) {
        let Some(version) = self.state.versions.get_mut(&id) else { return };
        let work = self.leaving.child_token();
        version.preparation = Preparation::Running(work.clone());
        version.attempt += 1;
        let attempt = version.attempt;
        version.failure = None;
        let (workspace, spec) = (self.shared.workspace.clone(), version.version.model.clone());
        let happenings = self.happenings.clone();
        let shared = self.shared.clone();
        let (service, log) = (self.state.service.id.clone(), self.shared.logs.writer(&self.state.service.id, BUILD));
        self.tasks.spawn(async move {
            let told =
                Told { version: id.clone(), attempt, happenings: happenings.clone(), log, last: Mutex::default() };
            let prepare = async {
                // Never closed: its permit is always had in the end.
                let _turn = shared.preparing.acquire().await;
                let mut prepared = workspace.prepare(&spec, &told).await?;
                if let Some(images) = &shared.images {
                    prepared.image = Some(images.publish(&service, &told.version, &spec, &prepared, &told).await?);
                }
                Ok(prepared)
            };
            let outcome = tokio::select! {
                outcome = tokio::time::timeout(PREPARED_WITHIN, prepare) => outcome.unwrap_or(Err(Failure::TooLong)),
                () = work.cancelled() => return,
            };
            // A loop that is gone has no use for the outcome.
            let _ = happenings.send(Happening::Prepared { version: id, attempt, outcome: Box::new(outcome) });
        });
    }

    fn start(&mut self, id: VersionId, ordinal: u32) {
        let Some(version) = self.state.versions.get_mut(&id) else { return };
        let Preparation::Done(prepared) = &version.preparation else { return };
        let name = format!("{}-{id}-{ordinal}", self.state.service.id);
        let folder = self.shared.run_folder.join(self.state.service.id.as_str()).join(&name);
        let stop = CancellationToken::new();
        let plan = ReplicaPlan {
            key: ReplicaKey { version: id, ordinal },
            launch: launch(&self.shared, &self.state.service, &version.version, prepared, folder),
            model: prepared.path.clone(),
            log: self.shared.logs.writer(&self.state.service.id, &name),
            events: self.events.clone(),
            stop: stop.clone(),
        };
        version.replicas.insert(ordinal, ReplicaState::new(name.into(), stop));
        self.tasks.spawn(replica::run(plan));
    }

    async fn go_live(&mut self, version: VersionId) {
        tracing::info!(service = %self.state.service.id, %version, "the version is live");
        self.state.service.live_history.retain(|earlier| *earlier != version);
        self.state.service.live_history.push(version.clone());
        self.state.live = Some(version);
        // Routers follow before the replicas of the version before are told to stop.
        self.publish();
        self.keep().await;
    }

    fn stop(&mut self, version: &VersionId, ordinal: u32) {
        let replica = self.state.versions.get_mut(version).and_then(|version| version.replicas.get_mut(&ordinal));
        if let Some(replica) = replica {
            replica.phase = Phase::Stopping;
            self.publish();
            let replica = self.state.versions.get(version).and_then(|version| version.replicas.get(&ordinal));
            replica.inspect(|replica| replica.stop.cancel());
        }
    }

    fn stop_all(&self) {
        self.leaving.cancel();
        for version in self.state.versions.values() {
            version.replicas.values().for_each(|replica| replica.stop.cancel());
        }
    }

    /// Removes what is left of a deleted service. No change is made meanwhile, so that none is made to half of it.
    async fn forget(&self) {
        let _one_at_a_time = self.shared.changing.lock().await;
        let id = &self.state.service.id;
        if let Err(error) = self.shared.store.delete_service(id).await {
            tracing::error!(service = %id, %error, "a deleted service stays in the store; it is deleted at the next start");
        }
        if let Err(error) = self.shared.logs.remove(id).await {
            tracing::warn!(service = %id, %error, "the log of a deleted service could not be removed");
        }
        self.shared.directory.forget(id);
        tracing::info!(service = %id, "the service is gone");
    }

    async fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Step { version, attempt, name, state, detail } => {
                if let Some(version) = self.state.versions.get_mut(&version).filter(|version| version.is_at(attempt)) {
                    version.step(&name, state, detail);
                }
            }
            Happening::Prepared { version: id, attempt, outcome } => {
                let version = self.state.versions.get_mut(&id).filter(|version| version.is_at(attempt));
                let Some(version) = version else { return };
                match *outcome {
                    Ok(prepared) => {
                        version.version.prepared = Some(prepared.clone());
                        version.preparation = Preparation::Done(prepared);
                        self.keep_version(&id).await;
                    }
                    Err(error) => self.preparation_failed(&id, &error),
                }
            }
        }
    }

    fn preparation_failed(&mut self, id: &VersionId, error: &Failure) {
        let Some(version) = self.state.versions.get_mut(id) else { return };
        let service = &self.state.service.id;
        tracing::warn!(%service, version = %id, step = error.step(), %error, "a version could not be prepared");
        version.step(error.step(), StepState::Failed, error.to_string());
        version.preparation = Preparation::Failed;
        version.failure = Some(format!("{} failed: {error}", error.step()));
        let log = self.shared.logs.writer(service, KEA);
        let told = format!("version {id}: {} failed: {error}", error.step());
        self.shared.logs.writer(service, BUILD).write(Stream::Kea, &told);
        log.write(Stream::Kea, &told);
        error.tail().iter().for_each(|line| log.write(Stream::Kea, line));
    }

    async fn note(&mut self, key: ReplicaKey, event: ReplicaEvent) {
        let Some(version) = self.state.versions.get_mut(&key.version) else { return };
        if let ReplicaEvent::Ended { reason } | ReplicaEvent::Failed { reason } = &event {
            let replica = format!("{}-{}-{}", self.state.service.id, key.version, key.ordinal);
            tracing::warn!(replica, reason, "a replica failed");
            self.shared
                .logs
                .writer(&self.state.service.id, &replica)
                .write(Stream::Kea, format!("replica failed: {reason}"));
        }
        let known = version.version.contract.clone();
        version.note(key.ordinal, event);
        let found = version.version.contract.clone();
        if found.is_some() && known != found {
            self.keep_version(&key.version).await;
        }
    }

    /// Keeps what was found out about a version. Without it a restart finds it out again.
    async fn keep_version(&self, id: &VersionId) {
        let Some(version) = self.state.versions.get(id) else { return };
        if let Err(error) = self.shared.store.put_version(&self.state.service.id, &version.version).await {
            tracing::warn!(service = %self.state.service.id, version = %id, %error, "what was found out is not kept");
        }
    }

    /// Keeps which versions were live. Without it a rollback after a restart knows less.
    async fn keep(&self) {
        if let Err(error) = self.shared.store.put_service(&self.state.service).await {
            tracing::warn!(service = %self.state.service.id, %error, "the live version is not kept");
        }
    }
}

/// Passes the steps of a preparation to the loop, and writes them down.
struct Told {
    version: VersionId,
    attempt: u64,
    happenings: mpsc::UnboundedSender<Happening>,
    log: LineWriter,
    /// What was written last.
    last: Mutex<String>,
}

impl Progress for Told {
    fn step(&self, name: &str, state: StepState, detail: &str) {
        self.write_down(name, state, detail);
        let version = self.version.clone();
        let attempt = self.attempt;
        let step = Happening::Step { version, attempt, name: name.into(), state, detail: detail.into() };
        // A loop that is gone shows no steps.
        let _ = self.happenings.send(step);
    }
}

impl Told {
    /// A line for each change.
    fn write_down(&self, name: &str, state: StepState, detail: &str) {
        let line = match (state, detail) {
            (StepState::Running, "") => format!("version {}: {name}", self.version),
            (StepState::Running | StepState::Pending, detail) => format!("version {}: {name}: {detail}", self.version),
            (StepState::Done, detail) => format!("version {}: {name} is done: {detail}", self.version),
            // Told together with what the tools wrote last.
            (StepState::Failed, _) => return,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != line {
            self.log.write(Stream::Kea, &line);
            *last = line;
        }
    }
}

/// How a replica is started.
fn launch(shared: &Shared, service: &Service, version: &Version, prepared: &PreparedModel, folder: PathBuf) -> Launch {
    let threads = threads(shared.cores, service.replicas, version.model.resources.limits.cpu);
    let mut arguments: Vec<OsString> = vec!["model-server".into(), "--control".into()];
    let mut option = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
    option("--service", service.id.as_str().into());
    option("--version", version.id.as_str().into());
    option("--threads", threads.to_string().into());
    option("--body-limit", shared.body_limit.to_string().into());
    if let Some(path) = &prepared.path {
        option("--model", path.into());
    }
    option("--framework", prepared.framework.as_str().into());
    if let Some(python) = prepared.python.as_ref().filter(|_| prepared.engine == Engine::Python) {
        option("--python", python.into());
    }
    if let Some(library) = &prepared.onnxruntime {
        option("--onnxruntime", library.into());
    }
    if !version.model.functions.is_empty() {
        option("--functions", json!(version.model.functions).to_string().into());
    }
    let settings = &service.settings;
    if let Some(timeout) = settings.timeout {
        option("--timeout", timeout.to_string().into());
    }
    if let Some(memory) = version.model.resources.limits.memory {
        option("--memory", memory.bytes.to_string().into());
    }
    let numbers = [
        ("--workers", settings.server.workers),
        ("--max-batch-rows", settings.server.max_batch_rows),
        ("--queue-limit", settings.server.queue_limit),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            option(name, value.to_string().into());
        }
    }
    if prepared.engine == Engine::External {
        let protocol = settings.server.protocol.unwrap_or_default();
        arguments.extend(["--protocol".into(), protocol.as_str().into(), "--".into()]);
        arguments.extend(version.model.command.iter().map(OsString::from));
    }
    let environment = environment(version, prepared, &folder, threads);
    Launch { program: shared.program.clone(), arguments, environment, folder }
}

/// A replica's whole environment: nothing of the server's, whose secrets are none of the model's business.
pub(crate) fn environment(
    version: &Version,
    prepared: &PreparedModel,
    folder: &std::path::Path,
    threads: u32,
) -> Vec<(OsString, OsString)> {
    let mut variables: BTreeMap<OsString, OsString> = BTreeMap::new();
    for name in ["PATH", "LANG", "LC_ALL", "TZ", "KEA_LOG", "LD_LIBRARY_PATH"] {
        variables.extend(std::env::var_os(name).map(|value| (name.into(), value)));
    }
    // Programs of the model's own environment are found first.
    if let Some(programs) = prepared.python.as_ref().and_then(|python| python.parent()) {
        let rest = variables.get(&OsString::from("PATH")).cloned().unwrap_or_default();
        let folders = std::iter::once(programs.to_path_buf()).chain(std::env::split_paths(&rest));
        if let Ok(path) = std::env::join_paths(folders) {
            variables.insert("PATH".into(), path);
        }
    }
    variables.insert("HOME".into(), folder.into());
    variables.insert("TMPDIR".into(), folder.join("tmp").into());
    for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"] {
        variables.insert(name.into(), threads.to_string().into());
    }
    variables.extend(version.model.env.iter().map(|(name, value)| (name.into(), value.into())));
    variables.into_iter().collect()
}

/// Threads of one replica: its limit, or its share of the machine.
fn threads(cores: u32, replicas: u32, limit: Option<Cpu>) -> u32 {
    let whole = |cpu: Cpu| u32::try_from(cpu.millis.div_ceil(1000)).unwrap_or(u32::MAX);
    limit.map_or(cores / replicas.max(1), whole).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_share_the_machine_unless_they_have_a_limit() {
        assert_eq!(threads(8, 2, None), 4);
        assert_eq!(threads(2, 4, None), 1);
        assert_eq!(threads(8, 2, Some(Cpu { millis: 1500 })), 2);
        assert_eq!(threads(8, 0, None), 8);
    }
}
