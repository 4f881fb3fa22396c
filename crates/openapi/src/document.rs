//! The OpenAPI 3.0 document of one service version, made from its contract.
//!
//! What the contract leaves open is said in `x-kea-incomplete`, on the document and on the operation. Examples are
//! shown only where the service's own validator takes them.

mod answers;
mod bounds;
mod example;
mod operation;
mod references;
mod samples;
mod schema;
#[cfg(test)]
mod tests;
mod v2;
mod web;

use std::sync::Arc;

use kea_core::{Contract, Function, Layout, ServiceId, VersionId, contract::DEFAULT_FUNCTION};
use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::validate::Validator;

/// Tag of the model's own functions.
const FUNCTIONS_TAG: &str = "Functions";

/// Tag of the paths that every inference server of that protocol has.
const V2_TAG: &str = "Open Inference Protocol";

/// What a document says besides the contract.
#[derive(Clone, Copy, Debug)]
pub struct DocumentInfo<'a> {
    /// The service's name, as in its URLs.
    pub service: &'a ServiceId,
    /// The model's name, which is the title.
    pub model_name: &'a str,
    /// The version that is described.
    pub version: &'a VersionId,
    /// Where the management API lives, as `/api/v1/k8c`.
    pub base_path: &'a str,
    /// Whether it is called without a token.
    pub public: bool,
    /// Where KEA answers, as `https://kea.example:8443`: what samples of programs call.
    pub server: &'a str,
    /// Whether that version was asked for: samples then name it, and do not get the live one.
    pub is_pinned: bool,
}

/// The OpenAPI 3.0.3 document of a service. Without a contract it says what every service has, and that the rest is
/// not known.
pub fn service_document(info: &DocumentInfo<'_>, contract: Option<&Contract>) -> Value {
    let known = contract.cloned().map(Arc::new);
    let mut document = Document {
        info,
        validator: known.and_then(|contract| Validator::compile(contract).ok()),
        schemas: answers::schemas(),
    };
    let paths = document.paths(contract);
    let mut whole = json!({
        "openapi": "3.0.3",
        "info": document.head(contract),
        "servers": [{"url": "/"}],
        "tags": tags(&paths),
        "paths": paths,
        "components": document.components(),
    });
    if !info.public {
        whole["security"] = json!([{"bearer": []}]);
    }
    whole
}

/// A document that is being made.
struct Document<'a> {
    info: &'a DocumentInfo<'a>,
    /// Checks the examples; without one there are none.
    validator: Option<Validator>,
    /// The schemas that others refer to.
    schemas: Map<String, Value>,
}

impl Document<'_> {
    fn head(&self, contract: Option<&Contract>) -> Value {
        let mut head = json!({"title": self.info.model_name, "version": self.info.version.as_str()});
        let description = self.description(contract);
        if !description.is_empty() {
            head["description"] = description.into();
        }
        if let Some(platform) = contract.map(|contract| contract.platform.as_str()).filter(|text| !text.is_empty()) {
            head["x-kea-platform"] = platform.into();
        }
        let incomplete = incomplete(contract);
        if !incomplete.is_empty() {
            head["x-kea-incomplete"] = incomplete.into();
        }
        head
    }

    fn description(&self, contract: Option<&Contract>) -> String {
        let words = contract.map(|contract| contract.description.clone()).unwrap_or_default();
        let passed_on = contract.is_some_and(is_passed_on).then(|| {
            format!(
                "Requests below `{}` are passed on to the web service as they are, with any method and path.",
                self.path_of("")
            )
        });
        [words, passed_on.unwrap_or_default()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n\n")
    }

    fn paths(&mut self, contract: Option<&Contract>) -> Map<String, Value> {
        let Some(contract) = contract else {
            let unknown = operation::unknown(DEFAULT_FUNCTION);
            return Map::from_iter([(self.path_of(DEFAULT_FUNCTION), self.post(&unknown, &incomplete(None)))]);
        };
        let mut paths = Map::new();
        for function in contract.functions.iter().filter(|function| function.layout != Layout::Opaque) {
            let notes = notes_on(contract, function);
            paths.insert(self.path_of(&function.name), self.post(function, &notes));
        }
        if let Some(function) = contract.function(DEFAULT_FUNCTION) {
            paths.extend(self.v2_paths(function));
        }
        paths.extend(self.web_paths(&contract.operations, &contract.incomplete));
        paths
    }

    fn post(&mut self, function: &Function, notes: &[String]) -> Value {
        json!({"post": self.operation(function, notes)})
    }

    /// The whole URL at which a function of the version is called.
    fn url_of(&self, function: &str) -> String {
        let Self { info: DocumentInfo { server, version, is_pinned, .. }, .. } = self;
        let query = if *is_pinned { format!("?version={version}") } else { String::new() };
        // Names are identifiers, which may have letters of any script.
        format!("{server}{}{query}", self.path_of(&utf8_percent_encode(function, CONTROLS).to_string()))
    }

    fn path_of(&self, function: &str) -> String {
        format!("{}/services/{}/{function}", self.info.base_path, self.info.service)
    }

    fn components(&mut self) -> Value {
        let mut components = json!({
            "schemas": std::mem::take(&mut self.schemas),
            "responses": answers::problems(),
            "headers": answers::headers(),
        });
        if !self.info.public {
            components["securitySchemes"] = answers::security_schemes();
        }
        components
    }
}

fn is_passed_on(contract: &Contract) -> bool {
    has_opaque(contract) || !contract.operations.is_empty()
}

fn has_opaque(contract: &Contract) -> bool {
    contract.functions.iter().any(|function| function.layout == Layout::Opaque)
}

/// Sentences on what could not be found out.
fn incomplete(contract: Option<&Contract>) -> Vec<String> {
    let Some(contract) = contract else {
        return vec!["What the service takes and returns is not known yet: its model has not been loaded.".into()];
    };
    let passed_on = "What the web service takes and returns is not known: requests are passed on as they are.";
    let opaque = has_opaque(contract).then(|| passed_on.to_owned());
    contract.incomplete.iter().cloned().chain(opaque).collect()
}

/// The sentences that are about one function: they begin with its name.
fn notes_on(contract: &Contract, function: &Function) -> Vec<String> {
    let name = format!("`{}`", function.name);
    contract.incomplete.iter().filter(|note| note.starts_with(&name)).cloned().collect()
}

fn tags(paths: &Map<String, Value>) -> Value {
    let has = |tag: &str| {
        let mut operations = paths.values().filter_map(Value::as_object).flat_map(Map::values);
        operations.any(|operation| operation["tags"] == json!([tag]))
    };
    let mut tags = Vec::new();
    if has(FUNCTIONS_TAG) || !has(web::TAG) {
        tags.push(json!({"name": FUNCTIONS_TAG, "description": "What the model does."}));
    }
    if has(web::TAG) {
        tags.push(json!({"name": web::TAG, "description": "What the web service answers by itself."}));
    }
    if paths.keys().any(|path| path.starts_with("/v2/")) {
        tags.push(json!({
            "name": V2_TAG,
            "description": "The same model for clients of the Open Inference Protocol, version 2.",
        }));
    }
    tags.into()
}
