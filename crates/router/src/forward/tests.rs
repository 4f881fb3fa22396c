//! Real replicas that hang, die, fail and lie: every call has an answer within its time.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::StreamExt;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use kea_core::{
    Engine, Settings,
    quantity::Span,
    routing::{RoutingSnapshot, ServiceRoute, VersionRoute},
    service::ReplicaAddress,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{identify::Admitted, path::Protocol, table::Table};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const TOO_LITTLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok";
const TOO_MUCH: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
const MODEL_FAULT: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const GATEWAY_FAULT: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// What a replica does with each request.
#[derive(Clone, Copy)]
enum Does {
    Answer(&'static [u8]),
    Close,
    CloseAfter(Duration),
    Hang,
}

/// A replica, and how many requests it got.
struct Replica {
    address: std::net::SocketAddr,
    requests: Arc<AtomicUsize>,
    /// What the last one said of the time that is left, in milliseconds.
    told: Arc<AtomicUsize>,
}

impl Replica {
    async fn that(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let replica = Self { address, requests: requests.clone(), told: told.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, does, requests.clone(), told.clone()));
            }
        });
        replica
    }

    /// An address at which nobody listens.
    async fn dead() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, requests: Arc::default(), told: Arc::default() }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, does: Does, requests: Arc<AtomicUsize>, told: Arc<AtomicUsize>) {
    let mut read = Vec::new();
    loop {
        while !read.ends_with(b"{}") {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&read).to_string();
        let millis = text.lines().find_map(|line| line.strip_prefix("kea-timeout-ms: ")?.trim().parse().ok());
        told.store(millis.unwrap_or_default(), Ordering::Relaxed);
        read.clear();
        match does {
            Does::Answer(bytes) => stream.write_all(bytes).await.unwrap(),
            Does::Close => return,
            Does::CloseAfter(span) => return tokio::time::sleep(span).await,
            Does::Hang => std::future::pending().await,
        }
    }
}

/// A service with these replicas, by round robin.
fn service(replicas: &[&Replica], settings: Settings) -> Arc<ServiceEntry> {
    let address = |(n, replica): (usize, &&Replica)| ReplicaAddress {
        name: format!("iris-1-{n}").into(),
        address: replica.address,
        tls_name: None,
    };
    let version = VersionRoute {
        version: "1".parse().unwrap(),
        made_at: 0,
        engine: Engine::Onnx,
        contract: Some(crate::testing::contract()),
        replicas: replicas.iter().enumerate().map(address).collect(),
    };
    let id: kea_core::ServiceId = "iris".parse().unwrap();
    let route = ServiceRoute {
        id: id.clone(),
        live: Some("1".parse().unwrap()),
        versions: vec![version],
        canary: None,
        shadow: None,
        reason: None,
        settings: Arc::new(settings),
    };
    let snapshot = RoutingSnapshot { services: HashMap::from([(id, Arc::new(route))]) };
    Table::default().follow(&snapshot).services["iris"].clone()
}

fn settings(timeout: u64) -> Settings {
    let rule = kea_core::balancing::LoadBalancing {
        algorithm: Some(kea_core::balancing::Algorithm::RoundRobin),
        ..Default::default()
    };
    Settings { timeout: Some(Span(Duration::from_millis(timeout))), load_balancer: Some(rule), ..Settings::default() }
}

/// What a caller of that function sees: the status with the body, or what is wrong.
async fn ask(service: &Arc<ServiceEntry>, function: &str) -> Result<(u16, String), String> {
    ask_with(service, function, CallBody::Whole("{}".into())).await
}

async fn ask_with(service: &Arc<ServiceEntry>, function: &str, body: CallBody) -> Result<(u16, String), String> {
    let request = Request::builder().method(Method::POST).uri("/x").body(Body::empty()).unwrap();
    let (parts, _) = request.into_parts();
    let admitted = Admitted::of_test(service.clone(), function, Protocol::Kea);
    let mut call =
        ValidCall { admitted, parts, body, key: None, recalled: false, all_outputs: true, body_limit: 1 << 20 };
    let response = send(&mut call).await.map_err(|error| kea_http::ApiError::from(error).kind.to_string())?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| format!("body: {error}"))?;
    Ok((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
}

fn ok() -> Result<(u16, String), String> {
    Ok((200, "ok".into()))
}

#[tokio::test]
async fn a_dead_replica_costs_no_call_and_is_left_alone() {
    let (dead, well) = (Replica::dead().await, Replica::that(Does::Answer(OK)).await);
    let third = Replica::that(Does::Answer(OK)).await;
    let service = service(&[&dead, &well, &third], settings(5000));
    for _ in 0..30 {
        assert_eq!(ask(&service, "once").await, ok());
    }
    assert_eq!(service.versions[0].pool.active().count(), 2);
    assert_eq!(well.requests() + third.requests(), 30);
}

#[tokio::test]
async fn a_replica_that_breaks_off_is_asked_again_only_for_idempotent_functions() {
    let (broken, well) = (Replica::that(Does::Close).await, Replica::that(Does::Answer(OK)).await);
    let service = service(&[&broken, &well], settings(5000));
    for _ in 0..4 {
        assert_eq!(ask(&service, "again").await, ok());
    }
    let answers = [ask(&service, "once").await, ask(&service, "once").await];
    assert_eq!(answers.iter().filter(|answer| **answer == Err("unreachable".into())).count(), 1);
}

#[tokio::test]
async fn a_replica_that_hangs_costs_no_idempotent_call_and_time_shrinks() {
    let (hung, well) = (Replica::that(Does::Hang).await, Replica::that(Does::Answer(OK)).await);
    let service = service(&[&hung, &well], settings(600));
    for _ in 0..4 {
        let began = Instant::now();
        assert_eq!(ask(&service, "again").await, ok());
        assert!(began.elapsed() < Duration::from_millis(600));
    }
    let told = [&hung, &well].map(|replica| replica.told.load(Ordering::Relaxed));
    assert!(hung.requests() == 2 && told[0] > 500, "{told:?}");
    assert!(ask(&service, "once").await.is_ok() != ask(&service, "once").await.is_ok(), "one of two is lost");
}

#[tokio::test]
async fn where_all_hang_the_caller_hears_so_in_time() {
    let hung = Replica::that(Does::Hang).await;
    let service = service(&[&hung], settings(200));
    for function in ["again", "once"] {
        assert_eq!(ask(&service, function).await, Err("timeout".into()));
    }
}

#[tokio::test]
async fn a_replica_that_answers_502_is_left_alone_after_a_while() {
    let [bad, a, b] = [
        Replica::that(Does::Answer(GATEWAY_FAULT)).await,
        Replica::that(Does::Answer(OK)).await,
        Replica::that(Does::Answer(OK)).await,
    ];
    let service = service(&[&bad, &a, &b], settings(5000));
    let mut failed = 0;
    for _ in 0..60 {
        failed += u32::from(ask(&service, "once").await != ok());
    }
    assert_eq!((failed, bad.requests()), (5, 5), "an answer is passed on, and five in a row are enough");
}

#[tokio::test]
async fn faults_of_a_model_and_full_queues_do_not_eject_its_replica() {
    let [faulty, busy, well] = [
        Replica::that(Does::Answer(MODEL_FAULT)).await,
        Replica::that(Does::Answer(BUSY)).await,
        Replica::that(Does::Answer(OK)).await,
    ];
    let service = service(&[&faulty, &busy, &well], settings(5000));
    for _ in 0..30 {
        let answer = ask(&service, "once").await;
        assert!(answer == ok() || answer == Ok((500, String::new())), "{answer:?}");
    }
    assert_eq!(service.versions[0].pool.active().count(), 3);
    assert!(faulty.requests() >= 10 && busy.requests() >= 10);
}

#[tokio::test]
async fn a_caller_who_is_slow_or_sends_too_much_ejects_nobody() {
    let (one, two) = (Replica::that(Does::Answer(OK)).await, Replica::that(Does::Answer(OK)).await);
    let service = service(&[&one, &two], settings(50));
    for _ in 0..12 {
        let too_much = Body::new(http_body_util::Limited::new(Body::from("far too much"), 3));
        let answer = ask_with(&service, "once", CallBody::Stream(too_much)).await;
        assert_eq!(answer, Err("too-large".into()));
        let parts = futures_util::stream::once(async { Ok::<_, std::convert::Infallible>("{") });
        let slow = Body::from_stream(parts.chain(futures_util::stream::pending()));
        assert_eq!(ask_with(&service, "once", CallBody::Stream(slow)).await, Err("slow-body".into()));
    }
    assert_eq!(service.versions[0].pool.active().count(), 2);
}

#[tokio::test]
async fn where_two_that_hold_a_call_break_off_a_third_one_answers() {
    let late = Does::CloseAfter(Duration::from_millis(700));
    let (slow, broken) = (Replica::that(late).await, Replica::that(Does::CloseAfter(Duration::from_millis(50))).await);
    let well = Replica::that(Does::Answer(OK)).await;
    let service = service(&[&slow, &broken, &well], settings(1200));
    assert_eq!(ask(&service, "again").await, ok());
    assert_eq!([&slow, &broken, &well].map(Replica::requests), [1, 1, 1]);
}

#[tokio::test]
async fn one_replica_alone_is_used_whatever_its_condition() {
    let bad = Replica::that(Does::Answer(GATEWAY_FAULT)).await;
    let service = service(&[&bad], settings(5000));
    for _ in 0..20 {
        assert_eq!(ask(&service, "once").await, Ok((502, String::new())));
    }
    assert_eq!(service.versions[0].pool.active().count(), 1);
}

#[tokio::test]
async fn an_answer_that_is_shorter_than_it_says_ends_with_an_error() {
    let liar = Replica::that(Does::Answer(TOO_LITTLE)).await;
    let service = service(&[&liar], settings(300));
    let answer = ask(&service, "once").await.unwrap_err();
    assert!(answer.starts_with("body: nothing came for"), "{answer}");
    let endpoint = service.versions[0].pool.endpoints().next().unwrap();
    assert_eq!(endpoint.in_flight(), 0, "it is accounted for");
}

#[tokio::test]
async fn what_comes_after_an_answer_is_nobodys_answer() {
    let liar = Replica::that(Does::Answer(TOO_MUCH)).await;
    let service = service(&[&liar], settings(5000));
    for _ in 0..10 {
        assert_eq!(ask(&service, "once").await, ok());
    }
}

#[tokio::test]
async fn a_replica_that_is_slow_to_connect_is_given_up_before_the_deadline() {
    // A full backlog takes no more connections, and says nothing.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let _held: Vec<_> = (0..8).map(|_| tokio::spawn(async move { TcpStream::connect(address).await })).collect();
    let slow = Replica { address, requests: Arc::default(), told: Arc::default() };
    let well = Replica::that(Does::Answer(OK)).await;
    let mut settings = settings(5000);
    settings.limits.connect_timeout = Some(Span(Duration::from_millis(100)));
    settings.health.eject_after = Some(0);
    let service = service(&[&slow, &well], settings);
    for _ in 0..4 {
        // The first connection may have found room in the backlog.
        tokio::time::timeout(Duration::from_secs(5), ask(&service, "again")).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn without_a_budget_nothing_is_sent_again() {
    let (broken, well) = (Replica::that(Does::Close).await, Replica::that(Does::Answer(OK)).await);
    let mut settings = settings(5000);
    settings.limits.retry_percent = Some(0);
    settings.health.eject_after = Some(0);
    let service = service(&[&broken, &well], settings);
    let mut lost = 0;
    for _ in 0..400 {
        lost += u32::from(ask(&service, "again").await != ok());
    }
    assert!(lost > 20, "{lost} of 200: the reserve is used up");
    let mut out = String::new();
    service.versions[0].metrics.write("iris", "1", 2, &mut out);
    assert!(out.contains(&format!("kea_retries_refused_total{{service=\"iris\",version=\"1\"}} {lost}")), "{out}");
}

#[tokio::test]
async fn more_than_the_queue_holds_is_refused_at_once() {
    let hung = Replica::that(Does::Hang).await;
    let mut settings = settings(400);
    settings.limits.concurrency = Some(2);
    settings.limits.queue = Some(0);
    let service = service(&[&hung], settings);
    let answers = futures_util::future::join_all((0..10).map(|_| ask(&service, "once"))).await;
    let count = |kind: &str| answers.iter().filter(|answer| **answer == Err(kind.into())).count();
    assert_eq!((count("timeout"), count("overloaded")), (2, 8));
}

#[tokio::test]
async fn a_version_is_kept_by_a_cookie_that_has_a_share() {
    let mut headers = HeaderMap::new();
    let service = service(&[], Settings::default());
    headers.insert("cookie", http::HeaderValue::from_static("a=b; kea-version-iris=1"));
    assert!(crate::sticky::kept(&service, &headers).is_none(), "nobody asked for it");
}
