//! Whether a replica answers: how many of its workers do, and why not.

use std::sync::Arc;

use tokio::sync::watch;

/// State of a replica's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    ready: Vec<bool>,
    reason: String,
}

impl Health {
    /// Whether at least one worker answers.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.contains(&true)
    }

    /// Why none does.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

/// One worker's voice in the state.
#[derive(Clone)]
pub(crate) struct HealthReporter {
    worker: usize,
    state: Arc<watch::Sender<Health>>,
}

/// A state in which no worker answers yet, and each worker's voice.
pub(crate) fn health(workers: usize) -> (Vec<HealthReporter>, watch::Receiver<Health>) {
    let (state, watch) = watch::channel(Health { ready: vec![false; workers], reason: "the model is loading".into() });
    let state = Arc::new(state);
    let reporters = (0..workers).map(|worker| HealthReporter { worker, state: state.clone() }).collect();
    (reporters, watch)
}

impl HealthReporter {
    /// The worker answers.
    pub(crate) fn ready(&self) {
        self.state.send_modify(|health| health.ready[self.worker] = true);
    }

    /// The worker does not answer.
    pub(crate) fn unready(&self, reason: String) {
        self.state.send_modify(|health| {
            health.ready[self.worker] = false;
            health.reason = reason;
        });
    }
}
