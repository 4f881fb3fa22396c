//! What services share, and each can have alone: their names, which the oldest has, and routes of their own, which whoever
//! has them keeps.

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
    let others = caches.deployments.state_filter(|other| !is_same(other, owner) && !other.is_leaving());
    others.iter().find_map(|other| {
        let theirs = routes(other);
        let is_lost = |route: &&OwnRoute| asked.contains(*route) && rank(other, route) < rank(owner, route);
        let route = theirs.iter().find(is_lost)?;
        Some(Refusal {
            reason: ROUTE_TAKEN,
            message: format!(
                "the route `{route}` is that of the MLDeployment `{}` in namespace `{}`: choose another in \
                 `spec.routes`, or remove it there first",
                other.name(),
                other.namespace()
            ),
        })
    })
}

/// Who has a route keeps it; of those who have it not yet, the oldest gets it.
fn rank<'a>(one: &'a MlDeployment, route: &OwnRoute) -> (bool, i64, &'a str, &'a str) {
    let settings = one.status.as_ref().and_then(|status| status.settings.as_ref());
    let has_it = settings.is_some_and(|settings| settings.routes.contains(route));
    (!has_it, created(one), one.namespace(), one.name())
}

fn is_same(one: &MlDeployment, other: &MlDeployment) -> bool {
    (one.namespace(), one.name()) == (other.namespace(), other.name())
}

/// The routes that an object asks for; none where they cannot be read, which is said elsewhere.
fn routes(deployment: &MlDeployment) -> Vec<OwnRoute> {
    deployment.spec.get("routes").map_or_else(Vec::new, |routes| Vec::deserialize(routes).unwrap_or_default())
}
