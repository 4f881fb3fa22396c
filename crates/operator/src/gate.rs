//! The gate against breaking changes in a cluster: which versions are held back, from what their Deployments remember of
//! them and from who is allowed to break callers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kea_core::{
    Contract, ServiceId, VersionId,
    compare::ContractChange,
    gate::{self, Gate},
    management::UpdateRequest,
    port::DeployError,
};

use crate::{
    names,
    resources::MlDeployment,
    version::VersionRecord,
    wish::{Refusal, Role, Wish},
};

/// A version that is held back, and what it would break.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Barred {
    pub(crate) version: VersionId,
    pub(crate) live: VersionId,
    pub(crate) changes: Vec<ContractChange>,
}

impl Barred {
    /// Why, in one sentence.
    pub(crate) fn reason(&self) -> String {
        gate::reason(&self.live, &self.changes)
    }

    /// The same, as conditions say it.
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal { reason: "BreakingChange", message: self.reason() }
    }
}

/// The versions that a wish lets answer, and that are held back. A shadow is not: what it answers reaches nobody.
pub(crate) fn barred(
    owner: &MlDeployment,
    wish: &Wish,
    live: Option<&VersionId>,
    records: &[VersionRecord],
) -> Vec<Barred> {
    let contract = |version: &VersionId| contract_of(version, records);
    let Some((live, of_live)) = live.and_then(|live| Some((live, contract(live)?))) else { return Vec::new() };
    let history = owner.status.as_ref().map(|status| &status.live_history[..]).unwrap_or_default();
    let gate = Gate { live, may_break: &allowed(owner), were_live: history };
    let is_canary = |role: &Role| matches!(role, Role::Canary(_));
    let canary = wish.canary.as_ref().filter(|canary| is_canary(&canary.role)).map(|canary| &canary.version);
    let asked = std::iter::once(&wish.version).chain(canary).filter(|version| !gate.is_open_for(version));
    let weighed = asked.filter_map(|version| {
        let changes = gate::bars(of_live, contract(version)?);
        (!changes.is_empty()).then(|| Barred { version: version.clone(), live: live.clone(), changes })
    });
    weighed.collect()
}

fn contract_of<'a>(version: &VersionId, records: &'a [VersionRecord]) -> Option<&'a Contract> {
    let record = records.iter().find(|record| record.version == *version)?;
    record.replica.as_ref().map(|replica| &*replica.contract)
}

/// Versions that somebody has allowed to break callers.
pub(crate) fn allowed(owner: &MlDeployment) -> Vec<VersionId> {
    let annotations = owner.metadata.annotations.as_ref();
    let said = annotations.and_then(|annotations| annotations.get(names::ALLOW_BREAKING));
    let versions = said.map(String::as_str).unwrap_or_default().split(',');
    versions.filter_map(|version| version.trim().parse().ok()).collect()
}

/// Notes versions beside those that are allowed already.
pub(crate) fn allow(mut metadata: ObjectMeta, versions: &[VersionId]) -> ObjectMeta {
    if versions.is_empty() {
        return metadata;
    }
    let annotations = metadata.annotations.get_or_insert_default();
    let said = annotations.get(names::ALLOW_BREAKING).into_iter().flat_map(|said| said.split(','));
    let mut all: Vec<String> =
        said.map(|version| version.trim().to_owned()).filter(|version| !version.is_empty()).collect();
    let new = versions.iter().map(ToString::to_string).filter(|version| !all.contains(version));
    let new: Vec<String> = new.collect();
    all.extend(new);
    annotations.insert(names::ALLOW_BREAKING.into(), all.join(","));
    metadata
}

/// A change of the API that may let versions answer.
pub(crate) struct Change<'a> {
    pub(crate) service: &'a ServiceId,
    /// The MLDeployment as it is, where there is one.
    pub(crate) owner: Option<&'a MlDeployment>,
    pub(crate) records: &'a [VersionRecord],
    /// The versions that it names, but for a shadow.
    pub(crate) named: Vec<VersionId>,
    pub(crate) allow_breaking: Option<bool>,
}

impl Change<'_> {
    /// The versions that it allows to break callers.
    ///
    /// # Errors
    /// One is known to break callers, and is not allowed to.
    pub(crate) fn allowed(self) -> Result<Vec<VersionId>, DeployError> {
        let Self { service, owner, records, named, allow_breaking } = self;
        let Some((owner, status)) = owner.and_then(|owner| Some((owner, owner.status.as_ref()?))) else {
            return Ok(if allow_breaking == Some(true) { named } else { Vec::new() });
        };
        if allow_breaking == Some(true) {
            let canary = status.canary.as_ref().map(|canary| &canary.version);
            let on_the_way = || status.version.iter().chain(canary).cloned().collect();
            return Ok(if named.is_empty() { on_the_way() } else { named });
        }
        let Some(live) = &status.live_version else { return Ok(Vec::new()) };
        let gate = Gate { live, may_break: &allowed(owner), were_live: &status.live_history };
        for version in named.into_iter().filter(|version| !gate.is_open_for(version)) {
            let contracts = contract_of(live, records).zip(contract_of(&version, records));
            let changes = contracts.map_or_else(Vec::new, |(live, own)| gate::bars(live, own));
            if !changes.is_empty() {
                let (service, live) = (service.clone(), live.clone());
                return Err(DeployError::Breaking { service, version, live, changes });
            }
        }
        Ok(Vec::new())
    }
}

/// The versions that a change names, but for a shadow.
pub(crate) fn named(model: Option<&VersionId>, asked: &UpdateRequest) -> Vec<VersionId> {
    let canary = asked.canary.as_ref().map(|canary| &canary.version);
    [model, asked.version.as_ref(), canary].into_iter().flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::apps::v1::Deployment;
    use kea_core::{Engine, Function, Layout};
    use serde_json::{Value, json};

    use crate::{
        version::{ModelRecord, ReplicaRecord},
        wish,
    };

    use super::*;

    fn v(name: &str) -> VersionId {
        name.parse().unwrap()
    }

    fn record(version: &str, functions: &[&str]) -> VersionRecord {
        let function = |name: &&str| Function {
            name: (*name).into(),
            description: String::new(),
            layout: Layout::Arguments,
            inputs: Vec::new(),
            outputs: Vec::new(),
            idempotent: false,
            deterministic: true,
        };
        let contract = Contract { functions: functions.iter().map(function).collect(), ..Contract::default() };
        VersionRecord {
            version: v(version),
            model: ModelRecord { source: Some(format!("s3://models/{version}")), ..ModelRecord::default() },
            image: None,
            replica: Some(ReplicaRecord { engine: Engine::Python, contract: Arc::new(contract) }),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            replicas: 1,
            deployment: Arc::new(Deployment::default()),
        }
    }

    /// The versions that are held back, where version 1 is live with two functions, 2 has one, and the MLModel is version 2.
    fn held_back(annotations: Value, history: &[&str], spec: Value) -> Vec<String> {
        let owner: MlDeployment = serde_json::from_value(json!({
            "metadata": {"name": "iris", "namespace": "team", "annotations": annotations},
            "spec": spec,
            "status": {"state": "deployed", "liveVersion": "1", "liveHistory": history},
        }))
        .unwrap();
        let model = json!({"metadata": {"name": "iris", "namespace": "team"},
                           "spec": {"source": "s3://models/2", "version": "2"}});
        let records = [record("1", &["predict", "explain"]), record("2", &["predict"])];
        let wish = wish::wish(&owner, Some(&serde_json::from_value(model).unwrap()), &records).unwrap();
        let barred = barred(&owner, &wish, Some(&v("1")), &records);
        barred.iter().map(|barred| barred.version.to_string()).collect()
    }

    #[test]
    fn a_version_that_would_break_callers_is_held_back_unless_that_is_allowed_or_it_was_live() {
        assert_eq!(held_back(json!({}), &["1"], json!({})), ["2"]);
        assert_eq!(held_back(json!({names::ALLOW_BREAKING: "2"}), &["1"], json!({})), [""; 0]);
        assert_eq!(held_back(json!({names::ALLOW_BREAKING: "3, 2"}), &["1"], json!({})), [""; 0]);
        assert_eq!(held_back(json!({names::ALLOW_BREAKING: "3"}), &["1"], json!({})), ["2"]);
        assert_eq!(held_back(json!({}), &["2", "1"], json!({})), [""; 0]);
    }

    #[test]
    fn what_is_allowed_stands_in_an_annotation() {
        let noted = |before: Value, versions: &[&str]| {
            let metadata = serde_json::from_value(json!({"annotations": before})).unwrap();
            let versions: Vec<VersionId> = versions.iter().map(|name| v(name)).collect();
            serde_json::to_value(allow(metadata, &versions)).unwrap()["annotations"][names::ALLOW_BREAKING].clone()
        };
        assert_eq!(noted(json!({}), &[]), Value::Null);
        assert_eq!(noted(json!({}), &["2"]), "2");
        assert_eq!(noted(json!({names::ALLOW_BREAKING: "1, 2"}), &["2", "3"]), "1,2,3");
    }

    /// What a change of the API that names these versions allows, where version 1 is live and 2 is known to break its callers.
    fn changed(versions: &[&str], allow_breaking: Option<bool>) -> Result<Vec<String>, String> {
        let owner: MlDeployment = serde_json::from_value(json!({
            "metadata": {"name": "iris", "namespace": "team"},
            "status": {"state": "failed", "liveVersion": "1", "liveHistory": ["1"], "version": "2"},
        }))
        .unwrap();
        let change = Change {
            service: &"iris".parse().unwrap(),
            owner: Some(&owner),
            records: &[record("1", &["predict", "explain"]), record("2", &["predict"])],
            named: versions.iter().map(|name| v(name)).collect(),
            allow_breaking,
        };
        let allowed = change.allowed().map_err(|error| error.to_string())?;
        Ok(allowed.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_api_refuses_what_is_known_to_break_callers_and_notes_what_is_allowed() {
        assert!(
            changed(&["2"], None).unwrap_err().contains("version `2` would break callers of version `1` of `iris`")
        );
        assert_eq!(changed(&["2"], Some(true)).unwrap(), ["2"]);
        // Nothing is known of version 3, and a change that names none is about something else.
        assert_eq!(changed(&["1", "3"], None).unwrap(), [""; 0]);
        assert_eq!(changed(&[], None).unwrap(), [""; 0]);
        assert_eq!(changed(&[], Some(true)).unwrap(), ["2"]);
    }

    #[test]
    fn a_canary_is_held_back_and_a_shadow_is_not() {
        assert_eq!(held_back(json!({}), &["1"], json!({"canary": {"version": "2", "weight": 10}})), ["2"]);
        assert_eq!(held_back(json!({}), &["1"], json!({"shadow": {"version": "2"}})), [""; 0]);
    }
}
