#![allow(clippy::needless_pass_by_value, reason = "literals of JSON read best as they are")]

use kea_core::{Contract, Datatype, Layout};

use super::*;

fn tensor(name: &str, shape: &[usize], data: TensorData) -> Tensor {
    Tensor { name: name.into(), shape: shape.to_vec(), data }
}

fn function(outputs: Vec<Field>) -> Function {
    Function {
        name: "predict".into(),
        description: String::new(),
        layout: Layout::Features,
        inputs: vec![Field::new("x", ValueType::Scalar { datatype: Datatype::Fp64 })],
        outputs,
        idempotent: true,
        deterministic: true,
    }
}

fn scalar(name: &str, datatype: Datatype) -> Field {
    Field::new(name, ValueType::Scalar { datatype })
}

fn array(name: &str, datatype: Datatype, shape: &[i64]) -> Field {
    Field::new(name, ValueType::Tensor { datatype, shape: shape.to_vec() })
}

#[track_caller]
fn shows(outputs: Vec<Field>, tensors: &[Tensor], expected: Value) {
    let mut out = Vec::new();
    predictions(&function(outputs), tensors, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({ "predictions": expected }), "{text}");
}

#[test]
fn a_classifier_shows_label_and_probabilities_by_class() {
    let mut probabilities = array("probabilities", Datatype::Fp64, &[-1, 2]);
    probabilities.labels = vec!["setosa".into(), "a \"quoted\" class".into()];
    shows(
        vec![scalar("label", Datatype::Bytes), probabilities],
        &[
            tensor("label", &[2], TensorData::Bytes(vec!["setosa".into(), "a \"quoted\" class".into()])),
            tensor("probabilities", &[2, 2], TensorData::Fp64(vec![0.75, 0.25, 0.1, 0.9])),
        ],
        json!([
            { "label": "setosa", "probabilities": { "setosa": 0.75, "a \"quoted\" class": 0.25 } },
            { "label": "a \"quoted\" class", "probabilities": { "setosa": 0.1, "a \"quoted\" class": 0.9 } },
        ]),
    );
}

#[test]
fn a_regressor_shows_one_value_a_row_whether_or_not_it_comes_in_a_column() {
    let value = || vec![scalar("value", Datatype::Fp32)];
    let rows = json!([{ "value": 1.5 }, { "value": null }]);
    let data = || TensorData::Fp32(vec![1.5, f32::NAN]);
    shows(value(), &[tensor("value", &[2], data())], rows.clone());
    shows(value(), &[tensor("value", &[2, 1], data())], rows);
}

#[test]
fn higher_ranks_are_nested_arrays() {
    shows(
        vec![array("y", Datatype::Int64, &[-1, 2, 2])],
        &[tensor("y", &[2, 2, 2], TensorData::Int64((1..=8).collect()))],
        json!([{ "y": [[1, 2], [3, 4]] }, { "y": [[5, 6], [7, 8]] }]),
    );
}

#[test]
fn outputs_without_common_rows_are_one_prediction() {
    shows(
        vec![array("y", Datatype::Fp32, &[-1]), array("loss", Datatype::Fp32, &[])],
        &[tensor("y", &[2], TensorData::Fp32(vec![1.0, 2.0])), tensor("loss", &[], TensorData::Fp32(vec![0.5]))],
        json!([{ "y": [1.0, 2.0], "loss": 0.5 }]),
    );
    shows(
        vec![array("grid", Datatype::Bool, &[2, 1])],
        &[tensor("grid", &[2, 1], TensorData::Bool(vec![true, false]))],
        json!([{ "grid": [[true], [false]] }]),
    );
}

#[test]
fn outputs_that_the_contract_does_not_know_are_shown_as_they_are() {
    shows(
        vec![],
        &[
            tensor("a", &[2], TensorData::Fp16(vec![0x3c00, 0x7c00])),
            tensor("b", &[2, 1], TensorData::Uint8(vec![1, 2])),
        ],
        json!([{ "a": 1.0, "b": [1] }, { "a": null, "b": [2] }]),
    );
}

#[test]
fn numbers_are_the_shortest_that_read_back() {
    let mut out = Vec::new();
    let outputs = [tensor("y", &[3], TensorData::Fp32(vec![0.1, 16_777_216.0, -0.0]))];
    predictions(&function(vec![scalar("y", Datatype::Fp32)]), &outputs, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"predictions":[{"y":0.1},{"y":16777216.0},{"y":-0.0}]}"#);
}

#[test]
fn results_of_custom_functions_become_predictions() {
    let of = |result: Value| predictions_of_result(&result)["predictions"].clone();
    assert_eq!(of(json!({ "a": 1 })), json!([{ "a": 1 }]));
    assert_eq!(of(json!([{ "a": 1 }, { "a": 2 }])), json!([{ "a": 1 }, { "a": 2 }]));
    assert_eq!(of(json!([1, 2])), json!([{ "result": [1, 2] }]));
    assert_eq!(of(json!([{ "a": 1 }, 2])), json!([{ "result": [{ "a": 1 }, 2] }]));
    assert_eq!(of(json!(null)), json!([{ "result": null }]));
}

#[test]
fn a_v2_answer_echoes_the_id_and_shows_the_wanted_outputs_in_order() {
    let outputs = [
        tensor("a", &[1, 2], TensorData::Fp32(vec![1.0, f32::INFINITY])),
        tensor("b", &[1], TensorData::Bytes(vec!["ü".into()])),
    ];
    let show = |id, wanted: Option<&[String]>| {
        let mut out = Vec::new();
        v2_response("m", "1", id, &outputs, wanted, &mut out);
        serde_json::from_slice::<Value>(&out).unwrap()
    };
    let a = json!({ "name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1.0, null] });
    let b = json!({ "name": "b", "shape": [1], "datatype": "BYTES", "data": ["ü"] });
    assert_eq!(show(None, None), json!({ "model_name": "m", "model_version": "1", "outputs": [a, b] }));
    assert_eq!(
        show(Some("7"), Some(&["b".into(), "a".into()])),
        json!({ "model_name": "m", "model_version": "1", "id": "7", "outputs": [b, a] })
    );
}

#[test]
fn v2_metadata_has_a_tensor_for_each_feature() {
    let function = function(vec![array("probabilities", Datatype::Fp64, &[-1, 3])]);
    let contract = Contract { platform: "scikit-learn".into(), functions: vec![function], ..Contract::default() };
    assert_eq!(
        v2_metadata("m", &["1", "2"], &contract),
        json!({
            "name": "m",
            "versions": ["1", "2"],
            "platform": "scikit-learn",
            "inputs": [{ "name": "x", "datatype": "FP64", "shape": [-1] }],
            "outputs": [{ "name": "probabilities", "datatype": "FP64", "shape": [-1, 3] }],
        })
    );
}
