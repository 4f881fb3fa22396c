//! Where kept answers are: in memory, or in a Redis that several routers share.

use std::sync::Arc;

use kea_router::{
    RedisUrl, RedisUrlError,
    cache::{MemoryCache, RedisCache, ResponseCache},
};

/// The cache in that Redis, or else one of at most `bytes` in memory.
pub(crate) fn open(redis: Option<&RedisUrl>, bytes: u64) -> Arc<dyn ResponseCache> {
    match redis {
        Some(url) => Arc::new(RedisCache::new(url)),
        None => Arc::new(MemoryCache::new(bytes)),
    }
}

/// The Redis that an option names; none where it is empty. What is written is not shown: there may be a password in it.
pub(crate) fn redis(text: Option<&str>) -> Result<Option<RedisUrl>, String> {
    let text = text.filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|error: RedisUrlError| error.to_string())
}
