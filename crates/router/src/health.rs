//! Which replicas are in order: what their answers show, and what probes find out.

mod condition;
mod grpc;
mod probe;
mod rule;

pub(crate) use self::{
    condition::{Condition, State},
    probe::{TICK, places, tend},
    rule::HealthRule,
};
