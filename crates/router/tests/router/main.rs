//! The Request Router with replicas that listen, called as a server calls it.
#![allow(clippy::unwrap_used)]

mod cache;
mod harness;
mod paths;
mod reload;
mod size;
mod upstream;
mod web;
