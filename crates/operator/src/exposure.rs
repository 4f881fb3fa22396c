//! How requests from outside the cluster come to the routers: by an Ingress, or by a Gateway of the Gateway API.

use serde_json::{Value, json};

use crate::manifests::{InstallOptions, named};

/// How requests from outside the cluster come to the routers.
#[derive(Clone, Debug)]
pub enum Exposure {
    /// An Ingress is made for a host.
    Ingress {
        /// The host that callers use.
        host: String,
        /// Class of the Ingress, else the cluster's default.
        class: Option<String>,
        /// Secret of type `kubernetes.io/tls` with the certificate of the host.
        tls_secret: Option<String>,
    },
    /// An HTTPRoute is made for a Gateway that is there.
    Route {
        /// The Gateway.
        gateway: GatewayName,
        /// The host that callers use, else all hosts of the Gateway.
        host: Option<String>,
    },
}

/// A Gateway, by its name.
#[derive(Clone, Debug)]
pub struct GatewayName {
    /// Its namespace, else KEA's own.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Exposure {
    /// Where callers reach the routers, if a host is known. Whether a Gateway has TLS is not known here.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Ingress { host, tls_secret: Some(_), .. } => Some(format!("https://{host}")),
            Self::Ingress { host, tls_secret: None, .. } => Some(format!("http://{host}")),
            Self::Route { host, .. } => host.as_ref().map(|host| format!("http://{host}")),
        }
    }

    /// What is made for it.
    pub(crate) fn object(&self, options: &InstallOptions) -> Value {
        let (api_version, kind, spec) = match self {
            Self::Ingress { host, class, tls_secret } => {
                ("networking.k8s.io/v1", "Ingress", ingress(host, class.as_deref(), tls_secret.as_deref()))
            }
            Self::Route { gateway, host } => {
                ("gateway.networking.k8s.io/v1", "HTTPRoute", route(gateway, host.as_deref()))
            }
        };
        named(options, "router", api_version, kind, json!({ "spec": spec }))
    }
}

fn ingress(host: &str, class: Option<&str>, tls_secret: Option<&str>) -> Value {
    let backend = json!({"service": {"name": "kea", "port": {"name": "http"}}});
    let mut spec = json!({"rules": [{
        "host": host,
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }]});
    if let Some(class) = class {
        spec["ingressClassName"] = class.into();
    }
    if let Some(secret) = tls_secret {
        spec["tls"] = json!([{"hosts": [host], "secretName": secret}]);
    }
    spec
}

/// Says what the Gateway API has by default, too: lists of a custom resource are compared whole, so that applying them
/// again would else be a change each time.
fn route(gateway: &GatewayName, host: Option<&str>) -> Value {
    let mut parent = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name});
    if let Some(namespace) = &gateway.namespace {
        parent["namespace"] = namespace.clone().into();
    }
    let mut spec = json!({"parentRefs": [parent], "rules": [{
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"group": "", "kind": "Service", "name": "kea", "port": 80, "weight": 1}],
    }]});
    if let Some(host) = host {
        spec["hostnames"] = json!([host]);
    }
    spec
}
