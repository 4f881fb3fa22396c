//! The loop's part in a rollout: it looks at the new version now and then, and lets it go on, take over or go back.

use kea_core::{
    VersionId,
    rollout::{Rollout, RolloutPhase, Verdict},
};
use kea_logs::Stream;
use tokio::time::Instant;

use super::{KEA, ServiceLoop};
use crate::trial::{Looked, Trial};

impl ServiceLoop {
    /// Looks what is to become of a new version that is on trial.
    pub(super) async fn look(&mut self) {
        let rollout = self.state.service.rollout.clone().filter(Rollout::is_progressing);
        let Some((rollout, (new, replicas))) = rollout.zip(self.state.canary()) else {
            self.state.trial = None;
            return;
        };
        let (is_ready, failure) = (replicas > 0 && new.ready_replicas() >= replicas, new.failure.clone());
        let service = &self.state.service;
        let tally = |version: &VersionId| self.shared.traffic.tally(&service.id, version);
        let (new, live) = (tally(&service.version), tally(&rollout.from));
        let mut trial = Trial::of(&rollout, self.state.trial.take(), &live);
        let looked = Looked { at: Instant::now(), is_ready, failure: failure.as_deref(), new, live };
        let verdict = trial.look(&service.settings.rollout, &looked);
        self.state.trial = Some(trial);
        match verdict {
            Verdict::Wait(_) => {}
            Verdict::Advance(reason) => {
                self.goes(Rollout { step: rollout.step + 1, reason, ..rollout }).await;
            }
            Verdict::Promote(reason) => {
                self.goes(Rollout { phase: RolloutPhase::Promoted, reason, ..rollout }).await;
            }
            Verdict::Return(reason) => {
                self.goes(Rollout { phase: RolloutPhase::Returned, reason, ..rollout }).await;
            }
        }
    }

    /// Notes and keeps how far the rollout is, and writes it down.
    async fn goes(&mut self, rollout: Rollout) {
        let (service, rules) = (&self.state.service, &self.state.service.settings.rollout);
        let told = rollout.change(&service.version, rules);
        tracing::info!(service = %service.id, phase = rollout.phase.as_str(), "{told}");
        self.shared.logs.writer(&service.id, KEA).write(Stream::Kea, &told);
        self.state.service.rollout = Some(rollout);
        self.keep().await;
    }
}
