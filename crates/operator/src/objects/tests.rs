//! Every field of what is made, as YAML.

use serde_json::{Value, json};

use super::*;
use crate::{apply::is_part, resources::MlModel, routers::Home, wish};

fn owner(spec: Value) -> MlDeployment {
    let metadata = json!({"name": "iris", "namespace": "team", "uid": "0f"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn wished(owner: &MlDeployment, model: Value) -> Wish {
    let model: MlModel =
        serde_json::from_value(json!({"metadata": {"name": "iris", "namespace": "team"}, "spec": model})).unwrap();
    wish::wish(owner, Some(&model), &[]).unwrap()
}

fn settings() -> ClusterSettings {
    ClusterSettings {
        namespace: "kea".into(),
        all_namespaces: true,
        image: "registry.example/kea:1".into(),
        builder_image: "registry.example/python:3.11-slim".into(),
        registry: Some("registry.example/models".into()),
        url: None,
        replica_mtls: false,
        body_limit: 1 << 20,
    }
}

fn deployed(owner: &MlDeployment, wish: &Wish, web_service: Option<u16>) -> Result<Value, PodError> {
    deployed_by(owner, wish, web_service, false)
}

fn deployed_by(
    owner: &MlDeployment,
    wish: &Wish,
    web_service: Option<u16>,
    mutual_tls: bool,
) -> Result<Value, PodError> {
    let image = ImageRecord {
        reference: "registry.example/iris@sha256:ab".into(),
        framework: None,
        web_service,
        tls: mutual_tls,
    };
    let settings = settings();
    let parts = VersionParts {
        owner,
        wish,
        version: &wish.version,
        model: &wish.model,
        image: &image,
        replica: None,
        replicas: wish.replicas,
        settings: &settings,
        mutual_tls,
    };
    deployment(&parts).map(|deployment| serde_json::to_value(deployment).unwrap())
}

#[test]
fn a_version_of_a_model() {
    let owner = owner(json!({
        "replicas": 3,
        "timeout": "7s",
        "env": {"LOG": "1"},
        "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 2, "memory": "1Gi"}},
        "server": {"workers": 2},
        "pod": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "imagePullSecrets": ["login"],
            "envFrom": [{"secretRef": {"name": "keys"}}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "extendedResources": {"nvidia.com/gpu": 1},
        },
    }));
    let wish = wished(&owner, json!({"image": "registry.example/iris:1", "version": "1.2"}));
    insta::assert_yaml_snapshot!(deployed(&owner, &wish, None).unwrap());
}

#[test]
fn a_version_of_a_web_service() {
    let owner = owner(json!({}));
    let wish = wished(&owner, json!({"image": "registry.example/shop:1"}));
    insta::assert_yaml_snapshot!(deployed(&owner, &wish, Some(8080)).unwrap());
}

#[test]
fn mutual_tls_is_of_the_one_container_that_routers_reach() {
    let owner = owner(json!({}));
    let wish = wished(&owner, json!({"image": "registry.example/x:1"}));
    // The port of a web service, and that of probes.
    for (web_service, probes) in [(None, 8082), (Some(8080), 8082), (Some(8082), 8083)] {
        let deployed = deployed_by(&owner, &wish, web_service, true).unwrap();
        let template = &deployed["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"]["ml.kea-project.io/tls"], "mutual");
        let spec = &template["spec"];
        let containers = spec["containers"].as_array().unwrap();
        let (reached, others) = containers.split_last().unwrap();
        assert_eq!(reached["readinessProbe"]["httpGet"]["port"], probes);
        let port = |name: &str| reached["ports"].as_array().unwrap().iter().find(|port| port["name"] == name).unwrap();
        assert_eq!(port("probes")["containerPort"], probes);
        assert_ne!(port("kea")["containerPort"], probes);
        assert!(reached.to_string().contains("KEA_TLS_CLIENT_CA"));
        assert_eq!(reached["volumeMounts"].as_array().unwrap().last().unwrap()["name"], "kea-tls");
        for other in others {
            assert!(!other.to_string().contains("tls"), "{other}");
            assert_eq!(other["lifecycle"]["preStop"]["httpGet"]["port"], probes);
        }
        let volume = spec["volumes"].as_array().unwrap().last().unwrap();
        assert_eq!(volume["secret"]["secretName"], "iris-kea-tls");
    }
}

#[test]
fn a_model_is_told_what_its_author_states_of_it() {
    let owner = owner(json!({}));
    let functions = json!([{"name": "predict", "description": "Costs in $(CURRENCY)"}]);
    let wish = wished(&owner, json!({"image": "registry.example/iris:1", "functions": functions}));
    let deployed = deployed(&owner, &wish, None).unwrap();
    let env = deployed["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let told = env.iter().find(|variable| variable["name"] == "KEA_FUNCTIONS").unwrap();
    let told = told["value"].as_str().unwrap();
    assert!(told.contains("$$(CURRENCY)"), "Kubernetes would put a variable there: {told}");
    assert_eq!(serde_json::from_str::<Value>(&told.replace("$$", "$")).unwrap(), functions);
}

#[test]
fn what_stands_beside_a_web_service_is_told_what_that_speaks() {
    let told = |server: Value| {
        let owner = owner(json!({"server": server}));
        let wish = wished(&owner, json!({"image": "registry.example/greeter:1"}));
        let deployed = deployed(&owner, &wish, Some(8000)).unwrap();
        let sidecar = deployed["spec"]["template"]["spec"]["containers"][1]["env"].clone();
        let variables = sidecar.as_array().unwrap().iter();
        variables
            .filter(|variable| variable["name"] == "KEA_PROTOCOL")
            .map(|variable| variable["value"].clone())
            .collect()
    };
    let [of_grpc, of_others]: [Vec<Value>; 2] = [told(json!({"protocol": "http2"})), told(json!({}))];
    assert_eq!((of_grpc, of_others), (vec![json!("http2")], vec![]));
}

#[test]
fn a_part_that_kubernetes_does_not_know_is_refused_by_its_name() {
    let owner = owner(json!({"pod": {"volumes": [{"name": 5}]}}));
    let wish = wished(&owner, json!({"image": "registry.example/iris:1"}));
    let refused = deployed(&owner, &wish, None).unwrap_err().to_string();
    assert!(refused.starts_with("`spec.pod.volumes`: "), "{refused}");
}

#[test]
fn what_a_service_has_once() {
    let owner = owner(json!({}));
    let scaling = serde_json::from_value(json!({"maxReplicas": 5})).unwrap();
    insta::assert_yaml_snapshot!(json!([
        service(&owner),
        service_account(&owner),
        network_policy(&owner, &Home::Labelled("kubernetes.io/metadata.name", "kea".into())),
        autoscaler(&owner, &scaling),
        disruption_budget(&owner, "policy/v1"),
    ]));
}

#[test]
fn a_build() {
    let owner = owner(json!({"pod": {"imagePullSecrets": ["login"]}}));
    let model =
        json!({"source": "s3://models/iris.joblib", "requirements": ["numpy<2"], "modelFramework": "ScikitLearn"});
    let wish = wished(&owner, model);
    insta::assert_yaml_snapshot!(build_job(&owner, &wish, "registry.example/models/team-iris:1-ab", &settings()));
}

fn build_line(model: Value) -> Vec<String> {
    let owner = owner(json!({}));
    let job = build_job(&owner, &wished(&owner, model), "r/x:1", &settings());
    job.spec.unwrap().template.spec.unwrap().containers.remove(0).command.unwrap()
}

#[test]
fn commands_keep_their_words() {
    let command = ["sh", "-c", "exec app --port $PORT --at $(date) 'a b'"];
    let line = build_line(json!({"source": "https://x/app.zip", "command": command}));
    let at = line.iter().position(|word| word == "--command").unwrap();
    // Kubernetes makes one `$` of two, and no variable of what follows.
    assert_eq!(line[at + 1], r"sh -c 'exec app --port $$PORT --at $$(date) '\''a b'\'''");
}

#[test]
fn logins_of_sources_come_from_the_variables_of_builds() {
    let source = "git+https://$(GIT_TOKEN)@host/models.git@main";
    let line = build_line(json!({"source": source, "requirements": ["x @ git+https://$(GIT_TOKEN)@host/x.git"]}));
    assert_eq!(line.last().unwrap(), source);
    assert!(line.contains(&"x @ git+https://$(GIT_TOKEN)@host/x.git".to_string()), "{line:?}");
}

#[test]
fn what_kubernetes_gives_back_is_not_written_again() {
    let owner = owner(json!({
        "env": {"EMPTY": ""},
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 1.5, "memory": "500M"}},
        "pod": {
            "extendedResources": {"example.com/part": 1000},
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch", "readOnly": false}],
            "tolerations": [{"key": "gpu", "operator": "Exists", "value": ""}],
        },
    }));
    let wish = wished(&owner, json!({"image": "registry.example/iris:1"}));
    let wanted = deployed(&owner, &wish, None).unwrap();
    // As Kubernetes has it: quantities in their canonical form, nothing that is empty, and defaults.
    let mut seen = wanted.clone();
    let pod = "/spec/template/spec";
    let container = seen.pointer_mut(&format!("{pod}/containers/0")).unwrap();
    container["resources"] = json!({
        "requests": {"cpu": "1", "memory": "1Gi", "example.com/part": "1k"},
        "limits": {"cpu": "1500m", "memory": "500M", "example.com/part": "1k"},
    });
    container["imagePullPolicy"] = "IfNotPresent".into();
    let env = container["env"].as_array_mut().unwrap();
    let empty = env.iter_mut().find(|variable| variable["name"] == "EMPTY").unwrap();
    empty.as_object_mut().unwrap().remove("value").unwrap();
    container["volumeMounts"][0].as_object_mut().unwrap().remove("readOnly").unwrap();
    let spec = seen.pointer_mut(pod).unwrap();
    spec["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi".into();
    spec["tolerations"][0].as_object_mut().unwrap().remove("value").unwrap();
    spec["dnsPolicy"] = "ClusterFirst".into();
    assert_ne!(wanted, seen);
    assert!(is_part(&wanted, &seen));
    seen.pointer_mut(&format!("{pod}/containers/0")).unwrap()["resources"]["limits"]["memory"] = "501M".into();
    assert!(!is_part(&wanted, &seen));
}

#[test]
fn routers_of_the_same_namespace_are_selected_without_its_name() {
    let selector = |home: &Home| {
        let policy = serde_json::to_value(network_policy(&owner(json!({})), home)).unwrap();
        policy.pointer("/spec/ingress/0/from/0").unwrap().get("namespaceSelector").cloned()
    };
    assert_eq!(selector(&Home::Same), None);
    assert_eq!(selector(&Home::Anywhere), Some(json!({})));
}
