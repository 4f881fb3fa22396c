//! What holds of each rule.

use std::{collections::HashMap, time::Duration};

use kea_core::Settings;
use proptest::prelude::*;

use super::*;
use crate::endpoint::Target;

const ALL: [Algorithm; 4] =
    [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::IpHash, Algorithm::PeakEwma];

fn members(weights: &[(&str, u32)]) -> Vec<Member> {
    let member = |(name, weight): &(&str, u32)| {
        let endpoint = Arc::new(Endpoint::new((*name).into(), Target::Own(([127, 0, 0, 1], 1).into()), None));
        Member { endpoint, weight: *weight }
    };
    weights.iter().map(member).collect()
}

fn rule() -> HealthRule {
    HealthRule::of(&Settings::default())
}

fn pool(algorithm: Algorithm, weights: &[(&str, u32)]) -> Pool {
    Pool::new(members(weights), algorithm, rule(), None)
}

/// The same replicas with other weights, as a change of the settings makes it.
fn reweighed(before: &Pool, weights: &[u32]) -> Pool {
    let members = before.endpoints().zip(weights);
    let members = members.map(|(endpoint, weight)| Member { endpoint: endpoint.clone(), weight: *weight }).collect();
    Pool::new(members, before.algorithm, rule(), Some(before))
}

fn client(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn pick(pool: &Pool, n: u32) -> String {
    pool.pick(&[], client(n), true).unwrap().name.to_string()
}

fn counts(pool: &Pool, requests: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    (0..requests).for_each(|n| *counts.entry(pick(pool, n)).or_default() += 1);
    counts
}

fn eject(endpoint: &Endpoint) {
    for _ in 0..5 {
        endpoint.condition.failed(clock::now(), &rule());
    }
}

#[test]
fn round_robin_is_exact_by_weight_and_goes_on_when_weights_change() {
    let before = pool(Algorithm::RoundRobin, &[("a", 70), ("b", 20), ("c", 10)]);
    assert_eq!(counts(&before, 100), HashMap::from([("a".into(), 70), ("b".into(), 20), ("c".into(), 10)]));
    counts(&before, 37);
    let after = reweighed(&before, &[34, 33, 33]);
    assert_eq!(after.turns.next.load(Ordering::Relaxed), 137);
    assert_eq!(counts(&after, 100), HashMap::from([("a".into(), 34), ("b".into(), 33), ("c".into(), 33)]));
}

#[test]
fn the_share_of_who_is_out_of_order_goes_to_the_others_by_their_weights() {
    let pool = pool(Algorithm::RoundRobin, &[("a", 50), ("b", 30), ("c", 20)]);
    eject(&pool.members[0].endpoint);
    let counts = counts(&pool, 1000);
    assert_eq!(counts.get("a"), None);
    assert!((590..=610).contains(&counts["b"]), "{counts:?}");
}

#[test]
fn a_request_that_is_sent_again_takes_nobodys_turn() {
    let pool = pool(Algorithm::RoundRobin, &[("a", 1), ("b", 1)]);
    for _ in 0..10 {
        let first = pool.pick(&[], client(1), true).unwrap().clone();
        let second = pool.pick(std::slice::from_ref(&first), client(1), true).unwrap();
        assert!(!Arc::ptr_eq(&first, second));
    }
    assert_eq!(counts(&pool, 100), HashMap::from([("a".into(), 50), ("b".into(), 50)]));
    assert_eq!(pool.turns.next.load(Ordering::Relaxed), 110);
}

#[test]
fn who_has_no_weight_gets_nothing_but_where_nobody_has() {
    for algorithm in ALL {
        assert_eq!(counts(&pool(algorithm, &[("a", 0), ("b", 100)]), 50).get("a"), None, "{algorithm:?}");
        assert_eq!(counts(&pool(algorithm, &[("a", 0), ("b", 0)]), 200).len(), 2, "{algorithm:?}");
    }
}

#[test]
fn least_connections_prefers_the_idle_by_weight() {
    let pool = pool(Algorithm::LeastConnections, &[("a", 20), ("b", 80)]);
    let mut under_way = Vec::new();
    for n in 0..100 {
        under_way.push(pool.pick(&[], client(n), true).unwrap().begin());
    }
    let in_flight: Vec<_> = pool.endpoints().map(|endpoint| endpoint.in_flight()).collect();
    assert_eq!(in_flight, [20, 80]);
}

#[test]
fn idle_replicas_share_the_work() {
    let pool = pool(Algorithm::LeastConnections, &[("a", 1), ("b", 1), ("c", 1)]);
    let _busy = pool.members[1].endpoint.begin();
    assert_eq!(counts(&pool, 100), HashMap::from([("a".into(), 50), ("c".into(), 50)]));
}

#[test]
fn clients_are_spread_by_weight() {
    let counts = counts(&pool(Algorithm::IpHash, &[("a", 10), ("b", 30), ("c", 60)]), 10_000);
    for (name, expected) in [("a", 1000), ("b", 3000), ("c", 6000)] {
        assert!(counts[name].abs_diff(expected) < 250, "{counts:?}");
    }
}

#[test]
fn the_quicker_of_two_is_preferred_and_the_slower_not_forgotten() {
    let pool = pool(Algorithm::PeakEwma, &[("quick", 1), ("slow", 1)]);
    let observe = |index: usize, millis: u64| {
        pool.members[index].endpoint.latency.observe(clock::nanos(Duration::from_millis(millis)), clock::now());
    };
    observe(0, 10);
    observe(1, 100);
    assert_eq!(counts(&pool, 100), HashMap::from([("quick".into(), 100)]));
    let _under_way: Vec<_> = (0..12).map(|_| pool.members[0].endpoint.begin()).collect();
    assert_eq!(pick(&pool, 1), "slow", "many under way cost more than the latency");
}

#[test]
fn equals_get_equal_parts_of_random_choices() {
    let pool = pool(Algorithm::PeakEwma, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    let counts = counts(&pool, 8000);
    assert!(counts.values().all(|count| count.abs_diff(2000) < 300), "{counts:?}");
}

#[test]
fn a_newcomer_starts_slowly_and_is_not_left_out() {
    let mut two = members(&[("old", 1)]);
    let endpoint = Endpoint::new("new".into(), Target::Own(([127, 0, 0, 1], 1).into()), Some(clock::now()));
    two.push(Member { endpoint: Arc::new(endpoint), weight: 1 });
    let slowly = HealthRule { slow_start: 3_600_000_000_000, ..rule() };
    let pool = Pool::new(two, Algorithm::RoundRobin, slowly, None);
    let got = counts(&pool, 2000)["new"];
    assert!((30..700).contains(&got), "{got} of 1000");
}

#[test]
fn one_that_is_back_gets_one_request_first() {
    let briefly = HealthRule { ejection: 1, ..rule() };
    let pool = Pool::new(members(&[("a", 1), ("b", 1), ("c", 1)]), Algorithm::RoundRobin, briefly.clone(), None);
    let a = pool.members[0].endpoint.clone();
    for _ in 0..5 {
        a.condition.failed(clock::now(), &briefly);
    }
    let once = pool.pick(&[], client(1), false).unwrap();
    assert_ne!(&*once.name, "a", "a request that cannot be sent again is none to try it with");
    assert_eq!(pick(&pool, 1), "a", "the ejection is over");
    a.condition.succeeded(clock::now());
    assert_eq!(pool.active().count(), 3);
}

#[test]
fn where_most_are_out_of_order_all_are_used() {
    for algorithm in ALL {
        let pool = pool(algorithm, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
        let all: Vec<_> = pool.endpoints().cloned().collect();
        all[..2].iter().for_each(|endpoint| eject(endpoint));
        assert_eq!((counts(&pool, 300).len(), pool.active().count()), (2, 2), "{algorithm:?}");
        eject(&all[2]);
        assert_eq!((counts(&pool, 300).len(), pool.active().count()), (4, 4), "{algorithm:?}");
    }
}

proptest! {
    #[test]
    fn a_lost_replica_moves_only_its_own_clients(weights in proptest::collection::vec(1..100_u32, 2..10), lost in 0..10_usize) {
        let names: Vec<String> = (0..weights.len()).map(|n| format!("iris-1-{n}")).collect();
        let all: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights).collect();
        let mut rest = all.clone();
        let (lost, _) = rest.remove(lost % all.len());
        let (before, after) = (pool(Algorithm::IpHash, &all), pool(Algorithm::IpHash, &rest));
        for n in 0..200 {
            let (was, is) = (pick(&before, n), pick(&after, n));
            prop_assert!(was == lost || was == is, "{n}: {was} -> {is}");
        }
    }

    #[test]
    fn more_weight_takes_clients_from_others_and_moves_no_others(weights in proptest::collection::vec(1..100_u32, 2..10)) {
        let names: Vec<String> = (0..weights.len()).map(|n| format!("iris-1-{n}")).collect();
        let before: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights).collect();
        let mut after = before.clone();
        after[0].1 *= 2;
        let (before, after) = (pool(Algorithm::IpHash, &before), pool(Algorithm::IpHash, &after));
        for n in 0..200 {
            let (was, is) = (pick(&before, n), pick(&after, n));
            prop_assert!(was == is || is == names[0], "{n}: {was} -> {is}");
        }
    }

    #[test]
    fn each_replica_is_tried_once_whatever_its_condition(
        weights in proptest::collection::vec(1..100_u32, 1..8),
        ejected in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let names: Vec<String> = (0..weights.len()).map(|n| n.to_string()).collect();
        let weights: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights).collect();
        for algorithm in ALL {
            let pool = pool(algorithm, &weights);
            pool.endpoints().zip(&ejected).filter(|(_, ejected)| **ejected).for_each(|(endpoint, _)| eject(endpoint));
            prop_assert!(pool.active().count() * 2 >= weights.len());
            let mut tried = Vec::new();
            while let Some(endpoint) = pool.pick(&tried, client(1), true) {
                prop_assert!(!tried.iter().any(|one| Arc::ptr_eq(one, endpoint)));
                tried.push(endpoint.clone());
            }
            prop_assert_eq!(tried.len(), weights.len());
        }
    }
}
