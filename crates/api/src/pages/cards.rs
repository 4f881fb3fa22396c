//! What the list of services shows: each service's card, a page of them at a time.

use axum::{Json, extract::State};
use http::HeaderMap;
use kea_core::{
    Framework, ServiceId, VersionId,
    management::{ServiceDetails, Status},
};
use kea_http::ApiError;
use serde::{Deserialize, Serialize};

use crate::{ApiState, extract::Params, guard, permissions};

/// Most cards in one answer; there may be thousands of services.
const PAGE: usize = 60;

/// Which cards are asked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CardQuery {
    /// Text within the service's or the model's name.
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
    status: Status,
    reason: Option<String>,
    version: VersionId,
    framework: Option<Framework>,
    functions: Vec<String>,
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
    let mut found = state.deployer.list();
    found.retain(|details| fits(details, &query.search) && permissions::sees(&state, caller.as_ref(), details));
    let total = found.len();
    let mut services = Vec::new();
    for details in found.into_iter().skip(query.offset).take(PAGE) {
        services.push(card(&state, details).await);
    }
    Ok(Json(Cards { services, total, user: caller.map(|caller| caller.username.to_string()) }))
}

fn fits(details: &ServiceDetails, search: &str) -> bool {
    let search = search.trim().to_lowercase();
    details.service_id.as_str().contains(&search) || details.model_name.to_lowercase().contains(&search)
}

async fn card(state: &ApiState, details: ServiceDetails) -> Card {
    let contract = state.deployer.contract(&details.service_id, None).await;
    // Neither an unknown contract nor a service deleted meanwhile keeps the others from being shown.
    let functions = contract
        .ok()
        .and_then(|(_, contract)| contract)
        .map(|contract| contract.function_names().into_iter().map(str::to_owned).collect());
    Card {
        service_id: details.service_id,
        model_name: details.model_name,
        status: details.status,
        reason: details.reason,
        version: details.version,
        framework: details.framework,
        functions: functions.unwrap_or_default(),
        url: details.url,
        public: details.settings.access.public,
    }
}
