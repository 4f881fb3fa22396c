//! Two schemas of OpenAPI 3.0, compared by what passes each of them.
//!
//! Structural and bounded: references are followed until a pair of schemas comes again, alternatives are matched with each
//! other, and what takes too many comparisons is said to be unknown.

mod alternatives;

use std::{borrow::Cow, cell::Cell};

use serde_json::Value;

use super::{
    found::{Found, Moved, moved},
    kinds::Kinds,
    limits,
    reading::{Members, alternatives, is_anything, resolved, summary},
    words,
};

/// Nesting that is followed.
const DEPTH: usize = 64;

/// Pairs of schemas that are compared for one contract: alternatives of alternatives grow exponentially.
const PAIRS: usize = 20_000;

/// What two contracts are compared with.
pub(super) struct Context {
    /// Whether what accepts anything, on each side, may be what is not known.
    pub(super) incomplete: [bool; 2],
    /// How many pairs of schemas may still be compared.
    left: Cell<usize>,
}

impl Context {
    pub(super) fn new(incomplete: [bool; 2]) -> Self {
        Self { incomplete, left: Cell::new(PAIRS) }
    }

    fn is_used_up(&self) -> bool {
        self.left.get() == 0
    }
}

/// What is compared, and how far that is.
struct Schemas<'a> {
    /// Where references of each side point to.
    roots: [&'a Value; 2],
    context: &'a Context,
    /// Pairs of schemas that are being compared.
    open: Vec<[*const Value; 2]>,
}

/// What is found of one pair of schemas.
type All = Vec<Found>;

/// Compares two schemas, whose values lie at `at`.
pub(super) fn compare(at: &str, before: &Value, after: &Value, context: &Context) -> All {
    if before == after {
        return All::new();
    }
    let mut schemas = Schemas { roots: [before, after], context, open: Vec::new() };
    let mut found = schemas.pair(at, before, after);
    let mut at = 0;
    // Alternatives of one kind may say the same twice.
    while at < found.len() {
        let is_told = found[..at].contains(&found[at]);
        if is_told { drop(found.remove(at)) } else { at += 1 }
    }
    found
}

impl<'a> Schemas<'a> {
    fn pair(&mut self, at: &str, before: &Value, after: &Value) -> All {
        let [old, new] = self.roots;
        let (before, after) = (resolved(old, before), resolved(new, after));
        let pair = [std::ptr::from_ref(&*before), std::ptr::from_ref(&*after)];
        if self.open.contains(&pair) {
            return All::new();
        }
        if self.context.is_used_up() || self.open.len() >= DEPTH {
            return vec![Found::too_large(at)];
        }
        self.context.left.update(|left| left - 1);
        self.open.push(pair);
        let found = self.resolved_pair(at, &before, &after);
        self.open.pop();
        found
    }

    fn resolved_pair(&mut self, at: &str, before: &Value, after: &Value) -> All {
        let (is_any, was_any) = (is_anything(after), is_anything(before));
        if was_any && is_any {
            return All::new();
        }
        let [old, new] = self.context.incomplete;
        if was_any != is_any && (was_any && old || is_any && new) {
            let told = |is_any, schema| if is_any { "not known".to_owned() } else { summary(schema) };
            return vec![Found::unknown(at, told(was_any, before), told(is_any, after))];
        }
        match (alternatives(before), alternatives(after)) {
            (None, None) => self.plain(at, before, after),
            (of_before, of_after) => {
                let of_before = of_before.unwrap_or_else(|| vec![Cow::Borrowed(before)]);
                let of_after = of_after.unwrap_or_else(|| vec![Cow::Borrowed(after)]);
                self.alternatives(at, &of_before, &of_after)
            }
        }
    }

    /// Two schemas without alternatives.
    fn plain(&mut self, at: &str, before: &Value, after: &Value) -> All {
        let (old, new) = (Kinds::of(before), Kinds::of(after));
        if old.is_all() != new.is_all() {
            let moved = if old.is_all() { Moved::Narrowed } else { Moved::Widened };
            return vec![Found::of(at, moved, old.words(), new.words())];
        }
        let (was, is) = (old.without_null(), new.without_null());
        let kinds = moved(was.is_within(is), is.is_within(was));
        let mut found = All::from_iter(kinds.map(|kinds| Found::of(at, kinds, was.words(), is.words())));
        if old.has_null() != new.has_null() {
            found.push(nullable(at, old.has_null()));
        }
        let common = was.common(is);
        if !common.is_empty() {
            found.extend(self.values(at, common, before, after));
        }
        found
    }

    /// What bounds the values that both take.
    fn values(&mut self, at: &str, common: Kinds, before: &Value, after: &Value) -> All {
        let list = |schema: &Value| match (schema.get("enum"), schema.get("const")) {
            (Some(Value::Array(values)), _) => values.clone(),
            (_, Some(value)) => vec![value.clone()],
            _ => Vec::new(),
        };
        let (was, is) = (list(before), list(after));
        let mut found = All::from_iter(limits::choices(at, &was, &is));
        if !was.is_empty() && !is.is_empty() {
            return found;
        }
        found.extend(limits::bounds(at, common, before, after));
        if common.has(Kinds::ARRAY) {
            found.extend(self.below(&format!("{at}/*"), before.get("items"), after.get("items")));
        }
        if common.has(Kinds::OBJECT) {
            found.extend(self.members(at, before, after));
        }
        found
    }

    /// Two schemas that may be missing, where anything is meant.
    fn below(&mut self, at: &str, before: Option<&Value>, after: Option<&Value>) -> All {
        if before.is_none() && after.is_none() {
            return All::new();
        }
        let anything = Value::Bool(true);
        self.pair(at, before.unwrap_or(&anything), after.unwrap_or(&anything))
    }

    /// The members of two objects.
    fn members(&mut self, at: &str, before: &Value, after: &Value) -> All {
        let (old, new) = (Members::of(before), Members::of(after));
        let mut found = All::new();
        for (name, schema) in old.named {
            let at = words::below(at, name);
            match new.named.get(name) {
                Some(other) => {
                    found.extend(self.pair(&at, schema, other));
                    found.extend(required(&at, old.requires(name), new.requires(name)));
                    found.extend(default(&at, schema.get("default"), other.get("default")));
                }
                None => {
                    let moved = Moved::Removed { taken: !new.is_closed() };
                    found.push(Found::of(at, moved, summary(schema), "gone"));
                }
            }
        }
        for (name, schema) in new.named.iter().filter(|(name, _)| !old.named.contains_key(*name)) {
            let moved = Moved::Added { required: new.requires(name) };
            found.push(Found::of(words::below(at, name), moved, "nothing", summary(schema)));
        }
        found.extend(self.others(at, &old, &new));
        found
    }

    /// Members without a name of their own.
    fn others(&mut self, at: &str, old: &Members<'_>, new: &Members<'_>) -> All {
        let told = |members: &Members<'_>| if members.is_closed() { "no other members" } else { "any other members" };
        match moved(!new.is_closed() || old.is_closed(), !old.is_closed() || new.is_closed()) {
            Some(moved) => vec![Found::of(at, moved, told(old), told(new))],
            None if old.is_closed() => All::new(),
            None => self.below(&format!("{at}/*"), old.others, new.others),
        }
    }
}

/// Null that came or went.
pub(super) fn nullable(at: &str, was: bool) -> Found {
    let told = |may| if may { "may be null" } else { "not null" };
    let moved = if was { Moved::Narrowed } else { Moved::Widened };
    Found::of(at, moved, told(was), told(!was))
}

/// Whether it must be there, where that is another.
pub(super) fn required(at: &str, was: bool, is: bool) -> Option<Found> {
    let told = |required| if required { "required" } else { "optional" };
    let moved = if is { Moved::Narrowed } else { Moved::Widened };
    (was != is).then(|| Found::of(at, moved, told(was), told(is)))
}

/// Another default.
pub(super) fn default(at: &str, was: Option<&Value>, is: Option<&Value>) -> Option<Found> {
    let (was, is) = (was?, is?);
    (was != is).then(|| {
        Found::of(at, Moved::Default, format!("default {}", words::value(was)), format!("default {}", words::value(is)))
    })
}
