//! The audit half of the Logger: one record for every request and every administrative action, written once whatever
//! happens, in a chain that shows what was changed; queries, metrics, and sinks elsewhere.
//!
//! A request's stages fill its record by a [`Recorder`]. An [`Entry`] owns it, goes with the answer, and gives it to a
//! queue when it is dropped. One thread makes lines of what is in the queue. Sinks read those lines from the files.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod chain;
mod ecs;
mod expiry;
mod files;
mod mask;
mod object;
mod query;
mod queue;
mod record;
mod recorder;
mod series;
mod sink;
#[cfg(test)]
mod tests;
mod trail;
mod verify;
mod writer;

pub use files::Limits;
pub use query::{QUERY_MAX, Query};
pub use record::{Fault, Outcome, Payload, Record, Span, Stage, User};
pub use recorder::{Begin, Counted, Entry, GRPC, Recorded, Recorder, outcome};
pub use series::BUCKETS;
pub use sink::{Credentials, ElasticsearchOptions, SinkOptions, TraceOptions, setup_elasticsearch, setup_kibana};
pub use trail::{AuditError, Options, Trail};
pub use verify::{Finding, Problem, Verdict, verify};
