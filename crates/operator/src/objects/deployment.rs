//! The Deployment of one version.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, Lifecycle,
            LifecycleHandler, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kea_core::{
    quantity::Cpu,
    replica::LINGER_PATH,
    service::{Amounts, Resources, ServerSettings},
};

use super::{PORT_NAME, PodError, VersionParts, certificate, metadata, needs, read_list};
use crate::names;

/// User of images that KEA writes.
const USER: i64 = 65532;

/// Port of replicas; the next one where a web service has it.
const PORT: u16 = 8080;

/// How long a stopped replica still answers: routers hear of its end a moment later than it does itself.
const LINGER_SECONDS: i64 = 5;

/// Time that a replica has to end.
const GRACE_SECONDS: i64 = 60;

/// The Deployment that runs a version.
///
/// # Errors
/// A part of `spec.pod` that is not what Kubernetes has there.
pub(crate) fn deployment(parts: &VersionParts<'_>) -> Result<Deployment, PodError> {
    let VersionParts { owner, version, .. } = parts;
    let selector = names::version_selector(owner, version);
    let mut metadata = metadata(owner, names::of_version(owner.name(), version));
    metadata.labels = Some(names::version_labels(owner, version));
    metadata.annotations = Some(annotations(parts));
    Ok(Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(i32::try_from(parts.replicas).unwrap_or(i32::MAX)),
            selector: LabelSelector { match_labels: Some(selector.clone()), ..LabelSelector::default() },
            // A changed pod is ready before the one that it replaces stops.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".into())),
                }),
            }),
            revision_history_limit: Some(1),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::version_labels(owner, version)),
                    annotations: parts.mutual_tls.then(|| [(names::TLS.into(), names::MUTUAL.into())].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(parts, selector)?),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

/// What the version is, for whoever looks at it later: the operator itself after a restart, and the routers.
fn annotations(parts: &VersionParts<'_>) -> BTreeMap<String, String> {
    let mut annotations =
        BTreeMap::from([(names::MODEL.to_string(), json(parts.model)), (names::IMAGE.to_string(), json(parts.image))]);
    annotations.extend(parts.replica.map(|replica| (names::REPLICA.to_string(), json(replica))));
    annotations
}

fn json<T: serde::Serialize>(record: &T) -> String {
    serde_json::to_string(record).expect("records have plain fields, which have a JSON text")
}

fn pod(parts: &VersionParts<'_>, selector: BTreeMap<String, String>) -> Result<PodSpec, PodError> {
    let VersionParts { owner, wish, image, .. } = parts;
    let pod = &wish.pod;
    let mut volumes: Vec<Volume> = read_list("volumes", &pod.volumes)?;
    volumes.push(Volume { name: TMP.into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() });
    volumes.extend(parts.mutual_tls.then(|| certificate::volume(owner)));
    let containers = match image.web_service {
        None => vec![model_container(parts)?],
        Some(port) => vec![web_service_container(parts, port)?, sidecar(parts, port)],
    };
    let is_own = image.web_service.is_none();
    Ok(PodSpec {
        service_account_name: Some(owner.name().into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: is_own.then_some(true),
            run_as_user: is_own.then_some(USER),
            run_as_group: is_own.then_some(USER),
            fs_group: is_own.then_some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers,
        volumes: Some(volumes),
        node_selector: (!pod.node_selector.is_empty()).then(|| pod.node_selector.clone()),
        tolerations: Some(read_list("tolerations", &pod.tolerations)?).filter(|list: &Vec<_>| !list.is_empty()),
        image_pull_secrets: (!pod.image_pull_secrets.is_empty())
            .then(|| pod.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
        priority_class_name: pod.priority_class_name.clone(),
        termination_grace_period_seconds: Some(grace_seconds(parts)),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(LabelSelector { match_labels: Some(selector), ..LabelSelector::default() }),
            ..TopologySpreadConstraint::default()
        }]),
        ..PodSpec::default()
    })
}

const TMP: &str = "tmp";

/// Time for the last requests, and some more for the model to end. The same for all common timeouts, so that a change of
/// one, which reaches replicas with each request, is no change of pods.
fn grace_seconds(parts: &VersionParts<'_>) -> i64 {
    let timeout = parts.wish.settings.timeout.map_or(0, |timeout| timeout.0.as_secs() + 1);
    (LINGER_SECONDS + i64::try_from(timeout).unwrap_or(i64::MAX / 2) + 10).max(GRACE_SECONDS)
}

/// KEA's own model server with the model in it.
fn model_container(parts: &VersionParts<'_>) -> Result<Container, PodError> {
    let mut env = model_server_env(parts, PORT);
    env.extend(server_env(&parts.wish.settings.server));
    let resources = parts.wish.request.resources.clone().unwrap_or_default();
    env.extend(resources.limits.cpu.map(|cpu| variable("KEA_THREADS", &whole(cpu).to_string())));
    env.extend(resources.limits.memory.map(|memory| variable("KEA_MEMORY", &memory.bytes.to_string())));
    let probed = probed_port(parts, PORT);
    let mut container = Container {
        image: Some(parts.image.reference.clone()),
        ports: Some(vec![port(PORT)]),
        readiness_probe: Some(probe("/readyz", probed, 1, 2)),
        liveness_probe: Some(probe("/healthz", probed, 10, 6)),
        security_context: Some(SecurityContext { read_only_root_filesystem: Some(true), ..restricted() }),
        ..container("model", parts, env)?
    };
    speak_tls(parts, &mut container);
    Ok(container)
}

/// Where Kubernetes asks a model server how it is, that listens at `listen`.
fn probed_port(parts: &VersionParts<'_>, listen: u16) -> u16 {
    if parts.mutual_tls { certificate::probes_port(parts.image.web_service) } else { listen }
}

/// Makes a model server speak mutual TLS, where it is to.
fn speak_tls(parts: &VersionParts<'_>, container: &mut Container) {
    if !parts.mutual_tls {
        return;
    }
    let probes = certificate::probes_port(parts.image.web_service);
    container.env.get_or_insert_default().extend(certificate::env(probes));
    container.ports.get_or_insert_default().push(certificate::probes(probes));
    container.volume_mounts.get_or_insert_default().push(certificate::mount());
}

/// A web service that brings its own server.
fn web_service_container(parts: &VersionParts<'_>, port: u16) -> Result<Container, PodError> {
    let mut container = container("model", parts, vec![variable("PORT", &port.to_string())])?;
    container.image = Some(parts.image.reference.clone());
    container.security_context = Some(restricted());
    // It ends with the sidecar, which still passes requests on for a while.
    container.lifecycle = Some(Lifecycle {
        pre_stop: Some(LifecycleHandler {
            http_get: Some(HTTPGetAction {
                path: Some(LINGER_PATH.into()),
                port: IntOrString::Int(i32::from(probed_port(parts, sidecar_port(port)))),
                ..HTTPGetAction::default()
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    });
    Ok(container)
}

/// Beside a web service: tells how it is, and passes requests on, as KEA's own model server does.
fn sidecar(parts: &VersionParts<'_>, web_service: u16) -> Container {
    let listen = sidecar_port(web_service);
    let mut env = model_server_env(parts, listen);
    env.push(variable("KEA_UPSTREAM", &format!("127.0.0.1:{web_service}")));
    let protocol = parts.wish.settings.server.protocol;
    env.extend(protocol.map(|protocol| variable("KEA_PROTOCOL", protocol.as_str())));
    let mut container = Container {
        name: "kea".into(),
        image: Some(parts.settings.image.clone()),
        args: Some(vec!["model-server".into()]),
        env: Some(env),
        ports: Some(vec![port(listen)]),
        readiness_probe: Some(probe("/readyz", probed_port(parts, listen), 1, 2)),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            ..restricted()
        }),
        // It passes bodies on part by part, and holds none.
        resources: Some(needs(["10m", "32Mi"], ["1", "256Mi"])),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    };
    speak_tls(parts, &mut container);
    container
}

fn sidecar_port(web_service: u16) -> u16 {
    if web_service == PORT { PORT + 1 } else { PORT }
}

/// What the container of a model has in any case.
fn container(name: &str, parts: &VersionParts<'_>, mut env: Vec<EnvVar>) -> Result<Container, PodError> {
    let pod = &parts.wish.pod;
    let given = parts.wish.request.env.iter().flatten();
    env.extend(given.map(|(name, value)| variable(name, value)));
    let mut mounts: Vec<VolumeMount> = read_list("volumeMounts", &pod.volume_mounts)?;
    mounts.push(VolumeMount { name: TMP.into(), mount_path: "/tmp".into(), ..VolumeMount::default() });
    Ok(Container {
        name: name.into(),
        env: Some(env),
        env_from: Some(read_list("envFrom", &pod.env_from)?).filter(|list: &Vec<_>| !list.is_empty()),
        volume_mounts: Some(mounts),
        resources: resources(parts),
        // What it said last is what `kea status` says of a container that ended.
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    })
}

fn model_server_env(parts: &VersionParts<'_>, listen: u16) -> Vec<EnvVar> {
    let mut env = vec![
        variable("KEA_SERVICE", parts.owner.name()),
        variable("KEA_SERVICE_VERSION", parts.version.as_str()),
        variable("KEA_LISTEN", &format!("0.0.0.0:{listen}")),
        variable("KEA_LINGER", &format!("{LINGER_SECONDS}s")),
        variable("KEA_TERMINATION_LOG", "/dev/termination-log"),
        variable("KEA_BODY_LIMIT", &parts.settings.body_limit.to_string()),
    ];
    if !parts.model.functions.is_empty() {
        // Kubernetes reads `$(NAME)` in values, and `$$` as `$`.
        let stated = serde_json::json!(parts.model.functions).to_string().replace('$', "$$");
        env.push(variable("KEA_FUNCTIONS", &stated));
    }
    env
}

fn server_env(server: &ServerSettings) -> Vec<EnvVar> {
    let given = [
        ("KEA_WORKERS", server.workers),
        ("KEA_MAX_BATCH_ROWS", server.max_batch_rows),
        ("KEA_QUEUE_LIMIT", server.queue_limit),
    ];
    given.into_iter().filter_map(|(name, value)| Some(variable(name, &value?.to_string()))).collect()
}

fn whole(cpu: Cpu) -> u64 {
    cpu.millis.div_ceil(1000).max(1)
}

pub(super) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

fn port(number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(PORT_NAME.into()),
        container_port: i32::from(number),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, port: u16, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(i32::from(port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// What no container of a model needs.
pub(super) fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

fn resources(parts: &VersionParts<'_>) -> Option<ResourceRequirements> {
    let Resources { requests, limits } = parts.wish.request.resources.clone().unwrap_or_default();
    let (mut requests, mut limits) = (amounts(&requests), amounts(&limits));
    for (name, count) in &parts.wish.pod.extended_resources {
        requests.insert(name.clone(), Quantity(count.to_string()));
        limits.insert(name.clone(), Quantity(count.to_string()));
    }
    let given = |amounts: BTreeMap<_, _>| Some(amounts).filter(|amounts| !amounts.is_empty());
    let needed = ResourceRequirements { requests: given(requests), limits: given(limits), claims: None };
    (needed != ResourceRequirements::default()).then_some(needed)
}

fn amounts(amounts: &Amounts) -> BTreeMap<String, Quantity> {
    let cpu = amounts.cpu.map(|cpu| ("cpu".to_string(), Quantity(cpu.to_string())));
    let memory = amounts.memory.map(|memory| ("memory".to_string(), Quantity(memory.to_string())));
    cpu.into_iter().chain(memory).collect()
}
