//! What a service asks of a rollout.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    change::invalid,
    name::VersionId,
    port::DeployError,
    quantity::Span,
    shadow::{Shadow, check_tolerance},
    tally::Tally,
};

/// Most steps.
const STEPS: usize = 20;

/// How a new version takes over. Without steps it does so as soon as all of its replicas are ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RolloutRules {
    /// Its shares of the requests, one after the other.
    #[schemars(length(max = 20))]
    pub steps: Vec<RolloutStep>,
    /// Share of its requests that may fail, by the model's fault or the gateway's, from 0 to 1; 0.05 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub max_error_rate: Option<f64>,
    /// How much larger that share may be than the live version's, as 0.01 for one percent of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub max_error_rate_increase: Option<f64>,
    /// Time within which 99 of 100 requests are to be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_p99: Option<Span>,
    /// How much longer that may take than for the live version, as 0.5 for half as long again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_p99_increase: Option<f64>,
    /// Share of its requests that may not fit its contract, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub max_validation_failure_rate: Option<f64>,
    /// How much larger that share may be than the live version's; 0.05 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub max_validation_failure_rate_increase: Option<f64>,
    /// Share of the copies of requests that it may answer differently from the live version at a step in shadow, from 0 to 1;
    /// however many it does where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub max_difference_rate: Option<f64>,
    /// How far numbers of its answers may be from those of the live version at a step in shadow, as a part of the larger
    /// one; 0.000001 where nothing is said. Whole numbers are to be the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub tolerance: Option<f64>,
    /// Requests without which a step is not judged; 20 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: Option<u32>,
    /// How long after its pause a step waits for these, before the live version gets all again; as long as it takes where
    /// nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Span>,
}

/// A share of the requests, and how long it is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutStep {
    /// The new version's share in percent; more than at the step before.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
    /// Whether the new version has no share, but gets copies of all requests, whose answers are compared and given to nobody.
    /// The first step alone can be one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// How long it is held before it is judged for good; 60 s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Span>,
}

fn is_zero(weight: &u8) -> bool {
    *weight == 0
}

impl RolloutStep {
    /// How long the share is held.
    pub fn pause(&self) -> Duration {
        self.pause.map_or(Duration::from_secs(60), |span| span.0)
    }
}

impl RolloutRules {
    /// Whether new versions take over step by step.
    pub fn is_asked(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The new version's share at a step, counted from 0, in percent: of the last one where there are fewer.
    pub fn weight(&self, step: usize) -> u8 {
        self.steps.get(step).or(self.steps.last()).map_or(0, |step| step.weight)
    }

    /// The version as a shadow, where a step, counted from 0, is one in shadow.
    pub fn shadow(&self, step: usize, version: &VersionId) -> Option<Shadow> {
        let tolerance = self.tolerance;
        self.steps.get(step).filter(|step| step.shadow).map(|_| Shadow {
            version: version.clone(),
            percent: None,
            tolerance,
        })
    }

    /// What a version is judged by at a step, counted from 0: in shadow by copies of requests, as it has no others.
    pub fn judged_by(&self, step: usize, tally: &Tally) -> Tally {
        let is_shadow = self.steps.get(step).is_some_and(|step| step.shadow);
        if is_shadow { tally.of_copies() } else { tally.clone() }
    }

    /// Share of the requests that may fail.
    pub fn max_error_rate(&self) -> f64 {
        self.max_error_rate.unwrap_or(0.05)
    }

    /// How much larger the share of those that do not fit may be than the live version's.
    pub fn max_validation_failure_rate_increase(&self) -> f64 {
        self.max_validation_failure_rate_increase.unwrap_or(0.05)
    }

    /// Requests without which a step is not judged.
    pub fn min_requests(&self) -> u64 {
        self.min_requests.map_or(20, u64::from)
    }

    /// Whether the rules can be met.
    ///
    /// # Errors
    /// Steps that do not rise or take no time, limits that are none, limits without steps.
    pub fn check(&self) -> Result<(), DeployError> {
        if !self.is_asked() && *self != Self::default() {
            let detail = "there is no step at which this could be judged: give for example `{weight: 10, pause: 60s}`";
            return Err(invalid("/rollout/steps", detail));
        }
        if self.steps.len() > STEPS {
            return Err(invalid("/rollout/steps", format!("there are at most {STEPS} steps")));
        }
        self.check_steps()?;
        self.check_limits()
    }

    fn check_steps(&self) -> Result<(), DeployError> {
        let mut before = 0;
        for (at, step) in self.steps.iter().enumerate() {
            let refuse = |field: &str, detail: &str| Err(invalid(&format!("/rollout/steps/{at}/{field}"), detail));
            if step.shadow && (at > 0 || step.weight > 0) {
                let detail =
                    "the first step alone can be in shadow, where the new version has no share: leave its `weight` out";
                return refuse("shadow", detail);
            }
            if !step.shadow && step.weight <= before || step.weight > 100 {
                return refuse("weight", "the weight is a share in percent, at most 100, and rises with each step");
            }
            if step.pause().is_zero() {
                return refuse("pause", "a step without time shows nothing: give for example `60s`");
            }
            before = step.weight;
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), DeployError> {
        let shares = [
            ("maxErrorRate", self.max_error_rate, 1.0),
            ("maxErrorRateIncrease", self.max_error_rate_increase, 1.0),
            ("maxP99Increase", self.max_p99_increase, 1000.0),
            ("maxValidationFailureRate", self.max_validation_failure_rate, 1.0),
            ("maxValidationFailureRateIncrease", self.max_validation_failure_rate_increase, 1.0),
            ("maxDifferenceRate", self.max_difference_rate, 1.0),
        ];
        let outside = |value: &Option<f64>, most: f64| value.is_some_and(|value| !(0.0..=most).contains(&value));
        if let Some((name, _, most)) = shares.iter().find(|(_, value, most)| outside(value, *most)) {
            let detail = format!("`{name}` is a share, not a percentage: from 0 to {most}, as 0.02 for 2 percent");
            return Err(invalid(&format!("/rollout/{name}"), detail));
        }
        self.check_differences()?;
        if self.max_p99.is_some_and(|span| span.0.is_zero()) {
            return Err(invalid("/rollout/maxP99", "nothing is answered in no time: give for example `300ms`"));
        }
        if self.min_requests.is_some_and(|least| !(1..=1_000_000).contains(&least)) {
            return Err(invalid("/rollout/minRequests", "at least 1 request is needed, and at most 1,000,000"));
        }
        Ok(())
    }

    /// Answers are compared in shadow alone.
    fn check_differences(&self) -> Result<(), DeployError> {
        let fields = [("maxDifferenceRate", self.max_difference_rate), ("tolerance", self.tolerance)];
        let asked = fields.iter().find(|(_, value)| value.is_some());
        if let Some((name, _)) = asked.filter(|_| !self.steps.iter().any(|step| step.shadow)) {
            let detail =
                "answers are compared at a step in shadow alone: begin `steps` with `{shadow: true, pause: 60s}`";
            return Err(invalid(&format!("/rollout/{name}"), detail));
        }
        check_tolerance("/rollout/tolerance", self.tolerance)
    }
}
