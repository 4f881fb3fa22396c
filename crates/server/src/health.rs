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

/// One worker's voice in the state. Where it falls silent, its worker answers no more; once all have, the state changes no
/// more, and the replica ends.
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

impl Drop for HealthReporter {
    fn drop(&mut self) {
        self.unready("its task has ended".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_whose_task_has_ended_is_not_ready() {
        let (mut reporters, mut watch) = health(2);
        reporters.iter().for_each(HealthReporter::ready);
        reporters.pop();
        assert!(watch.borrow_and_update().is_ready());
        reporters.pop();
        assert!(!watch.borrow_and_update().is_ready());
        assert!(watch.changed().await.is_err(), "nothing can change any more");
    }
}
