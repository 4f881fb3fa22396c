//! A model's answer against its contract: what a caller was promised is what comes.
//!
//! A glance in one pass, without a tree, says yes to what surely fits (`glance`); all else is read once more, and every problem is
//! named (`explain`). The shapes are those that [`crate::render`] writes and the OpenAPI document shows; what the contract does not speak of may
//! be there as well.

mod explain;
mod glance;
mod plan;
#[cfg(test)]
mod tests;
mod v2;

use std::{collections::HashMap, sync::OnceLock};

use kea_core::{Contract, management::Violation};

use super::Rejection;
use plan::Answer;

/// What the functions of a contract answer, prepared when it is first asked.
#[derive(Default)]
pub(super) struct Answers(OnceLock<HashMap<String, Answer>>);

impl Answers {
    /// Holds the body of an answer of KEA's own API, `{"predictions": [...]}`, against what the function gives. Whatever a
    /// function answers that the contract does not have fits.
    pub(super) fn check(&self, contract: &Contract, function: &str, body: &[u8]) -> Result<(), Misfit> {
        let Some(answer) = self.of(contract, function) else { return Ok(()) };
        if glance::fits(answer, body) { Ok(()) } else { explain::predictions(answer, body) }
    }

    /// Holds the body of an answer of the Open Inference Protocol V2 against the tensors that the function gives. `all` says
    /// whether the request asked for all of them.
    pub(super) fn check_v2(&self, contract: &Contract, function: &str, body: &[u8], all: bool) -> Result<(), Misfit> {
        let Some(answer) = self.of(contract, function) else { return Ok(()) };
        v2::check(answer, body, all)
    }

    fn of(&self, contract: &Contract, function: &str) -> Option<&Answer> {
        let prepared = || contract.functions.iter().map(|one| (one.name.clone(), Answer::of(one))).collect();
        self.0.get_or_init(prepared).get(function)
    }
}

/// Why an answer does not fit its contract. That is the model's fault, or its author's, and never the caller's.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfit(pub Vec<Violation>);

impl Misfit {
    /// Where the first problem is: a JSON pointer into the answer.
    pub fn pointer(&self) -> &str {
        self.0.first().map_or("", |first| &first.pointer)
    }

    fn not_json(rejection: &Rejection) -> Self {
        let received = rejection.to_string();
        Self(vec![Violation {
            pointer: String::new(),
            expected: "an answer in JSON".into(),
            received: received.replacen("the body", "what", 1),
            detail: WHOSE.into(),
        }])
    }
}

/// What is said of each problem: there is nothing that a caller could mend.
const WHOSE: &str = "the model answers otherwise than its contract says: nothing is wrong with the request";
