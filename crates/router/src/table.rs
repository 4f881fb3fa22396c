//! The router's own view of a snapshot: with compiled validators, connections and balancers, which are carried over from
//! the view before wherever they still hold.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use http::HeaderValue;
use kea_core::{
    VersionId,
    balancing::{AddressScheme, ExternalAddress, looks_external},
    contract::WebProtocol,
    routing::{RoutingSnapshot, ServiceRoute, VersionRoute},
    service::{Canary, Engine, ReplicaAddress, Settings},
};
use kea_http::replica_tls::ReplicaTls;
use kea_openapi::validate::Validator;

use crate::{
    balance::{Member, Pool, Schedule},
    clock,
    endpoint::{Endpoint, Target, Transport, Within},
    health::HealthRule,
    limit::{Gate, RateLimiter, RetryBudget},
    metrics::VersionMetrics,
    own_routes::OwnRoutes,
    shadow::Shadowing,
};

/// All services.
#[derive(Default)]
pub(crate) struct Table {
    /// How replicas are reached by TLS.
    pub(crate) tls: Trust,
    pub(crate) services: HashMap<Arc<str>, Arc<ServiceEntry>>,
    /// Paths and hosts of their own that services have.
    pub(crate) own_routes: OwnRoutes,
}

/// Whom to believe of replicas that are reached by TLS, and what to show them.
#[derive(Clone)]
pub(crate) struct Trust {
    /// Of KEA's own.
    pub(crate) own: Arc<ReplicaTls>,
    /// Of those elsewhere.
    pub(crate) elsewhere: Arc<ReplicaTls>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { own: Arc::new(ReplicaTls::awaiting()), elsewhere: Arc::default() }
    }
}

/// One service.
pub(crate) struct ServiceEntry {
    pub(crate) route: Arc<ServiceRoute>,
    /// The id, as answers name it.
    pub(crate) id_header: HeaderValue,
    pub(crate) versions: Vec<VersionEntry>,
    /// Counts the requests that name no version, of which the canary gets its share.
    turn: Arc<AtomicU32>,
    /// Whose turn it is among `versions`, where they have weights.
    shares: Option<Schedule>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) budget: Arc<RetryBudget>,
    /// `None` where there is no rule.
    pub(crate) rates: Option<Arc<RateLimiter>>,
    /// `None` where no version gets copies of requests.
    pub(crate) shadow: Option<Shadowing>,
}

/// One version of a service.
pub(crate) struct VersionEntry {
    pub(crate) version: VersionId,
    /// The version, as answers name it.
    pub(crate) version_header: HeaderValue,
    pub(crate) made_at: i64,
    pub(crate) engine: Engine,
    /// `None` where the contract is not known, or cannot be compiled.
    pub(crate) validator: Option<Arc<Validator>>,
    pub(crate) pool: Pool,
    pub(crate) metrics: Arc<VersionMetrics>,
}

impl Table {
    /// The view of `snapshot`, with what still holds of this one.
    pub(crate) fn follow(&self, snapshot: &RoutingSnapshot) -> Self {
        let named = |route: &Arc<ServiceRoute>| match self.services.get_key_value(route.id.as_str()) {
            Some((name, same)) if Arc::ptr_eq(&same.route, route) => (name.clone(), same.clone()),
            Some((name, before)) => (name.clone(), Arc::new(ServiceEntry::new(route, Some(before), &self.tls))),
            None => (Arc::from(route.id.as_str()), Arc::new(ServiceEntry::new(route, None, &self.tls))),
        };
        let services: HashMap<_, Arc<ServiceEntry>> = snapshot.services.values().map(named).collect();
        let routes = services.iter().map(|(name, entry)| (name, &entry.route.settings.routes[..]));
        Self { own_routes: OwnRoutes::of(routes), tls: self.tls.clone(), services }
    }
}

impl ServiceEntry {
    fn new(route: &Arc<ServiceRoute>, before: Option<&Self>, tls: &Trust) -> Self {
        let version = |version: &VersionRoute| {
            let same = before.and_then(|entry| entry.versions.iter().find(|v| v.version == version.version));
            let is_live = route.live.as_ref() == Some(&version.version);
            VersionEntry::new(version, &route.settings, tls, is_live, same)
        };
        let versions: Vec<_> = route.versions.iter().map(version).collect();
        Self {
            shares: shares(&route.settings, &versions),
            shadow: Shadowing::of(route, before.and_then(|entry| entry.shadow.as_ref())),
            versions,
            gate: before.map_or_else(Arc::default, |entry| entry.gate.clone()),
            budget: before.map_or_else(Arc::default, |entry| entry.budget.clone()),
            rates: rates(route, before),
            turn: before.map_or_else(Arc::default, |entry| entry.turn.clone()),
            id_header: header(route.id.as_str()),
            route: route.clone(),
        }
    }

    /// What permissions take the service for: a web service where any of its versions is one.
    pub(crate) fn engine(&self) -> Engine {
        let is_web = self.versions.iter().any(|version| version.engine == Engine::External);
        if is_web { Engine::External } else { Engine::Python }
    }

    /// Whether that function may be called without a token.
    pub(crate) fn is_public(&self, function: &str) -> bool {
        self.route.settings.access.is_public(function, self.engine())
    }

    /// The version called `name`, or the live one.
    pub(crate) fn version(&self, name: Option<&str>) -> Option<&VersionEntry> {
        let wanted = name.or_else(|| self.route.live.as_ref().map(VersionId::as_str))?;
        self.versions.iter().find(|entry| entry.version.as_str() == wanted)
    }

    /// Whether versions share the requests that name none.
    pub(crate) fn shares_versions(&self) -> bool {
        self.shares.is_some() || self.route.canary.is_some()
    }

    /// Whether the version has a part of the requests that name none.
    pub(crate) fn has_share(&self, version: &VersionEntry) -> bool {
        let is_one = |other: &VersionEntry| other.version == version.version;
        match (&self.shares, &self.route.canary) {
            (Some(shares), _) => shares.iter().any(|index| is_one(&self.versions[index])),
            (None, Some(canary)) if canary.version == version.version => canary.weight > 0 && !version.pool.is_empty(),
            (None, _) => self.version(None).is_some_and(is_one),
        }
    }

    /// The version for one more request that names none: the live one, or the canary, which gets exactly its share of
    /// each hundred, spread over it. A canary without replicas gets none.
    pub(crate) fn next_version(&self) -> Option<&VersionEntry> {
        let live = self.version(None)?;
        if let Some(shares) = &self.shares {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
            return shares.at(turn).map_or(Some(live), |index| self.versions.get(index));
        }
        let Some(Canary { version, weight }) = &self.route.canary else { return Some(live) };
        let canary = self.version(Some(version.as_str())).filter(|canary| !canary.pool.is_empty());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 100;
        let weight = u32::from(*weight);
        Some(canary.filter(|_| turn * weight % 100 < weight).unwrap_or(live))
    }
}

/// Turns of the versions, where they have weights. One that does not run, or has no replica, leaves its turns to the
/// others; where none of them has any, the live version answers.
fn shares(settings: &Settings, versions: &[VersionEntry]) -> Option<Schedule> {
    let weights = &settings.load_balancer.as_ref()?.weights;
    let weight = |version: &VersionEntry| {
        let weight = weights.get(version.version.as_str()).filter(|_| !version.pool.is_empty());
        weight.map_or(0, |weight| u32::from(*weight))
    };
    let weights: Vec<u32> = versions.iter().map(weight).collect();
    weights.iter().any(|weight| *weight > 0).then(|| Schedule::new(&weights))
}

/// The rules of before go on counting while they are the same.
fn rates(route: &ServiceRoute, before: Option<&ServiceEntry>) -> Option<Arc<RateLimiter>> {
    let limits = &route.settings.rate_limit;
    let same = before.filter(|before| before.route.settings.rate_limit == *limits);
    match same {
        _ if limits.is_empty() => None,
        Some(before) => before.rates.clone(),
        None => Some(Arc::new(RateLimiter::new(limits))),
    }
}

impl VersionEntry {
    fn new(route: &VersionRoute, settings: &Settings, tls: &Trust, is_live: bool, before: Option<&Self>) -> Self {
        Self {
            version: route.version.clone(),
            version_header: header(route.version.as_str()),
            made_at: route.made_at,
            engine: route.engine,
            validator: validator(route, before),
            pool: pool(route, settings, tls, is_live, before.map(|entry| &entry.pool)),
            metrics: before.map_or_else(Arc::default, |entry| entry.metrics.clone()),
        }
    }
}

/// The replicas of a version that are to be used, and, for the live one, those elsewhere.
fn pool(route: &VersionRoute, settings: &Settings, tls: &Trust, is_live: bool, before: Option<&Pool>) -> Pool {
    let chosen = settings.chosen_replicas();
    let protocol = route.contract.as_ref().map_or_else(WebProtocol::default, |contract| contract.protocol);
    let own = own_replicas(&route.replicas, chosen).map(|replica| own_endpoint(replica, protocol, &tls.own, before));
    let elsewhere = is_live.then_some(&tls.elsewhere).into_iter().flat_map(|tls| {
        let addresses = chosen.iter().filter(|text| looks_external(text)).filter_map(|text| text.parse().ok());
        addresses.map(|address| external_endpoint(address, tls, before))
    });
    let weights = settings.load_balancer.as_ref().map(|rule| &rule.weights);
    let of_replicas = weights.filter(|weights| weights.keys().any(|name| *name != *route.version.as_str()));
    let member = |endpoint: Arc<Endpoint>| {
        let weight = match of_replicas {
            Some(weights) => weights.get(&*endpoint.name).map_or(0, |weight| u32::from(*weight)),
            None => 1,
        };
        Member { endpoint, weight }
    };
    let members = own.chain(elsewhere).map(member).collect();
    Pool::new(members, settings.algorithm(), HealthRule::of(settings), before)
}

/// The service's own replicas that are chosen. Named ones that are all gone, as after an update, restrict nothing:
/// answering is better than refusing. Addresses alone are in place of all of them.
fn own_replicas<'a>(replicas: &'a [ReplicaAddress], chosen: &'a [String]) -> impl Iterator<Item = &'a ReplicaAddress> {
    let is_named = |replica: &&ReplicaAddress| chosen.iter().any(|name| **name == *replica.name);
    let names_own = chosen.is_empty() || chosen.iter().any(|name| !looks_external(name));
    let all = names_own && !replicas.iter().any(|replica| is_named(&replica));
    replicas.iter().filter(move |replica| all || is_named(replica))
}

fn own_endpoint(
    replica: &ReplicaAddress,
    protocol: WebProtocol,
    tls: &Arc<ReplicaTls>,
    before: Option<&Pool>,
) -> Arc<Endpoint> {
    let within = |name: &Arc<str>| Within {
        tls: tls.clone(),
        name: Some(name.clone()),
        http1_alone: protocol == WebProtocol::Http1,
    };
    let transport = match (&replica.tls_name, protocol) {
        (Some(name), _) => Transport::Tls(within(name)),
        (None, WebProtocol::Http1) => Transport::Http1,
        (None, WebProtocol::Http2) => Transport::Http2,
    };
    let is_same = |endpoint: &&Arc<Endpoint>| {
        endpoint.name == replica.name
            && matches!(endpoint.target, Target::Own(address) if address == replica.address)
            && endpoint.transport().is_same(&transport)
    };
    let same = before.and_then(|pool| pool.endpoints().find(is_same)).cloned();
    let new = || Endpoint::new(replica.name.clone(), Target::Own(replica.address), joins(before));
    same.unwrap_or_else(|| Arc::new(new().by(transport)))
}

/// One elsewhere: its name says how it is spoken to.
fn external_endpoint(address: ExternalAddress, tls: &Arc<ReplicaTls>, before: Option<&Pool>) -> Arc<Endpoint> {
    let transport = match address.scheme {
        AddressScheme::Http => Transport::Http1,
        AddressScheme::H2c => Transport::Http2,
        AddressScheme::Https => Transport::Tls(Within { tls: tls.clone(), name: None, http1_alone: false }),
    };
    let name: Arc<str> = address.to_string().into();
    let is_same = |endpoint: &&Arc<Endpoint>| endpoint.name == name && endpoint.target.is_external();
    let same = before.and_then(|pool| pool.endpoints().find(is_same)).cloned();
    same.unwrap_or_else(|| Arc::new(Endpoint::new(name, Target::external(address), joins(before)).by(transport)))
}

/// A replica that comes to others starts slowly; the first ones have nobody to learn from.
fn joins(before: Option<&Pool>) -> Option<u64> {
    before.filter(|pool| !pool.is_empty()).map(|_| clock::now())
}

/// Names and versions hold letters, digits, `-`, `.` and `_` alone.
fn header(name: &str) -> HeaderValue {
    HeaderValue::from_str(name).expect("a checked name is a header value")
}

fn validator(route: &VersionRoute, before: Option<&VersionEntry>) -> Option<Arc<Validator>> {
    let contract = route.contract.as_ref()?;
    let same = before.and_then(|entry| entry.validator.as_ref()).filter(|v| Arc::ptr_eq(v.contract(), contract));
    if let Some(validator) = same {
        return Some(validator.clone());
    }
    match Validator::compile(contract.clone()) {
        Ok(validator) => Some(Arc::new(validator)),
        Err(error) => {
            tracing::error!(version = %route.version, %error, "a contract cannot be compiled; its requests are refused");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn version(name: &str, replicas: usize) -> VersionRoute {
        let replica = |n| ReplicaAddress {
            name: format!("{name}-{n}").into(),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            tls_name: None,
        };
        VersionRoute {
            version: name.parse().unwrap(),
            made_at: 0,
            engine: Engine::Onnx,
            contract: None,
            replicas: (0..replicas).map(replica).collect(),
        }
    }

    fn entry(weight: u8, canary_replicas: usize) -> ServiceEntry {
        let route = ServiceRoute {
            id: "iris".parse().unwrap(),
            live: Some("1".parse().unwrap()),
            versions: vec![version("1", 2), version("2", canary_replicas)],
            canary: Some(Canary { version: "2".parse().unwrap(), weight }),
            shadow: None,
            reason: None,
            settings: Arc::default(),
        };
        ServiceEntry::new(&Arc::new(route), None, &Trust::default())
    }

    /// Which of the next requests the canary gets.
    fn turns(entry: &ServiceEntry, requests: usize) -> Vec<bool> {
        (0..requests).map(|_| entry.next_version().unwrap().version.as_str() == "2").collect()
    }

    #[test]
    fn a_canary_gets_exactly_its_share_of_each_hundred() {
        for weight in 0..=100 {
            let entry = entry(weight, 1);
            for _ in 0..3 {
                let got = turns(&entry, 100).into_iter().filter(|canary| *canary).count();
                assert_eq!(got, usize::from(weight));
            }
        }
    }

    #[test]
    fn the_share_of_a_canary_is_spread_evenly() {
        for weight in 1..=50_u8 {
            let got = turns(&entry(weight, 1), 100);
            let longest = 100_usize.div_ceil(usize::from(weight));
            let waits = got.split(|canary| *canary).map(<[bool]>::len).max().unwrap();
            assert!(waits < longest, "{weight} %: {waits} others in a row");
        }
    }

    #[test]
    fn a_canary_without_replicas_gets_nothing() {
        assert!(!turns(&entry(100, 0), 10).contains(&true));
    }

    #[test]
    fn the_count_goes_on_when_the_weight_changes() {
        let before = entry(10, 1);
        turns(&before, 50);
        let route = ServiceRoute {
            canary: Some(Canary { version: "2".parse().unwrap(), weight: 20 }),
            ..(*before.route).clone()
        };
        let after = ServiceEntry::new(&Arc::new(route), Some(&before), &Trust::default());
        assert_eq!(after.turn.load(Ordering::Relaxed), 50);
        assert_eq!(turns(&after, 100).into_iter().filter(|canary| *canary).count(), 20);
    }
}
