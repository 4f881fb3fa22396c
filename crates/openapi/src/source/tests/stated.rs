//! What a source leaves open, and its author states elsewhere.

use kea_core::stated::{self, StatedFunction};
use serde_json::json;

use super::*;

#[test]
fn what_is_stated_of_a_source_is_not_incomplete_any_more() {
    let found = contract("class Model:\n    def predict(self, text: str, top):\n        return {}\n");
    assert_eq!(found.incomplete.len(), 2, "{:?}", found.incomplete);
    let functions = json!([{
        "name": "predict",
        "inputs": [{"name": "top", "type": "integer", "minimum": 1}],
        "outputs": [{"name": "label", "type": "string"}],
    }]);
    let functions: Vec<StatedFunction> = serde_json::from_value(functions).unwrap();
    let merged = stated::merge(found.clone(), &functions[..]).unwrap();
    assert_eq!(merged.incomplete, [""; 0]);
    let half = StatedFunction { outputs: Vec::new(), ..functions[0].clone() };
    assert_eq!(stated::merge(found.clone(), &[half]).unwrap().incomplete, found.incomplete[1..]);
}
