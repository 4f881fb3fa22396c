//! Answers and metadata of the Open Inference Protocol V2.

use kea_core::{Contract, Field, Function, Layout, Tensor, ValueType, contract::DEFAULT_FUNCTION};
use serde_json::{Value, json};

use super::{separated, write_flat, write_json};

/// Appends the answer to an inference request to `out`, with flat data. `wanted` names the outputs to show, in that
/// order; those that there are not are left out. Numbers of FP16 outputs are written as JSON numbers.
pub fn v2_response(
    model: &str,
    version: &str,
    id: Option<&str>,
    outputs: &[Tensor],
    wanted: Option<&[String]>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(br#"{"model_name":"#);
    write_json(out, model);
    out.extend_from_slice(br#","model_version":"#);
    write_json(out, version);
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        write_json(out, id);
    }
    out.extend_from_slice(br#","outputs":["#);
    match wanted {
        None => separated(out, outputs, write_tensor),
        Some(names) => {
            let named = names.iter().filter_map(|name| outputs.iter().find(|tensor| *tensor.name == **name));
            separated(out, named, write_tensor);
        }
    }
    out.extend_from_slice(b"]}");
}

fn write_tensor(out: &mut Vec<u8>, tensor: &Tensor) {
    out.extend_from_slice(br#"{"name":"#);
    write_json(out, &*tensor.name);
    out.extend_from_slice(br#","shape":"#);
    write_json(out, &tensor.shape);
    out.extend_from_slice(br#","datatype":"#);
    write_json(out, tensor.data.datatype().as_str());
    out.extend_from_slice(br#","data":"#);
    write_flat(out, &tensor.data, 0, tensor.data.len());
    out.push(b'}');
}

/// Metadata of a model: the inputs and outputs of its `predict`, or of its first function where it has no such. Named
/// features are tensors of shape `[-1]` each. What is no tensor, as a custom function's arguments, has no place in it.
pub fn v2_metadata(model: &str, versions: &[&str], contract: &Contract) -> Value {
    let function = contract.function(DEFAULT_FUNCTION).or(contract.functions.first());
    json!({
        "name": model,
        "versions": versions,
        "platform": contract.platform,
        "inputs": function.map_or_else(Vec::new, inputs),
        "outputs": function.map_or_else(Vec::new, |function| tensors(&function.outputs)),
    })
}

fn inputs(function: &Function) -> Vec<Value> {
    match function.layout {
        Layout::Features | Layout::Tensors => tensors(&function.inputs),
        Layout::Arguments | Layout::Opaque => Vec::new(),
    }
}

fn tensors(fields: &[Field]) -> Vec<Value> {
    let tensor = |field: &Field| match &field.value {
        ValueType::Scalar { datatype } => Some(json!({ "name": field.name, "datatype": datatype, "shape": [-1] })),
        ValueType::Tensor { datatype, shape } => {
            Some(json!({ "name": field.name, "datatype": datatype, "shape": shape }))
        }
        ValueType::Json { .. } => None,
    };
    fields.iter().filter_map(tensor).collect()
}
