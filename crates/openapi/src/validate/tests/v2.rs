//! Requests of the Open Inference Protocol V2.

use kea_core::tensor::TensorData;
use serde_json::json;

use super::*;

fn input(name: &str, shape: &[i64], datatype: &str, data: Value) -> Value {
    json!({ "name": name, "shape": shape, "datatype": datatype, "data": data })
}

#[track_caller]
fn reads(validator: &Validator, inputs: Value) -> Vec<Tensor> {
    validator.decode_v2("predict", json!({ "inputs": inputs }).to_string().as_bytes()).unwrap().inputs
}

#[track_caller]
fn refuses(validator: &Validator, inputs: Value, pointer: &str, words: &[&str]) {
    let body = json!({ "inputs": inputs }).to_string();
    only(&invalid(validator.decode_v2("predict", body.as_bytes()).map(drop)), pointer, words);
}

#[test]
fn data_is_taken_flat_and_nested() {
    let rows = rows_of_three();
    let flat = reads(&rows, json!([input("input", &[2, 3], "FP32", json!([1, 2, 3, 4, 5, 6]))]));
    let nested = reads(&rows, json!([input("input", &[2, 3], "FP64", json!([[1, 2, 3], [4, 5, 6]]))]));
    assert_eq!(flat, nested);
    assert_eq!(flat[0].shape, [2, 3]);
    assert_eq!(flat[0].data, TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
}

#[test]
fn features_come_one_by_one_or_as_a_matrix() {
    let flowers = flowers();
    let one_by_one = json!([
        input("petal_width", &[2, 1], "FP32", json!([[3], [4]])),
        input("petal_length", &[2], "INT64", json!([1, 2])),
    ]);
    let expected = reads(&flowers, one_by_one);
    assert_eq!(expected[0].data, TensorData::Fp64(vec![1.0, 3.0, 2.0, 4.0]));
    assert_eq!(expected[0].shape, [2, 2]);
    assert_eq!(reads(&flowers, json!([input("rows", &[2, 2], "FP64", json!([1, 3, 2, 4]))])), expected);
    let out_of_range = json!([input("rows", &[2, 2], "FP64", json!([1, 3, 11, 4]))]);
    refuses(&flowers, out_of_range, "/inputs/0/data/2", &["from 0 to 10"]);
    let nested = json!([input("rows", &[2, 2], "FP64", json!([[1, 3], [11, 4]]))]);
    refuses(&flowers, nested, "/inputs/0/data/1/0", &["from 0 to 10"]);
    refuses(&flowers, json!([input("rows", &[1, 3], "FP64", json!([1, 3, 4]))]), "/inputs/0/shape", &["[any, 2]"]);
}

#[test]
fn only_lossless_datatypes_are_converted() {
    let rows = rows_of_three();
    refuses(
        &rows,
        json!([input("input", &[1, 3], "BYTES", json!(["1", "2", "3"]))]),
        "/inputs/0/datatype",
        &["FP32", "BYTES"],
    );
    refuses(&rows, json!([input("input", &[1, 3], "FP16", json!([1, 2, 3]))]), "/inputs/0/datatype", &["FP16"]);
    refuses(&rows, json!([input("input", &[1, 3], "INT8", json!([1, 300, 3]))]), "/inputs/0/data/1", &["INT8"]);
    refuses(
        &rows,
        json!([input("input", &[1, 3], "FP64", json!([1, 1e39, 3]))]),
        "/inputs/0/data/1",
        &["FP32 can hold"],
    );
    let whole = validator(Layout::Tensors, vec![array("input", Datatype::Int32, &[-1])]);
    refuses(&whole, json!([input("input", &[1], "FP64", json!([1]))]), "/inputs/0/datatype", &["INT32"]);
    refuses(
        &whole,
        json!([input("input", &[1], "INT64", json!([1i64 << 40]))]),
        "/inputs/0/data/0",
        &["INT32 can hold"],
    );
    assert_eq!(reads(&whole, json!([input("input", &[1], "INT64", json!([5]))]))[0].data, TensorData::Int32(vec![5]));
}

#[test]
fn shape_and_data_have_to_fit() {
    let rows = rows_of_three();
    let given = |shape: &[i64], data: Value| json!([input("input", shape, "FP32", data)]);
    refuses(&rows, given(&[1, 3], json!([1, 2])), "/inputs/0/data", &["3 values", "2 values"]);
    refuses(&rows, given(&[2, 3], json!([[1, 2, 3], [4, 5]])), "/inputs/0/data/1", &["3 values", "2 values"]);
    refuses(&rows, given(&[1, 3], json!("x")), "/inputs/0/data", &["an array of 3 values"]);
    refuses(&rows, given(&[3], json!([1, 2, 3])), "/inputs/0/shape", &["[any, 3]"]);
    refuses(&rows, given(&[-1, 3], json!([1, 2, 3])), "/inputs/0/shape", &["-1"]);
    refuses(&rows, given(&[0, 3], json!([])), "/inputs/0/shape", &["at least one row"]);
    refuses(&rows, given(&[i64::MAX, i64::MAX], json!([])), "/inputs/0/shape", &[]);
}

#[test]
fn the_frame_is_checked() {
    let rows = rows_of_three();
    let good = input("input", &[1, 3], "FP32", json!([1, 2, 3]));
    let refused = |body: Value, pointer: &str, words: &[&str]| {
        only(&invalid(rows.decode_v2("predict", body.to_string().as_bytes()).map(drop)), pointer, words);
    };
    refused(json!({ "inputs": [good], "output": [] }), "/output", &["did you mean `outputs`?"]);
    refused(json!({ "inputs": [good], "id": 5 }), "/id", &["a string", "number 5"]);
    refused(json!({ "inputs": [good], "outputs": [{ "name": "valeu" }] }), "/outputs/0/name", &["`value`"]);
    refused(json!({ "inputs": [good, good] }), "/inputs/1/name", &["once"]);
    refused(
        json!({ "inputs": [input("input", &[1, 3], "FLOAT", json!([1, 2, 3]))] }),
        "/inputs/0/datatype",
        &["FLOAT"],
    );
    let without_name = rows.decode_v2("predict", br#"{"inputs":[{"shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}"#);
    assert_eq!(invalid(without_name.map(drop))[0].pointer, "/inputs/0/name");
    let other = json!({ "inputs": [input("inptu", &[1, 3], "FP32", json!([1, 2, 3]))] }).to_string();
    let other = invalid(rows.decode_v2("predict", other.as_bytes()).map(drop));
    assert!(other.iter().any(|v| v.pointer == "/inputs/0/name" && v.detail.contains("`input`")), "{other:?}");
}

#[test]
fn id_and_outputs_are_handed_on() {
    let good = input("input", &[1, 3], "FP32", json!([1, 2, 3]));
    let body =
        json!({ "id": "a", "parameters": { "priority": 1 }, "inputs": [good], "outputs": [{ "name": "value" }] });
    let call = rows_of_three().decode_v2("predict", body.to_string().as_bytes()).unwrap();
    assert_eq!((call.id.as_deref(), call.outputs), (Some("a"), Some(vec!["value".to_owned()])));
}

#[test]
fn what_asks_for_the_binary_extension_is_told_to_send_json() {
    let unsupported = |validator: &Validator, body: Value| {
        let refused = validator.decode_v2("predict", body.to_string().as_bytes());
        assert!(matches!(refused, Err(Rejection::Unsupported(_))), "{refused:?}");
    };
    let rows = rows_of_three();
    let good = input("input", &[1, 3], "FP32", json!([1, 2, 3]));
    let binary =
        json!({ "name": "input", "shape": [1, 3], "datatype": "FP32", "parameters": { "binary_data_size": 12 } });
    unsupported(&rows, json!({ "inputs": [binary] }));
    unsupported(&rows, json!({ "inputs": [good], "parameters": { "binary_data_output": true } }));
    unsupported(
        &rows,
        json!({ "inputs": [good], "outputs": [{ "name": "value", "parameters": { "binary_data": true } }] }),
    );
    unsupported(&validator(Layout::Arguments, vec![]), json!({ "inputs": [good] }));
    let plain = json!({ "inputs": [good], "parameters": { "binary_data_output": false } });
    assert!(rows.decode_v2("predict", plain.to_string().as_bytes()).is_ok());
}

#[test]
fn missing_features_get_their_defaults_or_are_named() {
    let mut second = scalar("b", Datatype::Fp64);
    (second.required, second.default) = (false, Some(7.into()));
    let validator = validator(Layout::Features, vec![scalar("a", Datatype::Fp64), second]);
    let read = reads(&validator, json!([input("a", &[2], "FP64", json!([1, 2]))]));
    assert_eq!(read[0].data, TensorData::Fp64(vec![1.0, 7.0, 2.0, 7.0]));
    refuses(&validator, json!([input("b", &[1], "FP64", json!([1]))]), "/inputs", &["`a`", "nothing"]);
}
