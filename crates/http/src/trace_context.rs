//! W3C Trace Context: the id by which a request is followed through all systems that it touches.

use std::{fmt::Write, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header that carries it, in requests.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Digits of a trace's id, and of a span's.
const TRACE_DIGITS: usize = 32;
const SPAN_DIGITS: usize = 16;

/// The trace that a request belongs to: its caller's where it told of one, else a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace's id: 32 lower-case hexadecimal digits.
    pub trace_id: Arc<str>,
    /// Whether somebody records it, as the caller says.
    pub sampled: bool,
}

impl TraceContext {
    /// The caller's trace, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let told = values.next().and_then(|value| value.to_str().ok()).and_then(read);
        // Two headers contradict each other.
        told.filter(|_| values.next().is_none()).unwrap_or_else(Self::random)
    }

    /// A new trace.
    pub fn random() -> Self {
        let mut trace_id = String::with_capacity(TRACE_DIGITS);
        // An id of zeros alone would be none.
        let id = rand::random::<u128>().max(1);
        // Writing to a String cannot fail.
        let _ = write!(trace_id, "{id:032x}");
        Self { trace_id: trace_id.into(), sampled: false }
    }

    /// The header for the next system, with a span of its own.
    pub fn header_value(&self) -> HeaderValue {
        let (span, flags) = (rand::random::<u64>().max(1), u8::from(self.sampled));
        let text = format!("00-{}-{span:016x}-{flags:02x}", self.trace_id);
        HeaderValue::from_str(&text).expect("digits and dashes are a header value")
    }
}

/// Reads `VERSION-TRACE-SPAN-FLAGS`. A later version may have more after them.
fn read(text: &str) -> Option<TraceContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = is_hex(version, 2)
        && version != "ff"
        && is_id(trace, TRACE_DIGITS)
        && is_id(span, SPAN_DIGITS)
        && is_hex(flags, 2)
        && (version != "00" || parts.next().is_none());
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    well_formed.then(|| TraceContext { trace_id: trace.into(), sampled })
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(sent: &str) -> TraceContext {
        TraceContext::of(&HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(sent).unwrap())]))
    }

    #[test]
    fn a_callers_trace_goes_on() {
        for (sent, sampled) in [("00-{}-00f067aa0ba902b7-01", true), ("00-{}-00f067aa0ba902b7-00", false)] {
            let context = of(&sent.replace("{}", TRACE));
            assert_eq!((&*context.trace_id, context.sampled), (TRACE, sampled));
            assert_eq!(read(context.header_value().to_str().unwrap()), Some(context));
        }
        assert_eq!(&*of(&format!("cc-{TRACE}-00f067aa0ba902b7-01-more")).trace_id, TRACE);
    }

    #[test]
    fn what_is_no_trace_makes_a_new_one() {
        for sent in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            let made = of(sent);
            assert!(*made.trace_id != *TRACE && is_id(&made.trace_id, TRACE_DIGITS), "{sent}");
        }
        assert_ne!(TraceContext::random(), TraceContext::random());
    }
}
