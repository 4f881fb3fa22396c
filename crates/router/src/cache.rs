//! The Response Cacher: answers that were given before, for services whose author allows it.
//!
//! [`ResponseCache`] is the port: answers in memory, or in Redis for all routers. What is a stage of the request path is
//! in `stage`; what a key is made of in `key`.

mod canonical;
mod codec;
mod control;
mod counters;
mod entry;
mod flight;
mod key;
mod memory;
mod redis;
mod respond;
mod scope;
mod seen;
mod stage;
#[cfg(test)]
pub(crate) mod suite;

use std::sync::Arc;

use async_trait::async_trait;
use kea_core::VersionId;

pub(crate) use counters::{CacheCounters, HELP};
pub(crate) use key::{Owner, function_part, of as key_of};
pub(crate) use respond::{CACHE, kept};
pub(crate) use seen::{Known, Question, Seen};
pub(crate) use stage::Caching;

pub use entry::{Entry, LARGEST};
pub use key::CacheKey;
pub use memory::MemoryCache;
pub use redis::RedisCache;

/// Keeps answers. It is asked on the path of a request, so that an implementation that fails says so within milliseconds.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// The answer of that key.
    async fn get(&self, key: &CacheKey) -> Lookup;
    /// Keeps an answer, unless something of its scope was cleared since the look-up that gave `generation`. A failure is
    /// counted, and loses the answer.
    async fn put(&self, key: &CacheKey, generation: Generation, entry: Arc<Entry>);
    /// Removes answers. Once it returns, no request of any router gets one of them.
    ///
    /// # Errors
    /// The answers cannot be reached, and are all still there.
    async fn clear(&self, scope: &Scope) -> Result<(), CacheAway>;
    /// Makes room of a service's answers of other versions than `running`, a name with the time it was made. They are
    /// asked for no more: their keys hold the version.
    fn forget_versions(&self, service: &str, running: &[(VersionId, i64)]);
    /// Appends what it counts, in the text format that Prometheus reads.
    fn write_metrics(&self, out: &mut String);
}

/// What a look-up gives.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// An answer, maybe past its time.
    Found(Arc<Entry>, Generation),
    /// There is none.
    Missing(Generation),
    /// The answers cannot be reached at the moment.
    Away,
}

/// Which answers of a service, and of a function, count: those of the same generation. Clearing begins a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    pub(crate) service: u64,
    pub(crate) function: u64,
}

/// Which answers are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of a service.
    Service(Box<str>),
    /// All of one function of a service.
    Function {
        /// The service.
        service: Box<str>,
        /// Its function.
        function: Box<str>,
    },
    /// One answer.
    Key(CacheKey),
}

impl Scope {
    pub(crate) fn holds(&self, key: &CacheKey) -> bool {
        match self {
            Self::Service(service) => key.service() == &**service,
            Self::Function { service, function } => key.service() == &**service && key.function() == &**function,
            Self::Key(only) => key == only,
        }
    }
}

/// The answers are kept elsewhere, and cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response cache cannot be reached: {0}")]
pub struct CacheAway(pub String);
