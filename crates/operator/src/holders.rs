//! What services share, and each can have alone: their names, and routes of their own. The oldest has it.

use kea_core::own_route::OwnRoute;
use serde::Deserialize;

use crate::{
    resources::MlDeployment,
    watch::{Caches, created},
    wish::Refusal,
};

/// The reason of a refusal because of a route.
pub(crate) const ROUTE_TAKEN: &str = "RouteTaken";

/// Why a service cannot have what it asks for: another one has it.
pub(crate) fn refusal(owner: &MlDeployment, caches: &Caches) -> Option<Refusal> {
    name_taken(owner, caches).or_else(|| route_taken(owner, caches))
}

/// Services of all namespaces share the gateway, and so their names.
fn name_taken(owner: &MlDeployment, caches: &Caches) -> Option<Refusal> {
    let holder = caches.holders(owner.name()).into_iter().next()?;
    (holder.namespace() != owner.namespace()).then(|| Refusal {
        reason: "NameTaken",
        message: format!(
            "the name `{}` is that of an older MLDeployment in namespace `{}`, and names are one for the whole gateway: \
             choose another",
            owner.name(),
            holder.namespace()
        ),
    })
}

/// Routes of others are read as they are asked for, whatever else may be wrong with those.
fn route_taken(owner: &MlDeployment, caches: &Caches) -> Option<Refusal> {
    let asked = routes(owner);
    if asked.is_empty() {
        return None;
    }
    let rank = |one: &MlDeployment| (created(one), one.namespace().to_owned(), one.name().to_owned());
    let own = rank(owner);
    let is_older = |other: &MlDeployment| rank(other) < own && !other.is_leaving();
    let older = caches.deployments.state_filter(is_older);
    older.iter().find_map(|other| {
        let route = routes(other).into_iter().find(|route| asked.contains(route))?;
        Some(Refusal {
            reason: ROUTE_TAKEN,
            message: format!(
                "the route `{route}` is that of the older MLDeployment `{}` in namespace `{}`: choose another in \
                 `spec.routes`, or remove it there first",
                other.name(),
                other.namespace()
            ),
        })
    })
}

/// The routes that an object asks for; none where they cannot be read, which is said elsewhere.
fn routes(deployment: &MlDeployment) -> Vec<OwnRoute> {
    deployment.spec.get("routes").map_or_else(Vec::new, |routes| Vec::deserialize(routes).unwrap_or_default())
}
