//! The Job that builds the image of a version: KEA's own program, run in an image that has Python and pip.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{
        ConfigMapEnvSource, Container, EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, LocalObjectReference,
        PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, SecretEnvSource, SecretKeySelector,
        SecurityContext, Volume, VolumeMount,
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    deployment::{restricted, variable},
    metadata, needs,
};
use crate::{names, resources::MlDeployment, settings::ClusterSettings, version::ModelRecord, wish::Wish};

/// ConfigMap and Secret of a service's namespace whose keys are variables of its builds: indexes, mirrors, credentials
/// of sources and registries. Both may be missing.
pub(crate) const BUILD_SETTINGS: &str = "kea-build";

/// User that builds run as.
const USER: i64 = 65532;

/// How long a build may take: whatever hangs must not hang for ever.
const WITHIN_SECONDS: i64 = 2 * 3600;

const PROGRAM: &str = "kea-program";
const WORK: &str = "work";

/// Authorities that KEA's own image trusts: an image with Python may have none.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The Job that builds `wish.model` and pushes it as `image`. Its last words are the image's digest.
pub(crate) fn build_job(owner: &MlDeployment, wish: &Wish, image: &str, settings: &ClusterSettings) -> Job {
    let mut metadata = metadata(owner, names::of_build(owner.name(), &wish.version, &model_text(&wish.model)));
    let mut labels = names::service_labels(owner.name());
    labels.insert(names::COMPONENT.into(), names::BUILD_COMPONENT.into());
    labels.insert(names::VERSION.into(), wish.version.to_string());
    metadata.labels = Some(labels.clone());
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(1),
            active_deadline_seconds: Some(WITHIN_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(pod(wish, image, settings)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// What tells one model from another.
pub(crate) fn model_text(model: &ModelRecord) -> String {
    serde_json::to_string(model).expect("records have plain fields, which have a JSON text")
}

fn pod(wish: &Wish, image: &str, settings: &ClusterSettings) -> PodSpec {
    let logins = wish.pod.image_pull_secrets.first();
    let empty = |name: &str| Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    PodSpec {
        restart_policy: Some("Never".into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        init_containers: Some(vec![Container {
            name: "program".into(),
            image: Some(settings.image.clone()),
            command: Some(["cp", "/usr/local/bin/kea", CERTIFICATES, "/kea/"].map(String::from).to_vec()),
            volume_mounts: Some(vec![mount(PROGRAM, "/kea", false)]),
            security_context: Some(confined()),
            // It copies KEA's program.
            resources: Some(needs(["10m", "16Mi"], ["500m", "128Mi"])),
            ..Container::default()
        }]),
        containers: vec![builder(wish, image, settings, logins)],
        volumes: Some(vec![empty(PROGRAM), empty(WORK)]),
        image_pull_secrets: logins.map(|name| vec![LocalObjectReference { name: name.clone() }]),
        ..PodSpec::default()
    }
}

fn builder(wish: &Wish, image: &str, settings: &ClusterSettings, logins: Option<&String>) -> Container {
    let mut env = vec![
        variable("HOME", "/build"),
        variable("TMPDIR", "/build"),
        variable("KEA_CACHE_DIR", "/build/cache"),
        variable("SSL_CERT_FILE", "/kea/ca-certificates.crt"),
    ];
    env.extend(logins.map(|secret| EnvVar {
        name: "DOCKER_AUTH_CONFIG".into(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.clone(),
                key: ".dockerconfigjson".into(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }));
    // The last line of the output is the digest; what is done goes to the log.
    let script = "exec \"$@\" > /dev/termination-log";
    let command = ["sh", "-c", script, "kea"].map(String::from).into_iter().chain(arguments(&wish.model, image));
    Container {
        name: "build".into(),
        image: Some(settings.builder_image.clone()),
        command: Some(command.collect()),
        env: Some(env),
        env_from: Some(vec![
            EnvFromSource {
                config_map_ref: Some(ConfigMapEnvSource { name: BUILD_SETTINGS.into(), optional: Some(true) }),
                ..EnvFromSource::default()
            },
            EnvFromSource {
                secret_ref: Some(SecretEnvSource { name: BUILD_SETTINGS.into(), optional: Some(true) }),
                ..EnvFromSource::default()
            },
        ]),
        volume_mounts: Some(vec![mount(PROGRAM, "/kea", true), mount(WORK, "/build", false)]),
        security_context: Some(confined()),
        // Most of the time it waits for downloads; the largest packages need the memory while they are unpacked.
        resources: Some(needs(["250m", "512Mi"], ["2", "4Gi"])),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    }
}

/// The command. Kubernetes puts variables in the place of `$(NAME)`, as which logins stand in sources and packages; a
/// command of a web service is for another environment, and stays as it is.
fn arguments(model: &ModelRecord, image: &str) -> Vec<String> {
    let mut line = vec!["/kea/kea".to_string(), "build".into()];
    line.extend(["--image".into(), image.into(), "--push".into()]);
    line.extend(model.framework.into_iter().flat_map(|framework| ["--framework".into(), framework.to_string()]));
    line.extend(model.requirements.iter().flat_map(|package| ["--requirement".into(), package.clone()]));
    if !model.command.is_empty() {
        line.extend(["--command".into(), shell_line(&model.command).replace('$', "$$")]);
    }
    line.push("--".into());
    line.extend(model.source.clone());
    line
}

/// Words as one line that a shell takes apart into the same words.
fn shell_line(words: &[String]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,@%+$".contains(&b);
    let quoted = |word: &String| match !word.is_empty() && word.bytes().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn confined() -> SecurityContext {
    SecurityContext { read_only_root_filesystem: Some(true), ..restricted() }
}
