//! What the list of services shows: each service's card, a page of them at a time.

mod search;

use std::sync::Arc;

use axum::{Json, extract::State};
use http::HeaderMap;
use kea_core::{
    Contract, Framework, ServiceId, VersionId,
    management::{ServiceDetails, Status},
};
use kea_http::ApiError;
use serde::{Deserialize, Serialize};

use self::search::Search;
use crate::{ApiState, extract::Params, guard, permissions};

/// Most cards in one answer; there may be thousands of services.
const PAGE: usize = 60;

/// Which cards are asked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CardQuery {
    /// Words that all are within the names, the descriptions or the fields of a service.
    search: String,
    /// How many cards to leave out.
    offset: usize,
}

/// A page of cards.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cards {
    services: Vec<Card>,
    /// How many there are on all pages.
    total: usize,
    /// Who asks; nobody sees public services only.
    user: Option<String>,
}

/// One service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Card {
    service_id: ServiceId,
    model_name: String,
    /// What the model is, in its author's words.
    description: String,
    status: Status,
    reason: Option<String>,
    version: VersionId,
    framework: Option<Framework>,
    functions: Vec<String>,
    /// Functions and fields in which the words were found, as `predict: petal_width`.
    found: Vec<String>,
    url: String,
    public: bool,
}

/// `GET /docs/services.json`: the services that the caller sees, which are the public ones for callers without a token.
pub(super) async fn list(
    State(state): State<ApiState>,
    Params(query): Params<CardQuery>,
    headers: HeaderMap,
) -> Result<Json<Cards>, ApiError> {
    let caller = guard::optional(&state, &headers)?;
    let search = Search::new(&query.search);
    let mut seen = state.deployer.list();
    seen.retain(|details| permissions::sees(&state, caller.as_ref(), details));
    let (mut services, mut total) = (Vec::new(), 0);
    for details in seen {
        let is_shown = total >= query.offset && services.len() < PAGE;
        // Neither an unknown contract nor a service deleted meanwhile keeps the others from being shown.
        let contract = match is_shown || search.has_words() {
            true => state.deployer.contract(&details.service_id, None).await.ok().and_then(|(_, contract)| contract),
            false => None,
        };
        let Some(found) = search.found(&details, contract.as_deref()) else { continue };
        if is_shown {
            services.push(card(details, contract, found));
        }
        total += 1;
    }
    Ok(Json(Cards { services, total, user: caller.map(|caller| caller.username.to_string()) }))
}

fn card(details: ServiceDetails, contract: Option<Arc<Contract>>, found: Vec<String>) -> Card {
    let functions =
        contract.as_ref().map(|contract| contract.function_names().into_iter().map(str::to_owned).collect());
    Card {
        service_id: details.service_id,
        model_name: details.model_name,
        description: contract.map(|contract| contract.description.clone()).unwrap_or_default(),
        status: details.status,
        reason: details.reason,
        version: details.version,
        framework: details.framework,
        functions: functions.unwrap_or_default(),
        found,
        url: details.url,
        public: details.settings.access.public,
    }
}
