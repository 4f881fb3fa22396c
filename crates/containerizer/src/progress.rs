//! How far a preparation is, told to whoever watches.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use kea_core::management::StepState;
use tokio::{sync::watch, task::JoinError};

use crate::FetchError;

/// Watches the steps of a preparation.
pub trait Progress: Send + Sync {
    /// The step `name` has come to `state`; `detail` is one line that says what goes on or came of it. A running
    /// step is told of as often as its detail changes.
    fn step(&self, name: &str, state: StepState, detail: &str);
}

/// Watches nothing.
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _name: &str, _state: StepState, _detail: &str) {}
}

/// What a blocking thread tells while it works; it learns from it, too, that nobody waits for its work any more.
pub(crate) struct Report {
    sender: watch::Sender<String>,
    last: Mutex<Instant>,
}

/// Keeps what changes fast from being told more often than people can read.
#[derive(Debug)]
pub(crate) struct Pace(Option<Instant>);

impl Pace {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// Whether it is time to tell something again.
    pub(crate) fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= PAUSE);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// People cannot read faster, and a store behind the watcher should not be written more often.
const PAUSE: Duration = Duration::from_millis(200);

impl Report {
    /// A report that nobody reads, of work that is always wanted.
    #[cfg(test)]
    pub(crate) fn to_nobody() -> Self {
        let (sender, receiver) = watch::channel(String::new());
        std::mem::forget(receiver);
        Self { sender, last: Mutex::new(Instant::now()) }
    }

    /// Tells `detail`, unless something was told a moment ago.
    pub(crate) fn tell(&self, detail: impl FnOnce() -> String) {
        let Ok(mut last) = self.last.lock() else { return };
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            self.sender.send_replace(detail());
        }
    }

    /// An error once the preparation was given up.
    pub(crate) fn still_wanted(&self) -> Result<(), FetchError> {
        if self.sender.is_closed() { Err(FetchError::Cancelled) } else { Ok(()) }
    }
}

/// Runs `work` on a thread that may block, and passes what it tells on as details of the running step `name`.
pub(crate) async fn blocking<T, E>(
    progress: &dyn Progress,
    name: &str,
    work: impl FnOnce(&Report) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
{
    let (sender, mut details) = watch::channel(String::new());
    let mut working = tokio::task::spawn_blocking(move || {
        let report = Report { sender, last: Mutex::new(Instant::now()) };
        work(&report)
    });
    loop {
        tokio::select! {
            done = &mut working => return match done.map_err(JoinError::try_into_panic) {
                Ok(done) => done,
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and ends this future next.
                Err(Err(_)) => std::future::pending().await,
            },
            Ok(()) = details.changed() => progress.step(name, StepState::Running, &details.borrow_and_update()),
        }
    }
}
