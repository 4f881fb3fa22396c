//! What the operator does when the API server misbehaves: the real operator over HTTP, and a server in memory that
//! refuses, throttles, forgets and hangs up as it is told. That it works with Kubernetes itself is tested in
//! `tests/cluster`.

#![allow(clippy::unwrap_used)]

mod failures;
mod gate;
mod identity;
mod kills;
mod leaders;
mod mock;
mod mutual_tls;
mod peers;
mod policies;
mod refusals;
mod repairs;
mod rollouts;
mod routers;
mod scene;
mod watches;
