//! Engines: what turns inputs into outputs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kea_core::Tensor;
use serde_json::{Value, value::RawValue};

pub(crate) mod onnx;
pub(crate) mod python;

/// Why a model gave no outputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModelError {
    /// The caller's arguments cannot be turned into what the function takes.
    #[error("{0}")]
    Arguments(String),
    /// The model's code raised an exception.
    #[error("the model raised {kind}: {message}")]
    Raised {
        /// Name of the exception's class.
        kind: String,
        /// Its text.
        message: String,
    },
    /// The model's process ended.
    #[error("the model's process ended while it was answering ({0})")]
    Crashed(String),
    /// The model did not answer in time, and was ended.
    #[error("the model did not answer within {seconds} s and was started again")]
    Hung {
        /// How long it was waited for.
        seconds: u64,
    },
    /// What came back is not what the contract says.
    #[error("the model's answer cannot be used: {0}")]
    Unusable(String),
}

/// How long workers may take: twice the longest that a caller was ready to wait, since a slow answer is no reason to load
/// the model again, but one that nobody waits for is.
#[derive(Debug)]
pub(crate) struct Patience {
    longest_millis: AtomicU64,
}

impl Patience {
    pub(crate) fn new(timeout: Duration) -> Self {
        let patience = Self { longest_millis: AtomicU64::new(0) };
        patience.waits(timeout);
        patience
    }

    /// A caller is ready to wait that long.
    pub(crate) fn waits(&self, limit: Duration) {
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        if millis > self.longest_millis.load(Ordering::Relaxed) {
            self.longest_millis.fetch_max(millis, Ordering::Relaxed);
        }
    }

    /// After this long a worker counts as hung.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_millis(self.longest_millis.load(Ordering::Relaxed)).saturating_mul(2)
    }
}

/// One worker of an engine: runs one thing at a time.
pub(crate) trait Runner: Send + 'static {
    /// Resolves when the worker can run something: at once, but for one that must be started again first.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Called between the first request of a batch and its company, which has queued while the batch before ran. A
    /// runner that holds the runtime's thread while it runs lets requests that have arrived reach the queue.
    fn gather(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Runs a batch: inputs and outputs have the rows of the batch as their first dimension.
    fn infer(
        &mut self,
        function: &str,
        inputs: &[Tensor],
    ) -> impl Future<Output = Result<Vec<Tensor>, ModelError>> + Send;

    /// Calls a function of a custom class.
    fn call(&mut self, function: &str, arguments: &RawValue) -> impl Future<Output = Result<Value, ModelError>> + Send;
}
