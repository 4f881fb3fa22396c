//! Web services that speak HTTP/2, trailers and gRPC, and servers that do not do well.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::body::Body;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body_util::BodyExt;
use kea_core::contract::WebProtocol::{self, Http1, Http2};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    harness::{Gateway, until},
    web::{Does, Server, app, request, streamed, whole},
};

const GRPC: (&str, &str) = ("content-type", "application/grpc");

async fn gateway(protocol: WebProtocol, replicas: &[SocketAddr], settings: serde_json::Value) -> Gateway {
    let gateway = Gateway::new().await;
    gateway.follow([app(protocol, replicas, settings)]);
    gateway
}

async fn post(gateway: &Gateway, headers: &[(&str, &str)], body: Body) -> Response<Body> {
    gateway.router.handle(request(gateway, "greet.Greeter/SayHello?a=b", headers, body)).await
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[tokio::test]
async fn a_request_goes_on_in_http2_with_its_trailers() {
    let server = Server::that(|_| Does::Echo).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let body = streamed(&["one", "two"], trailers(&[("checksum", "7"), ("x-forwarded-for", "192.0.2.1")]));
    let answer = post(&gateway, &[("te", "trailers"), ("connection", "x-hop"), ("x-hop", "1")], body).await;
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header("x-target"), Some(format!("http://{}/greet.Greeter/SayHello?a=b", server.address)));
    assert_eq!(header("x-sent-te").as_deref(), Some("trailers"));
    for dropped in ["x-sent-connection", "x-sent-x-hop", "x-sent-host", "x-sent-authorization"] {
        assert_eq!(header(dropped), None, "{dropped}");
    }
    assert_eq!(whole(answer).await, ("onetwo".into(), trailers(&[("checksum", "7")])));
}

#[tokio::test]
async fn many_requests_share_a_few_connections() {
    let server = Server::that(|_| Does::Hang).await;
    let gateway = gateway(Http2, &[server.address], json!({"timeout": "2s"})).await;
    let calls = (0..250).map(|_| post(&gateway, &[], Body::empty()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::GATEWAY_TIMEOUT));
    assert_eq!((server.requests(), server.connections()), (250, 3));
}

#[tokio::test]
async fn a_replica_that_wants_few_requests_on_a_connection_gets_more_connections() {
    let server = Server::wanting(10, |request| if request <= 2 { Does::Echo } else { Does::Hang }).await;
    let gateway = gateway(Http2, &[server.address], json!({"timeout": "2s"})).await;
    // It says so on its first connection, while that is used.
    for _ in 0..2 {
        assert_eq!(post(&gateway, &[], Body::empty()).await.status(), StatusCode::OK);
    }
    let calls = futures_util::future::join_all((0..10).map(|_| post(&gateway, &[], Body::empty())));
    let others = async {
        until(|| server.requests() == 12).await;
        futures_util::future::join_all((0..10).map(|_| post(&gateway, &[], Body::empty()))).await
    };
    let (first, second) = tokio::join!(calls, others);
    assert!(first.iter().chain(&second).all(|answer| answer.status() == StatusCode::GATEWAY_TIMEOUT));
    assert_eq!((server.requests(), server.connections()), (22, 2));
}

#[tokio::test]
async fn a_first_burst_is_no_more_than_the_replica_wants() {
    let server = Server::wanting(8, |_| Does::Hang).await;
    let gateway = gateway(Http2, &[server.address], json!({"timeout": "2s"})).await;
    let answers = futures_util::future::join_all((0..24).map(|_| post(&gateway, &[], Body::empty()))).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::GATEWAY_TIMEOUT));
    assert_eq!((server.requests(), server.connections()), (24, 3));
}

#[tokio::test]
async fn what_a_caller_sends_ends_with_the_answer() {
    let server = Server::that(|_| Does::Listen).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let endless = || {
        let first = stream::iter([Ok::<_, std::convert::Infallible>("one")]);
        Body::from_stream(first.chain(stream::pending()))
    };
    // The caller leaves, or its time is over.
    drop(post(&gateway, &[], endless()).await);
    until(|| server.cuts() == 1).await;
    let answer = post(&gateway, &[GRPC, ("grpc-timeout", "200m")], endless()).await;
    assert_eq!(whole(answer).await.1["grpc-status"], "4");
    until(|| server.cuts() == 2).await;
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_was_silent_for_all_is_given_up() {
    let server = Server::that(|request| if request == 1 { Does::Hang } else { Does::Echo }).await;
    let gateway = gateway(Http2, &[server.address], json!({"timeout": "200ms"})).await;
    assert_eq!(post(&gateway, &[], Body::empty()).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(post(&gateway, &[], Body::empty()).await.status(), StatusCode::OK);
    assert_eq!(server.connections(), 2);
    assert_eq!(post(&gateway, &[], Body::empty()).await.status(), StatusCode::OK);
    assert_eq!(server.connections(), 2, "a good one is kept");
}

#[tokio::test]
async fn what_a_closing_connection_has_not_read_is_sent_again() {
    let server = Server::after(1, |_| Does::Echo).await;
    // On a connection that is new as well, it is the next replica's turn: here the same one again.
    let gateway = gateway(Http2, &[server.address, server.address], json!({})).await;
    let body = streamed(&["one", "two"], trailers(&[("checksum", "7")]));
    let answer = post(&gateway, &[], body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(whole(answer).await, ("onetwo".into(), trailers(&[("checksum", "7")])));
    assert_eq!((server.requests(), server.connections()), (1, 2));
}

#[tokio::test]
async fn what_one_replica_refuses_another_gets() {
    let (busy, idle) = (Server::that(|_| Does::Refuse).await, Server::that(|_| Does::Echo).await);
    let rule = json!({"loadBalancer": {"algorithm": "round_robin"}});
    let gateway = gateway(Http2, &[busy.address, idle.address], rule).await;
    for _ in 0..4 {
        let answer = post(&gateway, &[], streamed(&["one"], HeaderMap::new())).await;
        assert_eq!(whole(answer).await.0, "one");
    }
    assert_eq!(idle.requests(), 4);
    assert!(busy.requests() > 0);
}

#[tokio::test]
async fn what_may_have_been_read_is_not_sent_again() {
    let (killer, other) = (Server::that(|_| Does::Kill).await, Server::that(|_| Does::Echo).await);
    let rule = json!({"loadBalancer": {"algorithm": "round_robin"}});
    let gateway = gateway(Http2, &[killer.address, other.address], rule).await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(post(&gateway, &[], streamed(&["one"], HeaderMap::new())).await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    assert_eq!((killer.requests(), other.requests()), (1, 1));
}

#[tokio::test]
async fn a_caller_who_does_not_read_stops_nobody_else() {
    let server = Server::that(|request| if request <= 20 { Does::Flood } else { Does::Echo }).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(post(&gateway, &[], Body::empty()).await);
    }
    let started = Instant::now();
    let large = "x".repeat(1 << 20);
    let answer = post(&gateway, &[], Body::from(large.clone())).await;
    assert_eq!(whole(answer).await.0.len(), large.len());
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_its_caller() {
    for does in [Does::BreakOff, Does::Shorten, Does::Bloat] {
        let server = Server::that(move |_| does).await;
        let gateway = gateway(Http2, &[server.address], json!({})).await;
        let answer = post(&gateway, &[], Body::empty()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.into_body().collect().await.is_err(), "{does:?}");
    }
}

#[tokio::test]
async fn a_call_of_grpc_that_breaks_off_has_a_status() {
    let server = Server::that(|_| Does::BreakOff).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let (data, trailers) = whole(post(&gateway, &[GRPC], Body::empty()).await).await;
    assert_eq!((data.as_str(), &trailers["grpc-status"]), ("part", &HeaderValue::from_static("14")));
}

#[tokio::test]
async fn what_speaks_another_protocol_cannot_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let gateway = gateway(Http2, &[address], json!({})).await;
    assert_eq!(post(&gateway, &[], Body::empty()).await.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_replica_elsewhere_is_spoken_to_as_its_address_says() {
    let server = Server::that(|_| Does::Echo).await;
    let elsewhere = json!({"loadBalancer": {"replicas": [format!("h2c://{}", server.address)]}});
    let gateway = gateway(Http1, &[], elsewhere).await;
    let answer = post(&gateway, &[GRPC], Body::from("hi")).await;
    assert_eq!(whole(answer).await.0, "hi");
}

#[tokio::test]
async fn a_call_of_grpc_ends_with_its_callers_time() {
    let server = Server::that(|request| if request == 1 { Does::Hang } else { Does::Flood }).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let headers = [GRPC, ("grpc-timeout", "300m")];
    let started = Instant::now();
    // Whatever KEA answers itself, the rim makes a status of it.
    assert_eq!(post(&gateway, &headers, Body::empty()).await.status(), StatusCode::GATEWAY_TIMEOUT);
    let mut answer = post(&gateway, &headers, Body::empty()).await.into_body();
    let ended = loop {
        if let Ok(trailers) = answer.frame().await.unwrap().unwrap().into_trailers() {
            break trailers;
        }
    };
    assert_eq!(ended["grpc-status"], "4");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn callers_in_a_hurry_say_nothing_of_a_replica() {
    let server = Server::that(|_| Does::Hang).await;
    let ejected = async |headers: &[(&str, &str)], timeout: &str| {
        let gateway = gateway(Http2, &[server.address], json!({"timeout": timeout})).await;
        for _ in 0..6 {
            assert_eq!(post(&gateway, headers, Body::empty()).await.status(), StatusCode::GATEWAY_TIMEOUT);
        }
        !gateway.router.metrics().contains("kea_ejections_total{service=\"app\",version=\"1\"} 0\n")
    };
    assert!(!ejected(&[GRPC, ("grpc-timeout", "20m")], "5s").await);
    assert!(ejected(&[GRPC], "20ms").await, "one that is silent for all of the service's time is left alone");
}

#[tokio::test]
async fn what_may_have_left_with_its_head_is_not_sent_again_unless_it_does_no_harm() {
    for (method, status, requests) in [("POST", StatusCode::BAD_GATEWAY, 0), ("GET", StatusCode::OK, 1)] {
        let server = Server::after(1, |_| Does::Echo).await;
        let gateway = gateway(Http2, &[server.address, server.address], json!({})).await;
        let mut asked = request(&gateway, "x", &[], Body::empty());
        *asked.method_mut() = method.parse().unwrap();
        assert_eq!((gateway.router.handle(asked).await.status(), server.requests()), (status, requests), "{method}");
    }
}

#[tokio::test]
async fn a_web_service_is_asked_for_no_connection_elsewhere() {
    let server = Server::that(|_| Does::Echo).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let mut connect = request(&gateway, "x", &[], Body::empty());
    *connect.method_mut() = http::Method::CONNECT;
    assert_eq!(gateway.router.handle(connect).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_replica_is_told_what_is_left_of_the_time_and_not_whom_to_ask() {
    let server = Server::that(|_| Does::Echo).await;
    let gateway = gateway(Http2, &[server.address], json!({})).await;
    let answer = post(&gateway, &[GRPC, ("grpc-timeout", "3S"), ("kea-service", "app")], Body::empty()).await;
    let told = answer.headers()["x-sent-grpc-timeout"].to_str().unwrap().to_owned();
    let micros: u64 = told.strip_suffix('u').unwrap().parse().unwrap();
    assert!((2_000_000..3_000_000).contains(&micros), "{told}");
    assert!(!answer.headers().contains_key("x-sent-kea-service"));
}

#[tokio::test]
async fn a_call_that_waited_for_its_place_has_less_time_left() {
    let server = Server::that(|request| if request == 1 { Does::Hang } else { Does::Echo }).await;
    let one = json!({"limits": {"concurrency": 1}});
    let gateway = gateway(Http2, &[server.address], one).await;
    let first = post(&gateway, &[GRPC, ("grpc-timeout", "300m")], Body::empty());
    let waits = async {
        until(|| server.requests() == 1).await;
        post(&gateway, &[GRPC, ("grpc-timeout", "4S")], Body::empty()).await
    };
    let (_, answer) = tokio::join!(first, waits);
    let told = answer.headers()["x-sent-grpc-timeout"].to_str().unwrap().to_owned();
    let micros: u64 = told.strip_suffix('u').unwrap().parse().unwrap();
    assert!(micros < 3_900_000, "{told}");
}

#[tokio::test]
async fn a_service_of_http1_takes_no_grpc() {
    let server = Server::that(|_| Does::Echo).await;
    let gateway = gateway(Http1, &[server.address], json!({})).await;
    assert_eq!(post(&gateway, &[GRPC], Body::empty()).await.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(server.connections(), 0);
}

/// What a server of HTTP/1.1 got, and what its answer, which has a trailer, became for a caller who takes those, or not.
async fn over_http1(te: &[(&str, &str)]) -> (String, Response<Body>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") || !read.windows(3).any(|part| part == b"\n0\r") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: checksum\r\n\r\n\
                      2\r\nok\r\n0\r\nchecksum: 9\r\nset-cookie: a=b\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        (String::from_utf8(read).unwrap().to_lowercase(), stream)
    });
    let gateway = gateway(Http1, &[address], json!({})).await;
    let body = streamed(&["one"], trailers(&[("checksum", "7"), ("host", "evil.example")]));
    let headers = [&[("trailer", "checksum, host")], te].concat();
    let mut asked = request(&gateway, "x", &headers, body);
    *asked.version_mut() = Version::HTTP_11;
    let answer = gateway.router.handle(asked).await;
    (served.await.unwrap().0, answer)
}

#[tokio::test]
async fn trailers_go_both_ways_in_http1() {
    let (read, answer) = over_http1(&[("te", "trailers"), ("connection", "te")]).await;
    assert!(read.contains("\r\nte: trailers\r\n") && read.contains("\r\nconnection: te\r\n"), "{read}");
    assert!(read.contains("\r\n0\r\nchecksum: 7\r\n\r\n") && !read.contains("evil"), "{read}");
    assert_eq!(answer.headers()["trailer"], "checksum");
    assert_eq!(whole(answer).await, ("ok".into(), trailers(&[("checksum", "9")])));
}

#[tokio::test]
async fn who_takes_no_trailers_is_not_told_of_any() {
    let (read, answer) = over_http1(&[]).await;
    assert!(!read.contains("\r\nte:"), "{read}");
    assert!(!answer.headers().contains_key("trailer"));
    assert_eq!(whole(answer).await.0, "ok");
}
