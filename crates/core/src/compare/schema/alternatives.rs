//! Alternatives of a schema: which of them is which of the other side's.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    super::{
        found::{Found, Moved},
        kinds::Kinds,
        reading::{resolved, summary},
    },
    All, Schemas,
};

impl Schemas<'_> {
    /// Two lists of which one schema is enough: what is within something of the other side is there still.
    pub(super) fn alternatives(&mut self, at: &str, before: &[Cow<'_, Value>], after: &[Cow<'_, Value>]) -> All {
        let mut old: Vec<&Value> = before.iter().map(|one| &**one).collect();
        let mut new: Vec<&Value> = after.iter().map(|one| &**one).collect();
        old.retain(|one| match new.iter().position(|other| self.pair(at, one, other).is_empty()) {
            Some(same) => {
                new.remove(same);
                false
            }
            None => true,
        });
        let is = |found: &All, moved: Moved| found.iter().all(|f| f.moved == moved || f.moved.is_harmless());
        let mut gone = old.clone();
        gone.retain(|one| !after.iter().any(|other| is(&self.pair(at, one, other), Moved::Widened)));
        let mut come = new.clone();
        come.retain(|one| !before.iter().any(|other| is(&self.pair(at, other, one), Moved::Narrowed)));
        let found = self.partners(at, [&gone, &old], [&come, &new]);
        if self.context.is_used_up() { vec![Found::too_large(at)] } else { found }
    }

    /// What became of alternatives that are within none of the other side: of each side those, and all that are not the same
    /// on both sides. One that has another of its kind on the other side became that.
    fn partners(&mut self, at: &str, [gone, old]: [&[&Value]; 2], [come, new]: [&[&Value]; 2]) -> All {
        let mut come = come.to_vec();
        let mut found = All::new();
        for one in gone {
            let kinds = self.kinds(0, one);
            let is_alike = |other: &&Value| self.kinds(1, other) == kinds;
            let partner = come.iter().position(is_alike).map(|at| come.remove(at));
            match partner.or_else(|| new.iter().copied().find(|other| self.kinds(1, other) == kinds)) {
                Some(other) => found.extend(self.pair(at, one, other)),
                None => found.push(Found::of(at, Moved::Narrowed, summary(one), format!("no more {}", summary(one)))),
            }
        }
        for one in come {
            let kinds = self.kinds(1, one);
            match old.iter().copied().find(|other| self.kinds(0, other) == kinds) {
                Some(other) => found.extend(self.pair(at, other, one)),
                None => found.push(Found::of(at, Moved::Widened, format!("no {}", summary(one)), summary(one))),
            }
        }
        found
    }

    fn kinds(&self, side: usize, schema: &Value) -> Kinds {
        Kinds::of(&resolved(self.roots[side], schema)).without_null()
    }
}
