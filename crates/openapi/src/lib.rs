//! OpenAPI Generator and Request Validator: a contract from Python source, the OpenAPI document of a service, and
//! compiled validators that check a request, decode it into tensors and render the answer.
//!
//! This crate knows nothing of HTTP. It never imports or runs what it reads.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
pub mod describe;
pub mod document;
pub mod foreign;
mod literal;
pub mod markdown;
mod rejection;
pub mod render;
pub mod source;
pub mod stated;
pub mod validate;
