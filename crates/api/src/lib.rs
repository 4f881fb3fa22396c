//! The management API and the documentation pages: the door through which people and programs reach the components.
//!
//! A handler translates between HTTP and a port; it decides nothing. Every operation is in one list, `routes`, from
//! which both the router and the OpenAPI document are made. This crate knows neither processes nor Kubernetes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api_keys;
mod audit;
mod balancing;
mod comparisons;
mod contracts;
mod cookies;
mod document;
mod errors;
mod extract;
mod gateway;
mod guard;
mod health;
mod identity_routes;
mod logs;
mod methods;
mod operation;
mod pages;
mod payload;
mod permissions;
mod policies;
mod policy_routes;
mod requests;
mod routes;
mod schema_check;
mod services;
mod sessions;
mod sso;
mod state;
mod users;

pub use document::openapi_document;
pub use gateway::Gateway;
pub use routes::router;
pub use state::{ApiState, Metrics};
