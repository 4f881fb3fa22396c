//! The Response Cacher: answers that were given before, for services whose author allows it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use kea_openapi::validate::Call;
use moka::{Expiry, sync::Cache};
use sha2::{Digest, Sha256};

use crate::validate::ValidCall;

/// How long an answer is kept where the service does not say.
const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Answers above this are not kept: one must not push out thousands.
const LARGEST: usize = 1 << 20;

/// An answer that was given before.
#[derive(Clone, Debug)]
pub struct CachedResponse {
    /// Its body.
    pub body: Bytes,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who got it; `None` where all may.
    pub owner: Option<String>,
    ttl: Duration,
}

/// Keeps answers. An implementation that fails answers with nothing.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// The answer of that key, if it is still valid.
    async fn get(&self, key: &str) -> Option<CachedResponse>;
    /// Keeps an answer.
    async fn put(&self, key: String, response: CachedResponse);
}

/// A cache in this process, bounded in bytes.
pub struct MemoryCache {
    entries: Cache<String, CachedResponse>,
}

impl MemoryCache {
    /// A cache of at most `bytes` of bodies and keys.
    pub fn new(bytes: u64) -> Self {
        let weigh = |key: &String, response: &CachedResponse| {
            u32::try_from(key.len() + response.body.len() + 256).unwrap_or(u32::MAX)
        };
        Self { entries: Cache::builder().max_capacity(bytes).weigher(weigh).expire_after(OwnTtl).build() }
    }
}

/// Each answer lives as long as its service says.
struct OwnTtl;

impl Expiry<String, CachedResponse> for OwnTtl {
    fn expire_after_create(&self, _: &String, response: &CachedResponse, _: Instant) -> Option<Duration> {
        Some(response.ttl)
    }

    fn expire_after_update(
        &self,
        _: &String,
        response: &CachedResponse,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(response.ttl)
    }
}

#[async_trait]
impl ResponseCache for MemoryCache {
    async fn get(&self, key: &str) -> Option<CachedResponse> {
        self.entries.get(key)
    }

    async fn put(&self, key: String, response: CachedResponse) {
        self.entries.insert(key, response);
    }
}

/// How the answer of a call is kept.
pub(crate) struct Plan {
    pub(crate) key: String,
    owner: Option<String>,
    ttl: Duration,
}

/// How the answer of a call is kept, where it may be.
pub(crate) fn plan(call: &ValidCall) -> Option<Plan> {
    let ttl = call.admitted.service.route.settings.cache.ttl.map_or(DEFAULT_TTL, |span| span.0);
    Some(Plan { key: key(call)?, owner: owner(call), ttl })
}

/// The key of a call, where its answer may be taken from the cache: service, version, function, inputs as the model gets
/// them, and the caller unless answers are shared.
fn key(call: &ValidCall) -> Option<String> {
    let decoded = call.decoded.as_ref()?;
    let forbidden = call.parts.headers.get(header::CACHE_CONTROL).is_some_and(forbids);
    if forbidden {
        return None;
    }
    let service = &call.admitted.service.route;
    let version = call.admitted.version();
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(service.id.as_str().as_bytes());
    part(version.version.as_str().as_bytes());
    part(&version.made_at.to_le_bytes());
    part(call.admitted.function.as_bytes());
    part(owner(call).unwrap_or_default().as_bytes());
    match decoded {
        Call::Tensors(tensors) => {
            let mut bytes = Vec::new();
            for tensor in tensors {
                tensor.shape.iter().for_each(|n| bytes.extend((*n as u64).to_le_bytes()));
                tensor.data.write_binary(&mut bytes);
            }
            part(&bytes);
        }
        Call::Arguments(arguments) => {
            // Objects of `Value` are ordered by key: another order of the same inputs is the same text.
            let value: serde_json::Value = serde_json::from_str(arguments.get()).ok()?;
            part(value.to_string().as_bytes());
        }
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{}:{digest}", service.id))
}

impl Plan {
    /// What is kept of an answer; `None` where it is too large, or the replica forbids keeping it.
    pub(crate) fn entry(&self, headers: &HeaderMap, body: &Bytes) -> Option<CachedResponse> {
        let forbidden = headers.get(header::CACHE_CONTROL).is_some_and(forbids);
        (!forbidden && body.len() <= LARGEST).then(|| CachedResponse {
            body: body.clone(),
            headers: headers.clone(),
            owner: self.owner.clone(),
            ttl: self.ttl,
        })
    }
}

/// Whose answer it is: all callers' where the service shares them or knows none.
fn owner(call: &ValidCall) -> Option<String> {
    let shared = call.admitted.service.route.settings.cache.shared;
    call.admitted.caller.as_ref().filter(|_| !shared).map(|caller| caller.username.to_string())
}

fn forbids(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    text.split(',').any(|directive| matches!(directive.trim(), "no-store" | "no-cache"))
}
