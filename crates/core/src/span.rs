//! Ids of spans, by which systems say whose part of a trace is below whose.

use std::fmt;

/// The id of one system's part of a trace, as W3C Trace Context has it: eight bytes, and not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

impl SpanId {
    /// The part of a request's span that is spent in the system behind.
    pub const UPSTREAM: u64 = 1;

    /// The id of these bytes; zero, which would be none, becomes one.
    pub fn new(id: u64) -> Self {
        Self(id.max(1))
    }

    /// The id of these digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        u64::from_str_radix(digits, 16).ok().filter(|id| *id != 0).map(Self)
    }

    /// Its bytes as a number, the first one being the highest.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The id of a part of this span, of which the parts have numbers from 1. Ids of parts follow from this one, so that
    /// whoever reports them later need not be told.
    pub fn part(self, number: u64) -> Self {
        Self::new(self.0.wrapping_add(number))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
