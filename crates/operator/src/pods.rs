//! How pods are, and why one is not ready, in Kubernetes' own words.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kea_core::VersionId;

use crate::{names, objects::PORT_NAME};

/// Most letters of a container's last words that are repeated.
const LAST_WORDS: usize = 600;

/// The word for a container that runs and does not say that it is ready.
const NOT_READY: &str = "NotReady";

/// What keeps a pod from being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// A word for programs, Kubernetes' own where there is one.
    pub(crate) reason: String,
    /// A sentence for people.
    pub(crate) message: String,
    /// Whether time alone will not mend it.
    pub(crate) lasting: bool,
}

/// The service that a pod serves.
pub(crate) fn service(pod: &Pod) -> Option<&str> {
    let labels = pod.metadata.labels.as_ref()?;
    (labels.get(names::COMPONENT)? == names::MODEL_COMPONENT).then(|| labels.get(names::SERVICE).map(String::as_str))?
}

/// The uid of the MLDeployment that a pod serves.
pub(crate) fn owner(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(names::OWNER).map(String::as_str)
}

/// The version that a pod runs.
pub(crate) fn version(pod: &Pod) -> Option<VersionId> {
    pod.metadata.labels.as_ref()?.get(names::VERSION)?.parse().ok()
}

/// Whether a pod takes requests: it says that it is ready, and nobody has told it to end.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    ready && stays(pod)
}

/// Whether nobody has told it to end.
pub(crate) fn stays(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod speaks mutual TLS.
pub(crate) fn speaks_tls(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.get(names::TLS).is_some_and(|value| value == names::MUTUAL))
}

/// The name that a pod's certificate must have, where it is reached by mutual TLS. It follows from where the pod is, and
/// not from what it says.
pub(crate) fn tls_name(pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref()?;
    speaks_tls(pod).then(|| Some(names::tls_host(namespace, service(pod)?)))?
}

/// Where a pod answers.
pub(crate) fn address(pod: &Pod) -> Option<SocketAddr> {
    port(pod, PORT_NAME)
}

/// Where a pod has the port of that name.
pub(crate) fn port(pod: &Pod, name: &str) -> Option<SocketAddr> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(name))?;
    Some(SocketAddr::new(ip, u16::try_from(port.container_port).ok()?))
}

/// How often containers of a pod were started again.
pub(crate) fn restarts(pod: &Pod) -> u32 {
    statuses(pod).map(|status| u32::try_from(status.restart_count).unwrap_or(0)).sum()
}

/// The word of the API for how a pod is.
pub(crate) fn state(pod: &Pod) -> &'static str {
    let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    match () {
        () if !stays(pod) => "stopping",
        () if is_ready(pod) => "ready",
        () if statuses(pod).any(|status| waiting(status).is_some_and(|(reason, _)| reason == "CrashLoopBackOff")) => {
            "waiting"
        }
        () if running && restarts(pod) == 0 => "starting",
        () if running => "unready",
        () => "starting",
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    init.chain(status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten())
}

fn waiting(status: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default()))
}

/// Why a pod is not ready; `None` where it is, or where it has just not had the time.
pub(crate) fn trouble(pod: &Pod) -> Option<Trouble> {
    if is_ready(pod) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    let unschedulable = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unschedulable {
        return Some(Trouble {
            reason: condition.reason.clone().unwrap_or_else(|| "Unschedulable".into()),
            message: format!("no node can take it: {}", condition.message.as_deref().unwrap_or("no reason was given")),
            lasting: true,
        });
    }
    if status.reason.as_deref() == Some("Evicted") {
        let message = format!("it was evicted: {}", status.message.as_deref().unwrap_or_default());
        return Some(Trouble { reason: "Evicted".into(), message, lasting: false });
    }
    // A sidecar that waits says less than the container that it waits for.
    let mut troubles: Vec<Trouble> = statuses(pod).filter_map(|container| of_container(pod, container)).collect();
    troubles.sort_by_key(|trouble| (!trouble.lasting, trouble.reason == NOT_READY));
    troubles.into_iter().next()
}

fn of_container(pod: &Pod, status: &ContainerStatus) -> Option<Trouble> {
    let trouble = |reason: &str, message: String, lasting| Some(Trouble { reason: reason.into(), message, lasting });
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref()).or(last);
    let crashed = ended.filter(|ended| ended.exit_code != 0).map(|ended| {
        let words = ended.message.as_deref().map(last_words).filter(|words| !words.is_empty());
        let said = words.map_or_else(String::new, |words| format!("; it said: {words}"));
        match ended.reason.as_deref() {
            Some("OOMKilled") => {
                let limit = memory_limit(pod, &status.name).map_or_else(String::new, |limit| format!(" of {limit}"));
                (
                    "OOMKilled",
                    format!("it was killed for memory above its limit{limit}: raise `resources.limits.memory`"),
                )
            }
            _ => ("CrashLoopBackOff", format!("it ended with exit code {}{said}", ended.exit_code)),
        }
    });
    match (waiting(status), crashed) {
        (Some(("CrashLoopBackOff", _)), Some((reason, message))) => {
            trouble(reason, format!("{message} (started {} times)", status.restart_count + 1), true)
        }
        (Some(("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull", message)), _) => {
            trouble("ImagePull", format!("the image `{}` cannot be pulled: {message}", status.image), true)
        }
        (
            Some((reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"), message)),
            _,
        ) => trouble(reason, format!("its container cannot be made: {message}"), true),
        (_, Some((reason, message))) => trouble(reason, message, reason == "OOMKilled"),
        _ if status.state.as_ref().is_some_and(|state| state.running.is_some()) && !status.ready => {
            trouble(NOT_READY, "it runs, and its readiness probe does not answer yet".into(), false)
        }
        _ => None,
    }
}

fn memory_limit(pod: &Pod, container: &str) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    let found = containers.iter().find(|candidate| candidate.name == container)?;
    let limits = found.resources.as_ref()?.limits.as_ref()?;
    Some(limits.get("memory")?.0.clone())
}

/// The end of what a container said, on one line.
fn last_words(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = line.len().saturating_sub(LAST_WORDS);
    let start = (start..=line.len()).find(|index| line.is_char_boundary(*index)).unwrap_or(0);
    line[start..].to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "iris-1-x"},
            "spec": {"containers": [{
                "name": "model",
                "ports": [{"name": "kea", "containerPort": 8080}],
                "resources": {"limits": {"memory": "64Mi"}},
            }]},
            "status": status,
        }))
        .unwrap()
    }

    fn why(container: Value) -> (String, String, bool) {
        let base = json!({"name": "model", "image": "r/x:1", "imageID": "", "ready": false, "restartCount": 3});
        let mut status = base.as_object().unwrap().clone();
        status.extend(container.as_object().unwrap().clone());
        let trouble = trouble(&pod(json!({"containerStatuses": [status]}))).unwrap();
        (trouble.reason, trouble.message, trouble.lasting)
    }

    #[test]
    fn kubernetes_own_facts_are_told() {
        let (reason, message, lasting) =
            why(json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}));
        assert_eq!((reason.as_str(), lasting), ("ImagePull", true));
        assert!(message.contains("`r/x:1` cannot be pulled: not found"), "{message}");

        let crash = json!({
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "line one\nno module `x`\n"}},
        });
        let (reason, message, _) = why(crash);
        assert_eq!(reason, "CrashLoopBackOff");
        assert_eq!(message, "it ended with exit code 1; it said: line one no module `x` (started 4 times)");

        let killed = json!({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}});
        let (reason, message, _) = why(killed);
        assert_eq!(reason, "OOMKilled");
        assert!(message.contains("limit of 64Mi"), "{message}");

        let (_, message, lasting) = why(json!({"state": {"running": {}}}));
        assert!(message.contains("readiness probe") && !lasting);
    }

    #[test]
    fn a_pod_without_a_node_says_what_is_missing() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                               "message": "0/1 nodes are available: 1 Insufficient cpu."});
        let trouble = trouble(&pod(json!({"conditions": [condition]}))).unwrap();
        assert_eq!(trouble.message, "no node can take it: 0/1 nodes are available: 1 Insufficient cpu.");
        assert!(trouble.lasting);
    }

    #[test]
    fn a_pod_says_whether_it_speaks_tls_and_its_place_says_by_what_name() {
        let labels = json!({"app.kubernetes.io/component": "model", "ml.kea-project.io/service": "iris"});
        let of = |annotations: Value| {
            let metadata = json!({"namespace": "team", "labels": labels, "annotations": annotations});
            tls_name(&serde_json::from_value(json!({"metadata": metadata})).unwrap())
        };
        assert_eq!(of(json!({"ml.kea-project.io/tls": "mutual"})).as_deref(), Some("iris.team.svc"));
        assert_eq!(of(json!({"ml.kea-project.io/tls": "none"})), None);
        assert_eq!(of(Value::Null), None);
    }

    #[test]
    fn a_pod_on_its_way_out_takes_no_requests() {
        let ready = json!({"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]});
        let mut pod = pod(ready);
        assert!(is_ready(&pod));
        assert_eq!(address(&pod).unwrap().to_string(), "10.0.0.7:8080");
        pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert!(!is_ready(&pod));
        assert_eq!(state(&pod), "stopping");
    }
}
