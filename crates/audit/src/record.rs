//! What a record says: facts of one request, as the stages found them.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Uri};
use jiff::Timestamp;
use kea_core::{Settings, quantity::Span as TimeSpan, service::RecordedCalls, span::SpanId};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered as it asked.
    Success,
    /// The caller may not, or not now.
    Denied,
    /// The request itself is wrong.
    Invalid,
    /// What should answer it is not there.
    Unavailable,
    /// It failed on the way.
    Error,
    /// The caller left before its answer was whole.
    Cancelled,
}

/// Whose fault it is that a request was not answered as it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody's: it was.
    None,
    /// The caller's.
    Caller,
    /// KEA's own.
    Kea,
    /// The model's, or that of the replica that runs it.
    Model,
}

/// The stages of a request, of which each takes a part of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Who calls, and what.
    Authenticate,
    /// Reading the body and holding it against the contract.
    Validate,
    /// Asking the cache.
    Cache,
    /// Choosing a replica.
    Balance,
    /// Waiting for the head of the replica's answer.
    Upstream,
    /// Sending the answer to the caller, or all of the work where no stage was told.
    Respond,
}

impl Stage {
    /// All of them, in the order of a request.
    pub(crate) const ALL: [Self; 6] =
        [Self::Authenticate, Self::Validate, Self::Cache, Self::Balance, Self::Upstream, Self::Respond];

    /// Its name in traces.
    pub(crate) fn as_str(self) -> &'static str {
        self.field().trim_start_matches("kea.micros.")
    }

    /// The field of a record that has its microseconds.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Authenticate => "kea.micros.authenticate",
            Self::Validate => "kea.micros.validate",
            Self::Cache => "kea.micros.cache",
            Self::Balance => "kea.micros.balance",
            Self::Upstream => "kea.micros.upstream",
            Self::Respond => "kea.micros.respond",
        }
    }
}

/// How the body of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was handed over whole.
    Whole,
    /// It broke off where it came from.
    Broken,
    /// Nobody wanted the rest.
    Left,
}

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: Arc<str>,
    /// Names of roles.
    pub roles: Arc<[String]>,
    /// Identifier of the API key that was sent.
    pub key: Option<Arc<str>>,
}

/// A request's part of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// That of the caller's part, where the caller told of one.
    pub parent: Option<SpanId>,
}

/// What of a request's and an answer's body is kept. The writer masks it; no request waits for that.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The service's settings, of which the rules are a part.
    pub settings: Arc<Settings>,
    /// The request's body.
    pub request: Bytes,
    /// The answer's, as far as it is kept.
    pub response: Vec<Bytes>,
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it came.
    pub time: Timestamp,
    /// Id by which it is found in answers and logs.
    pub request_id: Arc<str>,
    /// W3C trace id, as lower-case hexadecimal digits.
    pub trace_id: Arc<str>,
    /// Its part of that trace, where that is recorded.
    pub span: Option<Span>,
    /// The address of the connection's other end.
    pub client: IpAddr,
    /// The method.
    pub method: Method,
    /// Whatever was asked for; only its path is written.
    pub uri: Uri,
    /// The API's operationId, or `call` for functions of services.
    pub action: &'static str,
    /// Whether the action changes something.
    pub changes: bool,
    /// Who called, where that is known.
    pub user: Option<User>,
    /// The service that was meant, whether there is one or not.
    pub service: Option<Box<str>>,
    /// The version that answered.
    pub version: Option<Arc<str>>,
    /// The function that was meant.
    pub function: Option<Box<str>>,
    /// Whether the contract has that function.
    pub function_known: bool,
    /// The last replica that it was sent to.
    pub replica: Option<Arc<str>>,
    /// The language of the body: `kea`, `v2`, `grpc`.
    pub protocol: &'static str,
    /// `hit`, `miss`, `bypass`.
    pub cache: Option<&'static str>,
    /// How a call of gRPC ended, as that numbers it.
    pub grpc_status: Option<u32>,
    /// JSON pointer to the first thing of the model's answer that does not fit its contract, where that is looked at.
    pub misfit: Option<Box<str>>,
    /// Status of the answer; 0 where the caller left before there was one.
    pub status: u16,
    /// Kind of problem that was answered.
    pub problem: Option<&'static str>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose fault that is.
    pub fault: Fault,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body, as far as it was handed over.
    pub response_bytes: u64,
    /// Whether the service's rules have it written, once it is known which service that is.
    pub calls: RecordedCalls,
    /// How long the service's rules have it kept; as long as its file where they say nothing.
    pub keep: Option<TimeSpan>,
    /// Microseconds of each stage, as [`Stage`] numbers them.
    pub stages: [u32; 6],
    /// Microseconds of all of it.
    pub total: u64,
    /// What was sent and answered, where the service's rules say so.
    pub payload: Option<Payload>,
}

impl Record {
    /// A record of which only the start is known.
    pub(crate) fn begun(request_id: Arc<str>, trace_id: Arc<str>, method: Method, uri: Uri) -> Self {
        Self {
            time: Timestamp::now(),
            request_id,
            trace_id,
            span: None,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            method,
            uri,
            action: "request",
            changes: false,
            user: None,
            service: None,
            version: None,
            function: None,
            function_known: false,
            replica: None,
            protocol: "http",
            cache: None,
            grpc_status: None,
            misfit: None,
            status: 0,
            problem: None,
            outcome: Outcome::Cancelled,
            fault: Fault::Caller,
            request_bytes: 0,
            response_bytes: 0,
            calls: RecordedCalls::All,
            keep: None,
            stages: [0; 6],
            total: 0,
            payload: None,
        }
    }

    /// Whether it is written.
    pub(crate) fn is_kept(&self) -> bool {
        match self.calls {
            RecordedCalls::All => true,
            RecordedCalls::Failed => self.outcome != Outcome::Success,
            RecordedCalls::None => false,
        }
    }

    /// From when on it may be removed. What is too far to be counted never comes.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        let keep = jiff::SignedDuration::try_from(self.keep?.0).ok()?;
        self.time.checked_add(keep).ok()
    }

    /// Decides outcome and fault, once all is known.
    pub(crate) fn judge(&mut self, end: End) {
        let by_replica = self.replica.is_some();
        (self.outcome, self.fault) = match end {
            End::Left => (Outcome::Cancelled, Fault::Caller),
            End::Broken => (Outcome::Error, if by_replica { Fault::Model } else { Fault::Kea }),
            End::Whole => match self.grpc_status {
                Some(GRPC_CANCELLED) => (Outcome::Cancelled, Fault::Caller),
                Some(code) => judged(like(code), by_replica),
                None => judged(self.status, by_replica),
            },
        };
    }
}

/// The status of gRPC that says that the caller wants no answer.
const GRPC_CANCELLED: u32 = 1;

/// The status of HTTP that says the same as one of gRPC.
fn like(code: u32) -> u16 {
    match code {
        0 => 200,
        3 | 6 | 9..=11 => 400,
        4 => 504,
        5 | 12 => 404,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// What a status says of a request that was answered whole, by a replica or by KEA itself.
fn judged(status: u16, by_replica: bool) -> (Outcome, Fault) {
    let theirs = if by_replica { Fault::Model } else { Fault::Kea };
    match status {
        100..400 => (Outcome::Success, Fault::None),
        401 | 403 | 429 => (Outcome::Denied, Fault::Caller),
        400..500 => (Outcome::Invalid, Fault::Caller),
        502..=504 => (Outcome::Unavailable, theirs),
        _ => (Outcome::Error, theirs),
    }
}

impl Outcome {
    /// The word that records, queries and metrics use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// All words.
    pub const WORDS: [&str; 6] = ["success", "denied", "invalid", "unavailable", "error", "cancelled"];
}

impl Fault {
    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Caller => "caller",
            Self::Kea => "kea",
            Self::Model => "model",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_grpc_ended_as_its_own_status_says() {
        let judged = |code| {
            let mut record = Record::begun("r".into(), "t".into(), Method::POST, Uri::default());
            (record.status, record.grpc_status, record.replica) = (200, code, Some("app-1-0".into()));
            record.judge(End::Whole);
            (record.outcome.as_str(), record.fault.as_str())
        };
        assert_eq!(judged(None), ("success", "none"));
        for (code, outcome, fault) in [
            (0, "success", "none"),
            (1, "cancelled", "caller"),
            (2, "error", "model"),
            (3, "invalid", "caller"),
            (4, "unavailable", "model"),
            (5, "invalid", "caller"),
            (7, "denied", "caller"),
            (13, "error", "model"),
            (14, "unavailable", "model"),
            (16, "denied", "caller"),
            (99, "error", "model"),
        ] {
            assert_eq!(judged(Some(code)), (outcome, fault), "{code}");
        }
    }

    #[test]
    fn a_status_says_how_it_ended_and_whose_fault_that_is() {
        for (status, by_replica, outcome, fault) in [
            (200, true, "success", "none"),
            (304, false, "success", "none"),
            (400, false, "invalid", "caller"),
            (401, false, "denied", "caller"),
            (403, false, "denied", "caller"),
            (404, false, "invalid", "caller"),
            (429, false, "denied", "caller"),
            (500, false, "error", "kea"),
            (500, true, "error", "model"),
            (502, true, "unavailable", "model"),
            (503, false, "unavailable", "kea"),
            (504, true, "unavailable", "model"),
        ] {
            let (judged, whose) = judged(status, by_replica);
            assert_eq!((judged.as_str(), whose.as_str()), (outcome, fault), "{status} by a replica: {by_replica}");
        }
    }
}
