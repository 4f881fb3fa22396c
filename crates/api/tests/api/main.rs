//! The management API, called as its clients call it: through the router and the rim, with a deployer and a gateway
//! that are made up.
#![allow(clippy::unwrap_used, missing_docs)]

mod balancing;
mod contract;
mod document;
mod fakes;
mod logs;
mod pages;
mod refusals;
mod sso;
mod support;
