//! The Service Deployer on one machine: replicas as processes, wanted state in the embedded store.
//!
//! Each service has one task that looks at what is wanted and what is seen, asks the one rule of deployment
//! ([`kea_core::next_step`]) what to do, and does it. It knows nothing of Kubernetes.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod choice;
mod describe;
mod directory;
mod gate;
mod images;
mod local;
mod process;
mod replica;
mod request;
mod service_loop;
mod state;
mod trial;
mod view;
mod work_folder;

pub use describe::{DescribeError, Described, contract_of};
pub use local::{LocalDeployer, LocalOptions};
