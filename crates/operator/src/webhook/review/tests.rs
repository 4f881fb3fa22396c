use std::{fmt::Debug, slice::from_ref};

use k8s_openapi::{NamespaceResourceScope, api::apps::v1::Deployment};
use kube::{
    Resource,
    runtime::{
        reflector::{Store, store},
        watcher::Event,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// A cache of these objects.
fn cached<K>(objects: &[Value]) -> Store<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + 'static,
{
    let (reader, mut writer) = store();
    for object in objects {
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object.clone()).unwrap()));
    }
    reader
}

/// A cluster in which these are stored.
fn cluster(models: &[Value], deployments: &[Value], versions: &[Value]) -> Caches {
    Caches {
        models: cached(models),
        deployments: cached(deployments),
        versions: cached::<Deployment>(versions),
        pods: cached(&[]),
        services: cached(&[]),
        made: None,
    }
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "ml.kea-project.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": format!("{namespace}/{name}"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    })
}

fn model(spec: Value) -> Value {
    object("MLModel", "team", "iris", spec)
}

fn deployment(spec: Value) -> Value {
    object("MLDeployment", "team", "iris", spec)
}

/// Version `version` of MLDeployment `iris`, which has run that image.
fn version(version: &str, image: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("iris-{version}"),
            "namespace": "team",
            "labels": {"ml.kea-project.io/version": version},
            "annotations": {"ml.kea-project.io/model": json!({"image": image}).to_string()},
            "ownerReferences": [{"apiVersion": "v1", "kind": "MLDeployment", "name": "iris", "uid": "team/iris", "controller": true}],
            "creationTimestamp": "2026-01-02T00:00:00Z",
        },
    })
}

fn asked(operation: &str, object: &Value, old: &Value) -> Value {
    let kind = if object.is_null() { &old["kind"] } else { &object["kind"] };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "4711",
            "kind": {"group": "ml.kea-project.io", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "ml.kea-project.io", "version": "v1alpha1", "resource": "any"},
            "name": "iris",
            "namespace": "team",
            "operation": operation,
            "userInfo": {},
            "object": object,
            "oldObject": old,
        },
    })
}

async fn answer(review: &Value, caches: &Caches, model: Option<Value>) -> Result<AdmissionResponse, String> {
    let model = async move |_: &str, _: &str| model.map(|model| serde_json::from_value(model).unwrap());
    super::review(review.to_string().as_bytes(), caches, model).await.map_err(|error| error.to_string())
}

async fn create(object: Value, caches: &Caches) -> AdmissionResponse {
    answer(&asked("CREATE", &object, &Value::Null), caches, None).await.unwrap()
}

async fn update(old: Value, object: Value, caches: &Caches) -> AdmissionResponse {
    answer(&asked("UPDATE", &object, &old), caches, None).await.unwrap()
}

#[track_caller]
fn check_allowed(response: &AdmissionResponse) {
    assert!(response.allowed && response.warnings.is_none(), "{response:?}");
    assert_eq!(response.uid, "4711");
}

#[track_caller]
fn check_warned(response: &AdmissionResponse, words: &str) {
    let warnings = response.warnings.clone().unwrap_or_default();
    assert!(response.allowed && warnings.iter().any(|warning| warning.contains(words)), "{response:?}");
}

#[track_caller]
fn check_refused(response: &AdmissionResponse, reason: &str, words: &str) {
    assert!(!response.allowed, "{response:?}");
    assert_eq!((response.uid.as_str(), response.result.code, response.result.reason.as_str()), ("4711", 403, reason));
    assert!(response.result.message.contains(words), "{response:?}");
}

#[tokio::test]
async fn what_can_be_is_allowed() {
    let caches = cluster(&[model(json!({"image": "r/iris:1"}))], &[], &[]);
    check_allowed(&create(deployment(json!({"replicas": 2})), &caches).await);
    check_allowed(&create(model(json!({"image": "r/iris:1"})), &caches).await);
    check_allowed(&create(model(json!({"source": "s3://models/iris.onnx", "version": "2"})), &caches).await);
}

#[tokio::test]
async fn a_deployment_that_cannot_be_is_refused_with_what_to_do() {
    let caches = cluster(&[model(json!({"image": "r/iris:1", "version": "1"}))], &[], &[]);
    let table = [
        (json!({"relicas": 2}), "BadRequest", "unknown field `relicas`"),
        (json!({"timeout": "0s"}), "BadRequest", "`spec.timeout`"),
        (json!({"canary": {"version": "2", "weight": 101}}), "BadRequest", "`spec.canary.weight`"),
        (json!({"autoscaling": {"maxReplicas": 3}}), "BadRequest", "`resources.requests.cpu`"),
        (json!({"validation": {"responses": "maybe"}}), "BadRequest", "unknown variant `maybe`"),
        (json!({"version": "7"}), "NoVersion", "no version `7` has run"),
    ];
    for (spec, reason, words) in table {
        check_refused(&create(deployment(spec), &caches).await, reason, words);
    }
    let stranger = object("MLDeployment", "team", "predict.v1", json!({"modelName": "iris"}));
    check_refused(&create(stranger, &caches).await, "BadRequest", "predict.v1");
}

#[tokio::test]
async fn a_model_that_cannot_be_is_refused_with_what_to_do() {
    let caches = cluster(&[], &[], &[]);
    let table = [
        (json!({}), "neither `source`"),
        (json!({"source": "s3://m", "image": "r/iris:1"}), "exclude each other"),
        (json!({"source": "s3://m", "s3Path": "s3://m"}), "MLModel `iris`: `source` and `s3Path`"),
        (json!({"source": "./iris.joblib"}), "a path, which a cluster cannot read"),
        (json!({"image": "r/iris:1", "sauce": "x"}), "MLModel `iris`: unknown field `sauce`"),
        (json!({"image": "r/iris:1", "inputType": "x"}), "as `inputType` or `outputType` names no field"),
        (json!({"image": "r/iris:1", "build": {}}), "`build` is not supported"),
        (
            json!({"image": "r/iris:1", "functions": [{"name": "predict", "inputs": [{"name": "x", "shape": [0]}]}]}),
            "MLModel `iris`: `/functions/0/inputs/0/shape`: a dimension is",
        ),
        (json!({"source": "s3://m", "command": ["run"], "functions": [{"name": "predict"}]}), "remove `functions`"),
    ];
    for (spec, words) in table {
        check_refused(&create(model(spec), &caches).await, "BadRequest", words);
    }
}

#[tokio::test]
async fn a_name_is_one_for_all_namespaces() {
    let held = object("MLDeployment", "another", "iris", json!({}));
    let caches = cluster(&[model(json!({"image": "r/iris:1"}))], &[held], &[]);
    check_refused(&create(deployment(json!({})), &caches).await, "NameTaken", "in namespace `another`");
    // The cache may still have one of the same namespace that is gone.
    let before = cluster(&[model(json!({"image": "r/iris:1"}))], &[deployment(json!({}))], &[]);
    let mut again = deployment(json!({}));
    again["metadata"]["uid"] = "another one".into();
    check_allowed(&create(again, &before).await);
}

#[tokio::test]
async fn the_documents_may_come_in_any_order() {
    let nothing = cluster(&[], &[], &[]);
    check_warned(&create(deployment(json!({})), &nothing).await, "there is no MLModel `iris`");
    check_warned(&create(deployment(json!({"version": "7"})), &nothing).await, "there is no MLModel `iris`");
    check_refused(&create(deployment(json!({"replica": 1})), &nothing).await, "BadRequest", "unknown field `replica`");
    check_refused(&create(deployment(json!({"timeout": "0s"})), &nothing).await, "BadRequest", "`spec.timeout`");
    // So may the version of a canary, which is to be asked for first.
    let live = cluster(&[model(json!({"image": "r/iris:1", "version": "1"}))], &[], &[version("1", "r/iris:1")]);
    let canary = json!({"canary": {"version": "2", "weight": 10}});
    check_warned(&create(deployment(canary), &live).await, "no version `2` has run");
    // The deployment came first, and asks for what is not there yet: that is no fault of the model.
    let waiting = cluster(&[], &[deployment(json!({"version": "7"}))], &[]);
    let first = model(json!({"image": "r/iris:1", "version": "1"}));
    check_warned(&create(first, &waiting).await, "MLDeployment `iris`: it asks for version `7`");
}

#[tokio::test]
async fn a_model_that_the_cache_does_not_have_yet_counts() {
    let review = asked("CREATE", &deployment(json!({"version": "2"})), &Value::Null);
    let behind = cluster(&[model(json!({"image": "r/iris:1", "version": "1"}))], &[], &[]);
    let newest = model(json!({"image": "r/iris:2", "version": "2"}));
    check_allowed(&answer(&review, &behind, Some(newest.clone())).await.unwrap());
    check_allowed(&answer(&review, &cluster(&[], &[], &[]), Some(newest)).await.unwrap());
    check_refused(&answer(&review, &behind, None).await.unwrap(), "NoVersion", "no version `2` has run");
}

#[tokio::test]
async fn a_changed_model_under_a_version_that_has_run_is_refused() {
    let before = model(json!({"image": "r/iris:1", "version": "1"}));
    let caches = cluster(from_ref(&before), &[deployment(json!({}))], &[version("1", "r/iris:1")]);
    let changed = model(json!({"image": "r/iris:2", "version": "1"}));
    let words = "MLDeployment `iris`: version `1` exists with another model";
    check_refused(&update(before.clone(), changed.clone(), &caches).await, "VersionConflict", words);
    let next = model(json!({"image": "r/iris:2", "version": "2"}));
    check_allowed(&update(before.clone(), next, &caches).await);
    // Where nobody has run it, it may change.
    let unused = cluster(from_ref(&before), &[deployment(json!({}))], &[]);
    check_allowed(&update(before, changed, &unused).await);
}

#[tokio::test]
async fn a_conflict_with_the_model_that_is_stored_is_refused() {
    let stored = model(json!({"image": "r/iris:2", "version": "1"}));
    let caches = cluster(&[stored], &[deployment(json!({}))], &[version("1", "r/iris:1")]);
    let scaled = update(deployment(json!({})), deployment(json!({"replicas": 2})), &caches).await;
    check_refused(&scaled, "VersionConflict", "version `1` exists with another model");
    // While it is paused, too: the status says the same.
    let paused = update(deployment(json!({})), deployment(json!({"paused": true})), &caches).await;
    check_refused(&paused, "VersionConflict", "version `1` exists with another model");
}

#[tokio::test]
async fn what_is_stored_stays_editable_and_can_go() {
    let caches = cluster(&[], &[], &[]);
    for broken in [deployment(json!({"relicas": 2})), model(json!({}))] {
        let mut labelled = broken.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        check_allowed(&update(broken.clone(), labelled, &caches).await);
        let mut leaving = broken.clone();
        leaving["metadata"]["deletionTimestamp"] = "2026-01-03T00:00:00Z".into();
        leaving["spec"] = json!({"nonsense": 1});
        check_allowed(&update(broken.clone(), leaving, &caches).await);
        let deleted = answer(&asked("DELETE", &Value::Null, &broken), &caches, None).await;
        check_allowed(&deleted.unwrap());
    }
}

#[tokio::test]
async fn what_is_no_review_is_told_so() {
    let caches = cluster(&[], &[], &[]);
    let good = asked("CREATE", &model(json!({"image": "x"})), &Value::Null);
    let with = |pointer: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(pointer).unwrap() = value;
        review
    };
    let table = [
        (json!({}), "no AdmissionReview"),
        (json!([]), "no AdmissionReview"),
        (with("/apiVersion", "admission.k8s.io/v1beta1".into()), "another version"),
        (with("/kind", "Review".into()), "another version"),
        (with("/request", Value::Null), "without a request"),
        (with("/request/object", Value::Null), "no `object`"),
        (with("/request/operation", "ADMIRE".into()), "no AdmissionReview"),
        (with("/request/kind/kind", "Pod".into()), "`Pod` is not reviewed here"),
        (with("/request/kind/group", "apps".into()), "is not reviewed here"),
    ];
    for (review, words) in table {
        let error = answer(&review, &caches, None).await.unwrap_err();
        assert!(error.contains(words), "{review}: {error}");
    }
}
