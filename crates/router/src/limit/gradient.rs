//! How many requests a service can have at once, found out from how long its answers take: the gradient method of
//! Netflix' concurrency limits. Where answers take longer than they used to, requests wait for each other, and fewer at
//! once are answered as quickly; a margin above that keeps asking for more.

/// Longer than usual by this factor is still usual: models take longer for more rows.
const TOLERANCE: f64 = 2.0;

/// How much of a window goes into the usual latency.
const USUAL_GAIN: f64 = 1.0 / 300.0;

/// How far a window moves the limit.
const GAIN: f64 = 0.2;

/// What each window of requests that were not answered in time leaves of the limit.
const BACK_OFF: f64 = 0.9;

/// What a window of time has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Mean time of an answer, in nanoseconds.
    pub(crate) latency: f64,
    /// Most requests at once.
    pub(crate) at_once: usize,
    /// Whether requests were not answered in time.
    pub(crate) late: bool,
}

/// The limit and what is usual.
#[derive(Debug)]
pub(crate) struct Gradient {
    limit: f64,
    /// Mean latency of the last minutes, in nanoseconds; 0 until there was a window.
    usual: f64,
}

impl Gradient {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit as f64, usual: 0.0 }
    }

    /// The limit that follows from one more window, within `least` and `most`.
    pub(crate) fn update(&mut self, seen: Seen, least: usize, most: usize) -> usize {
        let wanted = if seen.late { self.limit * BACK_OFF } else { self.follow(seen) };
        self.limit = wanted.clamp(least.min(most) as f64, most as f64);
        self.limit as usize
    }

    fn follow(&mut self, seen: Seen) -> f64 {
        self.usual = if self.usual > 0.0 { mix(self.usual, seen.latency, USUAL_GAIN) } else { seen.latency };
        // What got much quicker, as after a bad time, is usual soon.
        if self.usual > 2.0 * seen.latency {
            self.usual *= 0.95;
        }
        // Who does not use half of the limit shows nothing about it.
        if (seen.at_once as f64) < self.limit / 2.0 {
            return self.limit;
        }
        let gradient = (TOLERANCE * self.usual / seen.latency.max(1.0)).clamp(0.5, 1.0);
        mix(self.limit, self.limit * gradient + self.limit.sqrt(), GAIN)
    }
}

fn mix(old: f64, new: f64, gain: f64) -> f64 {
    old + (new - old) * gain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that answers `capacity` requests at once in 10 ms; more of them wait. All callers come at once.
    fn latency(at_once: usize, capacity: usize) -> f64 {
        10e6 * (at_once as f64 / capacity as f64).max(1.0)
    }

    fn settle(gradient: &mut Gradient, capacity: usize, windows: usize) -> usize {
        let mut limit = gradient.limit as usize;
        for _ in 0..windows {
            limit = gradient.update(Seen { latency: latency(limit, capacity), at_once: limit, late: false }, 16, 1000);
        }
        limit
    }

    #[test]
    fn the_limit_converges_from_above_and_below() {
        for capacity in [50, 100, 200] {
            for begin in [20, 40] {
                let mut gradient = Gradient::new(begin);
                let limit = settle(&mut gradient, capacity, 100);
                assert!((capacity..=4 * capacity).contains(&limit), "from {begin} for {capacity}: {limit}");
            }
        }
    }

    #[test]
    fn a_service_that_slows_down_gets_fewer_and_then_more_again() {
        let mut gradient = Gradient::new(100);
        let well = settle(&mut gradient, 200, 100);
        let slow = settle(&mut gradient, 20, 50);
        assert!(slow < well / 2, "{slow} of {well}");
        let again = settle(&mut gradient, 200, 200);
        assert!(again > 2 * slow, "{again} after {slow}");
    }

    #[test]
    fn an_idle_service_keeps_its_limit() {
        let mut gradient = Gradient::new(256);
        for latency in [1e6, 500e6, 2e9] {
            assert_eq!(gradient.update(Seen { latency, at_once: 3, late: false }, 16, 1000), 256);
        }
    }

    #[test]
    fn late_answers_lower_it_but_not_below_the_least() {
        let mut gradient = Gradient::new(256);
        let seen = Seen { latency: 5e9, at_once: 256, late: true };
        assert_eq!(gradient.update(seen, 16, 1000), 230);
        for _ in 0..100 {
            gradient.update(seen, 16, 1000);
        }
        assert_eq!(gradient.update(seen, 16, 1000), 16);
        assert_eq!(Gradient::new(9).update(seen, 16, 4), 4, "what is asked for comes first");
    }
}
