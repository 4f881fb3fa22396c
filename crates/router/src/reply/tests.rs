use std::collections::HashMap;

use http::Request;
use http_body_util::BodyExt;
use kea_core::{
    Contract, Datatype, Field, Function, Settings, ValueType,
    routing::{RoutingSnapshot, ServiceRoute, VersionRoute},
    validation::ValidationSettings,
};

use super::*;
use crate::{identify::Admitted, table::Table, testing, validate::CallBody};

const GOOD: &str = r#"{"predictions":[{"value":1.5}]}"#;
const BAD: &str = r#"{"predictions":[{"value":"high"}]}"#;

/// A service whose function `again` promises a number.
fn call(responses: ResponseValidation, engine: Engine) -> ValidCall {
    let output = Field::new("value", ValueType::Scalar { datatype: Datatype::Fp64 });
    let contract = testing::contract();
    let functions = contract.functions.iter().cloned();
    let functions = functions.map(|function| Function { outputs: vec![output.clone()], ..function }).collect();
    let contract = Contract { functions, ..Contract::default() };
    let version = VersionRoute {
        version: "1".parse().unwrap(),
        made_at: 0,
        engine,
        contract: Some(contract.into()),
        replicas: Vec::new(),
    };
    let id: kea_core::ServiceId = "iris".parse().unwrap();
    let route = ServiceRoute {
        id: id.clone(),
        live: Some("1".parse().unwrap()),
        versions: vec![version],
        canary: None,
        shadow: None,
        reason: None,
        settings: Settings { validation: ValidationSettings { responses }, ..Settings::default() }.into(),
    };
    let table = Table::default().follow(&RoutingSnapshot { services: HashMap::from([(id, route.into())]) });
    let admitted = Admitted::of_test(table.services["iris"].clone(), "again", Protocol::Kea);
    let (parts, ()) = Request::builder().method("POST").uri("/x").body(()).unwrap().into_parts();
    ValidCall {
        admitted,
        parts,
        body: CallBody::Whole("{}".into()),
        key: None,
        recalled: false,
        all_outputs: true,
        body_limit: 64,
    }
}

fn response(status: u16, content_type: &str, body: impl Into<Body>) -> Response {
    Response::builder().status(status).header("content-type", content_type).body(body.into()).unwrap()
}

/// What the caller gets, or where the answer does not fit.
async fn given(call: &mut ValidCall, response: Response) -> Result<Bytes, String> {
    match checked(call, response).await {
        Ok(response) => Ok(response.into_body().collect().await.unwrap().to_bytes()),
        Err(RouterError::Misfit { problems, .. }) => Err(problems[0].pointer.clone()),
        Err(other) => panic!("{other:?}"),
    }
}

fn counts(call: &ValidCall) -> [u64; 3] {
    let Checks { fits, misfits, unchecked, .. } = &call.admitted.version().metrics.checks;
    [fits, misfits, unchecked].map(|count| count.load(Ordering::Relaxed))
}

#[tokio::test]
async fn what_does_not_fit_is_passed_on_told_or_refused_as_the_service_says() {
    use ResponseValidation::{Enforce, Log, Off};
    for (wanted, good, bad, counted) in [
        (Off, Ok(GOOD.into()), Ok(BAD.into()), [0, 0, 0]),
        (Log, Ok(GOOD.into()), Ok(BAD.into()), [1, 1, 0]),
        (Enforce, Ok(GOOD.into()), Err("/predictions/0/value".into()), [1, 1, 0]),
    ] {
        let mut call = call(wanted, Engine::Python);
        assert_eq!(given(&mut call, response(200, "application/json", GOOD)).await, good, "{wanted:?}");
        assert_eq!(given(&mut call, response(200, "application/json", BAD)).await, bad, "{wanted:?}");
        assert_eq!(counts(&call), counted, "{wanted:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_of_a_function_is_passed_on_as_it_comes() {
    let mut enforced = call(ResponseValidation::Enforce, Engine::Python);
    for (status, content_type) in [(200, "text/event-stream"), (200, "image/png"), (400, "application/json")] {
        // A body that never ends: reading it whole would wait for ever.
        let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(
            checked(&mut enforced, response(status, content_type, endless)).await.is_ok(),
            "{status} {content_type}"
        );
    }
    let mut web = call(ResponseValidation::Enforce, Engine::External);
    assert_eq!(given(&mut web, response(200, "application/json", BAD)).await, Ok(BAD.into()));
    assert_eq!((counts(&enforced), counts(&web)), ([0; 3], [0; 3]));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_held_in_memory() {
    let long = format!("{GOOD}{}", " ".repeat(64));
    for (wanted, expected) in
        [(ResponseValidation::Log, Ok(long.clone().into())), (ResponseValidation::Enforce, Err(String::new()))]
    {
        let mut call = call(wanted, Engine::Python);
        // In pieces, so that its length is not known before.
        let pieces = [long[..40].to_owned(), long[40..].to_owned()].map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        assert_eq!(given(&mut call, response(200, "application/json", body)).await, expected);
        assert_eq!(counts(&call), [0, 0, 1]);
    }
}

#[tokio::test]
async fn an_answer_in_a_coding_is_read_and_passed_on_in_it() {
    let mut call = call(ResponseValidation::Enforce, Engine::Python);
    let coded = |coding: &str, body: &'static str| {
        let mut response = response(200, "application/json", body);
        response.headers_mut().insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        response
    };
    assert_eq!(given(&mut call, coded("identity", GOOD)).await, Ok(GOOD.into()));
    assert_eq!(given(&mut call, coded("gzip", "no gzip")).await, Err(String::new()));
    assert_eq!(counts(&call), [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_of_a_flood_once_a_minute_and_how_large_it_was() {
    let checks = Checks::default();
    assert_eq!(checks.to_tell(), Some(1));
    for _ in 0..1000 {
        assert_eq!(checks.to_tell(), None);
    }
    tokio::time::advance(QUIET + Duration::from_secs(1)).await;
    assert_eq!(checks.to_tell(), Some(1001));
}
