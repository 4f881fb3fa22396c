//! Choosing a replica for a request.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kea_core::service::Algorithm;

use crate::endpoint::Endpoint;

/// The rule of a service and where it stands. Kept from one snapshot to the next.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    next: AtomicUsize,
}

impl Balancer {
    /// The replica for a request of `client`, among those that were not `tried` yet.
    pub(crate) fn pick<'a>(
        &self,
        algorithm: Algorithm,
        endpoints: &'a [Arc<Endpoint>],
        tried: &[Arc<str>],
        client: IpAddr,
    ) -> Option<&'a Arc<Endpoint>> {
        let untried = || endpoints.iter().filter(|endpoint| !tried.contains(&endpoint.name));
        match algorithm {
            Algorithm::RoundRobin => {
                let count = untried().count();
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                untried().nth(turn.checked_rem(count)?)
            }
            Algorithm::LeastConnections => self.least_connections(untried().collect()),
            // The highest score wins: a replica that goes moves only the clients that it had.
            Algorithm::IpHash => untried().max_by_key(|endpoint| score(client, &endpoint.name)),
        }
    }

    /// Among those with the fewest requests the turn goes round, so that idle replicas share the work.
    fn least_connections<'a>(&self, untried: Vec<&'a Arc<Endpoint>>) -> Option<&'a Arc<Endpoint>> {
        // Counted once: counts rise in between, and then none would be among the fewest.
        let counted: Vec<_> = untried.into_iter().map(|endpoint| (endpoint.in_flight(), endpoint)).collect();
        let fewest = counted.iter().map(|(in_flight, _)| *in_flight).min()?;
        let idle: Vec<_> = counted.into_iter().filter(|(count, _)| *count == fewest).map(|(_, one)| one).collect();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        idle.get(turn.checked_rem(idle.len())?).copied()
    }
}

fn score(client: IpAddr, replica: &str) -> u64 {
    // The same in every process of one build, as its keys are fixed.
    let mut hasher = DefaultHasher::new();
    (client, replica).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn endpoints(names: &[&str]) -> Vec<Arc<Endpoint>> {
        let endpoint = |name: &&str| Arc::new(Endpoint::new((*name).into(), ([127, 0, 0, 1], 1).into()));
        names.iter().map(endpoint).collect()
    }

    fn client(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn pick(balancer: &Balancer, algorithm: Algorithm, among: &[Arc<Endpoint>], last: u8) -> String {
        balancer.pick(algorithm, among, &[], client(last)).unwrap().name.to_string()
    }

    #[test]
    fn round_robin_is_exact() {
        let (balancer, among) = (Balancer::default(), endpoints(&["a", "b", "c"]));
        let mut counts: HashMap<String, u32> = HashMap::new();
        for _ in 0..99 {
            *counts.entry(pick(&balancer, Algorithm::RoundRobin, &among, 1)).or_default() += 1;
        }
        assert!(counts.values().all(|count| *count == 33), "{counts:?}");
    }

    #[test]
    fn least_connections_prefers_the_idle() {
        let (balancer, among) = (Balancer::default(), endpoints(&["a", "b"]));
        let _under_way = among[0].begin();
        for _ in 0..4 {
            assert_eq!(pick(&balancer, Algorithm::LeastConnections, &among, 1), "b");
        }
        let _also = [among[1].begin(), among[1].begin()];
        assert_eq!(pick(&balancer, Algorithm::LeastConnections, &among, 1), "a");
    }

    #[test]
    fn a_lost_replica_moves_only_its_own_clients() {
        let balancer = Balancer::default();
        let all = endpoints(&["a", "b", "c", "d"]);
        let without_d = endpoints(&["a", "b", "c"]);
        let mut used = HashMap::new();
        for last in 0..=255 {
            let before = pick(&balancer, Algorithm::IpHash, &all, last);
            let after = pick(&balancer, Algorithm::IpHash, &without_d, last);
            assert!(before == "d" || before == after, "{last}: {before} -> {after}");
            *used.entry(before).or_insert(0) += 1;
        }
        assert!(used.values().all(|count| *count > 32), "{used:?}");
    }

    #[test]
    fn tried_replicas_are_not_tried_again() {
        let (balancer, among) = (Balancer::default(), endpoints(&["a", "b"]));
        for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::IpHash] {
            let second = balancer.pick(algorithm, &among, &["a".into()], client(1)).unwrap();
            assert_eq!(&*second.name, "b");
            assert!(balancer.pick(algorithm, &among, &["a".into(), "b".into()], client(1)).is_none());
        }
    }
}
