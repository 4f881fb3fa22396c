//! The gate against breaking changes on one machine: what is known of a version before anything of it runs, and what its
//! replicas tell before requests reach it.

use std::sync::Arc;

use kea_core::{
    Contract, VersionId,
    compare::ContractChange,
    gate::{self, Gate},
    port::DeployError,
    service::{ModelSpec, Service, Version},
};
use tokio::task::spawn_blocking;

use crate::state::{ServiceState, VersionState};

/// What a version would break for callers of the live one, and of which contracts that was said.
pub(crate) struct Weighed {
    live: Arc<Contract>,
    own: Arc<Contract>,
    changes: Vec<ContractChange>,
}

impl Weighed {
    fn new(live: &Arc<Contract>, own: &Arc<Contract>) -> Self {
        Self { live: live.clone(), own: own.clone(), changes: gate::bars(live, own) }
    }

    fn is_of(&self, live: &Arc<Contract>, own: &Arc<Contract>) -> bool {
        Arc::ptr_eq(&self.live, live) && Arc::ptr_eq(&self.own, own)
    }
}

impl ServiceState {
    /// Weighs the versions that are to get callers' requests against the one that has them. Those that are held back by
    /// that now, and were not before, are the answer. A shadow is not held back: what it answers reaches nobody.
    pub(crate) fn weigh(&mut self) -> Vec<VersionId> {
        let live = self.live.clone().and_then(|live| Some((self.contract_of(&live)?, live)));
        let asked = answering(&self.service);
        let Service { may_break, live_history, .. } = &self.service;
        let mut held_back = Vec::new();
        for (id, version) in &mut self.versions {
            let is_weighed = |live: &VersionId| {
                let gate = Gate { live, may_break, were_live: live_history };
                asked.contains(id) && !gate.is_open_for(id)
            };
            let live = live.as_ref().filter(|(_, live)| is_weighed(live));
            if version.weigh(live.map(|(contract, live)| (live, contract))) {
                held_back.push(id.clone());
            }
        }
        held_back
    }

    /// A version that is asked for and held back: what it would break.
    pub(crate) fn barred(&self) -> Option<&[ContractChange]> {
        answering(&self.service).iter().find_map(|id| self.versions.get(id)?.bars())
    }

    fn contract_of(&self, version: &VersionId) -> Option<Arc<Contract>> {
        self.versions.get(version)?.version.contract.clone()
    }
}

impl VersionState {
    /// Whether it would break callers and nobody has allowed that.
    pub(crate) fn is_barred(&self) -> bool {
        self.bars().is_some()
    }

    fn bars(&self) -> Option<&[ContractChange]> {
        let changes = &self.weighed.as_ref()?.changes;
        (!changes.is_empty()).then_some(changes)
    }

    /// Weighs it against the live version, where it is to be. Whether it is held back by that from now on is the answer.
    fn weigh(&mut self, live: Option<(&VersionId, &Arc<Contract>)>) -> bool {
        let was_barred = self.is_barred();
        let before = self.weighed.take();
        let own = self.version.contract.as_ref();
        self.weighed = live.zip(own).map(|((_, live), own)| match before {
            Some(before) if before.is_of(live, own) => before,
            _ => Weighed::new(live, own),
        });
        let reason = live.and_then(|(live, _)| Some(gate::reason(live, self.bars()?)));
        // A replica that is ready is no failure of its own, and clears what was said before.
        if reason.is_some() || was_barred {
            self.failure = reason;
        }
        !was_barred && self.is_barred()
    }
}

/// The versions that are to get callers' requests.
fn answering(service: &Service) -> Vec<VersionId> {
    let beside = service.beside().map(|canary| canary.version);
    std::iter::once(service.version.clone()).chain(beside).collect()
}

/// Notes that the `named` versions may break callers; those that are asked for already where none is.
pub(crate) fn allow(service: &mut Service, named: &[VersionId]) {
    let versions = if named.is_empty() { answering(service) } else { named.to_vec() };
    for version in versions {
        if !service.may_break.contains(&version) {
            service.may_break.push(version);
        }
    }
}

/// Refuses a change by which a version would answer that is known to break callers. Versions that are not `named` by it are
/// as they were before; of a `new` one its source may tell what it offers.
pub(crate) async fn check(
    service: &Service,
    versions: &[Version],
    new: Option<&Version>,
    named: &[VersionId],
) -> Result<(), DeployError> {
    let contract = |id: &VersionId| versions.iter().find(|version| version.id == *id)?.contract.clone();
    let Some(live) = service.live_history.last() else { return Ok(()) };
    let Some(of_live) = contract(live) else { return Ok(()) };
    let gate = Gate { live, may_break: &service.may_break, were_live: &service.live_history };
    for version in answering(service).into_iter().filter(|id| named.contains(id) && !gate.is_open_for(id)) {
        let own = match new.filter(|new| new.id == version) {
            Some(new) => told_by_source(new.model.clone()).await,
            None => contract(&version),
        };
        let changes = own.map_or_else(Vec::new, |own| gate::bars(&of_live, &own));
        if !changes.is_empty() {
            let (service, live) = (service.id.clone(), live.clone());
            return Err(DeployError::Breaking { service, version, live, changes });
        }
    }
    Ok(())
}

/// What a model offers, where its source is here and says so.
async fn told_by_source(model: ModelSpec) -> Option<Arc<Contract>> {
    let told = spawn_blocking(move || kea_containerizer::source_contract(&model)).await;
    // What contradicts the source was refused before.
    told.ok().flatten()?.ok().map(Arc::new)
}

#[cfg(test)]
mod tests;
