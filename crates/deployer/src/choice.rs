//! Which version is to answer, and which one beside it: the pure step from a request to what is wanted.

use kea_core::{
    VersionId,
    port::DeployError,
    service::{Canary, Service},
};

/// What a request says of versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The version of the model that it brings.
    pub(crate) model: Option<VersionId>,
    /// The version that it names.
    pub(crate) version: Option<VersionId>,
    /// The version that is to take a share.
    pub(crate) canary: Option<Canary>,
}

impl Asked {
    /// Takes over what is asked of the versions of `service`, all of which are known. A canary leaves the version that
    /// is live in its place.
    pub(crate) fn apply(self, service: &mut Service) -> Result<(), DeployError> {
        let named = self.model.or_else(|| self.version.clone());
        let Some(canary) = self.canary else {
            // Whoever says which version is to answer has decided about the canary.
            service.canary = service.canary.take().filter(|_| self.version.is_none());
            service.version = named.unwrap_or_else(|| service.version.clone());
            return Ok(());
        };
        let others = match named {
            Some(named) if named != canary.version => vec![named],
            Some(_) => service.live_history.last().cloned().into_iter().collect(),
            None => {
                [Some(service.version.clone()), service.live_history.last().cloned()].into_iter().flatten().collect()
            }
        };
        let stable = others.into_iter().find(|version| *version != canary.version);
        service.version = stable.ok_or_else(|| nothing_beside(&canary.version))?;
        service.canary = Some(canary);
        Ok(())
    }
}

/// Returns to the version before. A canary on its way is what there is to go back from.
pub(crate) fn go_back(service: &mut Service) -> Result<(), DeployError> {
    if service.canary.take().is_some() {
        return Ok(());
    }
    let earlier = service.live_history.iter().rev().find(|version| **version != service.version).cloned();
    let nothing =
        || DeployError::Conflict(format!("no version of `{}` was live before {}", service.id, service.version));
    service.version = earlier.ok_or_else(nothing)?;
    Ok(())
}

/// The version that the model of a deployment without one gets, where a canary is asked for: the canary's, unless that is
/// another model's.
pub(crate) fn of_canary(asked: Option<&Canary>, is_another: impl Fn(&VersionId) -> bool) -> Option<VersionId> {
    asked.map(|canary| &canary.version).filter(|version| !is_another(version)).cloned()
}

fn nothing_beside(version: &VersionId) -> DeployError {
    DeployError::Invalid {
        pointer: "/canary".into(),
        detail: format!(
            "a canary gives version `{version}` a share of the requests beside the version that is live, and there is no \
             other that is: leave `canary` out, and set it with the next version"
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kea_core::Settings;

    use super::*;

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn canary(version: &str, weight: u8) -> Option<Canary> {
        Some(Canary { version: v(version), weight })
    }

    fn service(version: &str, live: &[&str]) -> Service {
        Service {
            id: "iris".parse().unwrap(),
            model_name: "iris".into(),
            version: v(version),
            replicas: 2,
            settings: Settings::default(),
            canary: None,
            live_history: live.iter().copied().map(v).collect(),
            deleted: false,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The version that is to answer, and the canary.
    fn wanted(mut service: Service, asked: Asked) -> Result<(String, Option<Canary>), String> {
        asked.apply(&mut service).map_err(|error| error.to_string())?;
        Ok((service.version.to_string(), service.canary))
    }

    #[test]
    fn a_new_model_that_is_the_canary_leaves_the_live_version_in_its_place() {
        let asked = Asked { model: Some(v("2")), version: Some(v("2")), canary: canary("2", 10) };
        assert_eq!(wanted(service("1", &["1"]), asked.clone()), Ok(("1".into(), canary("2", 10))));
        // A version on its way that never was live is no version to stay with.
        assert_eq!(wanted(service("broken", &["1"]), asked), Ok(("1".into(), canary("2", 10))));
    }

    #[test]
    fn an_earlier_version_can_be_the_canary() {
        let asked = |version: &str| Asked { canary: canary(version, 30), ..Asked::default() };
        assert_eq!(wanted(service("2", &["1", "2"]), asked("1")), Ok(("2".into(), canary("1", 30))));
        // The one that is on its way becomes the canary of the one that is live.
        assert_eq!(wanted(service("2", &["1"]), asked("2")), Ok(("1".into(), canary("2", 30))));
        let with_model = Asked { model: Some(v("3")), version: None, canary: canary("1", 30) };
        assert_eq!(wanted(service("2", &["1", "2"]), with_model), Ok(("3".into(), canary("1", 30))));
    }

    #[test]
    fn a_canary_beside_nothing_is_refused() {
        let first = Asked { model: Some(v("1")), version: None, canary: canary("1", 10) };
        let told = wanted(service("1", &[]), first).unwrap_err();
        assert!(told.contains("beside the version that is live") && told.contains("leave `canary` out"), "{told}");
        let live = Asked { canary: canary("1", 10), ..Asked::default() };
        assert!(wanted(service("1", &["1"]), live).is_err());
    }

    #[test]
    fn naming_a_version_ends_the_canary_and_other_changes_keep_it() {
        let before = || Service { canary: canary("2", 10), ..service("1", &["1"]) };
        let named = |version: &str| Asked { version: Some(v(version)), ..Asked::default() };
        assert_eq!(wanted(before(), named("2")), Ok(("2".into(), None)));
        assert_eq!(wanted(before(), named("1")), Ok(("1".into(), None)));
        assert_eq!(wanted(before(), Asked::default()), Ok(("1".into(), canary("2", 10))));
        let model = Asked { model: Some(v("3")), ..Asked::default() };
        assert_eq!(wanted(before(), model), Ok(("3".into(), canary("2", 10))));
    }

    #[test]
    fn a_rollback_ends_the_canary_first() {
        let mut service = Service { canary: canary("3", 10), ..service("2", &["1", "2"]) };
        let mut back = || go_back(&mut service).map(|()| (service.version.to_string(), service.canary.clone()));
        assert_eq!(back().unwrap(), ("2".into(), None));
        assert_eq!(back().unwrap(), ("1".into(), None));
        service.live_history = vec![v("1")];
        assert!(go_back(&mut service).unwrap_err().to_string().contains("no version of `iris` was live before 1"));
    }

    #[test]
    fn a_model_without_a_version_is_the_canary_by_name() {
        assert_eq!(of_canary(canary("2", 10).as_ref(), |_| false), Some(v("2")));
        assert_eq!(of_canary(canary("2", 10).as_ref(), |_| true), None);
        assert_eq!(of_canary(None, |_| false), None);
    }
}
