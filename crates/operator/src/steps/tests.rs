use std::sync::Arc;

use jiff::ToSpan;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::*;
use crate::{resources::MlModel, version::ModelRecord, wish::wish};

const START: &str = "2026-01-01T00:00:00Z";

fn v(name: &str) -> VersionId {
    name.parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + seconds.seconds()
}

fn rules() -> RolloutRules {
    let steps = json!([{"weight": 10, "pause": "5m"}, {"weight": 50, "pause": "5m"}]);
    serde_json::from_value(json!({"steps": steps, "minRequests": 10, "maxErrorRateIncrease": 0.01})).unwrap()
}

fn tally(requests: u64, errors: u64) -> Tally {
    Tally { requests, errors, ..Tally::default() }
}

/// What routers tell who have counted for that many seconds.
fn counts(new: (u64, u64), seconds: u64) -> Counts {
    let shortest = Some(("kea-router-a".to_string(), Duration::from_secs(seconds)));
    Counts { new: tally(new.0, new.1), live: tally(500, 0), live_since_first: tally(900, 0), shortest, silent: None }
}

/// A rollout that began its first step at the start.
fn under_way() -> RolloutRecord {
    let record = begin(v("2"), v("1"), 2, at(0));
    let record = looked(&record, &rules(), &look(0, true, &Counts::default()));
    assert_eq!((record.step_started_at, record.told.weight), (Some(at(0)), 10));
    record
}

fn look(seconds: i64, is_ready: bool, counts: &Counts) -> Look<'_> {
    Look { now: at(seconds), is_ready, failure: None, counts }
}

fn told(record: &RolloutRecord) -> (RolloutPhase, usize, u8, &str) {
    (record.told.phase, record.told.step, record.told.weight, &record.told.reason)
}

#[test]
fn a_step_begins_with_its_replicas_and_ends_with_its_pause_and_requests() {
    let record = begin(v("2"), v("1"), 2, at(0));
    let waits = looked(&record, &rules(), &look(500, false, &Counts::default()));
    assert_eq!(told(&waits), (RolloutPhase::Progressing, 1, 0, "its replicas are not ready"));
    let first = under_way();
    let within = looked(&first, &rules(), &look(299, true, &counts((50, 0), 299)));
    assert_eq!(told(&within).1, 1);
    assert_eq!((within.told.requests, within.told.weight), (50, 10));
    let few = looked(&first, &rules(), &look(301, true, &counts((9, 0), 301)));
    assert!(told(&few).3.starts_with("9 of at least 10 requests so far: it waits"), "{}", few.told.reason);
    let second = looked(&first, &rules(), &look(301, true, &counts((50, 0), 301)));
    // It has the share of before until its replicas for the next one are there.
    assert_eq!((told(&second).1, told(&second).2, second.step_started_at), (2, 10, None));
    let second = looked(&second, &rules(), &look(310, true, &Counts::default()));
    assert_eq!((told(&second).2, second.step_started_at), (50, Some(at(310))));
    let done = looked(&second, &rules(), &look(700, true, &counts((50, 0), 390)));
    assert_eq!(told(&done).0, RolloutPhase::Promoted);
    assert_eq!(done.told.weight, 50, "until it is live");
}

#[test]
fn it_goes_back_once_a_rule_is_broken_also_by_a_part_of_the_numbers() {
    let first = under_way();
    let bad = looked(&first, &rules(), &look(20, true, &counts((50, 25), 20)));
    assert_eq!((told(&bad).0, told(&bad).2), (RolloutPhase::Returned, 0));
    let part = Counts { silent: Some("router b is silent".into()), ..counts((50, 25), 20) };
    assert_eq!(told(&looked(&first, &rules(), &look(20, true, &part))).0, RolloutPhase::Returned);
    let crashed = Failure { why: "it crashed".into(), passes: false };
    let failure = Look { failure: Some(&crashed), ..look(20, true, &part) };
    assert_eq!(told(&looked(&first, &rules(), &failure)).3, "it does not run: it crashed");
}

#[test]
fn without_the_numbers_of_all_routers_it_waits_and_goes_back_in_the_end() {
    let first = under_way();
    let part = Counts { silent: Some("router b is silent".into()), ..counts((50, 0), 400) };
    let waits = looked(&first, &rules(), &look(400, true, &part));
    let expected = "it is not judged without all numbers: router b is silent";
    assert_eq!(told(&waits), (RolloutPhase::Progressing, 1, 10, expected));
    let still = looked(&waits, &rules(), &look(999, true, &part));
    assert_eq!(told(&still), (RolloutPhase::Progressing, 1, 10, expected));
    let over = looked(&still, &rules(), &look(1000, true, &part));
    assert_eq!(told(&over).0, RolloutPhase::Returned);
    assert_eq!(told(&over).3, "it could not be judged for 600s: router b is silent");
    let deadline = RolloutRules { progress_deadline: Some(Span(Duration::from_secs(60))), ..rules() };
    let silent = looked(&first, &deadline, &look(301, true, &part));
    assert_eq!(told(&looked(&silent, &deadline, &look(361, true, &part))).0, RolloutPhase::Returned);
}

#[test]
fn a_registry_that_is_away_for_a_moment_ends_nothing() {
    let away = Failure { why: "no answer of the registry".into(), passes: true };
    let counts = counts((50, 0), 500);
    let at_time =
        |seconds, is_away: bool| Look { failure: is_away.then_some(&away), ..look(seconds, !is_away, &counts) };
    let record = begin(v("2"), v("1"), 2, at(0));
    let waits = looked(&record, &rules(), &at_time(0, true));
    let told_of = "its replicas are not ready: no answer of the registry";
    assert_eq!(told(&waits), (RolloutPhase::Progressing, 1, 0, told_of));
    let still = looked(&waits, &rules(), &at_time(599, true));
    assert_eq!((told(&still).0, still.failing_since), (RolloutPhase::Progressing, Some(at(0))));
    let over = looked(&still, &rules(), &at_time(600, true));
    assert_eq!(told(&over).0, RolloutPhase::Returned);
    assert_eq!(told(&over).3, "it does not run: no answer of the registry");
    let begun = looked(&still, &rules(), &at_time(599, false));
    assert_eq!((begun.step_started_at, begun.failing_since), (Some(at(599)), None));
    // A replica that is to be made anew keeps the others from going on.
    let later = looked(&begun, &rules(), &at_time(1000, true));
    assert_eq!((told(&later).1, told(&later).3), (1, "it does not run: no answer of the registry"));
    assert_eq!(told(&looked(&later, &rules(), &at_time(1001, false))).1, 2);
}

#[test]
fn a_router_that_is_silent_for_a_moment_ends_nothing() {
    let part = Counts { silent: Some("router b is silent".into()), ..counts((50, 0), 400) };
    let silent = looked(&under_way(), &rules(), &look(5000, true, &part));
    assert_eq!((told(&silent).0, silent.silent_since), (RolloutPhase::Progressing, Some(at(5000))));
    let few = looked(&silent, &rules(), &look(5002, true, &counts((9, 0), 5000)));
    assert_eq!((told(&few).0, few.silent_since), (RolloutPhase::Progressing, None));
    let late = looked(&few, &rules(), &look(9000, true, &counts((50, 0), 5)));
    assert_eq!(told(&late).0, RolloutPhase::Progressing, "one that was started anew is waited for");
    assert_eq!(told(&looked(&late, &rules(), &look(9060, true, &counts((50, 0), 65)))).1, 2);
}

#[test]
fn a_router_that_began_again_is_given_a_minute() {
    let first = under_way();
    let waits = looked(&first, &rules(), &look(310, true, &counts((50, 0), 12)));
    assert_eq!(told(&waits).0, RolloutPhase::Progressing);
    assert!(
        told(&waits).3.ends_with("within a pause of 300s; router kea-router-a has counted for 12 s only"),
        "{waits:?}"
    );
    let goes_on = looked(&first, &rules(), &look(361, true, &counts((50, 0), 61)));
    assert_eq!(told(&goes_on).1, 2);
    // One that hears of the step a moment later than the operator is no news.
    let soon = looked(&first, &rules(), &look(3, true, &counts((1, 0), 2)));
    assert_eq!(told(&soon).3, "1 of at least 10 requests so far, within a pause of 300s");
    // A clock that is behind the one of the operator before.
    let behind = looked(&first, &rules(), &look(-5, true, &counts((1, 0), 2)));
    assert_eq!(told(&behind).0, RolloutPhase::Progressing);
}

#[test]
fn with_too_little_at_this_step_the_live_version_counts_since_the_first() {
    let live = Counts { live: tally(5, 0), live_since_first: tally(100, 40), ..counts((50, 20), 20) };
    let after = looked(&under_way(), &RolloutRules { max_error_rate: Some(1.0), ..rules() }, &look(20, true, &live));
    assert_eq!(told(&after).0, RolloutPhase::Progressing, "both fail alike: {}", after.told.reason);
}

fn record(version: &str) -> VersionRecord {
    VersionRecord {
        version: v(version),
        model: ModelRecord { source: Some(format!("s3://m/{version}")), ..ModelRecord::default() },
        image: None,
        replica: None,
        created_at: Timestamp::UNIX_EPOCH,
        replicas: 1,
        deployment: Arc::new(Deployment::default()),
    }
}

/// A service whose version 1 is live, and whose MLModel is version 2.
struct Scene {
    spec: Value,
    annotations: Value,
    rollout: Option<RolloutRecord>,
    live: &'static str,
}

impl Scene {
    fn new() -> Self {
        let spec = json!({"replicas": 10, "rollout": {"steps": [{"weight": 10}, {"weight": 50}]}});
        Self { spec, annotations: json!({}), rollout: None, live: "1" }
    }

    fn with(rollout: RolloutRecord) -> Self {
        Self { rollout: Some(rollout), ..Self::new() }
    }

    fn owner(&self) -> MlDeployment {
        let metadata = json!({"name": "iris", "namespace": "team", "annotations": self.annotations});
        let status = json!({"state": "updating", "version": "2", "liveVersion": self.live, "rollout": self.rollout});
        serde_json::from_value(json!({"metadata": metadata, "spec": self.spec, "status": status})).unwrap()
    }

    fn wish(&self) -> Wish {
        let model: MlModel = serde_json::from_value(
            json!({"metadata": {"name": "iris", "namespace": "team"}, "spec": {"source": "s3://m/2", "version": "2"}}),
        )
        .unwrap();
        wish(&self.owner(), Some(&model), &[record("1"), record("2")]).unwrap()
    }

    fn current(&self) -> Option<RolloutRecord> {
        let owner = self.owner();
        assert_eq!(owner.status.as_ref().unwrap().rollout, self.rollout, "the status is read as it was written");
        current(&owner, &self.wish(), Some(&v(self.live)), at(1_000))
    }

    /// The version that stays, and the one beside it with its share and replicas.
    fn acting(&self) -> (String, Option<(String, u8, u32)>) {
        let wish = acting(self.wish(), self.current().as_ref(), &[record("1"), record("2")]);
        let beside = wish.canary().map(|canary| (canary.version.to_string(), canary.weight));
        let replicas = wish.of_canary().map(|canary| canary.replicas);
        (
            wish.version.to_string(),
            beside.zip(replicas).map(|((version, weight), replicas)| (version, weight, replicas)),
        )
    }
}

fn ended(phase: RolloutPhase) -> RolloutRecord {
    let record = under_way();
    RolloutRecord { told: RolloutStatus { phase, ..record.told }, ..record }
}

#[test]
fn a_changed_model_begins_a_rollout_and_others_go_on() {
    let begun = Scene::new().current().unwrap();
    assert_eq!((begun.told.started_at, begun.told.from.as_str(), begun.told.weight), (at(1_000), "1", 0));
    assert_eq!(Scene::with(under_way()).current(), Some(under_way()));
    let returned = ended(RolloutPhase::Returned);
    assert_eq!(Scene::with(returned.clone()).current(), Some(returned));
    // One of another version, or from another one, is none of it.
    let other = RolloutRecord { told: RolloutStatus { from: v("0"), ..under_way().told }, ..under_way() };
    assert_eq!(Scene::with(other).current().unwrap().told.started_at, at(1_000));
}

#[test]
fn without_steps_or_by_hand_a_version_takes_over_at_once() {
    let without = |spec: Value| Scene { spec, ..Scene::with(under_way()) }.current();
    let rollout = || json!({"steps": [{"weight": 10}]});
    assert_eq!(without(json!({"replicas": 10})), None);
    assert!(without(json!({"replicas": 10, "rollout": rollout()})).is_some());
    assert_eq!(without(json!({"replicas": 10, "rollout": rollout(), "version": "1"})), None, "it is taken back");
    assert!(without(json!({"rollout": rollout(), "version": "2"})).is_some(), "the model's own version");
    let returned = || ended(RolloutPhase::Returned);
    let later = Scene { spec: json!({"replicas": 10}), ..Scene::with(returned()) };
    assert_eq!(later.current(), Some(returned()), "the rules of later ones do not let one take over that went back");
    let promoted = |version: &str| Scene { annotations: json!({names::PROMOTE: version}), ..Scene::with(under_way()) };
    assert_eq!(promoted("2").current(), None);
    assert_eq!(promoted("1").current(), Some(under_way()));
}

#[test]
fn a_version_that_went_back_is_tried_again_when_somebody_asks() {
    let again = |time: &str, record: RolloutRecord| {
        Scene { annotations: json!({names::TRY_AGAIN: time}), ..Scene::with(record) }.current().unwrap().told.started_at
    };
    let returned = || ended(RolloutPhase::Returned);
    assert_eq!(again("2026-01-01T00:10:00Z", returned()), at(1_000));
    assert_eq!(again("2025-12-31T00:00:00Z", returned()), at(0));
    assert_eq!(again("2026-01-01T00:10:00Z", under_way()), at(0), "it is under way");
}

#[test]
fn no_replicas_are_no_reason_to_let_a_version_take_over_that_went_back() {
    let spec = json!({"replicas": 0, "rollout": {"steps": [{"weight": 10}]}});
    let returned = ended(RolloutPhase::Returned);
    assert_eq!(Scene { spec: spec.clone(), ..Scene::with(returned.clone()) }.current(), Some(returned));
    assert_eq!(Scene { spec, ..Scene::new() }.current(), None);
}

#[test]
fn the_version_before_stays_until_the_new_one_is_promoted() {
    assert_eq!(Scene::new().acting(), ("1".into(), Some(("2".into(), 10, 1))));
    let second = RolloutRecord {
        told: RolloutStatus { step: 2, ..under_way().told },
        step_started_at: None,
        silent_since: None,
        failing_since: None,
    };
    assert_eq!(Scene::with(second).acting(), ("1".into(), Some(("2".into(), 50, 5))), "replicas come first");
    assert_eq!(Scene::with(ended(RolloutPhase::Returned)).acting(), ("1".into(), None));
    assert_eq!(Scene::with(ended(RolloutPhase::Promoted)).acting(), ("2".into(), None));
}

#[test]
fn a_step_in_shadow_gives_copies_and_is_judged_by_them() {
    let rules = json!({"steps": [{"shadow": true}, {"weight": 50}], "minRequests": 10, "maxDifferenceRate": 0.1});
    let scene = |rollout| Scene { spec: json!({"replicas": 4, "rollout": rules}), ..Scene::with(rollout) };
    let waits = scene(begin(v("2"), v("1"), 2, at(0)));
    let wish = acting(waits.wish(), waits.current().as_ref(), &[record("1"), record("2")]);
    assert_eq!((wish.version.as_str(), wish.canary(), wish.of_canary().unwrap().replicas), ("1", None, 4));
    let copied = |scene: &Scene| copies(&scene.owner(), &scene.wish()).map(|shadow| shadow.version.to_string());
    assert_eq!((wish.shadow().unwrap().percent(), copied(&waits)), (100, None), "its replicas come first");

    let rules = waits.wish().settings.rollout;
    let first = looked(waits.rollout.as_ref().unwrap(), &rules, &look(0, true, &Counts::default()));
    assert_eq!((told(&first).2, copied(&scene(first.clone()))), (0, Some("2".into())));
    let answered = |same: u64, different: u64| {
        let mut counts = counts((500, 500), 60);
        (counts.new.shadow.counts.same, counts.new.shadow.counts.different) = (same, different);
        looked(&first, &rules, &look(60, true, &counts))
    };
    assert_eq!(told(&answered(17, 3)).0, RolloutPhase::Returned);
    let few = answered(9, 0);
    assert_eq!((few.told.step, few.told.requests), (1, 9), "{}", few.told.reason);
    let second = answered(20, 0);
    assert_eq!((second.told.step, copied(&scene(second.clone()))), (2, None), "{}", second.told.reason);
    assert_eq!(scene(second).acting(), ("1".into(), Some(("2".into(), 50, 2))));
}

#[test]
fn a_share_lasts_from_the_first_step_until_the_version_is_live_or_back() {
    let shared = |scene: &Scene, version: &str| share(&scene.owner(), &v(version)).map(|canary| canary.weight);
    assert_eq!(shared(&Scene::new(), "2"), None);
    assert_eq!(
        shared(&Scene::with(begin(v("2"), v("1"), 2, at(0))), "2"),
        Some(0),
        "what is live is counted from now on"
    );
    assert_eq!(shared(&Scene::with(under_way()), "2"), Some(10));
    assert_eq!(shared(&Scene::with(under_way()), "3"), None, "another version is asked for");
    assert_eq!(shared(&Scene::with(ended(RolloutPhase::Returned)), "2"), None);
    let promoted = || Scene::with(ended(RolloutPhase::Promoted));
    assert_eq!(shared(&promoted(), "2"), Some(10));
    let live = Scene { live: "2", ..promoted() };
    assert_eq!((shared(&live, "2"), live.current().unwrap().told.weight), (None, 100));
}

#[test]
fn each_step_and_each_end_is_told_once() {
    let change = |after: &RolloutRecord, before: Option<&RolloutRecord>| after.change(before, &rules());
    let first = under_way();
    assert_eq!(change(&first, None).unwrap(), "version 2 is to take over from version 1 in 2 steps");
    assert_eq!(change(&first, Some(&first)), None);
    let told = RolloutStatus { step: 2, reason: "all is well".into(), ..first.told.clone() };
    let second = RolloutRecord { told, step_started_at: None, silent_since: None, failing_since: None };
    let expected = "version 2 goes on to step 2 of 2, 50 % of the requests: all is well";
    assert_eq!(change(&second, Some(&first)).unwrap(), expected);
    assert!(change(&ended(RolloutPhase::Returned), Some(&first)).unwrap().contains("goes back to version 1 at step 1"));
    assert_eq!(change(&ended(RolloutPhase::Returned), None), None, "an operator that begins has seen nothing happen");
}
