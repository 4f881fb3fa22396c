//! Answers in a Redis, which all routers of a cluster share and which outlives them.
//!
//! Of one service it keeps a generation, of each function another one, and the answers, all of one hash slot. A look-up
//! reads three keys at once; an answer counts if it names the generations that are there. Clearing writes another
//! generation, so that nothing is searched for. A generation is a random number rather than a count: where Redis loses
//! one, the answers of before are lost with it, and never come back.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use kea_core::VersionId;
use redis::{Pipeline, RedisResult, aio::MultiplexedConnection};
use tokio::sync::Semaphore;

use super::{CacheAway, CacheKey, Entry, Generation, Lookup, ResponseCache, Scope, codec};
use crate::link::{Away, Link, Purpose, RedisUrl};

/// How long a look-up may take. With the timer's own millisecond it is bypassed within five.
const LOOK_UP: Duration = Duration::from_millis(3);

/// What is on nobody's path has longer.
const CHANGE: Duration = Duration::from_secs(1);

/// Answers that are on their way to Redis, in KiB; further ones are not kept.
const ON_THE_WAY: usize = 32 << 10;

/// How long a generation is kept, in seconds: 30 days. Then the answers of a service are lost once.
const GENERATION_LIFETIME: u64 = 30 * 24 * 3600;

impl From<Away> for CacheAway {
    fn from(Away(why): Away) -> Self {
        Self(why)
    }
}

/// Answers in a Redis.
pub struct RedisCache {
    link: Link,
    /// What a request waits for a look-up at most.
    patience: Duration,
    on_the_way: Semaphore,
    dropped: AtomicU64,
    bytes: AtomicU64,
}

/// Writes and reads a key, which is forgotten at once.
fn question(mut link: MultiplexedConnection) -> BoxFuture<'static, RedisResult<()>> {
    Box::pin(async move {
        let mut both = redis::pipe();
        both.cmd("SET").arg("kea1:{}:test").arg(1).arg("PX").arg(1).ignore().cmd("MGET").arg("kea1:{}:test").ignore();
        both.query_async(&mut link).await
    })
}

impl RedisCache {
    /// A cache in the Redis of that URL. Nothing waits for it to be there.
    pub fn new(url: &RedisUrl) -> Self {
        Self::with_patience(url, LOOK_UP)
    }

    /// One whose look-ups may take longer, as on a machine that runs many tests.
    pub(crate) fn with_patience(url: &RedisUrl, patience: Duration) -> Self {
        let on_the_way = Semaphore::new(ON_THE_WAY);
        Self {
            link: Link::open(url, Purpose { name: "the response cache", limit: patience, question }),
            patience,
            on_the_way,
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Whether Redis is asked at the moment.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    async fn look_up(&self, key: &CacheKey) -> Result<Lookup, CacheAway> {
        let names = Names::of(key);
        let mut read = redis::cmd("MGET");
        read.arg(&names.service).arg(&names.function).arg(&names.entry);
        let (service, function, bytes): (Option<u64>, Option<u64>, Option<Bytes>) =
            self.link.ask(self.patience, async move |mut link| read.query_async(&mut link).await).await?;
        let (Some(service), Some(function)) = (service, function) else {
            return Ok(Lookup::Missing(self.begin_generation(&names).await?));
        };
        let generation = Generation { service, function };
        let entry = bytes.and_then(|bytes| codec::decode(&bytes, generation));
        Ok(entry.map_or(Lookup::Missing(generation), |entry| Lookup::Found(Arc::new(entry), generation)))
    }

    /// Of several routers that do so at once, one gives the generation to all.
    async fn begin_generation(&self, names: &Names) -> Result<Generation, CacheAway> {
        let mut begin = redis::pipe();
        for name in [&names.service, &names.function] {
            begin.cmd("SET").arg(name).arg(rand::random::<u64>());
            begin.arg("NX").arg("EX").arg(GENERATION_LIFETIME).ignore();
        }
        begin.cmd("MGET").arg(&names.service).arg(&names.function);
        let begun = self.link.ask(self.patience, async move |mut link| begin.query_async(&mut link).await);
        let ((service, function),): ((u64, u64),) = begun.await?;
        Ok(Generation { service, function })
    }

    async fn change(&self, change: Pipeline) -> Result<(), CacheAway> {
        Ok(self.link.ask(CHANGE, async move |mut link| change.query_async(&mut link).await).await?)
    }
}

#[async_trait]
impl ResponseCache for RedisCache {
    async fn get(&self, key: &CacheKey) -> Lookup {
        self.look_up(key).await.unwrap_or(Lookup::Away)
    }

    async fn put(&self, key: &CacheKey, generation: Generation, entry: Arc<Entry>) {
        let kibibytes = u32::try_from(entry.size() / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(_room) = self.on_the_way.try_acquire_many(kibibytes) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Some(bytes) = codec::encode(&entry, generation) else { return };
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let lifetime = u64::try_from(entry.lifetime().as_millis()).unwrap_or(u64::MAX);
        let mut keep = redis::pipe();
        keep.cmd("SET").arg(Names::of(key).entry).arg(&*bytes).arg("PX").arg(lifetime.max(1)).ignore();
        // That it failed is counted, and told once, by the link.
        let _ = self.change(keep).await;
    }

    async fn clear(&self, scope: &Scope) -> Result<(), CacheAway> {
        let mut clear = redis::pipe();
        let name = match scope {
            Scope::Key(key) => {
                clear.cmd("UNLINK").arg(Names::of(key).entry).ignore();
                return self.change(clear).await;
            }
            Scope::Service(service) => service_name(service),
            Scope::Function { service, function } => function_name(service, function),
        };
        clear.cmd("SET").arg(name).arg(rand::random::<u64>()).arg("EX").arg(GENERATION_LIFETIME).ignore();
        self.change(clear).await
    }

    /// Redis makes room by itself: each answer has its time.
    fn forget_versions(&self, _: &str, _: &[(VersionId, i64)]) {}

    fn write_metrics(&self, out: &mut String) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "kea_cache_redis_up {}", u8::from(self.is_up()));
        let _ = writeln!(out, "kea_cache_redis_failures_total {}", self.link.failures());
        let _ = writeln!(out, "kea_cache_redis_dropped_total {}", count(&self.dropped));
        let _ = writeln!(out, "kea_cache_redis_bytes_total {}", count(&self.bytes));
    }
}

/// The keys of an answer in Redis. The braces keep them in one slot; the 1 is that of the format.
struct Names {
    service: String,
    function: String,
    entry: String,
}

impl Names {
    fn of(key: &CacheKey) -> Self {
        Self {
            service: service_name(key.service()),
            function: function_name(key.service(), key.function()),
            entry: format!("kea1:{{{}}}:e:{}", key.service(), key.within_service()),
        }
    }
}

fn service_name(service: &str) -> String {
    format!("kea1:{{{service}}}:s")
}

fn function_name(service: &str, function: &str) -> String {
    format!("kea1:{{{service}}}:f:{function}")
}
