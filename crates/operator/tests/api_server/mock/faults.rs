//! What the mocked API server does wrong, and to which requests.

use std::sync::Mutex;

use http::StatusCode;

use super::objects::Key;

pub(crate) const EVENTS: &str = "events.k8s.io/events";
pub(crate) const LEASES: &str = "coordination.k8s.io/leases";

/// A request, as far as faults and counts look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Who asks, in the words of the header `x-client`.
    pub(crate) client: String,
    pub(crate) verb: Verb,
    /// The name is empty for lists and watches.
    pub(crate) key: Key,
    pub(crate) is_status: bool,
    /// When, since the server's start.
    pub(crate) at: std::time::Duration,
}

impl Asked {
    /// Whether it changes anything but Leases, which are written by the clock, and events, which are for people.
    pub(crate) fn is_work(&self) -> bool {
        self.is_write() && self.key.resource != EVENTS
    }

    /// Whether it changes anything but Leases.
    pub(crate) fn is_write(&self) -> bool {
        let changes = matches!(self.verb, Verb::Create | Verb::Replace | Verb::Patch | Verb::Delete);
        changes && self.key.resource != LEASES
    }

    pub(crate) fn is(&self, verb: Verb, resource: &str) -> bool {
        self.verb == verb && self.key.resource == resource
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Replace,
    Patch,
    Delete,
}

/// What happens in place of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another answer.
    Answer(Refusal),
    /// The request is done, and the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks before anything is done.
    Drop,
    /// No answer ever, and nothing is done.
    Hang,
}

/// An answer that refuses.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Seconds of the header `Retry-After`.
    pub(crate) retry_after: Option<u64>,
}

impl Fault {
    pub(crate) fn answer(code: u16, reason: &'static str, message: &str) -> Self {
        let code = StatusCode::from_u16(code).expect("tests name codes that there are");
        Self::Answer(Refusal { code, reason, message: message.into(), retry_after: None })
    }
}

/// A fault, and when it strikes.
pub(crate) struct Rule {
    matches: Box<dyn Fn(&Asked) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Strikes whenever `matches` holds.
    pub(crate) fn new(fault: Fault, matches: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        Self { matches: Box::new(matches), skip: 0, times: usize::MAX, fault }
    }

    /// Lets the first `skip` requests through.
    pub(crate) fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Strikes so often, and no more.
    pub(crate) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// The rules that hold, and how often one struck.
#[derive(Default)]
pub(crate) struct Faults(Mutex<(Vec<Rule>, usize)>);

impl Faults {
    pub(crate) fn add(&self, rule: Rule) {
        self.0.lock().unwrap().0.push(rule);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().0.clear();
    }

    /// How often any has struck.
    pub(crate) fn struck(&self) -> usize {
        self.0.lock().unwrap().1
    }

    /// What goes wrong with a request.
    pub(crate) fn strike(&self, asked: &Asked) -> Option<Fault> {
        let mut guard = self.0.lock().unwrap();
        let (rules, struck) = &mut *guard;
        for rule in rules.iter_mut().filter(|rule| (rule.matches)(asked)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                *struck += 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }
}
