//! What every HTTP edge of KEA shares: request ids, errors in the shape that the path's protocol asks for, reading of
//! bounded bodies, and serving until told to stop.
//!
//! Knows nothing of models.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod body;
mod client_address;
pub mod encoding;
mod forwarded;
pub mod grpc;
mod hex;
mod hop_by_hop;
mod host;
pub mod problem;
mod request_id;
mod rim;
pub mod segment;
mod serve;
pub mod timeout;
mod tls;
mod trace_context;
pub mod trailers;
pub mod upgrade;

pub use client_address::{ClientAddress, NetworkError, TrustedProxies};
pub use forwarded::{Secure, TrustedPeer, forwarded};
pub use hop_by_hop::drop_hop_by_hop;
pub use host::name_host;
pub use problem::{ApiError, ProblemKind};
pub use request_id::{REQUEST_ID, RequestId};
pub use rim::rim;
pub use serve::{PeerAddress, serve, serve_tls};
pub use tls::{Tls, TlsError, TlsFiles, replicas as replica_tls};
pub use trace_context::{TRACEPARENT, TraceContext};
