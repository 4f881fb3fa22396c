//! The gate against breaking changes: whether a new version may answer those who call the live one.
//!
//! A rule, and no state: it looks at the contracts that are known now. Where one of them is not, nothing is held back.

use crate::{
    compare::{ContractChange, breaking},
    contract::Contract,
    name::VersionId,
};

/// Most changes that are told of one version: nobody reads more of them.
const TOLD: usize = 100;

/// What whoever wants such a version can do.
pub const WHAT_TO_DO: &str = "give it what they rely on, or allow it with `--allow-breaking` (`allowBreaking`)";

/// Most changes that one sentence names.
const NAMED: usize = 3;

/// The version that answers now, and those that need not be weighed against it.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// The version that callers go by.
    pub live: &'a VersionId,
    /// Versions that were allowed to break callers.
    pub may_break: &'a [VersionId],
    /// Versions that have been live: whoever returns to one wants out, and its contract is one that callers have known.
    pub were_live: &'a [VersionId],
}

impl Gate<'_> {
    /// Whether a version may answer, whatever it takes and gives.
    pub fn is_open_for(&self, version: &VersionId) -> bool {
        version == self.live || self.may_break.contains(version) || self.were_live.contains(version)
    }
}

/// What a version with the contract `after` would break for callers of one with `before`, by which it is held back.
pub fn bars(before: &Contract, after: &Contract) -> Vec<ContractChange> {
    let mut changes = breaking(before, after);
    changes.truncate(TOLD);
    changes
}

/// Why a version does not answer that would break callers of the `live` one, in one sentence.
pub fn reason(live: &VersionId, changes: &[ContractChange]) -> String {
    let named: Vec<String> = changes.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match changes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("it would break callers of version {live} ({}{more}): {WHAT_TO_DO}", named.join("; "))
}

#[cfg(test)]
mod tests {
    use crate::contract::{Function, Layout};

    use super::*;

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn contract(functions: &[&str]) -> Contract {
        let function = |name: &&str| Function {
            name: (*name).into(),
            description: String::new(),
            layout: Layout::Arguments,
            inputs: Vec::new(),
            outputs: Vec::new(),
            idempotent: false,
            deterministic: true,
        };
        Contract { functions: functions.iter().map(function).collect(), ..Contract::default() }
    }

    #[test]
    fn the_gate_is_open_for_what_was_live_or_is_allowed_alone() {
        let (live, may_break, were_live) = (v("2"), [v("4")], [v("1"), v("2")]);
        let gate = Gate { live: &live, may_break: &may_break, were_live: &were_live };
        let open: Vec<bool> = ["1", "2", "3", "4"].map(|version| gate.is_open_for(&v(version))).into();
        assert_eq!(open, [true, true, false, true]);
    }

    #[test]
    fn what_breaks_nothing_bars_nothing() {
        assert_eq!(bars(&contract(&["predict"]), &contract(&["predict", "more"])), []);
        assert_eq!(bars(&contract(&["predict", "more"]), &contract(&["predict"])).len(), 1);
        let many: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(bars(&contract(&many), &contract(&[])).len(), TOLD);
    }

    #[test]
    fn the_reason_names_the_first_changes_and_counts_the_others() {
        let told = reason(&v("1"), &bars(&contract(&["a", "b", "c", "d", "e"]), &contract(&[])));
        assert!(told.starts_with("it would break callers of version 1 (a: was a function, is gone: "), "{told}");
        assert!(told.contains("; and 2 more): ") && told.contains("--allow-breaking"), "{told}");
    }
}
