//! What people are told of a rollout: the same on one machine and in a cluster.

use super::{Rollout, RolloutPhase, RolloutRules, RolloutStatus};
use crate::{
    management::{StepState, StepStatus},
    name::VersionId,
};

impl Rollout {
    /// What has happened to the new `version`, where it has just come to this step or this phase.
    pub fn change(&self, version: &VersionId, rules: &RolloutRules) -> String {
        let Self { from, step, phase, reason, .. } = self;
        let (at, steps, weight) = (step + 1, rules.steps.len(), rules.weight(*step));
        match phase {
            RolloutPhase::Progressing => {
                format!("version {version} goes on to step {at} of {steps}, {weight} % of the requests: {reason}")
            }
            RolloutPhase::Promoted => format!("version {version} takes over from version {from}: {reason}"),
            RolloutPhase::Returned => {
                format!("version {version} goes back to version {from} at step {at} of {steps}: {reason}")
            }
        }
    }
}

impl RolloutStatus {
    /// What became of a version that went back.
    pub fn returned(&self) -> Option<String> {
        let Self { version, from, phase, step, steps, reason, .. } = self;
        let told =
            || format!("version {version} went back at step {step} of {steps}: {reason}; version {from} keeps serving");
        (*phase == RolloutPhase::Returned).then(told)
    }

    /// What a version waits for that has a share.
    pub fn on_trial(&self) -> Option<String> {
        let Self { version, from, phase, step, steps, weight, reason, .. } = self;
        let told = || {
            format!(
                "version {version} has {weight} % of the requests at step {step} of {steps}: {reason}; version {from} has \
                 the rest"
            )
        };
        (*phase == RolloutPhase::Progressing && *weight > 0).then(told)
    }

    /// What a version waits for that gets copies of the requests, and has no share.
    pub fn in_shadow(&self) -> String {
        let Self { version, from, step, steps, reason, .. } = self;
        let copies = format!("version {version} gets copies of the requests at step {step} of {steps}: {reason}");
        format!("{copies}; version {from} answers")
    }

    /// The last step of the deployment of a version that gets copies of the requests.
    pub fn copying(&self) -> StepStatus {
        let Self { step, steps, reason, .. } = self;
        let detail = format!("copies, step {step} of {steps}: {reason}");
        StepStatus { name: TAKE_THE_REQUESTS.into(), state: StepState::Running, detail }
    }

    /// Whether the new version has the requests, or which of them, as the last step of a deployment.
    pub fn taking(&self) -> StepStatus {
        let Self { version, phase, step, steps, weight, reason, .. } = self;
        let (state, detail) = match phase {
            RolloutPhase::Returned => (StepState::Failed, reason.clone()),
            RolloutPhase::Progressing if *weight > 0 => {
                (StepState::Running, format!("{weight} %, step {step} of {steps}: {reason}"))
            }
            RolloutPhase::Progressing | RolloutPhase::Promoted => (StepState::Pending, format!("version {version}")),
        };
        StepStatus { name: TAKE_THE_REQUESTS.into(), state, detail }
    }
}

/// The step of a deployment that sends requests to its version.
pub const TAKE_THE_REQUESTS: &str = "take the requests";
