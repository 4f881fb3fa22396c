//! A difference before it is known whether it is one of a request or of an answer, and what it is to callers then.

use super::{Effect, Side};

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) pointer: String,
    pub(super) moved: Moved,
    pub(super) was: String,
    pub(super) is: String,
}

/// How the set of values became another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// A member that was not there before.
    Added {
        /// Whether nothing is taken without it.
        required: bool,
    },
    /// A member that is there no more.
    Removed {
        /// Whether one of its name is still taken.
        taken: bool,
    },
    /// Fewer values than before.
    Narrowed,
    /// More values than before.
    Widened,
    /// Other values: some came, some went.
    Changed,
    /// Another value where none is sent.
    Default,
    /// Words, and what callers cannot tell apart.
    Words,
    /// It is not known on one side.
    Unknown,
}

impl Moved {
    /// Whether it can be passed over where one schema is looked for within another.
    pub(super) fn is_harmless(self) -> bool {
        matches!(self, Self::Default | Self::Words | Self::Unknown)
    }
}

impl Found {
    pub(super) fn of(pointer: impl Into<String>, moved: Moved, was: impl Into<String>, is: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), moved, was: was.into(), is: is.into() }
    }

    /// What cannot be compared.
    pub(super) fn unknown(pointer: impl Into<String>, was: impl Into<String>, is: impl Into<String>) -> Self {
        Self::of(pointer, Moved::Unknown, was, is)
    }

    /// What would take too long to be compared.
    pub(super) fn too_large(pointer: &str) -> Self {
        Self::unknown(pointer, "too large to be compared", "too large to be compared")
    }

    /// A function that is there no more.
    pub(super) fn gone() -> Self {
        Self::of("", Moved::Removed { taken: false }, "a function", "gone")
    }

    /// A function that was not there.
    pub(super) fn new_one() -> Self {
        Self::of("", Moved::Added { required: false }, "nothing", "a function")
    }

    /// What it is to callers, and why.
    pub(super) fn meaning(&self, side: Side) -> (Effect, &'static str) {
        match self.moved {
            Moved::Words => (Effect::Documentation, "callers need not change anything"),
            Moved::Unknown => (Effect::Unknown, "it is not known on both sides, and not compared"),
            Moved::Default => (Effect::Compatible, "who leaves it out gets the other value"),
            moved => match side {
                Side::Function => of_function(moved),
                Side::Input => of_input(moved),
                Side::Output => of_output(moved),
            },
        }
    }
}

fn of_function(moved: Moved) -> (Effect, &'static str) {
    match moved {
        Moved::Added { .. } | Moved::Widened => (Effect::Compatible, "callers need not know of it"),
        _ => (Effect::Breaking, "its callers are answered 404"),
    }
}

fn of_input(moved: Moved) -> (Effect, &'static str) {
    match moved {
        Moved::Added { required: true } => (Effect::Breaking, "callers do not send it yet, and are refused without it"),
        Moved::Added { required: false } => (Effect::Compatible, "callers may leave it out"),
        Moved::Removed { taken: false } => (Effect::Breaking, "callers who send it are refused"),
        Moved::Removed { taken: true } => (Effect::Compatible, "callers who send it are not refused"),
        Moved::Widened => (Effect::Compatible, "all that was taken still is"),
        _ => (Effect::Breaking, "something that was taken is refused"),
    }
}

fn of_output(moved: Moved) -> (Effect, &'static str) {
    match moved {
        Moved::Added { .. } => (Effect::Compatible, "callers need not look at it"),
        Moved::Removed { .. } => (Effect::Breaking, "callers who read it do not find it"),
        Moved::Narrowed => (Effect::Compatible, "all that comes could come before"),
        _ => (Effect::Breaking, "something can come that did not come before"),
    }
}

/// How a set of values changed, from whether each is within the other.
pub(super) fn moved(before_within_after: bool, after_within_before: bool) -> Option<Moved> {
    match (before_within_after, after_within_before) {
        (true, true) => None,
        (true, false) => Some(Moved::Widened),
        (false, true) => Some(Moved::Narrowed),
        (false, false) => Some(Moved::Changed),
    }
}
