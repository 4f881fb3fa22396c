//! What every implementation of the cache must do, written once: each function is a claim, and is given a cache that is
//! empty.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use kea_core::VersionId;
use tempfile::TempDir;

use super::{CacheKey, Entry, Generation, LARGEST, Lookup, MemoryCache, RedisCache, ResponseCache, Scope};

/// Tests share a machine, on which a Redis may be slow and well.
const PATIENCE: Duration = Duration::from_millis(500);

fn key(service: &str, function: &str, digit: char) -> CacheKey {
    let digest: String = std::iter::repeat_n(digit, 64).collect();
    CacheKey::parse(&format!("{service}:{function}:1~5f:{digest}")).unwrap()
}

fn entry(body: &str) -> Arc<Entry> {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let (ttl, stale) = (Duration::from_secs(60), Duration::from_secs(30));
    Arc::new(Entry::new(Bytes::copy_from_slice(body.as_bytes()), headers, Some("user:ada".into()), ttl, stale))
}

/// The generation that a look-up gives, which finds nothing.
async fn missed(cache: &dyn ResponseCache, key: &CacheKey) -> Generation {
    match cache.get(key).await {
        Lookup::Missing(generation) => generation,
        other => panic!("{other:?}"),
    }
}

async fn found(cache: &dyn ResponseCache, key: &CacheKey) -> Option<Arc<Entry>> {
    match cache.get(key).await {
        Lookup::Found(entry, _) => Some(entry),
        Lookup::Missing(_) => None,
        Lookup::Away => panic!("the cache is away"),
    }
}

async fn keep(cache: &dyn ResponseCache, key: &CacheKey, body: &str) {
    let generation = missed(cache, key).await;
    cache.put(key, generation, entry(body)).await;
}

async fn an_answer_is_read_as_it_was_kept(cache: &dyn ResponseCache) {
    let (key, kept) = (key("iris", "predict", 'a'), entry("{}"));
    let generation = missed(cache, &key).await;
    cache.put(&key, generation, kept.clone()).await;
    let Lookup::Found(read, again) = cache.get(&key).await else { panic!("it is not there") };
    assert_eq!((read, again), (kept, generation));
}

async fn answers_of_two_keys_are_apart(cache: &dyn ResponseCache) {
    let keys = [
        key("iris", "predict", 'a'),
        key("iris", "predict", 'b'),
        key("iris", "other", 'a'),
        key("app", "predict", 'a'),
    ];
    for (at, key) in keys.iter().enumerate() {
        keep(cache, key, &at.to_string()).await;
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(found(cache, key).await.unwrap().body, at.to_string());
    }
}

async fn a_later_answer_takes_the_place_of_an_earlier_one(cache: &dyn ResponseCache) {
    let key = key("iris", "predict", 'a');
    let generation = missed(cache, &key).await;
    for body in ["1", "2"] {
        cache.put(&key, generation, entry(body)).await;
    }
    assert_eq!(&*found(cache, &key).await.unwrap().body, b"2");
}

async fn the_largest_answer_is_kept(cache: &dyn ResponseCache) {
    let key = key("iris", "predict", 'a');
    keep(cache, &key, &"x".repeat(LARGEST)).await;
    assert_eq!(found(cache, &key).await.unwrap().body.len(), LARGEST);
}

async fn an_answer_goes_once_it_is_of_no_use(cache: &dyn ResponseCache) {
    let key = key("iris", "predict", 'a');
    let generation = missed(cache, &key).await;
    let spans = (Duration::from_millis(30), Duration::from_millis(20));
    let short = Entry { ttl: spans.0, stale: spans.1, ..(*entry("{}")).clone() };
    cache.put(&key, generation, Arc::new(short)).await;
    let gone = async {
        while found(cache, &key).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

async fn clearing_a_service_clears_all_of_it_and_nothing_else(cache: &dyn ResponseCache) {
    let (ours, theirs) = ([key("iris", "predict", 'a'), key("iris", "other", 'b')], key("iris2", "predict", 'a'));
    for key in ours.iter().chain([&theirs]) {
        keep(cache, key, "{}").await;
    }
    cache.clear(&Scope::Service("iris".into())).await.unwrap();
    for key in &ours {
        assert_eq!(found(cache, key).await, None);
    }
    assert!(found(cache, &theirs).await.is_some());
    keep(cache, &ours[0], "new").await;
    assert_eq!(&*found(cache, &ours[0]).await.unwrap().body, b"new");
}

async fn clearing_a_function_leaves_the_others(cache: &dyn ResponseCache) {
    let (ours, theirs) = (key("iris", "predict", 'a'), key("iris", "other", 'a'));
    keep(cache, &ours, "{}").await;
    keep(cache, &theirs, "{}").await;
    cache.clear(&Scope::Function { service: "iris".into(), function: "predict".into() }).await.unwrap();
    assert_eq!(found(cache, &ours).await, None);
    assert!(found(cache, &theirs).await.is_some());
}

async fn clearing_a_key_leaves_the_others(cache: &dyn ResponseCache) {
    let (ours, theirs) = (key("iris", "predict", 'a'), key("iris", "predict", 'b'));
    keep(cache, &ours, "{}").await;
    keep(cache, &theirs, "{}").await;
    cache.clear(&Scope::Key(ours.clone())).await.unwrap();
    assert_eq!(found(cache, &ours).await, None);
    assert!(found(cache, &theirs).await.is_some());
}

async fn an_answer_that_was_under_way_while_its_scope_was_cleared_is_not_given(cache: &dyn ResponseCache) {
    let key = key("iris", "predict", 'a');
    let scopes =
        [Scope::Service("iris".into()), Scope::Function { service: "iris".into(), function: "predict".into() }];
    for scope in scopes {
        let generation = missed(cache, &key).await;
        cache.clear(&scope).await.unwrap();
        cache.put(&key, generation, entry("old")).await;
        assert_eq!(found(cache, &key).await, None);
    }
}

async fn clearing_what_is_not_there_does_nothing(cache: &dyn ResponseCache) {
    cache.clear(&Scope::Service("iris".into())).await.unwrap();
    cache.clear(&Scope::Key(key("iris", "predict", 'a'))).await.unwrap();
    missed(cache, &key("iris", "predict", 'a')).await;
}

async fn a_running_version_is_not_forgotten(cache: &dyn ResponseCache) {
    let key = key("iris", "predict", 'a');
    keep(cache, &key, "{}").await;
    cache.forget_versions("iris", &[("2".parse().unwrap(), 7), (VersionId::first(), 0x5f)]);
    cache.forget_versions("other", &[]);
    assert!(found(cache, &key).await.is_some());
}

async fn what_is_counted_can_be_read(cache: &dyn ResponseCache) {
    keep(cache, &key("iris", "predict", 'a'), "{}").await;
    let mut out = String::new();
    cache.write_metrics(&mut out);
    assert!(!out.is_empty());
    for line in out.lines() {
        let (name, value) = line.split_once(' ').unwrap();
        assert!(super::HELP.contains(&format!("# TYPE {name} ")), "{line}");
        value.parse::<u64>().unwrap();
    }
}

/// Makes one test of each claim for the cache that `$open` gives.
macro_rules! every_cache {
    ($name:ident, $open:expr) => {
        mod $name {
            use super::*;

            every_cache!(@each $open,
                an_answer_is_read_as_it_was_kept,
                answers_of_two_keys_are_apart,
                a_later_answer_takes_the_place_of_an_earlier_one,
                the_largest_answer_is_kept,
                an_answer_goes_once_it_is_of_no_use,
                clearing_a_service_clears_all_of_it_and_nothing_else,
                clearing_a_function_leaves_the_others,
                clearing_a_key_leaves_the_others,
                an_answer_that_was_under_way_while_its_scope_was_cleared_is_not_given,
                clearing_what_is_not_there_does_nothing,
                a_running_version_is_not_forgotten,
                what_is_counted_can_be_read,
            );
        }
    };
    (@each $open:expr, $($claim:ident,)*) => {
        $(
            #[tokio::test]
            async fn $claim() {
                let opened = $open.await;
                super::$claim(&opened.cache).await
            }
        )*
    };
}

struct Opened<C> {
    cache: C,
    _server: Option<RedisServer>,
}

async fn memory() -> Opened<MemoryCache> {
    Opened { cache: MemoryCache::new(16 << 20), _server: None }
}

async fn in_redis() -> Opened<RedisCache> {
    let server = RedisServer::start(&[]);
    Opened { cache: server.cache().await, _server: Some(server) }
}

every_cache!(of_memory, memory());
every_cache!(of_redis, in_redis());

/// A Redis of the test's own, which ends with it.
pub(crate) struct RedisServer {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl RedisServer {
    pub(crate) fn start(options: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, options)
    }

    pub(crate) fn start_on(port: u16, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder.path())
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is there: apt-get install redis-server");
        Self { process, port, _folder: folder }
    }

    /// A cache in it, once it answers.
    pub(super) async fn cache(&self) -> RedisCache {
        let url = format!("redis://127.0.0.1:{}", self.port).parse().unwrap();
        let cache = RedisCache::with_patience(&url, PATIENCE);
        until(|| cache.is_up()).await;
        cache
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sends it a signal, as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it comes true");
}

mod redis_alone {
    use super::*;

    #[tokio::test]
    async fn two_routers_share_answers_and_their_end() {
        let server = RedisServer::start(&[]);
        let (one, other) = (server.cache().await, server.cache().await);
        let key = key("iris", "predict", 'a');
        keep(&one, &key, "{}").await;
        assert!(found(&other, &key).await.is_some());
        other.clear(&Scope::Service("iris".into())).await.unwrap();
        assert_eq!(found(&one, &key).await, None);
    }

    #[tokio::test]
    async fn a_redis_that_hangs_is_asked_no_more_and_asked_again_once_it_answers() {
        let server = RedisServer::start(&[]);
        let cache = server.cache().await;
        let key = key("iris", "predict", 'a');
        keep(&cache, &key, "{}").await;
        server.signal("STOP");
        while cache.is_up() {
            assert!(matches!(cache.get(&key).await, Lookup::Away));
        }
        assert!(matches!(cache.get(&key).await, Lookup::Away));
        assert!(cache.clear(&Scope::Service("iris".into())).await.is_err());
        server.signal("CONT");
        until(|| cache.is_up()).await;
        assert!(found(&cache, &key).await.is_some());
    }

    #[tokio::test]
    async fn a_redis_that_dies_is_bypassed_until_there_is_one_again() {
        let server = RedisServer::start(&[]);
        let cache = server.cache().await;
        let (port, key) = (server.port(), key("iris", "predict", 'a'));
        keep(&cache, &key, "{}").await;
        drop(server);
        assert!(matches!(cache.get(&key).await, Lookup::Away));
        cache.put(&key, Generation::default(), entry("{}")).await;
        let _server = RedisServer::start_on(port, &[]);
        until(|| cache.is_up()).await;
        keep(&cache, &key, "{}").await;
        assert!(found(&cache, &key).await.is_some());
    }

    #[tokio::test]
    async fn a_generation_that_redis_loses_takes_its_answers_along() {
        let server = RedisServer::start(&[]);
        let cache = server.cache().await;
        let key = key("iris", "predict", 'a');
        let before = missed(&cache, &key).await;
        cache.put(&key, before, entry("{}")).await;
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("DEL").arg("kea1:{iris}:s").query_async::<()>(&mut connection).await.unwrap();
        let after = missed(&cache, &key).await;
        assert_ne!(before.service, after.service);
        assert_eq!(before.function, after.function);
    }

    #[tokio::test]
    async fn a_password_is_given() {
        let server = RedisServer::start(&["--requirepass", "geheim"]);
        let url = format!("redis://:geheim@127.0.0.1:{}", server.port()).parse().unwrap();
        let cache = RedisCache::with_patience(&url, PATIENCE);
        until(|| cache.is_up()).await;
        keep(&cache, &key("iris", "predict", 'a'), "{}").await;
        assert!(found(&cache, &key("iris", "predict", 'a')).await.is_some());
    }
}

mod memory_alone {
    use super::*;

    fn metric(cache: &MemoryCache, name: &str) -> u64 {
        let mut out = String::new();
        cache.write_metrics(&mut out);
        let line = out.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }

    #[tokio::test]
    async fn it_is_bounded_in_bytes_and_counts_what_made_room() {
        let cache = MemoryCache::new(1 << 20);
        let body = "x".repeat(64 << 10);
        for digit in "0123456789abcdef".chars() {
            for service in ["iris", "app"] {
                keep(&cache, &key(service, "predict", digit), &body).await;
            }
        }
        let kept = metric(&cache, "kea_cache_entries ");
        assert!((1..16).contains(&kept), "{kept}");
        assert!(metric(&cache, "kea_cache_bytes ") <= 1 << 20);
        assert_eq!(metric(&cache, "kea_cache_evictions_total "), 32 - kept);
    }

    #[tokio::test]
    async fn answers_of_versions_that_are_gone_make_room() {
        let cache = MemoryCache::new(1 << 20);
        keep(&cache, &key("iris", "predict", 'a'), "{}").await;
        keep(&cache, &key("app", "predict", 'a'), "{}").await;
        cache.forget_versions("iris", &[(VersionId::first(), 0x60)]);
        assert_eq!(found(&cache, &key("iris", "predict", 'a')).await, None);
        until(|| metric(&cache, "kea_cache_entries ") == 1).await;
        assert!(found(&cache, &key("app", "predict", 'a')).await.is_some());
    }
}
