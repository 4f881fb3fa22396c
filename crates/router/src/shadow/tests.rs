//! Real replicas of a live version and of a shadow that answers, hangs or is not there.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, atomic::AtomicUsize},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use kea_core::{
    Engine, Settings,
    quantity::Span,
    resilience::LimitSettings,
    routing::{RoutingSnapshot, VersionRoute},
    service::ReplicaAddress,
    shadow::ShadowCounts,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    forward,
    identify::Admitted,
    path::Protocol,
    table::{ServiceEntry, Table},
};

const LIVE: &str = r#"{"predictions": [{"value": 0.5, "label": "a"}]}"#;
const ALIKE: &str = r#"{"predictions": [{"label": "a", "value": 0.5000001}]}"#;
const OTHER: &str = r#"{"predictions": [{"value": 0.5, "label": "b"}]}"#;

/// A replica that answers each request with 200 and that, or never.
struct Replica {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    /// The head of the latest request.
    head: Arc<Mutex<String>>,
}

impl Replica {
    async fn that_says(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let replica = Self { address: listener.local_addr().unwrap(), requests: Arc::default(), head: Arc::default() };
        let (requests, head) = (replica.requests.clone(), replica.head.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, requests.clone(), head.clone()));
            }
        });
        replica
    }

    /// An address at which nobody listens.
    async fn dead() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self { address, requests: Arc::default(), head: Arc::default() }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Option<&'static str>,
    requests: Arc<AtomicUsize>,
    head: Arc<Mutex<String>>,
) {
    let mut read = Vec::new();
    loop {
        while !read.ends_with(b"{}") {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        *head.lock().unwrap() = String::from_utf8_lossy(&read).to_string();
        requests.fetch_add(1, Ordering::Relaxed);
        read.clear();
        let Some(answer) = answer else { return std::future::pending().await };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
    }
}

fn version(name: &str, replica: &Replica) -> VersionRoute {
    VersionRoute {
        version: name.parse().unwrap(),
        made_at: 0,
        engine: Engine::Onnx,
        contract: Some(crate::testing::contract()),
        replicas: vec![ReplicaAddress { name: name.into(), address: replica.address, tls_name: None }],
    }
}

/// A service whose version 2 is in shadow, which lets one request at a time to its replicas.
fn table(live: &Replica, shadow: &Replica, percent: u8) -> Table {
    let limits = LimitSettings { concurrency: Some(1), ..LimitSettings::default() };
    let settings = Settings { timeout: Some(Span(Duration::from_secs(60))), limits, ..Settings::default() };
    let id: kea_core::ServiceId = "iris".parse().unwrap();
    let route = ServiceRoute {
        id: id.clone(),
        live: Some("1".parse().unwrap()),
        versions: vec![version("1", live), version("2", shadow)],
        canary: None,
        shadow: Some(Shadow { version: "2".parse().unwrap(), percent: Some(percent), tolerance: None }),
        reason: None,
        settings: Arc::new(settings),
    };
    Table::default().follow(&RoutingSnapshot { services: HashMap::from([(id, Arc::new(route))]) })
}

fn service(live: &Replica, shadow: &Replica, percent: u8) -> Arc<ServiceEntry> {
    table(live, shadow, percent).services["iris"].clone()
}

fn call(service: &Arc<ServiceEntry>, function: &str) -> ValidCall {
    let (mut parts, ()) = Request::builder().method("POST").uri("/x").body(()).unwrap().into_parts();
    parts.extensions.insert(RequestId("the-id".into()));
    let admitted = Admitted::of_test(service.clone(), function, Protocol::Kea);
    ValidCall {
        admitted,
        parts,
        body: CallBody::Whole("{}".into()),
        key: None,
        recalled: false,
        all_outputs: true,
        body_limit: 1 << 20,
    }
}

/// What the caller gets, read to its end.
async fn answer(mut call: ValidCall) -> (StatusCode, Bytes) {
    let response = forward::send(&mut call).await.unwrap();
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

async fn ask(service: &Arc<ServiceEntry>) {
    assert_eq!(answer(call(service, "again")).await, (StatusCode::OK, LIVE.into()));
}

/// What became of the copies, once none is under way.
async fn counts(service: &ServiceEntry) -> ShadowCounts {
    let free = &service.shadow.as_ref().unwrap().kept.free;
    let _all = free.acquire_many(u32::try_from(UNDER_WAY_MAX).unwrap()).await.unwrap();
    service.versions[1].metrics.copies.tally().counts
}

#[tokio::test]
async fn callers_get_the_live_answer_and_the_shadows_is_compared_with_it() {
    for (answer, expected) in [
        (ALIKE, ShadowCounts { same: 3, ..ShadowCounts::default() }),
        (OTHER, ShadowCounts { different: 3, ..ShadowCounts::default() }),
        ("what?", ShadowCounts { different: 3, ..ShadowCounts::default() }),
    ] {
        let (live, shadow) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(Some(answer)).await);
        let service = service(&live, &shadow, 100);
        for _ in 0..3 {
            ask(&service).await;
        }
        assert_eq!(counts(&service).await, expected, "{answer}");
        assert_eq!((live.requests(), shadow.requests()), (3, 3));
        let head = shadow.head.lock().unwrap().clone();
        assert!(head.contains("x-request-id: the-id") && head.contains("kea-timeout-ms: "), "{head}");
        // The canary's judge and the service's own counters know nothing of copies.
        assert_eq!(service.versions[1].metrics.trial.tally().requests, 0);
    }
}

#[tokio::test]
async fn a_hung_shadow_delays_nobody_and_gets_no_more_than_so_many() {
    let (live, hung) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(None).await);
    let service = service(&live, &hung, 100);
    for _ in 0..UNDER_WAY_MAX + 8 {
        ask(&service).await;
    }
    let copies = service.versions[1].metrics.copies.tally().counts;
    assert_eq!(copies, ShadowCounts { dropped: 8, ..ShadowCounts::default() });
    assert_eq!(service.shadow.as_ref().unwrap().kept.free.available_permits(), 0);
}

#[tokio::test]
async fn a_dead_shadow_fails_and_costs_the_live_version_nothing() {
    let (live, dead) = (Replica::that_says(Some(LIVE)).await, Replica::dead().await);
    let service = service(&live, &dead, 100);
    for _ in 0..10 {
        ask(&service).await;
    }
    assert_eq!(counts(&service).await, ShadowCounts { failed: 10, ..ShadowCounts::default() });
    let [of_live, of_shadow] = [0, 1].map(|at: usize| &service.versions[at]);
    assert_eq!((of_live.pool.active().count(), live.requests()), (1, 10));
    let mut page = String::new();
    of_live.metrics.write("iris", "1", 1, &mut page);
    of_shadow.metrics.write("iris", "2", 1, &mut page);
    for version in ["1", "2"] {
        assert!(page.contains(&format!("kea_retries_total{{service=\"iris\",version=\"{version}\"}} 0")), "{page}");
    }
    assert!(page.contains("kea_ejections_total{service=\"iris\",version=\"1\"} 0"), "{page}");
}

#[tokio::test]
async fn what_may_not_be_done_twice_or_names_a_version_or_streams_is_not_copied() {
    let (live, shadow) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(Some(LIVE)).await);
    let service = service(&live, &shadow, 100);
    answer(call(&service, "once")).await;
    let mut named = call(&service, "again");
    named.admitted.any_version = false;
    answer(named).await;
    let mut streamed = call(&service, "again");
    streamed.body = CallBody::Stream(Body::from("{}"));
    answer(streamed).await;
    assert_eq!(counts(&service).await, ShadowCounts { skipped: 2, ..ShadowCounts::default() });
    assert_eq!((live.requests(), shadow.requests()), (3, 0));
}

#[tokio::test]
async fn a_web_service_is_no_shadow_of_a_model() {
    let (live, shadow) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(Some(LIVE)).await);
    let before = table(&live, &shadow, 100);
    let mut route = (*before.services["iris"].route).clone();
    (route.versions[1].engine, route.versions[1].contract) = (Engine::External, None);
    let snapshot = RoutingSnapshot { services: HashMap::from([(route.id.clone(), Arc::new(route))]) };
    let service = Table::default().follow(&snapshot).services["iris"].clone();
    ask(&service).await;
    assert_eq!(counts(&service).await, ShadowCounts { skipped: 1, ..ShadowCounts::default() });
    assert_eq!(shadow.requests(), 0);
}

#[tokio::test]
async fn a_large_body_goes_to_the_live_version_alone() {
    let (live, shadow) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(Some(LIVE)).await);
    let service = service(&live, &shadow, 100);
    let mut large = call(&service, "again");
    large.body = CallBody::Whole([&vec![b' '; LARGEST][..], b"{}"].concat().into());
    answer(large).await;
    assert_eq!(counts(&service).await, ShadowCounts { not_compared: 1, ..ShadowCounts::default() });
    assert_eq!(shadow.requests(), 0);
}

#[tokio::test]
async fn a_caller_who_leaves_is_not_compared() {
    let (live, shadow) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(Some(LIVE)).await);
    let service = service(&live, &shadow, 100);
    let response = forward::send(&mut call(&service, "again")).await.unwrap();
    drop(response);
    assert_eq!(counts(&service).await, ShadowCounts { not_compared: 1, ..ShadowCounts::default() });
}

#[tokio::test]
async fn a_share_of_the_requests_is_copied_exactly_and_spread() {
    for percent in [1, 25, 33, 50, 99, 100] {
        let kept = Kept::default();
        let turns: Vec<bool> = (0..300).map(|_| kept.is_turn(percent)).collect();
        for hundred in turns.chunks(100) {
            assert_eq!(hundred.iter().filter(|turn| **turn).count(), usize::from(percent));
        }
        let longest = turns.split(|turn| *turn).map(<[bool]>::len).max().unwrap();
        assert!(longest < 100_usize.div_ceil(usize::from(percent)).max(2), "{percent} %: {longest} in a row");
    }
}

#[tokio::test]
async fn a_new_snapshot_forgets_neither_turns_nor_what_is_under_way() {
    let (live, hung) = (Replica::that_says(Some(LIVE)).await, Replica::that_says(None).await);
    let before = table(&live, &hung, 100);
    ask(&before.services["iris"]).await;
    let mut route = (*before.services["iris"].route).clone();
    route.shadow.as_mut().unwrap().percent = Some(50);
    let snapshot = RoutingSnapshot { services: HashMap::from([(route.id.clone(), Arc::new(route))]) };
    let after = before.follow(&snapshot);
    let shadowing = after.services["iris"].shadow.as_ref().unwrap();
    assert_eq!(shadowing.kept.free.available_permits(), UNDER_WAY_MAX - 1);
    assert_eq!((shadowing.rule.percent(), shadowing.kept.turn.load(Ordering::Relaxed)), (50, 1));
}

#[tokio::test(start_paused = true)]
async fn a_line_is_written_now_and_then() {
    let kept = Kept::default();
    assert!(kept.may_tell() && !kept.may_tell());
    tokio::time::advance(Duration::from_nanos(QUIET)).await;
    assert!(kept.may_tell() && !kept.may_tell());
}
