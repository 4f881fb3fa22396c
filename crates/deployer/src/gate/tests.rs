//! What is held back, and what a change is refused for.

use std::{collections::BTreeMap, net::SocketAddr};

use jiff::Timestamp;
use kea_core::{
    Function, Layout, Settings,
    management::Status,
    next_step::{Step, next_steps},
    service::{Canary, PreparedModel, Resources},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    replica::ReplicaEvent,
    request,
    state::{Preparation, ReplicaState},
    view::{PublicAddress, details, route},
};

use super::*;

fn v(name: &str) -> VersionId {
    name.parse().unwrap()
}

fn contract(functions: &[&str]) -> Arc<Contract> {
    let function = |name: &&str| Function {
        name: (*name).into(),
        description: String::new(),
        layout: Layout::Arguments,
        inputs: Vec::new(),
        outputs: Vec::new(),
        idempotent: false,
        deterministic: true,
    };
    Arc::new(Contract { functions: functions.iter().map(function).collect(), ..Contract::default() })
}

fn model(source: Option<String>) -> ModelSpec {
    let (requirements, command, env) = (Vec::new(), Vec::new(), BTreeMap::new());
    let functions = Vec::new();
    ModelSpec { source, framework: None, requirements, command, functions, env, resources: Resources::default() }
}

fn version(name: &str, contract: Option<Arc<Contract>>) -> Version {
    Version { id: v(name), model: model(None), contract, prepared: None, created_at: Timestamp::UNIX_EPOCH }
}

/// Version 1 is live with two functions, and version 2 is to answer.
fn service() -> Service {
    let first = request::first("iris".parse().unwrap(), v("2"), Timestamp::UNIX_EPOCH);
    Service { live_history: vec![v("1")], settings: Settings::default(), ..first }
}

/// Both versions have one replica, of which that of version 2 has just told that it has one function.
fn scene(service: Service) -> ServiceState {
    let versions = vec![version("1", Some(contract(&["predict", "explain"]))), version("2", None)];
    let mut state = ServiceState::new(service, versions);
    for (name, functions) in [("1", &["predict", "explain"][..]), ("2", &["predict"])] {
        let version = state.versions.get_mut(name).unwrap();
        version.preparation = Preparation::Done(PreparedModel::default());
        version.replicas.insert(0, ReplicaState::new(name.into(), CancellationToken::new()));
        version.note(0, ReplicaEvent::Listening { address: SocketAddr::from(([127, 0, 0, 1], 1)) });
        version.note(0, ReplicaEvent::Ready { contract: contract(functions) });
    }
    state
}

fn steps(state: &ServiceState) -> Vec<Step> {
    next_steps(&state.wanted(), &state.seen())
}

/// The status, the reason, how many changes are told, and the versions that the router knows.
fn seen(state: &mut ServiceState) -> (Status, String, usize, Vec<String>) {
    let versions = route(state).versions.iter().map(|version| version.version.to_string()).collect();
    let address = PublicAddress { listen: SocketAddr::from(([127, 0, 0, 1], 1)), url: String::new() };
    let details = details(state, &address);
    (details.status, details.reason.unwrap_or_default(), details.breaking_changes.len(), versions)
}

#[test]
fn a_version_whose_replica_tells_what_would_break_callers_is_stopped_and_says_why() {
    let mut state = scene(service());
    assert_eq!(state.weigh(), [v("2")]);
    assert_eq!(steps(&state), [Step::Stop(v("2"), 0)]);
    let (status, reason, changes, versions) = seen(&mut state);
    assert_eq!((status, changes, versions), (Status::Failed, 1, vec!["1".to_owned()]));
    assert!(
        reason.starts_with("version 2: it would break callers of version 1 (explain: was a function, is gone"),
        "{reason}"
    );
    assert!(reason.ends_with("; version 1 keeps serving"), "{reason}");
    // It is told once, and a replica that is ready again does not clear it.
    state.versions.get_mut("2").unwrap().note(0, ReplicaEvent::Ready { contract: contract(&["predict"]) });
    assert_eq!(state.weigh(), []);
    assert_eq!(seen(&mut state).0, Status::Failed);
}

#[test]
fn a_version_that_is_allowed_takes_over() {
    let mut state = scene(service());
    state.weigh();
    allow(&mut state.service, &[]);
    assert_eq!(state.weigh(), []);
    assert_eq!(steps(&state), [Step::GoLive(v("2")), Step::Stop(v("1"), 0)]);
    assert_eq!(state.versions["2"].failure, None);
    assert_eq!(seen(&mut state).2, 0);
}

#[test]
fn a_version_that_was_live_comes_back_whatever_it_takes() {
    let mut state = scene(Service { live_history: vec![v("2"), v("1")], ..service() });
    assert_eq!(state.weigh(), []);
    assert_eq!(steps(&state)[0], Step::GoLive(v("2")));
}

#[test]
fn a_canary_gets_no_requests_and_a_shadow_its_copies() {
    let canary = Some(Canary { version: v("2"), weight: 50 });
    let mut state = scene(Service { version: v("1"), canary, ..service() });
    assert_eq!(state.weigh(), [v("2")]);
    let (status, reason, changes, versions) = seen(&mut state);
    assert_eq!((status, changes, versions, state.share()), (Status::Failed, 1, vec!["1".to_owned()], None));
    assert!(reason.starts_with("canary 2: it would break callers"), "{reason}");
    let shadow = Some(serde_json::from_value(json!({"version": "2"})).unwrap());
    let mut state = scene(Service { version: v("1"), shadow, ..service() });
    assert_eq!(state.weigh(), []);
    let (status, _, changes, versions) = seen(&mut state);
    assert_eq!((status, changes, versions.len()), (Status::Deployed, 0, 2));
}

/// The changes for which a change is refused that names version 2 with that source.
async fn refused(service: &Service, named: &[&str], code: Option<&str>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.py");
    code.inspect(|code| std::fs::write(&file, code).unwrap());
    let source = code.map(|_| file.display().to_string());
    let new = Version { model: model(source), ..version("2", None) };
    let versions = [version("1", Some(contract(&["predict", "explain"]))), version("3", Some(contract(&["predict"])))];
    let named: Vec<VersionId> = named.iter().map(|name| v(name)).collect();
    match check(service, &versions, Some(&new), &named).await {
        Ok(()) => 0,
        Err(DeployError::Breaking { changes, live, .. }) if live == v("1") => changes.len(),
        Err(other) => panic!("{other}"),
    }
}

const BREAKS: &str = "class Model:\n    def predict(self) -> int:\n        return 1\n";
const FITS: &str =
    "class Model:\n    def predict(self) -> int:\n        return 1\n    def explain(self) -> int:\n        return 1\n";

#[tokio::test]
async fn a_source_that_would_break_callers_is_refused_before_anything_runs() {
    assert_eq!(refused(&service(), &["2"], Some(BREAKS)).await, 1);
    assert_eq!(refused(&service(), &["2"], Some(FITS)).await, 0);
    let allowed = Service { may_break: vec![v("2")], ..service() };
    assert_eq!(refused(&allowed, &["2"], Some(BREAKS)).await, 0);
    // What cannot be read now tells it later.
    assert_eq!(refused(&service(), &["2"], Some("class Model(")).await, 0);
    assert_eq!(refused(&service(), &["2"], None).await, 0);
}

#[tokio::test]
async fn a_known_version_that_would_break_callers_is_refused_where_it_is_named() {
    let third = Service { version: v("3"), ..service() };
    assert_eq!(refused(&third, &["3"], None).await, 1);
    assert_eq!(refused(&third, &[], None).await, 0);
    let first = Service { live_history: Vec::new(), ..third };
    assert_eq!(refused(&first, &["3"], None).await, 0);
}
