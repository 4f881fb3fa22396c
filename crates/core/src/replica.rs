//! What a replica says of itself over HTTP, to those that did not start it: an operator, and routers of a cluster.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    contract::Contract,
    name::{ServiceId, VersionId},
    service::Engine,
};

/// Where each replica answers with a [`ReplicaReport`], always with 200.
pub const REPORT_PATH: &str = "/kea/replica";

/// Where a replica that stands beside a web service answers once its time to linger is over: what a pod asks before it
/// ends the web service, so that the two end together.
pub const LINGER_PATH: &str = "/kea/linger";

/// How a replica is, and what it offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaReport {
    /// The service that it answers for.
    pub service: ServiceId,
    /// The version of its model.
    pub version: VersionId,
    /// What runs the model.
    pub engine: Engine,
    /// Whether it is to be sent requests.
    pub ready: bool,
    /// Why it is not; nothing while it is.
    pub reason: Option<String>,
    /// What the model offers; nothing until it was loaded.
    pub contract: Option<Arc<Contract>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_has_all_of_its_fields() {
        let report = ReplicaReport {
            service: "iris".parse().unwrap(),
            version: "3".parse().unwrap(),
            engine: Engine::Onnx,
            ready: false,
            reason: Some("the model is loading".into()),
            contract: None,
        };
        let written = json!({"service": "iris", "version": "3", "engine": "onnx", "ready": false,
            "reason": "the model is loading", "contract": null});
        assert_eq!(serde_json::to_value(&report).unwrap(), written);
        assert_eq!(serde_json::from_value::<ReplicaReport>(written).unwrap(), report);
    }
}
