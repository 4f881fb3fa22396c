//! What installs KEA in a cluster: definitions, rights, the operator and the routers. The chart in `deploy/helm` says the
//! same.

use serde_json::{Value, json};

use crate::{
    admin::{ADMIN_SECRET, PASSWORD_KEY},
    crd::custom_resource_definitions,
    exposure::Exposure,
    mutual_tls, names,
    peers::{PEERS_PORT, PEERS_PORT_NAME, PEERS_SECRET, TOKEN_KEY},
    resources::GROUP,
    webhook,
};

/// How KEA is installed.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The namespace that KEA runs in.
    pub namespace: String,
    /// KEA's own image.
    pub image: String,
    /// How many operators; one acts, the others wait.
    pub operators: u32,
    /// How many routers.
    pub routers: u32,
    /// Whether services of that namespace alone are served.
    pub single_namespace: bool,
    /// Registry and folder to which images of models are sent.
    pub registry: Option<String>,
    /// Image with Python and pip in which models are built.
    pub builder_image: Option<String>,
    /// Where callers reach the routers.
    pub url: Option<String>,
    /// How requests from outside the cluster come to the routers.
    pub exposure: Option<Exposure>,
    /// Secret with a key `url`: the database for users.
    pub database_secret: Option<String>,
    /// Secret with a key `sso.toml`: the providers of single sign-on.
    pub sso_secret: Option<String>,
    /// Secret with a key `url`: the Redis for the response cache of all routers.
    pub cache_redis_secret: Option<String>,
    /// Secret with a key `url`: the Redis in which routers count rates together.
    pub rates_redis_secret: Option<String>,
    /// Whether routers and KEA's own replicas speak mutual TLS.
    pub replica_mtls: bool,
    /// Secret with a key `ca.crt`: authorities of replicas elsewhere.
    pub replica_ca_secret: Option<String>,
    /// Secret with keys `tls.crt` and `tls.key`: what routers show to replicas elsewhere.
    pub replica_certificate_secret: Option<String>,
    /// Further variables of operator and routers.
    pub env: Vec<(String, String)>,
    /// The type of the routers' Service.
    pub service_type: String,
    /// Whether what cannot be is refused at once, by a validating webhook. Not with `single_namespace`.
    pub webhook: bool,
}

/// Everything that installs KEA, in the order in which it is to be made.
pub fn manifests(options: &InstallOptions) -> Vec<Value> {
    let mut all = Vec::new();
    // With rights in one namespace, that is somebody's who made it.
    if !options.single_namespace {
        all.push(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": options.namespace, "labels": {"app.kubernetes.io/name": "kea"}},
        }));
    }
    all.extend(custom_resource_definitions());
    for component in ["operator", "router"] {
        all.push(named(options, component, "v1", "ServiceAccount", json!({})));
    }
    let mut wide = operator_rules();
    if options.replica_mtls {
        // Certificates of services, beside their pods. Names cannot be told beforehand.
        wide.push(rule("", &["secrets"], &["create", "patch"]));
    }
    // A right to what belongs to no namespace cannot be given in one.
    if !options.single_namespace {
        wide.extend(webhook_rules(options));
    }
    all.extend(rights(options, "operator", &wide, &operator_own_rules(options)));
    all.extend(rights(options, "router", &router_rules(), &router_own_rules()));
    all.push(operator(options));
    all.push(router(options));
    all.push(router_service(options));
    all.push(router_policy(options));
    all.extend(options.webhook.then(|| webhook_service(options)));
    all.extend(options.exposure.as_ref().map(|exposure| exposure.object(options)));
    all
}

/// An object of KEA's own, with its labels.
pub(crate) fn named(options: &InstallOptions, component: &str, api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": format!("kea-{component}"),
            "namespace": options.namespace,
            "labels": labels(component),
        },
    });
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    object
}

fn labels(component: &str) -> Value {
    json!({"app.kubernetes.io/name": "kea", "app.kubernetes.io/component": component})
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// The same for the object of that name alone.
fn rule_of_one(group: &str, resource: &str, name: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": verbs})
}

const READ: [&str; 3] = ["get", "list", "watch"];

/// What the operator may do where services are. Objects that it made are removed by Kubernetes, with their owner.
fn operator_rules() -> Vec<Value> {
    let made = ["get", "list", "watch", "create", "patch"];
    vec![
        rule(GROUP, &["mlmodels", "mldeployments"], &READ),
        rule(GROUP, &["mldeployments/status"], &["get", "patch"]),
        // Owner references that hold up the owner's removal need it where that is guarded.
        rule(GROUP, &["mldeployments/finalizers"], &["update"]),
        rule("apps", &["deployments"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("batch", &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("", &["services", "serviceaccounts"], &made),
        rule("", &["pods"], &READ),
        // Logins of registries, by the names in `imagePullSecrets` alone.
        rule("", &["secrets"], &["get"]),
        rule("networking.k8s.io", &["networkpolicies"], &made),
        rule("autoscaling", &["horizontalpodautoscalers"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("policy", &["poddisruptionbudgets"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]
}

/// What the operator may do with the webhook's configuration, and with the ClusterRole that this goes with.
fn webhook_rules(options: &InstallOptions) -> Vec<Value> {
    let (group, resource) = ("admissionregistration.k8s.io", "validatingwebhookconfigurations");
    let name = webhook::configuration_name(&options.namespace);
    if !options.webhook {
        // One that was left from when it was on.
        return vec![rule_of_one(group, resource, &name, &["delete"])];
    }
    let role = names::of_installation("kea-operator", &options.namespace);
    vec![
        rule(group, &[resource], &["create"]),
        rule_of_one(group, resource, &name, &["get", "patch"]),
        rule_of_one("rbac.authorization.k8s.io", "clusterroles", &role, &["get"]),
    ]
}

/// What the operator may do in KEA's own namespace.
fn operator_own_rules(options: &InstallOptions) -> Vec<Value> {
    let mut rules = vec![
        rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
        rule("", &["secrets"], &["create"]),
        rule_of_one("", "secrets", ADMIN_SECRET, &["get", "patch"]),
        rule_of_one("", "secrets", PEERS_SECRET, &["get"]),
        rule_of_one("apps", "deployments", "kea-router", &["get"]),
    ];
    if !options.single_namespace {
        // Its labels tell NetworkPolicies of other namespaces where routers are. In a Role that is this Namespace alone.
        rules.push(rule("", &["namespaces"], &["get"]));
    }
    if options.webhook {
        rules.push(rule_of_one("", "secrets", webhook::SECRET, &["get", "update"]));
    }
    if options.replica_mtls {
        let own = [mutual_tls::AUTHORITY_SECRET, mutual_tls::GATEWAY_SECRET];
        rules.extend(own.map(|name| rule_of_one("", "secrets", name, &["get", "update"])));
    }
    rules
}

/// What routers and their API may do where services are.
fn router_rules() -> Vec<Value> {
    vec![
        rule(GROUP, &["mlmodels", "mldeployments"], &["get", "list", "watch", "create", "update", "delete"]),
        rule("apps", &["deployments"], &READ),
        rule("", &["pods", "services"], &READ),
        rule("", &["pods/log"], &["get"]),
    ]
}

/// What routers may do in KEA's own namespace.
fn router_own_rules() -> Vec<Value> {
    let own: Vec<_> = crate::users::secret_names().into_iter().chain(["kea-policies".into()]).collect();
    vec![
        rule("", &["secrets"], &["create"]),
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": own, "verbs": ["get", "update"]}),
        // Also without mutual TLS: pods that still speak it after it was turned off are reached to their end.
        rule_of_one("", "secrets", mutual_tls::GATEWAY_SECRET, &READ),
    ]
}

/// Roles and their bindings: in all namespaces or in KEA's own, and those for KEA's own in any case.
fn rights(options: &InstallOptions, component: &str, everywhere: &[Value], own: &[Value]) -> Vec<Value> {
    let subject =
        json!([{"kind": "ServiceAccount", "name": format!("kea-{component}"), "namespace": options.namespace}]);
    let api = "rbac.authorization.k8s.io/v1";
    let bound = |kind: &str, name: String| json!({"subjects": subject, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}});
    let name = format!("kea-{component}");
    let mut own = own.to_vec();
    if options.single_namespace {
        own.extend_from_slice(everywhere);
    }
    let mut all = vec![
        named(options, component, api, "Role", json!({"rules": own})),
        named(options, component, api, "RoleBinding", bound("Role", name.clone())),
    ];
    if !options.single_namespace {
        let wide = names::of_installation(&name, &options.namespace);
        for (kind, rest) in
            [("ClusterRole", json!({"rules": everywhere})), ("ClusterRoleBinding", bound("ClusterRole", wide.clone()))]
        {
            let mut object = named(options, component, api, kind, rest);
            object["metadata"] = json!({"name": wide, "labels": labels(component)});
            all.push(object);
        }
    }
    all
}

fn operator(options: &InstallOptions) -> Value {
    let mut env = variables(options);
    env.extend(options.registry.iter().map(|registry| json!({"name": "KEA_REGISTRY", "value": registry})));
    env.extend(options.builder_image.iter().map(|image| json!({"name": "KEA_BUILDER_IMAGE", "value": image})));
    let mut ports = vec![json!({"name": "http", "containerPort": 8081, "protocol": "TCP"})];
    if options.webhook {
        env.push(json!({"name": "KEA_WEBHOOK", "value": "true"}));
        ports.push(json!({"name": "webhook", "containerPort": 8443, "protocol": "TCP"}));
    }
    if options.replica_mtls {
        env.push(json!({"name": "KEA_REPLICA_MTLS", "value": "true"}));
    }
    let container = json!({
        "name": "operator",
        "image": options.image,
        "args": ["operator"],
        "env": env,
        "ports": ports,
        "livenessProbe": probe("/healthz", 8081, 10),
        "readinessProbe": probe("/readyz", 8081, 2),
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": restricted(),
    });
    deployment(options, "operator", options.operators, 10, &container)
}

/// Where a router keeps its audit trail: it is bounded, and lives as long as the pod.
const AUDIT_FOLDER: &str = "/var/lib/kea/audit";

/// Where a router finds the providers of single sign-on.
const SSO_FOLDER: &str = "/etc/kea/sso";

/// Where a router finds what it believes of replicas elsewhere, and shows to them, and the variables that say so.
const REPLICA_CA_FOLDER: &str = "/etc/kea/replica-ca";
const REPLICA_CA: [(&str, &str); 1] = [("KEA_REPLICA_CA", "ca.crt")];
const REPLICA_CERTIFICATE_FOLDER: &str = "/etc/kea/replica-certificate";
const REPLICA_CERTIFICATE: [(&str, &str); 2] = [("KEA_REPLICA_CERTIFICATE", "tls.crt"), ("KEA_REPLICA_KEY", "tls.key")];

fn router(options: &InstallOptions) -> Value {
    let mut env = variables(options);
    env.push(json!({
        "name": "KEA_ADMIN_PASSWORD",
        "valueFrom": {"secretKeyRef": {"name": ADMIN_SECRET, "key": PASSWORD_KEY}},
    }));
    env.push(json!({
        "name": "KEA_PEERS_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": PEERS_SECRET, "key": TOKEN_KEY}},
    }));
    for (name, secret) in [
        ("KEA_DATABASE", &options.database_secret),
        ("KEA_CACHE_REDIS", &options.cache_redis_secret),
        ("KEA_RATES_REDIS", &options.rates_redis_secret),
    ] {
        let reference = |secret| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "url"}}});
        env.extend(secret.iter().map(reference));
    }
    env.push(json!({"name": "KEA_AUDIT_DIR", "value": AUDIT_FOLDER}));
    let mut mounts = vec![json!({"name": "audit", "mountPath": AUDIT_FOLDER})];
    let mut volumes = vec![json!({"name": "audit", "emptyDir": {}})];
    if let Some(secret) = &options.sso_secret {
        env.push(json!({"name": "KEA_SSO", "value": format!("{SSO_FOLDER}/sso.toml")}));
        mounts.push(json!({"name": "sso", "mountPath": SSO_FOLDER, "readOnly": true}));
        volumes.push(json!({"name": "sso", "secret": {"secretName": secret}}));
    }
    for (name, secret, folder, files) in [
        ("replica-ca", &options.replica_ca_secret, REPLICA_CA_FOLDER, &REPLICA_CA[..]),
        ("replica-certificate", &options.replica_certificate_secret, REPLICA_CERTIFICATE_FOLDER, &REPLICA_CERTIFICATE),
    ] {
        let Some(secret) = secret else { continue };
        env.extend(files.iter().map(|(name, file)| json!({"name": name, "value": format!("{folder}/{file}")})));
        mounts.push(json!({"name": name, "mountPath": folder, "readOnly": true}));
        volumes.push(json!({"name": name, "secret": {"secretName": secret}}));
    }
    let container = json!({
        "name": "router",
        "image": options.image,
        "args": ["router"],
        "env": env,
        "ports": [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": PEERS_PORT_NAME, "containerPort": PEERS_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": probe("/healthz", 8080, 10),
        "readinessProbe": probe("/readyz", 8080, 1),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": restricted(),
        "volumeMounts": mounts,
    });
    let mut router = deployment(options, "router", options.routers, 45, &container);
    router["spec"]["template"]["spec"]["volumes"] = json!(volumes);
    // What this KEA's routers can, whether or not replicas want it.
    router["spec"]["template"]["metadata"]["annotations"] = json!({names::TLS: names::MUTUAL});
    router
}

fn variables(options: &InstallOptions) -> Vec<Value> {
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut env = vec![
        json!({"name": "KEA_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}),
        json!({"name": "KEA_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        value("KEA_IMAGE", &options.image),
        value("KEA_LOG_FORMAT", "json"),
    ];
    if options.single_namespace {
        env.push(value("KEA_SINGLE_NAMESPACE", "true"));
    }
    env.extend(options.url.iter().map(|url| value("KEA_URL", url)));
    env.extend(options.env.iter().map(|(name, text)| value(name, text)));
    env
}

fn probe(path: &str, port: u16, period: u32) -> Value {
    json!({"httpGet": {"path": path, "port": port}, "periodSeconds": period, "timeoutSeconds": 5})
}

fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

fn deployment(options: &InstallOptions, component: &str, replicas: u32, grace: u32, container: &Value) -> Value {
    let spread = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels(component)},
    }]);
    named(
        options,
        component,
        "apps/v1",
        "Deployment",
        json!({"spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels(component)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels(component)},
                "spec": {
                    "serviceAccountName": format!("kea-{component}"),
                    "terminationGracePeriodSeconds": grace,
                    "enableServiceLinks": false,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": spread,
                    "containers": [container],
                },
            },
        }}),
    )
}

fn router_service(options: &InstallOptions) -> Value {
    let mut service = named(
        options,
        "router",
        "v1",
        "Service",
        json!({"spec": {
            "type": options.service_type,
            "selector": labels("router"),
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
        }}),
    );
    service["metadata"]["name"] = "kea".into();
    service
}

/// Everybody reaches the routers' own port, but operators alone the one at which routers tell what they count.
fn router_policy(options: &InstallOptions) -> Value {
    named(
        options,
        "router",
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({"spec": {
            "podSelector": {"matchLabels": labels("router")},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"ports": [{"port": "http", "protocol": "TCP"}]},
                {
                    "from": [{"podSelector": {"matchLabels": labels("operator")}}],
                    "ports": [{"port": PEERS_PORT_NAME, "protocol": "TCP"}],
                },
            ],
        }}),
    )
}

/// Where Kubernetes reaches the webhook: any operator that is ready.
fn webhook_service(options: &InstallOptions) -> Value {
    let mut service = named(
        options,
        "operator",
        "v1",
        "Service",
        json!({"spec": {
            "selector": labels("operator"),
            "ports": [{"name": "webhook", "port": 443, "protocol": "TCP", "targetPort": "webhook"}],
        }}),
    );
    service["metadata"]["name"] = webhook::SERVICE.into();
    service
}
