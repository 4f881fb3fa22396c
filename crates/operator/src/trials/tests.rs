use axum::body::Body;
use http_body_util::BodyExt;
use kea_core::rollout::{RolloutPhase, RolloutStatus};

use super::*;

/// Counts that the test sets, by version.
#[derive(Default)]
struct Counted(Mutex<HashMap<String, u64>>);

impl Counted {
    fn set(&self, version: &str, requests: u64) {
        self.0.lock().unwrap().insert(version.into(), requests);
    }
}

impl Traffic for Counted {
    fn tally(&self, _: &ServiceId, version: &VersionId) -> Tally {
        let requests = self.0.lock().unwrap().get(version.as_str()).copied().unwrap_or(0);
        Tally { requests, ..Tally::default() }
    }
}

fn record(step: usize, has_begun: bool) -> RolloutRecord {
    let started_at = Timestamp::UNIX_EPOCH;
    let told = RolloutStatus {
        version: "2".parse().unwrap(),
        from: "1".parse().unwrap(),
        phase: RolloutPhase::Progressing,
        step,
        steps: 2,
        weight: 10,
        requests: 0,
        reason: String::new(),
        started_at,
    };
    RolloutRecord { told, step_started_at: has_begun.then_some(started_at), silent_since: None, failing_since: None }
}

fn scene() -> (Arc<Counted>, Trials, ServiceId) {
    let counted = Arc::new(Counted::default());
    (counted.clone(), Trials::new(counted), "iris".parse().unwrap())
}

/// Requests of the new version, of the live one, and of that since the first step.
fn told(trials: &Trials, id: &ServiceId) -> Option<(usize, u64, u64, u64)> {
    let TrialReport { step, new, live, live_since_first, .. } = trials.report(id)?;
    Some((step, new.requests, live.requests, live_since_first.requests))
}

#[test]
fn a_step_counts_from_when_it_was_seen() {
    let (counted, trials, id) = scene();
    counted.set("1", 100);
    trials.follow(&id, Some(&record(1, false)));
    assert_eq!(told(&trials, &id), None, "the step has not begun");
    counted.set("1", 150);
    trials.follow(&id, Some(&record(1, true)));
    counted.set("1", 170);
    counted.set("2", 3);
    // Another look at the same step changes nothing.
    trials.follow(&id, Some(&record(1, true)));
    assert_eq!(told(&trials, &id), Some((1, 3, 20, 70)));
    trials.follow(&id, Some(&record(2, false)));
    assert_eq!(told(&trials, &id).unwrap().0, 1);
    trials.follow(&id, Some(&record(2, true)));
    counted.set("2", 7);
    assert_eq!(told(&trials, &id), Some((2, 4, 0, 70)));
}

#[test]
fn another_rollout_counts_anew_and_one_that_is_over_is_forgotten() {
    let (counted, trials, id) = scene();
    counted.set("2", 9);
    trials.follow(&id, Some(&record(1, true)));
    let mut another = record(1, true);
    another.told.started_at = Timestamp::now();
    counted.set("2", 12);
    trials.follow(&id, Some(&another));
    assert_eq!(told(&trials, &id), Some((1, 0, 0, 0)));
    another.told.phase = RolloutPhase::Returned;
    trials.follow(&id, Some(&another));
    assert_eq!(told(&trials, &id), None);
}

async fn asked(trials: &Trials, method: Method, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let answer = trials.answer("geheim", &request.body(Body::empty()).unwrap());
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn who_does_not_show_the_token_learns_nothing() {
    let (_, trials, id) = scene();
    trials.follow(&id, Some(&record(1, true)));
    for token in
        [None, Some("geheim"), Some("Bearer "), Some("Bearer geheim2"), Some("Bearer gehei"), Some("bearer geheim")]
    {
        for path in ["/kea/trials/iris", "/kea/trials/other", "/"] {
            let (status, body) = asked(&trials, Method::GET, path, token).await;
            assert_eq!((status, body.contains("counted")), (StatusCode::UNAUTHORIZED, false), "{token:?} {path}");
        }
    }
    let (status, body) = asked(&trials, Method::GET, "/kea/trials/iris", Some("Bearer geheim")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<TrialReport>(&body).unwrap().step, 1);
    for (method, path) in
        [(Method::GET, "/kea/trials/other"), (Method::GET, "/kea/trials/"), (Method::POST, "/kea/trials/iris")]
    {
        assert_eq!(asked(&trials, method, path, Some("Bearer geheim")).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}
