//! Tallies of several routers: how each tells its own, and their sum.

use std::ops::AddAssign;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Latency, ShadowTally, Tally};
use crate::shadow::ShadowCounts;

/// Pairs of a bucket and its count. Most buckets are empty, and left out.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().enumerate().filter(|(_, count)| **count > 0))
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latency = Self::default();
        for (bucket, count) in Vec::<(usize, u64)>::deserialize(deserializer)? {
            let none = || D::Error::custom(format!("there is no bucket {bucket}"));
            *latency.0.get_mut(bucket).ok_or_else(none)? = count;
        }
        Ok(latency)
    }
}

/// Others tell numbers that nobody here has counted: a sum never overflows.
impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        // Whole, so that no field is forgotten.
        let Tally { requests, rejected, errors, latency, shadow: ShadowTally { counts, latency: of_copies } } = other;
        let sums = [(&mut self.requests, requests), (&mut self.rejected, rejected), (&mut self.errors, errors)];
        let buckets = self.latency.0.iter_mut().zip(&latency.0);
        let copies = self.shadow.latency.0.iter_mut().zip(&of_copies.0);
        sums.into_iter().chain(buckets).chain(copies).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        let ShadowCounts { same, different, failed, not_compared, dropped, skipped } = counts;
        let own = &mut self.shadow.counts;
        for (sum, more) in [
            (&mut own.same, same),
            (&mut own.different, different),
            (&mut own.failed, failed),
            (&mut own.not_compared, not_compared),
            (&mut own.dropped, dropped),
            (&mut own.skipped, skipped),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u64, bucket: usize) -> Tally {
        let mut tally = Tally { requests, rejected: 1, errors: 2, ..Tally::default() };
        tally.latency.0[bucket] = requests;
        tally.shadow.counts.different = requests;
        tally.shadow.latency.0[bucket] = requests;
        tally
    }

    #[test]
    fn a_tally_is_read_as_it_was_told() {
        let told = serde_json::to_value(tally(7, 300)).unwrap();
        assert_eq!(told["latency"], serde_json::json!([[300, 7]]));
        assert_eq!(serde_json::from_value::<Tally>(told).unwrap(), tally(7, 300));
        let beyond = serde_json::json!({"requests": 1, "latency": [[496, 1]]});
        assert!(serde_json::from_value::<Tally>(beyond).unwrap_err().to_string().contains("no bucket 496"));
    }

    #[test]
    fn a_sum_has_all_of_both() {
        let mut sum = tally(7, 300);
        sum += &tally(5, 20);
        assert_eq!((sum.requests, sum.rejected, sum.errors), (12, 2, 4));
        assert_eq!((sum.latency.0[300], sum.latency.0[20]), (7, 5));
        assert_eq!((sum.shadow.counts.different, sum.shadow.latency.0[20]), (12, 5));
        sum += &tally(u64::MAX, 20);
        assert_eq!((sum.requests, sum.latency.0[20]), (u64::MAX, u64::MAX));
    }
}
