//! What a replica runs: one model behind the inference protocols, with batching and one engine.
//!
//! `kea model-server` is this room. It knows nothing of users, services or stores: it answers for one version of one
//! model on one address, and reports to whoever started it over its control channel.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod batch;
mod config;
mod confine;
mod control;
mod engine;
mod external;
mod handler;
mod health;
mod listener;
mod probes;
mod run;
mod sidecar;
mod status;
mod watch;
mod web_contract;

pub use config::{EngineConfig, PythonModel, ServerConfig};
pub use confine::{Confinement, confine};
pub use run::{ServerError, run};
