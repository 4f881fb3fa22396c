//! What a contract changes for callers of another one: the comparison by which a new version is kept from breaking them.
//!
//! Pure. Both contracts are taken apart into what is taken and given, and each difference is told with where it is, what was,
//! what is, and whether a caller who relied on the first contract could stumble over the second. What is not known on one side
//! is said to be so, and breaks nobody.

mod fields;
mod found;
mod kinds;
mod limits;
mod reading;
mod schema;
#[cfg(test)]
mod tests;
mod web;
mod words;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{Contract, Function, Layout};

use self::{
    found::{Found, Moved},
    schema::Context,
    words::shortened,
};

/// One thing that a contract changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractChange {
    /// The function.
    pub function: String,
    /// What of it is another.
    pub side: Side,
    /// JSON pointer (RFC 6901) into the request or the answer, as `/inputs/petal_width`; `*` stands for any one index or name.
    /// Empty where the function itself is meant.
    pub pointer: String,
    /// What was there, in words.
    pub was: String,
    /// What is there, in words.
    pub is: String,
    /// What that is to callers.
    pub effect: Effect,
    /// Why, in words.
    pub detail: String,
}

/// What of a function is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Whether it is there, and how it is called.
    Function,
    /// What it takes.
    Input,
    /// What it gives.
    Output,
}

impl Side {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// What a change is to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// A caller could stumble.
    Breaking,
    /// All callers can go on as they are.
    Compatible,
    /// Words alone are others.
    Documentation,
    /// It cannot be said, since one side is not known.
    Unknown,
}

impl Effect {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Breaking => "breaking",
            Self::Compatible => "compatible",
            Self::Documentation => "documentation",
            Self::Unknown => "unknown",
        }
    }
}

impl ContractChange {
    /// Whether a caller could stumble.
    pub fn is_breaking(&self) -> bool {
        self.effect == Effect::Breaking
    }
}

impl fmt::Display for ContractChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, side, pointer, was, is, effect: _, detail } = self;
        match side {
            Side::Function => write!(f, "{function}: was {was}, is {is}: {detail}"),
            side => write!(f, "{function}, {} {pointer}: was {was}, is {is}: {detail}", side.as_str()),
        }
    }
}

/// What `after` changes for callers who go by `before`, function by function in the order of `before`.
pub fn compare(before: &Contract, after: &Contract) -> Vec<ContractChange> {
    let mut changes = Vec::new();
    let context = Context::new([!before.incomplete.is_empty(), !after.incomplete.is_empty()]);
    for function in &before.functions {
        match after.function(&function.name) {
            Some(other) => of_function(function, other, &context, &mut changes),
            None => changes.push(change(&function.name, Side::Function, Found::gone())),
        }
    }
    let is_new = |function: &&Function| before.function(&function.name).is_none();
    let new = after.functions.iter().filter(is_new);
    changes.extend(new.map(|function| change(&function.name, Side::Function, Found::new_one())));
    changes.extend(web::compare(before, after, &context));
    changes
}

/// What of it could make callers stumble.
pub fn breaking(before: &Contract, after: &Contract) -> Vec<ContractChange> {
    compare(before, after).into_iter().filter(ContractChange::is_breaking).collect()
}

fn of_function(before: &Function, after: &Function, context: &Context, changes: &mut Vec<ContractChange>) {
    let mut add = |side, found: Vec<Found>| {
        changes.extend(found.into_iter().map(|found| change(&before.name, side, found)));
    };
    if before.description != after.description {
        let (was, is) = (shortened(&before.description), shortened(&after.description));
        add(Side::Function, vec![Found::of("", Moved::Words, was, is)]);
    }
    if [before.layout, after.layout].contains(&Layout::Opaque) {
        if before.layout != after.layout {
            add(Side::Function, vec![Found::unknown("", words::layout(before.layout), words::layout(after.layout))]);
        }
        return;
    }
    add(Side::Input, fields::inputs(before, after, context));
    add(Side::Output, fields::outputs(before, after, context));
}

fn change(function: &str, side: Side, found: Found) -> ContractChange {
    let (effect, detail) = found.meaning(side);
    let Found { pointer, was, is, .. } = found;
    ContractChange { function: function.into(), side, pointer, was, is, effect, detail: detail.into() }
}
