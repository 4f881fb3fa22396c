//! The Service Deployer in a cluster.
//!
//! What `kea_deployer` does with processes of one machine happens here with Kubernetes' objects, from the same documents
//! and by the same rule ([`kea_core::next_step`]). `kube` is used in this crate alone.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::needless_pass_by_value))]

mod admin;
mod apply;
mod ask;
mod backoff;
mod certificates;
mod check;
mod controller;
mod crd;
mod deployer;
mod error;
mod exposure;
mod gate;
mod gateway;
mod holders;
mod images;
mod lease;
mod manifests;
mod metrics;
mod mutual_tls;
mod names;
mod objects;
mod orders;
mod peers;
mod pod_logs;
mod pods;
mod policies;
mod reconcile;
pub mod resources;
mod rollout;
mod routers;
mod settings;
mod status;
mod steps;
mod trials;
mod users;
mod version;
mod view;
mod watch;
mod webhook;
mod wish;

pub use admin::{ADMIN_SECRET, PASSWORD_KEY};
pub use controller::{ClusterError, Operator};
pub use crd::custom_resource_definitions;
pub use deployer::ClusterDeployer;
pub use exposure::{Exposure, GatewayName};
pub use gateway::ClusterGateway;
pub use kube::Client;
pub use manifests::{InstallOptions, manifests};
pub use pod_logs::PodLogs;
pub use policies::SecretPolicies;
pub use settings::ClusterSettings;
pub use trials::Trials;
pub use users::SecretUsers;
