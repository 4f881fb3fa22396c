//! Answers in this process, bounded in bytes.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use foldhash::quality::RandomState;
use kea_core::VersionId;
use moka::{Expiry, notification::RemovalCause, sync::Cache};

use super::{CacheAway, CacheKey, Entry, Generation, Lookup, ResponseCache, Scope, key::version_part};

/// A cache in this process, bounded in bytes.
pub struct MemoryCache {
    entries: Cache<CacheKey, Kept, RandomState>,
    /// How often each service, and each function of one, was cleared; what is absent never was.
    generations: ArcSwap<HashMap<Box<str>, u64>>,
    evictions: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Kept {
    entry: Arc<Entry>,
    generation: Generation,
}

impl MemoryCache {
    /// A cache of at most `bytes` of bodies, headers and keys.
    pub fn new(bytes: u64) -> Self {
        let evictions = Arc::<AtomicU64>::default();
        let evicted = evictions.clone();
        let weigh =
            |key: &CacheKey, kept: &Kept| u32::try_from(key.as_str().len() + kept.entry.size()).unwrap_or(u32::MAX);
        let removed = move |_, _, cause| {
            if cause == RemovalCause::Size {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        };
        let entries = Cache::builder()
            .max_capacity(bytes)
            .weigher(weigh)
            .expire_after(Lifetime)
            .eviction_listener(removed)
            .support_invalidation_closures()
            .build_with_hasher(RandomState::default());
        Self { entries, generations: ArcSwap::default(), evictions }
    }

    fn generation(&self, key: &CacheKey) -> Generation {
        let generations = self.generations.load();
        if generations.is_empty() {
            return Generation::default();
        }
        let cleared = |scope: &str| generations.get(scope).copied().unwrap_or_default();
        Generation {
            service: cleared(key.service()),
            function: cleared(&function_scope(key.service(), key.function())),
        }
    }

    /// Room is made later; what counts is the generation.
    fn make_room(&self, goes: impl Fn(&CacheKey) -> bool + Send + Sync + 'static) {
        let registered = self.entries.invalidate_entries_if(move |key, _| goes(key));
        registered.expect("the cache was built for that");
    }
}

fn function_scope(service: &str, function: &str) -> String {
    format!("{service}:{function}")
}

#[async_trait]
impl ResponseCache for MemoryCache {
    async fn get(&self, key: &CacheKey) -> Lookup {
        let generation = self.generation(key);
        match self.entries.get(key) {
            Some(kept) if kept.generation == generation => Lookup::Found(kept.entry, generation),
            _ => Lookup::Missing(generation),
        }
    }

    async fn put(&self, key: &CacheKey, generation: Generation, entry: Arc<Entry>) {
        // One that counts no more must not take the place of one that does.
        if self.generation(key) == generation {
            self.entries.insert(key.clone(), Kept { entry, generation });
        }
    }

    async fn clear(&self, scope: &Scope) -> Result<(), CacheAway> {
        let scope_name: Box<str> = match scope {
            Scope::Key(key) => {
                self.entries.invalidate(key);
                return Ok(());
            }
            Scope::Service(service) => service.clone(),
            Scope::Function { service, function } => function_scope(service, function).into(),
        };
        self.generations.rcu(|before| {
            let mut after = HashMap::clone(before);
            *after.entry(scope_name.clone()).or_default() += 1;
            after
        });
        let scope = scope.clone();
        self.make_room(move |key| scope.holds(key));
        Ok(())
    }

    fn forget_versions(&self, service: &str, running: &[(VersionId, i64)]) {
        let service: Box<str> = service.into();
        let running: Vec<String> = running.iter().map(|(version, made_at)| version_part(version, *made_at)).collect();
        self.make_room(move |key| {
            key.service() == &*service && !running.iter().any(|version| version == key.version())
        });
    }

    fn write_metrics(&self, out: &mut String) {
        // What is counted is otherwise as of the last change.
        self.entries.run_pending_tasks();
        let (bytes, entries) = (self.entries.weighted_size(), self.entries.entry_count());
        let evictions = self.evictions.load(Ordering::Relaxed);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "kea_cache_bytes {bytes}\nkea_cache_entries {entries}");
        let _ = writeln!(out, "kea_cache_evictions_total {evictions}");
    }
}

/// Each answer lives as long as it is of any use.
struct Lifetime;

impl Expiry<CacheKey, Kept> for Lifetime {
    fn expire_after_create(&self, _: &CacheKey, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.entry.lifetime())
    }

    fn expire_after_update(&self, _: &CacheKey, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.entry.lifetime())
    }
}
