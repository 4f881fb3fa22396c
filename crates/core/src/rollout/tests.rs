//! Each line of the rule, as a table.

use serde_json::{Value, json};

use super::*;
use crate::{
    port::DeployError,
    shadow::ShadowCounts,
    tally::{Latency, ShadowTally},
};

fn rules(more: Value) -> RolloutRules {
    let mut rules = json!({
        "steps": [{"weight": 10, "pause": "60s"}, {"weight": 50, "pause": "30s"}], "minRequests": 10,
    });
    rules.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(rules).unwrap()
}

/// `taken` requests of that many milliseconds, of which `errors` failed, and `rejected` ones beside them.
fn tally(taken: u64, errors: u64, rejected: u64, millis: u64) -> Tally {
    let mut latency = Latency::default();
    latency.0[Latency::bucket(Duration::from_millis(millis))] = taken;
    Tally { requests: taken + rejected, rejected, errors, latency, ..Tally::default() }
}

fn verdict(more: Value, step: usize, elapsed: u64, new: &Tally, live: &Tally) -> Verdict {
    let elapsed = Some(Duration::from_secs(elapsed));
    judge(&rules(more), step, &StepSeen { failure: None, elapsed, new, live })
}

/// The word of the verdict, and its reason.
fn said(verdict: Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Wait(reason) => ("wait", reason),
        Verdict::Advance(reason) => ("advance", reason),
        Verdict::Promote(reason) => ("promote", reason),
        Verdict::Return(reason) => ("return", reason),
    }
}

fn check(more: Value, elapsed: u64, new: Tally, live: Tally, word: &str, reason: &str) {
    let told = said(verdict(more.clone(), 0, elapsed, &new, &live));
    assert!(told.0 == word && told.1.contains(reason), "{more}, {elapsed} s: {told:?}");
}

#[test]
fn a_step_takes_its_time_and_its_requests() {
    let fine = |taken| tally(taken, 0, 0, 5);
    check(json!({}), 0, fine(0), fine(90), "wait", "0 of at least 10 requests so far, within a pause of 60s");
    check(json!({}), 59, fine(50), fine(90), "wait", "50 of at least 10 requests");
    check(json!({}), 60, fine(50), fine(90), "advance", "of 50 requests 0 % failed and 0 % did not fit, p99 5.1 ms");
    check(json!({}), 60, fine(9), fine(90), "wait", "9 of at least 10 requests so far: it waits for more");
    check(json!({}), 1_000_000, fine(9), fine(90), "wait", "waits for more");
    let bounded = json!({"progressDeadline": "40s"});
    check(bounded.clone(), 99, fine(9), fine(90), "wait", "waits for more");
    check(bounded.clone(), 100, fine(9), fine(90), "return", "9 of at least 10 requests came within 100s");
    check(bounded, 100, fine(10), fine(90), "advance", "of 10 requests");
}

#[test]
fn the_last_step_promotes() {
    let fine = tally(20, 0, 0, 5);
    assert_eq!(said(verdict(json!({}), 1, 29, &fine, &fine)).0, "wait");
    assert_eq!(said(verdict(json!({}), 1, 30, &fine, &fine)).0, "promote");
    // The steps were taken away meanwhile: without any, a version takes over as it is.
    assert_eq!(said(verdict(json!({}), 2, 0, &Tally::default(), &fine)).0, "promote");
}

#[test]
fn errors_beyond_the_limit_return_it_at_once() {
    let live = || tally(100, 0, 0, 5);
    let two = || json!({"maxErrorRate": 0.02});
    check(two(), 1, tally(100, 3, 0, 5), live(), "return", "3 % of its 100 requests failed, and at most 2 % may");
    check(two(), 60, tally(100, 2, 0, 5), live(), "advance", "2 % failed");
    // Too few to say.
    check(two(), 1, tally(9, 9, 0, 5), live(), "wait", "9 of at least 10");
    // Where nothing is said: 5 percent.
    check(json!({}), 1, tally(100, 6, 0, 5), live(), "return", "at most 5 % may");
    check(json!({}), 60, tally(100, 5, 0, 5), live(), "advance", "");
    check(json!({"maxErrorRate": 0}), 1, tally(1000, 1, 0, 5), live(), "return", "0.1 % of its 1000 requests failed");
}

#[test]
fn errors_are_compared_with_the_live_versions() {
    let above = || json!({"maxErrorRate": 1, "maxErrorRateIncrease": 0.01});
    let live = || tally(100, 4, 0, 5);
    check(above(), 60, tally(100, 5, 0, 5), live(), "advance", "");
    let told = "6 % of its 100 requests failed, against 4 % of the live version's, and at most 1 points more may";
    check(above(), 60, tally(100, 6, 0, 5), live(), "return", told);
    // Of a live version that nobody asked nothing is known.
    check(above(), 60, tally(100, 6, 0, 5), tally(9, 0, 0, 5), "advance", "");
}

#[test]
fn a_slow_version_is_returned() {
    let live = || tally(100, 0, 0, 100);
    check(json!({"maxP99": "300ms"}), 1, tally(20, 0, 0, 400), live(), "return", "and at most 300 ms may be");
    check(json!({"maxP99": "300ms"}), 60, tally(20, 0, 0, 250), live(), "advance", "");
    check(json!({"maxP99": "300ms"}), 1, tally(9, 0, 0, 400), live(), "wait", "");
    let half = || json!({"maxP99Increase": 0.5});
    check(
        half(),
        1,
        tally(20, 0, 0, 170),
        live(),
        "return",
        "against 102.4 ms of the live version, and at most 50 % more",
    );
    check(half(), 60, tally(20, 0, 0, 140), live(), "advance", "");
    check(half(), 60, tally(20, 0, 0, 900), tally(0, 0, 0, 5), "advance", "");
}

#[test]
fn requests_that_do_not_fit_any_more_return_it() {
    let live = || tally(98, 0, 2, 5);
    let told =
        "50 % of its 20 requests did not fit its contract, against 2 % of the live version's, and at most 5 points";
    check(json!({}), 1, tally(10, 0, 10, 5), live(), "return", told);
    check(json!({}), 1, tally(0, 0, 20, 5), live(), "return", "100 % of its 20 requests did not fit");
    check(json!({}), 60, tally(94, 0, 6, 5), live(), "advance", "6 % did not fit");
    check(json!({"maxValidationFailureRate": 0.01}), 1, tally(98, 0, 2, 5), live(), "return", "and at most 1 % may");
    let lenient = json!({"maxValidationFailureRateIncrease": 1});
    check(lenient, 60, tally(10, 0, 10, 5), live(), "advance", "");
    // Callers who send what no version takes are none of its fault, nor do they make its errors fewer.
    check(json!({}), 60, tally(20, 0, 20, 5), tally(20, 0, 20, 5), "advance", "");
    check(json!({}), 1, tally(20, 2, 80, 5), tally(20, 0, 80, 5), "return", "10 % of its 20 requests failed");
}

#[test]
fn a_version_that_does_not_run_is_returned_and_one_that_starts_is_waited_for() {
    let nothing = Tally::default();
    let of = |failure, elapsed| {
        said(judge(&rules(json!({})), 0, &StepSeen { failure, elapsed, new: &nothing, live: &nothing }))
    };
    assert_eq!(of(Some("no memory"), None), ("return", "it does not run: no memory".into()));
    assert_eq!(of(Some("no memory"), Some(Duration::ZERO)).0, "return");
    assert_eq!(of(None, None), ("wait", "its replicas are not ready".into()));
}

#[test]
fn rules_that_cannot_be_met_are_refused_with_their_field() {
    let pointer = |rules: Value| match serde_json::from_value::<RolloutRules>(rules).unwrap().check() {
        Ok(()) => String::new(),
        Err(DeployError::Invalid { pointer, .. }) => pointer,
        Err(other) => panic!("{other}"),
    };
    let step = |weight: u8, pause: &str| json!({"weight": weight, "pause": pause});
    let one = |name: &str, value: Value| pointer(json!({"steps": [{"weight": 10}], name: value}));
    assert_eq!(pointer(json!({})), "");
    assert_eq!(pointer(json!({"steps": [step(1, "1s"), step(100, "1s")]})), "");
    assert_eq!(pointer(json!({"maxErrorRate": 0.1})), "/rollout/steps");
    assert_eq!(pointer(json!({"steps": vec![step(1, "1s"); 21]})), "/rollout/steps");
    assert_eq!(pointer(json!({"steps": [step(0, "1s")]})), "/rollout/steps/0/weight");
    assert_eq!(pointer(json!({"steps": [step(10, "1s"), step(10, "1s")]})), "/rollout/steps/1/weight");
    assert_eq!(pointer(json!({"steps": [step(101, "1s")]})), "/rollout/steps/0/weight");
    assert_eq!(pointer(json!({"steps": [step(10, "0s")]})), "/rollout/steps/0/pause");
    assert_eq!(one("maxErrorRate", json!(2)), "/rollout/maxErrorRate");
    assert_eq!(one("maxErrorRateIncrease", json!(-0.1)), "/rollout/maxErrorRateIncrease");
    assert_eq!(one("maxValidationFailureRate", json!(5)), "/rollout/maxValidationFailureRate");
    assert_eq!(one("maxP99", json!("0s")), "/rollout/maxP99");
    assert_eq!(one("maxP99Increase", json!(1.5)), "");
    assert_eq!(one("minRequests", json!(0)), "/rollout/minRequests");
}

#[test]
fn a_step_in_shadow_comes_first_and_has_no_share() {
    let pointer = |rules: Value| match serde_json::from_value::<RolloutRules>(rules).unwrap().check() {
        Ok(()) => String::new(),
        Err(DeployError::Invalid { pointer, .. }) => pointer,
        Err(other) => panic!("{other}"),
    };
    let steps = |steps: Value| pointer(json!({"steps": steps}));
    let (shadow, tenth) = (json!({"shadow": true}), json!({"weight": 10}));
    assert_eq!(steps(json!([shadow])), "");
    assert_eq!(steps(json!([shadow, tenth])), "");
    assert_eq!(steps(json!([tenth, shadow])), "/rollout/steps/1/shadow");
    assert_eq!(steps(json!([shadow, shadow])), "/rollout/steps/1/shadow");
    assert_eq!(steps(json!([{"shadow": true, "weight": 10}])), "/rollout/steps/0/shadow");
    assert_eq!(steps(json!([{"pause": "1s"}])), "/rollout/steps/0/weight");
    for (name, value) in [("maxDifferenceRate", json!(0.01)), ("tolerance", json!(0.001))] {
        assert_eq!(pointer(json!({"steps": [shadow], name: value})), "");
        assert_eq!(pointer(json!({"steps": [shadow], name: 2})), format!("/rollout/{name}"));
        assert_eq!(pointer(json!({"steps": [tenth], name: value})), format!("/rollout/{name}"));
    }
    let rules: RolloutRules = serde_json::from_value(json!({"steps": [shadow, tenth], "tolerance": 0.1})).unwrap();
    let version = "2".parse().unwrap();
    assert_eq!(rules.shadow(0, &version).map(|shadow| (shadow.percent(), shadow.tolerance())), Some((100, 0.1)));
    assert_eq!((rules.shadow(1, &version), rules.weight(0), rules.weight(1)), (None, 0, 10));
}

/// What becomes of a version that answered copies of requests so: the same, differently, not, in that many milliseconds.
fn check_shadow(more: Value, elapsed: u64, (same, different, failed): (u64, u64, u64), word: &str, reason: &str) {
    let mut asked = json!({"steps": [{"shadow": true, "pause": "60s"}, {"weight": 50}], "minRequests": 10});
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let rules = serde_json::from_value(asked).unwrap();
    let counts = ShadowCounts { same, different, failed, not_compared: 99, dropped: 99, skipped: 99 };
    let latency = tally(same + different + failed, 0, 0, 100).latency;
    // Requests that named the version are none that it is judged by.
    let new = Tally { shadow: ShadowTally { counts, latency }, ..tally(50, 50, 50, 5) };
    let live = tally(100, 0, 0, 5);
    let seen = StepSeen { failure: None, elapsed: Some(Duration::from_secs(elapsed)), new: &new, live: &live };
    let told = said(judge(&rules, 0, &seen));
    assert!(told.0 == word && told.1.contains(reason), "{more}, {elapsed} s: {told:?}");
}

#[test]
fn in_shadow_a_version_is_judged_by_copies() {
    let some = || json!({"maxDifferenceRate": 0.1});
    check_shadow(
        json!({}),
        59,
        (50, 0, 0),
        "wait",
        "50 of at least 10 requests in shadow so far, within a pause of 60s",
    );
    check_shadow(json!({}), 60, (9, 0, 0), "wait", "9 of at least 10 requests in shadow so far: it waits for more");
    let told = "of 20 requests 0 % failed and 0 % did not fit, 10 % of 20 were answered differently, p99 10";
    check_shadow(some(), 60, (18, 2, 0), "advance", told);
    let told = "15 % of its 20 requests were answered differently by the live version, and at most 10 % may";
    check_shadow(some(), 1, (17, 3, 0), "return", told);
    // Differences are told, and no fault unless that is said.
    check_shadow(json!({}), 60, (0, 20, 0), "advance", "100 % of 20 were answered differently");
    check_shadow(json!({"maxDifferenceRate": 0}), 1, (9, 0, 0), "wait", "");
    check_shadow(json!({"maxDifferenceRate": 0}), 1, (9, 1, 0), "return", "10 % of its 10 requests");
    check_shadow(json!({}), 1, (18, 0, 2), "return", "10 % of its 20 requests failed, and at most 5 % may");
    check_shadow(json!({"maxP99": "50ms"}), 1, (20, 0, 0), "return", "and at most 50 ms may be");
    check_shadow(json!({"maxP99Increase": 1}), 1, (20, 0, 0), "return", "of the live version");
    // Where nothing could be compared, nothing is known of differences.
    check_shadow(
        json!({"maxDifferenceRate": 0, "maxErrorRate": 1}),
        60,
        (0, 0, 20),
        "wait",
        "0 of at least 10 requests",
    );
}
