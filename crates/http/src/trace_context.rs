//! W3C Trace Context: the id by which a request is followed through all systems that it touches.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use kea_core::span::SpanId;

use crate::hex;

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
    /// Whether somebody records it.
    pub sampled: bool,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// This request's own span, where it is recorded.
    pub span: Option<SpanId>,
}

impl TraceContext {
    /// The caller's trace, or a new one. With a `share`, spans are recorded: those of traces that the caller records,
    /// and of that share (0 to 1) of the new ones.
    pub fn of(headers: &HeaderMap, share: Option<f64>) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let told = values.next().and_then(|value| value.to_str().ok()).and_then(read);
        // Two headers contradict each other.
        let told = told.filter(|_| values.next().is_none());
        let mut trace = told.unwrap_or_else(|| Self::random(share.is_some_and(|share| rand::random::<f64>() < share)));
        trace.span = (trace.sampled && share.is_some()).then(random_span);
        trace
    }

    /// A new trace.
    fn random(sampled: bool) -> Self {
        // An id of zeros alone would be none.
        let trace_id = hex::text::<TRACE_DIGITS, _>(rand::random::<u128>().max(1));
        Self { trace_id, sampled, parent: None, span: None }
    }

    /// The header for the next system: below the span that is recorded here, else below the caller's.
    pub fn header_value(&self) -> HeaderValue {
        let own = self.span.map(|span| span.part(SpanId::UPSTREAM));
        let (span, flags) = (own.or(self.parent).unwrap_or_else(random_span), u8::from(self.sampled));
        let mut text = *b"00-................................-................-..";
        text[3..35].copy_from_slice(self.trace_id.as_bytes());
        hex::write(&mut text[36..52], span.number().into());
        hex::write(&mut text[53..], flags.into());
        HeaderValue::from_bytes(&text).expect("digits and dashes are a header value")
    }
}

fn random_span() -> SpanId {
    SpanId::new(rand::random())
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
    let parent = SpanId::from_hex(span);
    well_formed.then(|| TraceContext { trace_id: trace.into(), sampled, parent, span: None })
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

    fn of(sent: &str, share: Option<f64>) -> TraceContext {
        TraceContext::of(&HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(sent).unwrap())]), share)
    }

    fn next(context: &TraceContext) -> TraceContext {
        read(context.header_value().to_str().unwrap()).unwrap()
    }

    #[test]
    fn a_callers_trace_goes_on_below_its_span_where_none_is_recorded_here() {
        for (sent, sampled) in [("00-{}-00f067aa0ba902b7-01", true), ("00-{}-00f067aa0ba902b7-00", false)] {
            let context = of(&sent.replace("{}", TRACE), None);
            assert_eq!((&*context.trace_id, context.sampled, context.span), (TRACE, sampled, None));
            assert_eq!(next(&context), context);
        }
        assert_eq!(&*of(&format!("cc-{TRACE}-00f067aa0ba902b7-01-more"), None).trace_id, TRACE);
    }

    #[test]
    fn the_next_system_is_below_the_span_that_is_recorded() {
        let context = of(&format!("00-{TRACE}-00f067aa0ba902b7-01"), Some(0.0));
        assert_eq!(context.parent, SpanId::from_hex("00f067aa0ba902b7"));
        assert_eq!(next(&context).parent, context.span.map(|span| span.part(SpanId::UPSTREAM)));
        // The caller decides for its whole trace.
        assert_eq!(of(&format!("00-{TRACE}-00f067aa0ba902b7-00"), Some(1.0)).span, None);
    }

    #[test]
    fn a_share_of_new_traces_is_recorded() {
        let recorded = |share| (0..1000).filter(|_| TraceContext::of(&HeaderMap::new(), share).span.is_some()).count();
        assert_eq!((recorded(None), recorded(Some(0.0)), recorded(Some(1.0))), (0, 0, 1000));
        // Ten standard deviations around 500.
        assert!((342..=658).contains(&recorded(Some(0.5))));
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
            let made = of(sent, None);
            assert!(*made.trace_id != *TRACE && is_id(&made.trace_id, TRACE_DIGITS), "{sent}");
        }
        assert_ne!(TraceContext::random(false), TraceContext::random(false));
    }
}
