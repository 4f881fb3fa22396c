//! One flight: of equal requests at the same time one asks the model, and the others wait for its answer.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{CacheKey, Scope, entry::Entry};

/// Requests that ask a model at the moment.
#[derive(Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<CacheKey, watch::Receiver<Progress>>>,
    /// How many have ended: who looked for an answer before that number changed looks again.
    ended: AtomicU64,
}

#[derive(Clone, Debug)]
enum Progress {
    UnderWay,
    Landed(Arc<Entry>),
    NotShared,
}

/// What a request does.
pub(crate) enum Turn {
    /// It asks the model.
    Lead(Lead),
    /// It waits for the one that does.
    Follow(Follower),
}

/// How the wait for another request ends.
#[derive(Debug)]
pub(crate) enum Landing {
    /// With its answer.
    Shared(Arc<Entry>),
    /// Its answer is for it alone, so that each has to ask for itself.
    NotShared,
    /// It failed or went away: another one is to lead.
    Left,
}

impl Flights {
    /// Takes part in the flight of `key`, as its leader where there is none.
    pub(crate) fn join(self: &Arc<Self>, key: &CacheKey) -> Turn {
        match self.lock().entry(key.clone()) {
            Slot::Occupied(flight) => Turn::Follow(Follower(flight.get().clone())),
            Slot::Vacant(slot) => {
                let (progress, follower) = watch::channel(Progress::UnderWay);
                slot.insert(follower.clone());
                Turn::Lead(Lead { flights: self.clone(), key: key.clone(), progress, follower })
            }
        }
    }

    /// How many flights have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Lets no further request take part in the flights of `scope`: what they bring is of before.
    pub(crate) fn detach(&self, scope: &Scope) {
        self.lock().retain(|key, _| !scope.holds(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, watch::Receiver<Progress>>> {
        // Nothing that panics is done under the lock.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one that asks the model. The flight ends with it.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: CacheKey,
    progress: watch::Sender<Progress>,
    follower: watch::Receiver<Progress>,
}

impl Lead {
    /// Gives all followers the answer; those that come until the flight ends too.
    pub(crate) fn land(&self, entry: &Arc<Entry>) {
        self.progress.send_replace(Progress::Landed(entry.clone()));
    }

    /// Tells all followers to ask for themselves.
    pub(crate) fn keep_to_itself(&self) {
        self.progress.send_replace(Progress::NotShared);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        if under_way.get(&self.key).is_some_and(|flight| flight.same_channel(&self.follower)) {
            under_way.remove(&self.key);
        }
        self.flights.ended.fetch_add(1, Ordering::Release);
    }
}

/// One that waits.
pub(crate) struct Follower(watch::Receiver<Progress>);

impl Follower {
    pub(crate) async fn landing(mut self) -> Landing {
        let landed = self.0.wait_for(|progress| !matches!(progress, Progress::UnderWay)).await;
        match landed.as_deref() {
            Ok(Progress::Landed(entry)) => Landing::Shared(entry.clone()),
            Ok(Progress::NotShared) => Landing::NotShared,
            Ok(Progress::UnderWay) | Err(_) => Landing::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn key(function: &str) -> CacheKey {
        CacheKey::parse(&format!("iris:{function}:1~0:{}", "0".repeat(64))).unwrap()
    }

    fn entry() -> Arc<Entry> {
        Arc::new(Entry::new(Bytes::from_static(b"x"), HeaderMap::new(), None, Duration::MAX, Duration::ZERO))
    }

    fn lead(flights: &Arc<Flights>) -> Lead {
        match flights.join(&key("predict")) {
            Turn::Lead(lead) => lead,
            Turn::Follow(_) => panic!("somebody else leads"),
        }
    }

    fn follow(flights: &Arc<Flights>) -> Follower {
        match flights.join(&key("predict")) {
            Turn::Lead(_) => panic!("nobody leads"),
            Turn::Follow(follower) => follower,
        }
    }

    #[tokio::test]
    async fn followers_get_the_leaders_answer() {
        let flights = Arc::<Flights>::default();
        let leader = lead(&flights);
        let early = follow(&flights);
        leader.land(&entry());
        let late = follow(&flights);
        for follower in [early, late] {
            assert!(matches!(follower.landing().await, Landing::Shared(shared) if *shared.body == *b"x"));
        }
        assert!(matches!(flights.join(&key("other")), Turn::Lead(_)));
    }

    #[tokio::test]
    async fn a_leader_that_goes_hands_over_to_one_of_the_followers() {
        let flights = Arc::<Flights>::default();
        let leader = lead(&flights);
        let (one, other) = (follow(&flights), follow(&flights));
        drop(leader);
        assert!(matches!(one.landing().await, Landing::Left));
        let next = lead(&flights);
        assert!(matches!(other.landing().await, Landing::Left));
        let again = follow(&flights);
        next.land(&entry());
        assert!(matches!(again.landing().await, Landing::Shared(_)));
    }

    #[tokio::test]
    async fn an_answer_of_one_alone_is_not_waited_for() {
        let flights = Arc::<Flights>::default();
        let leader = lead(&flights);
        let follower = follow(&flights);
        leader.keep_to_itself();
        assert!(matches!(follower.landing().await, Landing::NotShared));
    }

    #[tokio::test]
    async fn a_flight_that_was_detached_takes_nobody_and_ends_alone() {
        let flights = Arc::<Flights>::default();
        let old = lead(&flights);
        flights.detach(&Scope::Service("other".into()));
        let before = follow(&flights);
        flights.detach(&Scope::Function { service: "iris".into(), function: "predict".into() });
        let new = lead(&flights);
        old.land(&entry());
        drop(old);
        assert!(matches!(before.landing().await, Landing::Shared(_)));
        let follower = follow(&flights);
        drop(new);
        assert!(matches!(follower.landing().await, Landing::Left));
        assert_eq!(flights.ended(), 2);
    }
}
