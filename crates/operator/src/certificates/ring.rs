//! When another certificate is due, and which one is used: the same for all that KEA makes for itself. Nothing here asks a
//! clock or a cluster.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Identity, VALID};

/// Age at which another one is made: a third of its time is left for whatever keeps that from happening.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Age of a new one at which those before it are dropped: by then every operator that can be reached uses it.
const ALONE_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What is made at some time, and valid for [`VALID`].
pub(crate) trait Dated: Clone {
    /// How long a new one is trusted before it is used: who trusts it has to hear of it first.
    const TRUSTED_FIRST: SignedDuration;

    fn made_at(&self) -> Timestamp;
}

impl Dated for Identity {
    const TRUSTED_FIRST: SignedDuration = SignedDuration::from_mins(10);

    fn made_at(&self) -> Timestamp {
        self.made_at
    }
}

/// The certificates that there are, the oldest first: one, and a second one while that takes over.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ring<T>(Vec<T>);

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Dated> Ring<T> {
    /// The ring as it is to be: another certificate where one is due, and without those that nobody uses any more. It
    /// may be asked for only once all of this ring is trusted.
    pub(crate) fn renewed(&self, now: Timestamp, make: impl FnOnce() -> T) -> Self {
        let mut kept: Vec<_> = self.valid(now).cloned().collect();
        if kept.last().is_some_and(|newest| is_as_old_as(newest, ALONE_AFTER, now)) {
            kept.drain(..kept.len() - 1);
        }
        if kept.last().is_none_or(|newest| is_as_old_as(newest, RENEWED_AFTER, now)) {
            kept.push(make());
        }
        Self(kept)
    }

    /// Whether none of them is valid.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.oldest(now).is_none()
    }

    /// The one that has been trusted longest, for who does not know yet which are.
    pub(crate) fn oldest(&self, now: Timestamp) -> Option<&T> {
        self.valid(now).next()
    }

    /// The one to be used: the newest that has been trusted long enough.
    pub(crate) fn used(&self, now: Timestamp) -> Option<&T> {
        let trusted = self.valid(now).filter(|one| is_as_old_as(*one, T::TRUSTED_FIRST, now)).last();
        trusted.or_else(|| self.oldest(now))
    }

    /// All that are to be trusted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    fn valid(&self, now: Timestamp) -> impl Iterator<Item = &T> {
        self.0.iter().filter(move |one| now < one.made_at() + VALID)
    }
}

fn is_as_old_as(one: &impl Dated, age: SignedDuration, now: Timestamp) -> bool {
    now >= one.made_at() + age
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::authorities;

    const DAY: i64 = 24 * 60;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    /// One that was made at that minute, and is called so.
    fn identity(minute: i64) -> Identity {
        let name = format!("<{minute}>");
        Identity { made_at: at(minute), authority: name.clone(), certificate: name.clone(), key: name }
    }

    fn ring(minutes: &[i64]) -> Ring<Identity> {
        Ring(minutes.iter().copied().map(identity).collect())
    }

    #[track_caller]
    fn check_renewed(before: &[i64], now: i64, after: &[i64]) {
        let renewed = ring(before).renewed(at(now), || identity(now));
        assert_eq!(authorities(&renewed), authorities(&ring(after)));
    }

    #[track_caller]
    fn check_used(made: &[i64], now: i64, used: Option<i64>) {
        let found = ring(made);
        let found = found.used(at(now)).map(|identity| identity.certificate.clone());
        assert_eq!(found, used.map(|minute| identity(minute).certificate));
    }

    #[test]
    fn the_first_is_made_and_used_at_once() {
        check_renewed(&[], 0, &[0]);
        check_used(&[0], 0, Some(0));
        check_used(&[], 0, None);
    }

    #[test]
    fn another_is_made_at_two_thirds_of_the_time() {
        check_renewed(&[0], 60 * DAY - 1, &[0]);
        check_renewed(&[0], 60 * DAY, &[0, 60 * DAY]);
        // Once, and not again.
        check_renewed(&[0, 60 * DAY], 60 * DAY + 1, &[0, 60 * DAY]);
    }

    #[test]
    fn a_new_one_is_trusted_before_it_is_used_and_the_old_one_after() {
        let both = [0, 60 * DAY];
        assert_eq!(authorities(&ring(&both)), format!("<0><{}>", 60 * DAY));
        check_used(&both, 60 * DAY + 9, Some(0));
        check_used(&both, 60 * DAY + 10, Some(60 * DAY));
        check_renewed(&both, 61 * DAY - 1, &both);
        check_renewed(&both, 61 * DAY, &[60 * DAY]);
    }

    #[test]
    fn what_has_ended_is_used_no_more() {
        assert!(ring(&[0]).is_over(at(90 * DAY)) && !ring(&[0]).is_over(at(90 * DAY - 1)));
        check_renewed(&[0], 90 * DAY, &[90 * DAY]);
        check_used(&[0], 90 * DAY, None);
        // Nobody was there while the old one ended: better the new one too soon.
        check_used(&[0, 90 * DAY], 90 * DAY + 1, Some(90 * DAY));
    }

    /// Looks of one operator at any pace: first the configuration is made to trust the ring, and only the next look uses
    /// what it has, or renews it.
    #[track_caller]
    fn check_years_of_looks(pause: i64) {
        let mut kept = Ring::default().renewed(at(0), || identity(0));
        let mut trusted = String::new();
        let mut used = identity(0);
        let mut changes = 0;
        for minute in (0..2 * 365 * DAY).step_by(usize::try_from(pause).unwrap()) {
            let now = at(minute);
            assert!(!kept.is_over(now), "a valid one never lacks");
            if trusted != authorities(&kept) {
                trusted = authorities(&kept);
            } else {
                let next = kept.used(now).unwrap().clone();
                changes += u32::from(next.made_at != used.made_at);
                used = next;
                kept = kept.renewed(now, || identity(minute));
            }
            assert!(now < used.made_at() + VALID && trusted.contains(&used.authority), "minute {minute}");
        }
        assert_eq!(changes, 2 * 365 / 60);
    }

    #[test]
    fn there_is_always_one_to_be_used_and_it_is_trusted() {
        for pause in [1, 7, 60, 20 * 60] {
            check_years_of_looks(pause);
        }
    }
}
