//! Shadows: a version that gets copies of requests beside the live one, whose answers are compared and given to nobody.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    change::invalid,
    name::VersionId,
    port::DeployError,
    rollout::{Rollout, RolloutRules},
    service::{Canary, Service},
};

/// How far numbers may be apart where nothing is said: what is left of a number in 32 bits has about as many digits.
const TOLERANCE: f64 = 1e-6;

/// A version that gets copies of a share of the requests that the live version answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shadow {
    /// The version.
    pub version: VersionId,
    /// The share of the requests that are copied to it, in percent; 100 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// How far numbers of its answers may be from those of the live version, as a part of the larger one; 0.000001 where
    /// nothing is said. Whole numbers are to be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub tolerance: Option<f64>,
}

impl Shadow {
    /// The share of the requests that are copied, in percent.
    pub fn percent(&self) -> u8 {
        self.percent.unwrap_or(100)
    }

    /// How far numbers may be apart, as a part of the larger one.
    pub fn tolerance(&self) -> f64 {
        self.tolerance.unwrap_or(TOLERANCE)
    }

    /// How many replicas it has beside a version with `replicas`: as many as a canary with that share.
    pub fn replicas(&self, replicas: u32) -> u32 {
        Canary { version: self.version.clone(), weight: self.percent() }.replicas(replicas)
    }

    /// Whether it can be had.
    ///
    /// # Errors
    /// A share or a tolerance that is none; something else that is to run beside the live version.
    pub fn check(
        shadow: Option<&Self>,
        canary: Option<&Canary>,
        rollout: Option<&RolloutRules>,
    ) -> Result<(), DeployError> {
        let Some(shadow) = shadow else { return Ok(()) };
        if !(1..=100).contains(&shadow.percent()) {
            return Err(invalid(
                "/shadow/percent",
                "it is the share of the requests that are copied: 1 to 100 percent",
            ));
        }
        check_tolerance("/shadow/tolerance", shadow.tolerance)?;
        if let Some(canary) = canary {
            let detail = if canary.version == shadow.version {
                format!("version `{}` cannot be canary and shadow at once: keep one of the two", shadow.version)
            } else {
                "one version runs beside the live one, as `canary` or as `shadow`: keep one of the two".into()
            };
            return Err(invalid("/shadow", detail));
        }
        if rollout.is_some_and(RolloutRules::is_asked) {
            let detail = "`rollout` brings new versions to the live one's place by itself, `shadow` leaves it there: keep one of \
                          the two, or begin the rollout with the step `{shadow: true}`";
            return Err(invalid("/shadow", detail));
        }
        Ok(())
    }
}

/// Whether numbers can be that far apart.
pub(crate) fn check_tolerance(pointer: &str, tolerance: Option<f64>) -> Result<(), DeployError> {
    match tolerance {
        Some(tolerance) if !(0.0..=1.0).contains(&tolerance) => {
            Err(invalid(pointer, "it is a part of the larger number, from 0 to 1: give for example 0.001"))
        }
        _ => Ok(()),
    }
}

impl Service {
    /// The version that is to get copies of requests: one in shadow, or one whose rollout is at a step in shadow.
    pub fn in_shadow(&self) -> Option<Shadow> {
        let rollout = self.rollout.as_ref().filter(|rollout| rollout.is_progressing());
        let of_step = |rollout: &Rollout| self.settings.rollout.shadow(rollout.step, &self.version);
        rollout.and_then(of_step).or_else(|| self.shadow.clone())
    }
}

/// What became of the copies of requests that a version was to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowCounts {
    /// Copies that it answered as the live version did.
    pub same: u64,
    /// Those that it answered differently.
    pub different: u64,
    /// Those that it answered with an error, or not at all, while the live version answered.
    pub failed: u64,
    /// Those of which nothing can be said: an answer is too large or no JSON, the live version failed, the caller left.
    pub not_compared: u64,
    /// Requests that were not copied, as too many copies were under way.
    pub dropped: u64,
    /// Requests that were not copied, as their function may not be called twice, or their body is streamed.
    pub skipped: u64,
}

impl ShadowCounts {
    /// Copies whose answers were compared.
    pub fn compared(&self) -> u64 {
        self.same + self.different
    }

    /// Copies by which the version can be judged.
    pub fn judged(&self) -> u64 {
        self.compared() + self.failed
    }

    /// What was added to `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let Self { same, different, failed, not_compared, dropped, skipped } = *self;
        Self {
            same: same.saturating_sub(earlier.same),
            different: different.saturating_sub(earlier.different),
            failed: failed.saturating_sub(earlier.failed),
            not_compared: not_compared.saturating_sub(earlier.not_compared),
            dropped: dropped.saturating_sub(earlier.dropped),
            skipped: skipped.saturating_sub(earlier.skipped),
        }
    }
}

/// A version in shadow, as the API tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowStatus {
    /// The version.
    pub version: VersionId,
    /// The share of the requests that are copied to it, in percent.
    pub percent: u8,
    /// How far numbers may be apart, as a part of the larger one.
    pub tolerance: f64,
    /// What the router that was asked has counted since the version has replicas.
    pub counts: ShadowCounts,
}

impl From<Shadow> for ShadowStatus {
    fn from(shadow: Shadow) -> Self {
        let (percent, tolerance) = (shadow.percent(), shadow.tolerance());
        Self { version: shadow.version, percent, tolerance, counts: ShadowCounts::default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Where a wish is refused, and why.
    fn refused(wish: Value) -> Option<(String, String)> {
        let of = |field: &str| wish.get(field).cloned();
        let shadow: Shadow = serde_json::from_value(of("shadow").unwrap()).unwrap();
        let canary: Option<Canary> = of("canary").map(|canary| serde_json::from_value(canary).unwrap());
        let rollout: Option<RolloutRules> = of("rollout").map(|rules| serde_json::from_value(rules).unwrap());
        match Shadow::check(Some(&shadow), canary.as_ref(), rollout.as_ref()) {
            Ok(()) => None,
            Err(DeployError::Invalid { pointer, detail }) => Some((pointer, detail)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_shadow_gets_all_copies_unless_it_says_otherwise() {
        let shadow: Shadow = serde_json::from_value(json!({"version": "2"})).unwrap();
        assert_eq!((shadow.percent(), shadow.tolerance()), (100, 1e-6));
        assert_eq!([1, 3, 0].map(|replicas| shadow.replicas(replicas)), [1, 3, 0]);
        let tenth: Shadow = serde_json::from_value(json!({"version": "2", "percent": 10})).unwrap();
        assert_eq!([1, 20, 21].map(|replicas| tenth.replicas(replicas)), [1, 2, 3]);
    }

    #[test]
    fn a_shadow_that_cannot_be_is_refused_with_its_field() {
        let alone = |shadow: Value| refused(json!({"shadow": shadow})).map(|(pointer, _)| pointer);
        assert_eq!(alone(json!({"version": "2", "percent": 1, "tolerance": 0.0})), None);
        for percent in [0, 101] {
            assert_eq!(alone(json!({"version": "2", "percent": percent})).as_deref(), Some("/shadow/percent"));
        }
        for tolerance in [-0.1, 1.5] {
            assert_eq!(alone(json!({"version": "2", "tolerance": tolerance})).as_deref(), Some("/shadow/tolerance"));
        }
    }

    #[test]
    fn one_version_runs_beside_the_live_one() {
        let with_canary = |version: &str| {
            refused(json!({"shadow": {"version": "2"}, "canary": {"version": version, "weight": 1}})).unwrap()
        };
        assert!(with_canary("2").1.contains("version `2` cannot be canary and shadow at once"));
        assert!(with_canary("3").1.contains("one version runs beside the live one"));
        let with_steps = json!({"shadow": {"version": "2"}, "rollout": {"steps": [{"weight": 10}]}});
        assert!(refused(with_steps).unwrap().1.contains("begin the rollout with the step `{shadow: true}`"));
        assert_eq!(refused(json!({"shadow": {"version": "2"}, "rollout": {}})), None);
    }
}
