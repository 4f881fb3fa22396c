//! Turns by weight: smooth weighted round robin, worked out once, so that a request only counts.

/// Whose turn it is, over and over. Each window as long as the whole holds everyone exactly by its weight, wherever it
/// begins, and nobody's turns come in a row where they need not.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    turns: Box<[u16]>,
}

impl Schedule {
    /// Turns for members with these weights; as short as it can be.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
        let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
        let length: i64 = weights.iter().sum();
        let mut credit = vec![0; weights.len()];
        let turns = (0..length).filter_map(|_| turn(&mut credit, &weights, length)).collect();
        Self { turns }
    }

    /// Who has the turn of that number; `None` where nobody has one.
    pub(crate) fn at(&self, turn: usize) -> Option<usize> {
        let index = turn.checked_rem(self.turns.len())?;
        Some(usize::from(self.turns[index]))
    }

    /// One whole round.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.turns.iter().map(|turn| usize::from(*turn))
    }
}

/// Everyone earns its weight; who has most pays for all. Of equals the first.
fn turn(credit: &mut [i64], weights: &[i64], whole: i64) -> Option<u16> {
    credit.iter_mut().zip(weights).for_each(|(credit, weight)| *credit += weight);
    let richest = (0..credit.len()).rev().max_by_key(|index| credit[*index])?;
    credit[richest] -= whole;
    u16::try_from(richest).ok()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(weights: &[u32]) -> Vec<usize> {
        Schedule::new(weights).iter().collect()
    }

    #[test]
    fn turns_are_spread() {
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[50, 50]), [0, 1]);
        assert_eq!(turns(&[0, 100]), [1]);
        assert_eq!(turns(&[]), [0_usize; 0]);
        assert_eq!(Schedule::new(&[]).at(7), None);
    }

    /// Shares of one whole of 100.
    fn percentages() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(0..=100_u32, 0..8).prop_map(|mut cuts| {
            cuts.extend([0, 100]);
            cuts.sort_unstable();
            cuts.windows(2).map(|pair| pair[1] - pair[0]).collect()
        })
    }

    proptest! {
        #[test]
        fn any_hundred_turns_in_a_row_are_exact(weights in percentages(), begin in 0..1000_usize) {
            let schedule = Schedule::new(&weights);
            let mut counts = vec![0; weights.len()];
            for turn in begin..begin + 100 {
                counts[schedule.at(turn).unwrap()] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn nobody_waits_twice_as_long_as_its_share_says(weights in percentages()) {
            let schedule = Schedule::new(&weights);
            for (member, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
                let mut waited = 0;
                for turn in 0..200 {
                    waited = if schedule.at(turn) == Some(member) { 0 } else { waited + 1 };
                    prop_assert!(waited <= 200 / weight + 1, "{member} of {weights:?}");
                }
            }
        }
    }
}
