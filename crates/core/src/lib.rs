//! The words of KEA and its pure rules: what a service, a version, a contract and a replica are, what to do next, and
//! the ports through which the rooms above reach the world.
//!
//! This crate knows nothing of HTTP, Kubernetes, files or SQL.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::needless_pass_by_value))]

pub mod balancing;
pub mod caching;
pub mod change;
pub mod compare;
pub mod contract;
pub mod current_request;
pub mod documents;
pub mod gate;
pub mod management;
pub mod name;
pub mod next_step;
pub mod own_route;
pub mod permission;
pub mod policy;
pub mod policy_documents;
pub mod port;
pub mod quantity;
pub mod replica;
pub mod resilience;
pub mod rollout;
pub mod routing;
pub mod service;
pub mod shadow;
pub mod span;
pub mod stated;
pub mod tally;
pub mod tensor;
pub mod trial;
pub mod validation;
pub mod who;

pub use contract::{Contract, Field, Function, Layout, ValueType};
pub use name::{ServiceId, VersionId};
pub use service::{Engine, Framework, Settings};
pub use tensor::{Datatype, Tensor};
