//! The cache as a stage of the request path: a kept answer, else one call of the model for all who ask the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode, header, response::Parts};
use kea_audit::{Recorder, Stage};
use kea_core::{VersionId, caching::DEFAULT_TTL};
use tokio::time::timeout_at;

use super::{
    CacheAway, CacheKey, Entry, Generation, LARGEST, Lookup, ResponseCache, Scope,
    control::{Allowed, Asked},
    counters::Part,
    entry::Worth,
    flight::{Flights, Follower, Landing, Lead, Turn},
    key::Owner,
    respond::{kept, made, marked},
    seen::{Known, Question, Seen},
};
use crate::{
    RouterError, audited, forward, reply,
    validate::{CallBody, ValidCall},
    whole::{self, Answer},
};

/// The kept answers, and the requests for those that are not kept yet.
#[derive(Clone)]
pub(crate) struct Caching {
    pub(crate) answers: Arc<dyn ResponseCache>,
    flights: Arc<Flights>,
    pub(crate) seen: Arc<Seen>,
}

/// How the answer of a call is kept.
struct Plan {
    key: CacheKey,
    asked: Asked,
    owner: Option<Owner>,
    /// `None` where the service does not say.
    ttl: Option<Duration>,
    stale: Duration,
}

impl Plan {
    /// How the answer of a call is kept, where it may be.
    fn of(call: &ValidCall) -> Option<Self> {
        let key = call.key.clone()?;
        let asked = Asked::by(&call.parts.headers);
        if asked.no_store {
            return None;
        }
        let settings = &call.admitted.service.route.settings.cache;
        let stale = settings.stale_while_revalidate.map_or(Duration::ZERO, |span| span.0);
        let owner = call.admitted.owner();
        Some(Self { key, asked, owner, ttl: settings.ttl.map(|span| span.0), stale })
    }

    /// What is kept of an answer; `None` where the replica does not allow it.
    fn entry(&self, headers: &HeaderMap, body: &Bytes) -> Option<Entry> {
        let ttl = match (Allowed::by(headers), self.ttl) {
            (Allowed::Never, _) => return None,
            (Allowed::Any, ttl) => ttl.unwrap_or(DEFAULT_TTL),
            (Allowed::For(most), ttl) => ttl.map_or(most, |ttl| ttl.min(most)),
        };
        // A cookie is of one session, whoever else may have the answer.
        let personal = headers.contains_key(header::SET_COOKIE);
        (!personal).then(|| {
            let owner = self.owner.as_ref().map(|owner| owner.to_string().into());
            Entry::new(body.clone(), headers.clone(), owner, ttl, self.stale)
        })
    }
}

impl Caching {
    pub(crate) fn new(answers: Arc<dyn ResponseCache>) -> Self {
        Self { answers, flights: Arc::default(), seen: Arc::new(Seen::new()) }
    }

    /// Answers a call from the cache, or by a replica.
    pub(crate) async fn answer(&self, mut call: ValidCall) -> Result<Response, RouterError> {
        let Some(plan) = Plan::of(&call) else {
            // In a place of its own, as all that asks a replica: an answer that is kept would carry the room for it.
            return Box::pin(Self::bypass(&mut call)).await;
        };
        let ended = self.flights.ended();
        let found = self.answers.get(&plan.key).await;
        Recorder::of(&call.parts.extensions).ended(Stage::Cache);
        let generation = match found {
            Lookup::Found(entry, _) if plan.asked.takes(&entry) && entry.worth() == Worth::Fresh => {
                self.remember(&call, &plan);
                return Ok(hit(&entry, &call, &plan, Part::Hit));
            }
            Lookup::Found(entry, generation) if plan.asked.takes(&entry) => {
                let response = hit(&entry, &call, &plan, Part::Stale);
                self.revalidate(call, plan, generation);
                return Ok(response);
            }
            Lookup::Found(_, generation) | Lookup::Missing(generation) => generation,
            Lookup::Away if plan.asked.only_if_cached => return Err(RouterError::NotCached),
            Lookup::Away => return Box::pin(Self::bypass(&mut call)).await,
        };
        if plan.asked.only_if_cached {
            return Err(RouterError::NotCached);
        }
        if !plan.asked.takes_any() {
            // Neither another request's answer nor a flight of before is what was asked for.
            return Box::pin(self.fetch(&mut call, &plan, generation, None)).await;
        }
        Box::pin(self.together(call, plan, generation, ended)).await
    }

    /// Removes answers, and lets no request have one that is on its way.
    pub(crate) async fn clear(&self, scope: &Scope) -> Result<(), CacheAway> {
        let cleared = self.answers.clear(scope).await;
        self.flights.detach(scope);
        cleared
    }

    /// Makes room of what was kept for other versions than `running`.
    pub(crate) fn forget_versions(&self, service: &str, running: &[(VersionId, i64)]) {
        self.answers.forget_versions(service, running);
        self.seen.forget();
    }

    /// Remembers a body whose kept answer is asked for again.
    fn remember(&self, call: &ValidCall, plan: &Plan) {
        if let (false, CallBody::Whole(body), Some(contract)) =
            (call.recalled, &call.body, &call.admitted.version().validator)
        {
            let known = Known { key: plan.key.clone(), all_outputs: call.all_outputs };
            self.seen.remember(&Question::of(&call.admitted, contract, body), known);
        }
    }

    async fn bypass(call: &mut ValidCall) -> Result<Response, RouterError> {
        if call.admitted.service.route.settings.cache.enabled {
            count(call, Part::Bypass);
        }
        audited::cached(call, "bypass");
        let response = forward::send(call).await?;
        let response = reply::checked(call, response).await?;
        Ok(marked(response, &call.admitted, "bypass", None))
    }

    /// Of equal requests one asks the model; if it fails or goes away, the next one does. Each waits no longer than for an
    /// answer of its own.
    async fn together(
        &self,
        mut call: ValidCall,
        plan: Plan,
        generation: Generation,
        ended: u64,
    ) -> Result<Response, RouterError> {
        let limit = forward::limit(&call);
        let deadline = Instant::now() + limit;
        let late = |call: &ValidCall| RouterError::Timeout {
            service: call.admitted.service.route.id.to_string(),
            after: limit,
        };
        loop {
            let follower: Follower = match self.flights.join(&plan.key) {
                Turn::Follow(follower) => follower,
                Turn::Lead(lead) => {
                    if self.flights.ended() != ended
                        && let Lookup::Found(entry, _) = self.answers.get(&plan.key).await
                        && entry.worth() == Worth::Fresh
                    {
                        lead.land(&entry);
                        return Ok(hit(&entry, &call, &plan, Part::Coalesced));
                    }
                    let fetched = self.fetch(&mut call, &plan, generation, Some(lead));
                    let fetched = timeout_at(deadline.into(), fetched).await;
                    return fetched.unwrap_or_else(|_elapsed| Err(late(&call)));
                }
            };
            match timeout_at(deadline.into(), follower.landing()).await {
                Ok(Landing::Shared(entry)) => return Ok(hit(&entry, &call, &plan, Part::Coalesced)),
                Ok(Landing::NotShared) => return self.fetch(&mut call, &plan, generation, None).await,
                Ok(Landing::Left) => {}
                Err(_elapsed) => return Err(late(&call)),
            }
        }
    }

    /// Fetches another answer in place of a stale one, unless somebody does so already.
    fn revalidate(&self, mut call: ValidCall, plan: Plan, generation: Generation) {
        let Turn::Lead(lead) = self.flights.join(&plan.key) else { return };
        let caching = self.clone();
        tokio::spawn(async move {
            // Where that fails, the stale answer is given for as long as it may be.
            if let Err(error) = caching.fetch(&mut call, &plan, generation, Some(lead)).await {
                tracing::debug!(key = %plan.key, ?error, "a stale answer could not be fetched anew");
            }
        });
    }

    /// Asks a replica, and keeps its answer where that is good and allowed.
    async fn fetch(
        &self,
        call: &mut ValidCall,
        plan: &Plan,
        generation: Generation,
        lead: Option<Lead>,
    ) -> Result<Response, RouterError> {
        count(call, Part::Miss);
        audited::cached(call, "miss");
        let response = forward::send(call).await?;
        let response = reply::checked(call, response).await?;
        if response.status() != StatusCode::OK {
            return Ok(marked(response, &call.admitted, "miss", None));
        }
        let (parts, body) = response.into_parts();
        let entry = match whole::read(body, LARGEST).await? {
            Answer::Whole(body) => match plan.entry(&parts.headers, &body) {
                Some(entry) => Arc::new(entry),
                None => return Ok(alone(parts, Body::from(body), call, lead)),
            },
            Answer::Large(body) => return Ok(alone(parts, body, call, lead)),
        };
        if let Some(lead) = &lead {
            lead.land(&entry);
        }
        self.keep(plan.key.clone(), generation, entry.clone(), lead);
        Ok(marked(made(&entry, &call.parts.headers), &call.admitted, "miss", Some(&plan.key)))
    }

    /// Keeps an answer without delay for the caller. Until that is done, equal requests are given it by the flight.
    fn keep(&self, key: CacheKey, generation: Generation, entry: Arc<Entry>, lead: Option<Lead>) {
        let answers = self.answers.clone();
        let mut keeping = Box::pin(async move {
            answers.put(&key, generation, entry).await;
            drop(lead);
        });
        // In memory it is done at once.
        if keeping.as_mut().now_or_never().is_none() {
            tokio::spawn(keeping);
        }
    }
}

fn hit(entry: &Entry, call: &ValidCall, plan: &Plan, part: Part) -> Response {
    count(call, part);
    audited::cached(call, "hit");
    marked(kept(entry, &call.parts.headers), &call.admitted, "hit", Some(&plan.key))
}

/// An answer that nobody else gets.
fn alone(parts: Parts, body: Body, call: &ValidCall, lead: Option<Lead>) -> Response {
    if let Some(lead) = lead {
        lead.keep_to_itself();
    }
    marked(Response::from_parts(parts, body), &call.admitted, "miss", None)
}

fn count(call: &ValidCall, part: Part) {
    call.admitted.version().metrics.cache.count(part);
}
