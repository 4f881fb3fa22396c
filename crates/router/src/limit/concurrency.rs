//! The gate of a service: as many requests at its replicas at once as [`Gradient`] finds right, a bounded queue before
//! it, and a refusal at once for what would not get its turn in time.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use kea_core::resilience::LimitSettings;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::gradient::{Gradient, Seen};
use crate::clock;

/// Most requests at once where nothing is said.
const MOST: usize = 1024;

/// The limit of a service that is new.
const FIRST: usize = 256;

/// The limit never falls below that: a batch of a model takes 64 rows, and fewer at once would make batches smaller.
const LEAST: usize = 64;

/// Most requests that wait where nothing is said.
const QUEUE: usize = 1024;

/// How long is looked before the limit moves, in nanoseconds.
const WINDOW: u64 = 250_000_000;

/// Fewer answers than that show nothing.
const ANSWERS_LEAST: u64 = 10;

/// The request does not get its turn in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shed {
    /// When there may be room again.
    pub(crate) retry_after: Duration,
}

/// The gate of one service. Kept from one snapshot to the next.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Semaphore,
    /// Places that there are, taken or free; follows the limit as they come back. Changed under `resizing` alone.
    size: AtomicUsize,
    /// Held while places are made or taken away, never across an await.
    resizing: Mutex<()>,
    limit: AtomicUsize,
    waiting: AtomicUsize,
    /// Requests that were refused.
    shed: AtomicU64,
    window: Window,
    /// Held by who ends a window alone, for a few multiplications.
    gradient: Mutex<Gradient>,
}

/// What was seen since the last change of the limit.
#[derive(Debug, Default)]
struct Window {
    ends: AtomicU64,
    answers: AtomicU64,
    nanos: AtomicU64,
    at_once: AtomicUsize,
    late: AtomicBool,
}

/// A request's place; dropped once the head of its answer is there.
pub(crate) struct Place<'a> {
    gate: &'a Gate,
    permit: Option<SemaphorePermit<'a>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            places: Semaphore::new(FIRST),
            size: FIRST.into(),
            resizing: Mutex::default(),
            limit: FIRST.into(),
            waiting: AtomicUsize::new(0),
            shed: AtomicU64::new(0),
            window: Window::default(),
            gradient: Mutex::new(Gradient::new(FIRST)),
        }
    }
}

impl Gate {
    /// A place for a request that has to be answered by `deadline`.
    pub(crate) async fn enter(&self, settings: &LimitSettings, deadline: Instant) -> Result<Place<'_>, Shed> {
        self.keep_within(settings);
        if let Ok(permit) = self.places.try_acquire() {
            return Ok(self.place(permit));
        }
        let queue = settings.queue.map_or(QUEUE, |queue| queue as usize);
        let ahead = self.waiting.fetch_add(1, Relaxed);
        let _waiting = Waiting(&self.waiting);
        let left = deadline.saturating_duration_since(Instant::now());
        if ahead >= queue || self.expected_wait(ahead) > left {
            return Err(self.refuse(ahead));
        }
        match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(self.place(permit)),
            // Places are never closed.
            Ok(Err(_)) | Err(_) => Err(self.refuse(ahead)),
        }
    }

    /// The limit at this moment.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Requests that were refused.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    fn place<'a>(&'a self, permit: SemaphorePermit<'a>) -> Place<'a> {
        let taken = self.size.load(Relaxed).saturating_sub(self.places.available_permits());
        self.window.at_once.fetch_max(taken, Relaxed);
        Place { gate: self, permit: Some(permit) }
    }

    /// A changed setting holds at once; above [`LEAST`] the limit then finds its way.
    fn keep_within(&self, settings: &LimitSettings) {
        let (most, limit) = (most(settings), self.limit());
        let wanted = limit.clamp(LEAST.min(most), most);
        if wanted != limit {
            self.limit.store(wanted, Relaxed);
            self.resize();
        }
    }

    /// How long a request waits behind `ahead` others, by the latency of the window under way.
    fn expected_wait(&self, ahead: usize) -> Duration {
        let (answers, nanos) = (self.window.answers.load(Relaxed), self.window.nanos.load(Relaxed));
        let each = nanos.checked_div(answers).unwrap_or_default();
        let rounds = ahead / self.limit().max(1);
        Duration::from_nanos(each.saturating_mul(rounds as u64))
    }

    fn refuse(&self, ahead: usize) -> Shed {
        self.shed.fetch_add(1, Relaxed);
        Shed { retry_after: self.expected_wait(ahead).clamp(Duration::from_secs(1), Duration::from_secs(30)) }
    }

    fn answered(&self, took: u64, late: bool, settings: &LimitSettings) {
        let window = &self.window;
        window.nanos.fetch_add(took, Relaxed);
        let answers = window.answers.fetch_add(1, Relaxed) + 1;
        if late {
            window.late.store(true, Relaxed);
        }
        let (now, ends) = (clock::now(), window.ends.load(Relaxed));
        if now < ends || answers < ANSWERS_LEAST {
            return;
        }
        if window.ends.compare_exchange(ends, now + WINDOW, Relaxed, Relaxed).is_ok() && ends != 0 {
            self.follow(settings);
        }
    }

    fn follow(&self, settings: &LimitSettings) {
        let window = &self.window;
        let (answers, nanos) = (window.answers.swap(0, Relaxed), window.nanos.swap(0, Relaxed));
        let seen = Seen {
            latency: nanos as f64 / answers.max(1) as f64,
            at_once: window.at_once.swap(0, Relaxed),
            late: window.late.swap(false, Relaxed),
        };
        let Ok(mut gradient) = self.gradient.try_lock() else { return };
        self.limit.store(gradient.update(seen, LEAST, most(settings)), Relaxed);
        drop(gradient);
        self.resize();
    }

    /// Makes as many places as the limit says; those that are taken go when they come back.
    fn resize(&self) {
        let _alone = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        let (limit, size) = (self.limit(), self.size.load(Relaxed));
        if limit > size {
            self.size.store(limit, Relaxed);
            self.places.add_permits(limit - size);
        } else {
            self.size.store(size - self.places.forget_permits(size - limit), Relaxed);
        }
    }

    /// Takes a place away that has come back, where there are more than the limit says.
    fn take_away(&self, permit: SemaphorePermit<'_>) {
        let _alone = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        let size = self.size.load(Relaxed);
        if size > self.limit() {
            self.size.store(size - 1, Relaxed);
            permit.forget();
        }
    }
}

impl Place<'_> {
    /// The replica has answered after `took` nanoseconds, or, where it was `late`, it has not.
    pub(crate) fn answered(&self, took: u64, late: bool, settings: &LimitSettings) {
        self.gate.answered(took, late, settings);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let gate = self.gate;
        let Some(permit) = self.permit.take() else { return };
        if gate.size.load(Relaxed) > gate.limit() {
            gate.take_away(permit);
        }
    }
}

fn most(settings: &LimitSettings) -> usize {
    settings.concurrency.map_or(MOST, |most| most as usize)
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[test]
    fn places_follow_a_limit_that_many_lower_at_once() {
        let settings = LimitSettings { concurrency: Some(2), ..LimitSettings::default() };
        for _ in 0..5_000 {
            let (gate, together) = (Gate::default(), std::sync::Barrier::new(4));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        together.wait();
                        gate.keep_within(&settings);
                    });
                }
            });
            assert_eq!((gate.limit(), gate.size.load(Relaxed), gate.places.available_permits()), (2, 2, 2));
        }
    }

    fn settings(concurrency: u32, queue: u32) -> LimitSettings {
        LimitSettings { concurrency: Some(concurrency), queue: Some(queue), ..LimitSettings::default() }
    }

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_a_place_goes_to_who_waits() {
        let (gate, settings) = (Gate::default(), settings(2, 1));
        let first = gate.enter(&settings, within(5)).await.unwrap();
        let _second = gate.enter(&settings, within(5)).await.unwrap();
        let mut third = std::pin::pin!(gate.enter(&settings, within(5)));
        assert!(timeout_at(Instant::now(), &mut third).await.is_err(), "it waits");
        let before = Instant::now();
        let refused = gate.enter(&settings, within(5)).await.err().unwrap();
        assert_eq!((Instant::now(), refused.retry_after), (before, Duration::from_secs(1)));
        drop(first);
        assert!(third.await.is_ok());
        assert_eq!(gate.shed(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_get_a_place_by_its_deadline_is_refused_then() {
        let (gate, settings) = (Gate::default(), settings(1, 10));
        let _place = gate.enter(&settings, within(5)).await.unwrap();
        let before = Instant::now();
        assert!(gate.enter(&settings, within(3)).await.is_err());
        assert_eq!(before.elapsed().as_secs(), 3);
        assert_eq!(gate.waiting.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_can_only_come_too_late_is_not_waited_for() {
        let (gate, settings) = (Gate::default(), settings(1, 100));
        let place = gate.enter(&settings, within(60)).await.unwrap();
        place.answered(clock::nanos(Duration::from_secs(1)), false, &settings);
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(gate.enter(&settings, within(60)))).collect();
        for one in &mut waiting {
            assert!(timeout_at(Instant::now(), one).await.is_err());
        }
        let before = Instant::now();
        assert!(gate.enter(&settings, within(3)).await.is_err(), "there are four seconds of work ahead");
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_falls_under_pressure_and_places_go_with_it() {
        let (gate, settings) = (Gate::default(), settings(1000, 0));
        for round in 0..60_u64 {
            let mut places = Vec::new();
            while let Ok(place) = gate.enter(&settings, within(5)).await {
                places.push(place);
            }
            assert_eq!(places.len(), gate.limit(), "round {round}");
            advance(Duration::from_millis(300)).await;
            let late = round > 5;
            places.iter().for_each(|place| place.answered(5_000_000, late, &settings));
        }
        assert_eq!(gate.limit(), LEAST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_of_the_settings_changes_live() {
        let gate = Gate::default();
        let wide = settings(300, 0);
        let places: Vec<_> = futures_util::future::join_all((0..10).map(|_| gate.enter(&wide, within(1)))).await;
        let narrow = settings(3, 0);
        assert!(gate.enter(&narrow, within(1)).await.is_err());
        drop(places);
        sleep(Duration::from_millis(1)).await;
        let now: Vec<_> = futures_util::future::join_all((0..10).map(|_| gate.enter(&narrow, within(1)))).await;
        assert_eq!(now.iter().filter(|place| place.is_ok()).count(), 3);
        let again: Vec<_> = futures_util::future::join_all((0..10).map(|_| gate.enter(&wide, within(1)))).await;
        assert_eq!(again.iter().filter(|place| place.is_ok()).count(), 10);
    }
}
