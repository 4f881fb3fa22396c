//! What is stated of a model's functions, in a file of its own or in the document of an MLModel.

use std::path::Path;

use kea_core::{
    documents::ModelDocument,
    stated::{self, StatedFunction},
};
use serde::Deserialize;
use serde_json::Value;

use super::deploy::documents_of;
use crate::failure::Failure;

/// Reads the list of a file: itself, or as `functions` of a document or of its `spec`.
///
/// # Errors
/// There is none, or more than one, or what it states excludes itself.
pub(super) fn of_file(path: &Path) -> Result<Vec<StatedFunction>, Failure> {
    of_documents(&documents_of(path)?).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
}

fn of_documents(documents: &[Value]) -> Result<Vec<StatedFunction>, String> {
    let mut lists = documents.iter().filter_map(|document| stated_by(document).transpose());
    let (first, second) = (lists.next(), lists.next());
    let functions =
        first.ok_or("there are no functions in it: write a list of them, or an MLModel with `functions`")??;
    if second.is_some() {
        return Err("functions of more than one model are in it: give a file with those of one".into());
    }
    stated::check(&functions).map_err(|(pointer, why)| format!("`{pointer}`: {why}"))?;
    Ok(functions)
}

fn stated_by(document: &Value) -> Result<Option<Vec<StatedFunction>>, String> {
    if let (Some("MLModel"), Some(spec)) = (document["kind"].as_str(), document.get("spec")) {
        let model = ModelDocument::deserialize(spec).map_err(|error| error.to_string())?;
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        model.check(name).map_err(|error| error.to_string())?;
        return Ok(model.stated());
    }
    let places = [Some(document), document.get("functions"), document.pointer("/spec/functions")];
    let list = places.into_iter().flatten().find(|place| place.is_array());
    list.map(Vec::deserialize).transpose().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_are_a_list_or_within_a_document() {
        let list = json!([{"name": "predict", "description": "Says it."}]);
        let model = json!({"kind": "MLModel", "spec": {"functions": list}});
        let deployment = json!({"kind": "MLDeployment", "spec": {}});
        for documents in [vec![list.clone()], vec![json!({"functions": list})], vec![deployment.clone(), model.clone()]]
        {
            assert_eq!(of_documents(&documents).unwrap()[0].name, "predict", "{documents:?}");
        }
        let typed = json!([{"name": "pixels", "description": "Grey."}]);
        let model_of_types =
            json!({"kind": "MLModel", "spec": {"inputType": typed, "functions": [{"name": "explain"}]}});
        let stated = of_documents(&[model_of_types]).unwrap();
        let names: Vec<&str> = stated.iter().map(|function| function.name.as_str()).collect();
        assert_eq!((names, stated[1].inputs[0].name.as_str()), (vec!["explain", "predict"], "pixels"));
        let refused = |documents: &[Value]| of_documents(documents).unwrap_err();
        assert!(refused(&[deployment]).contains("there are no functions"));
        assert!(refused(&[model.clone(), model]).contains("more than one model"));
        let wrong = json!([{"name": "predict", "inputs": [{"name": "x", "minimum": 2, "example": 1}]}]);
        assert!(refused(&[wrong]).starts_with("`/functions/0/inputs/0/example`: it says 1, but"));
        let twice = json!({"kind": "MLModel", "spec": {"inputType": typed, "functions": list}});
        assert!(refused(&[twice]).contains("keep `functions`"));
        assert!(refused(&[json!([{"name": "predict", "input": []}])]).contains("unknown field `input`"));
    }
}
