//! Changes of the table while requests are under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use http::StatusCode;
use kea_core::{port::RouteFollower, routing::RoutingSnapshot, service::Canary};
use serde_json::json;

use crate::harness::{Gateway, Replica, iris, new_contract, numbered, service};

const CHANGES: usize = 10_000;
const SERVICES: usize = 5_000;

/// The table after so many changes: other replicas, rules, weights, timeouts and settings of the cache, one after the
/// other, and services that come and go beside it.
fn changed(step: usize, replicas: &[Replica]) -> Vec<kea_core::routing::ServiceRoute> {
    let algorithm = ["round_robin", "least_connections", "ip_hash"][step % 3];
    let settings = json!({
        "cache": {"enabled": step.is_multiple_of(5), "shared": step.is_multiple_of(2)},
        "timeout": format!("{}s", 20 + step % 7),
        "loadBalancer": {"algorithm": algorithm},
    });
    let used: Vec<&Replica> = replicas.iter().skip(step % 2).collect();
    let mut route = iris("1", &used, settings);
    let other = iris("2", &[&replicas[0]], json!({}));
    route.versions.extend(other.versions);
    route.canary = Some(Canary { version: "2".parse().unwrap(), weight: (step % 101) as u8 });
    let mut services = vec![route];
    services.extend((0..step % 4).map(|n| service(&format!("other-{n}"), "1", &used, json!({}))));
    services
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_under_load_fail_no_request() {
    let replicas = [Replica::answering(numbered).await, Replica::answering(numbered).await];
    let gateway = Arc::new(Gateway::new().await);
    gateway.follow(changed(0, &replicas));
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers = (0..4).map(|caller| {
        let (gateway, done, answered) = (gateway.clone(), done.clone(), answered.clone());
        tokio::spawn(async move {
            let mut failed = Vec::new();
            for x in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let answer = gateway.call("predict", f64::from(x % 50 + caller), &[]).await;
                if answer.status != StatusCode::OK {
                    failed.push(answer);
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            failed
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut seen = 0;
    for step in 1..=CHANGES {
        gateway.follow(changed(step, &replicas));
        // Requests go on between the changes, however fast those are.
        while step.is_multiple_of(10) && answered.load(Ordering::Relaxed) == seen {
            tokio::task::yield_now().await;
        }
        seen = answered.load(Ordering::Relaxed);
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        let failed = caller.await.unwrap();
        assert!(failed.is_empty(), "{} failed, the first: {:?}", failed.len(), failed[0]);
    }
    assert!(seen >= CHANGES / 10, "{seen}");
}

#[tokio::test]
async fn a_change_holds_once_it_is_told() {
    let (one, other) = (Replica::answering(|_| numbered(1)).await, Replica::answering(|_| numbered(2)).await);
    let gateway = Gateway::new().await;
    for _ in 0..50 {
        for (replica, number) in [(&one, 1), (&other, 2)] {
            gateway.follow([iris("1", &[replica], json!({}))]);
            assert_eq!(gateway.call("predict", 1.0, &[]).await.told().1, number);
        }
    }
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn five_thousand_services_cost_less_than_60_megabytes() {
    let replica = Replica::answering(numbered).await;
    let gateway = Gateway::new().await;
    let before = resident();
    let routes = (0..SERVICES).map(|n| {
        let mut route = service(&format!("service-{n}"), "1", &[&replica], json!({}));
        route.versions[0].contract = Some(new_contract());
        route
    });
    let services = routes.map(|route| (route.id.clone(), Arc::new(route))).collect();
    let mut snapshot = RoutingSnapshot { services };
    gateway.router.follow(&snapshot);
    let taken = resident().saturating_sub(before);
    assert!(taken < 60_000_000, "{taken} bytes");

    // One more change, for who wants to know what it costs.
    let changed = iris("1", &[&replica], json!({}));
    snapshot.services.insert(changed.id.clone(), Arc::new(changed));
    let began = Instant::now();
    gateway.router.follow(&snapshot);
    eprintln!("{taken} bytes for {SERVICES} services; a change of one: {:?}", began.elapsed());
    assert_eq!(gateway.call("predict", 1.0, &[]).await.told(), ("bypass", 1));
}
