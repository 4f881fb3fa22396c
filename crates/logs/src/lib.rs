//! The Logger: keeps what the replicas of every service print, bounded and searchable, and sets up KEA's own log.
//!
//! Each service has a folder of numbered files, the highest number the one that is written, a JSON object a line. One
//! thread writes them all. Whoever prints never waits for it: lines that it cannot take are dropped and counted, and
//! a line in the log tells how many.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backwards;
mod book;
mod entry;
mod files;
mod flat_json;
mod keeper;
mod line_writer;
mod lines;
mod lost;
mod own_log;
mod query;
#[cfg(test)]
mod tests;

pub use book::{Entries, Limits, LogBook, LogError, ServiceLogs};
pub use entry::{BUILD, Entry, Stream};
pub use line_writer::LineWriter;
pub use own_log::{FILTER_VARIABLE, Format, TracingError, init_tracing};
pub use query::Query;
