//! What the webhook says of an object: the same as the operator would, before the object is stored.

use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, META_API_VERSION_V1, META_KIND, Operation},
};
use serde_json::json;

use crate::{
    holders,
    resources::{GROUP, MlDeployment, MlModel},
    watch::{self, Caches, Change},
    wish::{self, Refusal},
};

/// The status of a refusal. The API server gives it on; KEA's own API knows it as the caller's mistake.
const FORBIDDEN: u16 = 403;

/// Why a review cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// No review at all.
    #[error("it is no AdmissionReview: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A review that is an answer, or of another version.
    #[error(
        "it is a {kind} of `{api_version}` without a request, or of another version: send one of `{META_API_VERSION_V1}`"
    )]
    Other {
        /// The kind that was sent.
        kind: String,
        /// Its group and version.
        api_version: String,
    },
    /// An object that is none of KEA's.
    #[error("`{0}` is not reviewed here: there are rules for MLModel and MLDeployment of `{GROUP}` alone")]
    Kind(String),
    /// A change without what is to be.
    #[error("the review has no `object`: a CREATE or UPDATE has one")]
    NoObject,
    /// An object that is no Kubernetes object.
    #[error("its object cannot be read: {0}")]
    Object(#[from] kube::core::dynamic::ParseDynamicObjectError),
}

/// What is said of an object.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It can be; what else there is to say of it.
    Allowed(Vec<String>),
    Refused(Refusal),
}

/// Answers a review in JSON. `model` reads an MLModel by namespace and name from the API server itself.
///
/// # Errors
/// What was sent is no review of an MLModel or MLDeployment.
pub(super) async fn review(
    text: &[u8],
    caches: &Caches,
    model: impl AsyncFnOnce(&str, &str) -> Option<MlModel>,
) -> Result<AdmissionResponse, Malformed> {
    let request = request(text)?;
    let mut response = AdmissionResponse::from(&request);
    match verdict(request, caches, model).await? {
        Verdict::Allowed(warnings) => response.warnings = Some(warnings).filter(|warnings| !warnings.is_empty()),
        Verdict::Refused(Refusal { reason, message }) => {
            response = response.deny(message);
            response.result.reason = kubernetes_word(reason).into();
            response.result.code = FORBIDDEN;
        }
    }
    Ok(response)
}

/// The reason that Kubernetes is told: `Invalid` is its own word for a list of wrong fields, and without such a list
/// `kubectl` 1.20 shows nothing of the message.
fn kubernetes_word(reason: &'static str) -> &'static str {
    if reason == "Invalid" { "BadRequest" } else { reason }
}

fn request(text: &[u8]) -> Result<AdmissionRequest<DynamicObject>, Malformed> {
    let review: AdmissionReview<DynamicObject> = serde_json::from_slice(text)?;
    let types = review.types.clone();
    let other = || Malformed::Other { kind: types.kind.clone(), api_version: types.api_version.clone() };
    if types.kind != META_KIND || types.api_version != META_API_VERSION_V1 {
        return Err(other());
    }
    review.try_into().map_err(|_no_request| other())
}

async fn verdict(
    request: AdmissionRequest<DynamicObject>,
    caches: &Caches,
    model: impl AsyncFnOnce(&str, &str) -> Option<MlModel>,
) -> Result<Verdict, Malformed> {
    let AdmissionRequest { kind, operation, namespace, object, old_object, .. } = request;
    let is_model = kind.kind == "MLModel";
    if kind.group != GROUP || !is_model && kind.kind != "MLDeployment" {
        return Err(Malformed::Kind(kind.kind));
    }
    if !matches!(operation, Operation::Create | Operation::Update) {
        return Ok(Verdict::Allowed(Vec::new()));
    }
    let mut object = object.ok_or(Malformed::NoObject)?;
    object.metadata.namespace = object.metadata.namespace.or(namespace);
    let spec = |object: &DynamicObject| object.data.get("spec").cloned();
    let is_unchanged = old_object.is_some_and(|old| spec(&old) == spec(&object));
    // Labels of an object that was stored before must stay changeable, and nothing may hold up its end.
    if is_unchanged || object.metadata.deletion_timestamp.is_some() {
        return Ok(Verdict::Allowed(Vec::new()));
    }
    Ok(match is_model {
        true => of_model(&object.try_parse()?, caches),
        false => of_deployment(&object.try_parse()?, caches, model).await,
    })
}

/// Both documents are often applied in one go, and the cache may not have the model yet: before anything is held
/// against the deployment, the model is read anew.
async fn of_deployment(
    deployment: &MlDeployment,
    caches: &Caches,
    model: impl AsyncFnOnce(&str, &str) -> Option<MlModel>,
) -> Verdict {
    let seen = with_model(deployment, caches, caches.model_of(deployment).as_deref());
    if seen == Verdict::Allowed(Vec::new()) {
        return seen;
    }
    match model(deployment.namespace(), watch::model_name(deployment)).await {
        Some(model) => with_model(deployment, caches, Some(&model)),
        None => seen,
    }
}

fn with_model(deployment: &MlDeployment, caches: &Caches, model: Option<&MlModel>) -> Verdict {
    if let Some(refusal) = holders::refusal(deployment, caches) {
        return Verdict::Refused(refusal);
    }
    match wish::wish(deployment, model, &caches.records(deployment)) {
        Ok(_) => Verdict::Allowed(Vec::new()),
        // It may follow, and what is wrong without it would be so with any.
        Err(refusal) if refusal.reason == "NoModel" => match wish::wish(deployment, Some(&any_model()), &[]) {
            Err(own) if own.reason == "Invalid" => Verdict::Refused(own),
            _ => Verdict::Allowed(vec![refusal.message]),
        },
        // A canary or shadow is asked for before its MLModel is changed, which would take over at once without it.
        Err(refusal) if refusal.reason == "NoVersion" && has_beside(deployment) => {
            Verdict::Allowed(vec![refusal.message])
        }
        Err(refusal) => Verdict::Refused(refusal),
    }
}

/// Whether a version is asked for beside the one that answers.
fn has_beside(deployment: &MlDeployment) -> bool {
    ["canary", "shadow"].iter().any(|field| deployment.spec.get(*field).is_some())
}

/// An MLModel with which nothing is wrong.
fn any_model() -> MlModel {
    MlModel { metadata: kube::core::ObjectMeta::default(), spec: json!({"image": "any"}) }
}

fn of_model(model: &MlModel, caches: &Caches) -> Verdict {
    let name = model.metadata.name.as_deref().unwrap_or_default();
    let namespace = model.metadata.namespace.as_deref().unwrap_or_default();
    if let Err(refusal) = wish::wish(&asking_nothing(name, namespace), Some(model), &[]) {
        return Verdict::Refused(refusal);
    }
    let mut warnings = Vec::new();
    for (namespace, name) in caches.affected(&Change::Model(namespace.into(), name.into())) {
        let Some(deployment) = caches.deployment(&namespace, &name).filter(|deployment| !deployment.is_leaving())
        else {
            continue;
        };
        let Err(refusal) = wish::wish(&deployment, Some(model), &caches.records(&deployment)) else { continue };
        let message = format!("MLDeployment `{name}`: {}", refusal.message);
        // Whatever else is wrong can be put right in the MLDeployment, which may follow.
        if refusal.reason == "VersionConflict" {
            return Verdict::Refused(Refusal { message, ..refusal });
        }
        warnings.push(message);
    }
    Verdict::Allowed(warnings)
}

/// An MLDeployment that asks for nothing but this model: whatever is wrong with the two is wrong with the model.
fn asking_nothing(model: &str, namespace: &str) -> MlDeployment {
    let mut deployment =
        MlDeployment { metadata: kube::core::ObjectMeta::default(), spec: json!({"modelName": model}), status: None };
    deployment.metadata.name = Some("of-model".into());
    deployment.metadata.namespace = Some(namespace.into());
    deployment
}

#[cfg(test)]
mod tests;
