//! What each router of a cluster tells of a new version that takes over step by step, and where.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// Where a router tells it, with the service's name behind it.
pub const TRIALS_PATH: &str = "/kea/trials/";

/// What one router has counted at one step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialReport {
    /// When the rollout began: tells it from another one of the same version.
    pub started_at: Timestamp,
    /// The step, counted from 1.
    pub step: usize,
    /// How long this router has counted it, in milliseconds: less than the step lasts, where the router began later.
    pub counted_ms: u64,
    /// What the new version answered at this step.
    pub new: Tally,
    /// What the live version answered at this step.
    pub live: Tally,
    /// What the live version answered since the rollout began.
    pub live_since_first: Tally,
}
