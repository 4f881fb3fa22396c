//! The Request Router: from a request of a service to its response.
//!
//! [`Router::handle`] shows the whole path: identify, authenticate, admit, validate, look into the cache, balance,
//! forward, fill the cache. It follows the snapshots that a deployer gives; it knows neither Kubernetes nor SQL.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod audited;
mod balance;
pub mod cache;
mod clock;
mod counted;
mod endpoint;
mod error;
mod forward;
mod grpc;
mod health;
mod identify;
mod limit;
mod link;
mod metrics;
mod own_routes;
mod path;
mod reply;
mod router;
mod shadow;
mod sticky;
mod table;
#[cfg(test)]
mod testing;
mod trial;
mod tunnel;
mod v2;
mod validate;
mod whole;

pub use error::RouterError;
pub use limit::SharedRates;
pub use link::{RedisUrl, RedisUrlError};
pub use router::Router;
