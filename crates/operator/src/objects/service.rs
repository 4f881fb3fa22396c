//! What a service has once, whatever its versions: its address, its account, and who may reach and evict its pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        autoscaling::v1::{CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec},
        core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kea_core::service::Autoscaling;
use kube::Resource;
use serde_json::{Value, json};

use super::{PORT_NAME, metadata};
use crate::{names, resources::MlDeployment, routers::Home};

/// Share of the requested CPU time, in percent, that an autoscaler aims at where nothing is said.
const TARGET_CPU: u32 = 80;

/// The Service: one address for all replicas, for whoever does not come through the gateway.
pub(crate) fn service(owner: &MlDeployment) -> Service {
    Service {
        metadata: metadata(owner, owner.name()),
        spec: Some(ServiceSpec {
            selector: Some(names::pod_selector(owner)),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: 80,
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::String(PORT_NAME.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The account that replicas run under: it may do nothing, and no token of it is given to them.
pub(crate) fn service_account(owner: &MlDeployment) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(owner, owner.name()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Lets routers and operators alone reach the replicas, those of their own namespace where that can be told.
pub(crate) fn network_policy(owner: &MlDeployment, home: &Home) -> NetworkPolicy {
    let namespace_selector = match home {
        Home::Same => None,
        Home::Labelled(label, value) => Some(labels(&[(label, value)])),
        Home::Anywhere => Some(LabelSelector::default()),
    };
    let part = |component: &str| NetworkPolicyPeer {
        namespace_selector: namespace_selector.clone(),
        pod_selector: Some(labels(&[("app.kubernetes.io/name", "kea"), (names::COMPONENT, component)])),
        ..NetworkPolicyPeer::default()
    };
    let peers = ["operator", "router"].map(part).to_vec();
    let selector = LabelSelector { match_labels: Some(names::pod_selector(owner)), ..LabelSelector::default() };
    NetworkPolicy {
        metadata: metadata(owner, owner.name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(peers),
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::String(PORT_NAME.into())),
                    protocol: Some("TCP".into()),
                    ..NetworkPolicyPort::default()
                }]),
            }]),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn labels(pairs: &[(&str, &str)]) -> LabelSelector {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string()));
    LabelSelector { match_labels: Some(pairs.collect::<BTreeMap<_, _>>()), ..LabelSelector::default() }
}

/// Sets the replicas of the MLDeployment by the CPU time that they use.
pub(crate) fn autoscaler(owner: &MlDeployment, asked: &Autoscaling) -> HorizontalPodAutoscaler {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    HorizontalPodAutoscaler {
        metadata: metadata(owner, owner.name()),
        spec: Some(HorizontalPodAutoscalerSpec {
            min_replicas: Some(number(asked.min_replicas.unwrap_or(1))),
            max_replicas: number(asked.max_replicas),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(MlDeployment::api_version(&()).into()),
                kind: MlDeployment::kind(&()).into(),
                name: owner.name().into(),
            },
            target_cpu_utilization_percentage: Some(number(asked.target_cpu_utilization.unwrap_or(TARGET_CPU))),
        }),
        status: None,
    }
}

/// Lets nodes be emptied one replica at a time. Its API is another one before Kubernetes 1.21, with the same fields.
pub(crate) fn disruption_budget(owner: &MlDeployment, api_version: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": "PodDisruptionBudget",
        "metadata": metadata(owner, owner.name()),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": names::pod_selector(owner)}},
    })
}
