//! One replica over its whole life: started, watched, started again with a growing pause when it ends, stopped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kea_core::{Contract, VersionId};
use kea_logs::LineWriter;
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    process::{Launch, Process, Told},
    work_folder,
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A replica that has been ready for this long failed by accident, and is started again at once.
const STEADY: Duration = Duration::from_secs(60);

/// Time that routers have to notice that a replica takes no more requests, before it is told to stop.
const ROUTES_SETTLE: Duration = Duration::from_millis(250);

/// Which replica it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReplicaKey {
    pub(crate) version: VersionId,
    pub(crate) ordinal: u32,
}

/// What happens to a replica.
#[derive(Debug)]
pub(crate) enum ReplicaEvent {
    Started {
        pid: u32,
    },
    Listening {
        address: std::net::SocketAddr,
    },
    Ready {
        contract: Arc<Contract>,
    },
    Unready {
        reason: String,
    },
    /// It says itself that it will never answer.
    Failed {
        reason: String,
    },
    /// It ended, and is started again after a pause.
    Ended {
        reason: String,
    },
    /// It was stopped and is gone.
    Stopped,
}

/// What a replica is run with.
pub(crate) struct ReplicaPlan {
    pub(crate) key: ReplicaKey,
    pub(crate) launch: Launch,
    /// The model's file or folder, which its working folder links to.
    pub(crate) model: Option<std::path::PathBuf>,
    pub(crate) log: LineWriter,
    pub(crate) events: mpsc::UnboundedSender<(ReplicaKey, ReplicaEvent)>,
    pub(crate) stop: CancellationToken,
}

/// Runs a replica until it is stopped.
pub(crate) async fn run(plan: ReplicaPlan) {
    let mut pause = FIRST_PAUSE;
    while !plan.stop.is_cancelled() {
        let started = Instant::now();
        let reason = run_once(&plan).await;
        if plan.stop.is_cancelled() {
            break;
        }
        tell(&plan, ReplicaEvent::Ended { reason });
        if started.elapsed() > STEADY {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = plan.stop.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    // What the model wrote goes with the replica.
    let folder = plan.launch.folder.clone();
    let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
    tell(&plan, ReplicaEvent::Stopped);
}

/// Runs one process, and says how it ended.
async fn run_once(plan: &ReplicaPlan) -> String {
    let (folder, model) = (plan.launch.folder.clone(), plan.model.clone());
    let made = tokio::task::spawn_blocking(move || work_folder::make(&folder, model.as_deref())).await;
    match made {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return format!("its folder `{}` cannot be made: {error}", plan.launch.folder.display()),
        Err(error) => return error.to_string(),
    }
    // Spawned from a task, not from a blocking thread: the death signal of what it starts is tied to the thread, and
    // threads of the runtime live as long as KEA.
    let mut process = match Process::start(&plan.launch, &plan.log) {
        Ok(process) => process,
        Err(error) => return format!("it cannot be started: {error}"),
    };
    tell(plan, ReplicaEvent::Started { pid: process.pid() });
    loop {
        tokio::select! {
            told = process.told() => match told {
                Some(Told::Listening { address }) => tell(plan, ReplicaEvent::Listening { address }),
                Some(Told::Ready { contract }) => tell(plan, ReplicaEvent::Ready { contract }),
                Some(Told::Unready { reason }) => tell(plan, ReplicaEvent::Unready { reason }),
                Some(Told::Failed { reason }) => tell(plan, ReplicaEvent::Failed { reason }),
                None => {
                    // Requests must not be sent to it from this moment on; how it ended is known a little later.
                    tell(plan, ReplicaEvent::Unready { reason: "its process is ending".into() });
                    return process.wait().await;
                }
            },
            () = plan.stop.cancelled() => {
                sleep(ROUTES_SETTLE).await;
                process.stop().await;
                return "it was stopped".into();
            }
        }
    }
}

fn tell(plan: &ReplicaPlan, event: ReplicaEvent) {
    // A service loop that is gone has stopped its replicas.
    let _ = plan.events.send((plan.key.clone(), event));
}
