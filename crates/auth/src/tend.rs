//! What the Authenticator does beside requests: it hears of changes that other processes make, keeps when keys were
//! used, forgets what has ended, and makes new signing keys.

use std::time::Duration;

use jiff::Timestamp;
use kea_core::port::{RecordKind, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::{Authenticator, signing::PUBLISHED_BEFORE};

/// How often the store is asked whether something has changed: a revoked session stops within this in every process.
const EVERY: Duration = Duration::from_secs(1);

/// Rounds between two times that uses of keys are kept.
const KEEP_USES: u64 = 30;

/// Rounds between two times that what has ended is looked for.
const FORGET: u64 = 600;

/// How much longer than its tokens last an old signing key is kept, for processes whose clocks or settings differ.
const KEPT_LONGER: Duration = Duration::from_secs(3600);

impl Authenticator {
    /// Does all of that, until it is dropped. What fails is tried again in its next turn, and told of once.
    pub async fn tend(&self) {
        let mut rounds = interval(EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        for round in 0u64.. {
            rounds.tick().await;
            let outcome = self.round(round).await;
            match &outcome {
                Err(error) if !failing => {
                    tracing::warn!("changes of users and sessions are not heard of: {error}");
                }
                Ok(()) if failing => tracing::info!("changes of users and sessions are heard of again"),
                _ => {}
            }
            failing = outcome.is_err();
        }
    }

    async fn round(&self, round: u64) -> Result<(), StoreError> {
        self.follow().await?;
        if round % KEEP_USES == KEEP_USES - 1 {
            self.keep_uses().await?;
        }
        if round % FORGET == FORGET / 2 {
            self.look_after_keys(Timestamp::now()).await?;
            self.forget_sessions(Timestamp::now()).await?;
        }
        Ok(())
    }

    /// Makes a new signing key where the newest has had its time, and forgets those that signed nothing that lasts.
    pub(crate) async fn look_after_keys(&self, now: Timestamp) -> Result<(), StoreError> {
        let snapshot = self.snapshot.load_full();
        let age = now.duration_since(snapshot.ring.newest());
        if Duration::try_from(age).is_ok_and(|age| age >= self.settings.key_rotation.max(PUBLISHED_BEFORE)) {
            self.rotate_keys().await?;
        }
        for id in snapshot.ring.outlived(now, self.settings.token_ttl.saturating_add(KEPT_LONGER)) {
            self.remove_record(RecordKind::SigningKey, id).await?;
        }
        Ok(())
    }
}
