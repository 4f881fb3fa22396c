use std::sync::Arc;

use kea_core::{Contract, Datatype, Field, Function, Layout, Tensor, ValueType, tensor::TensorData};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    render::{Renderer, v2_response},
    validate::Validator,
};

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

fn of_schema(name: &str, schema: Value) -> Field {
    Field::new(name, ValueType::Json { schema })
}

fn validator(outputs: Vec<Field>) -> Validator {
    Validator::compile(Arc::new(Contract { functions: vec![function(outputs)], ..Contract::default() })).unwrap()
}

/// A classifier of two classes.
fn classifier() -> Vec<Field> {
    let mut label = scalar("label", Datatype::Bytes);
    label.choices = vec!["cat".into(), "dog".into()];
    let mut probabilities = array("probabilities", Datatype::Fp64, &[-1, 2]);
    probabilities.labels = vec!["cat".into(), "dog".into()];
    (probabilities.minimum, probabilities.maximum) = (Some(0.0), Some(1.0));
    vec![label, probabilities]
}

/// Pointers of what does not fit.
fn misfits(outputs: Vec<Field>, predictions: &Value) -> Vec<String> {
    let body = json!({ "predictions": predictions }).to_string();
    let found = validator(outputs).check_answer("predict", body.as_bytes());
    found.map_or_else(|misfit| misfit.0.into_iter().map(|problem| problem.pointer).collect(), |()| Vec::new())
}

#[test]
fn what_the_contract_says_fits() {
    let cat = json!({"label": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}});
    for (outputs, predictions) in [
        (classifier(), json!([cat, cat])),
        (classifier(), json!([])),
        // In another order, with escapes, with more than the contract has.
        (classifier(), json!([{"probabilities": {"dog": 1, "cat": null}, "more": [{"a": "\n"}], "label": "dog"}])),
        (vec![scalar("value", Datatype::Fp32)], json!([{"value": 1.5}, {"value": null}, {"value": 7}])),
        (vec![scalar("count", Datatype::Int64)], json!([{"count": -3}])),
        (vec![array("y", Datatype::Int64, &[-1, 2, 2])], json!([{"y": [[1, 2], [3, 4]]}])),
        (vec![array("y", Datatype::Fp32, &[-1, -1])], json!([{"y": []}, {"y": [1, 2, 3]}])),
        // Outputs that have no rows are one prediction.
        (vec![array("y", Datatype::Fp32, &[2]), array("loss", Datatype::Fp32, &[])], json!([{"y": [1, 2], "loss": 3}])),
        // So are those whose numbers of rows turn out to differ.
        (
            vec![array("a", Datatype::Fp32, &[-1]), array("b", Datatype::Fp32, &[-1])],
            json!([{"a": [1, 2], "b": [1, 2, 3]}]),
        ),
        (vec![of_schema("result", json!({"type": "array", "items": {"type": "number"}}))], json!([{"result": [1, 2]}])),
        (vec![], json!([{"anything": true}])),
    ] {
        assert_eq!(misfits(outputs, &predictions), Vec::<String>::new(), "{predictions}");
    }
}

#[test]
fn each_misfit_is_told_where_it_is() {
    let right = json!({"cat": 0.5, "dog": 0.5});
    for (outputs, predictions, pointers) in [
        (classifier(), json!([{"label": 3, "probabilities": right}]), vec!["/predictions/0/label"]),
        (classifier(), json!([{"label": "cow", "probabilities": right}]), vec!["/predictions/0/label"]),
        (classifier(), json!([{"probabilities": right}]), vec!["/predictions/0/label"]),
        (
            classifier(),
            json!([{"label": "cat", "probabilities": {"cat": 1.5, "cow": 1}}]),
            vec![
                "/predictions/0/probabilities/cat",
                "/predictions/0/probabilities/dog",
                "/predictions/0/probabilities/cow",
            ],
        ),
        (classifier(), json!([{"label": "cat", "probabilities": [0.5, 0.5]}]), vec!["/predictions/0/probabilities"]),
        (classifier(), json!({"label": "cat"}), vec!["/predictions"]),
        (classifier(), json!(["cat"]), vec!["/predictions/0"]),
        (vec![scalar("count", Datatype::Int8)], json!([{"count": 1}, {"count": 1.5}]), vec!["/predictions/1/count"]),
        (vec![scalar("count", Datatype::Int8)], json!([{"count": 300}]), vec!["/predictions/0/count"]),
        (vec![scalar("count", Datatype::Int8)], json!([{"count": null}]), vec!["/predictions/0/count"]),
        (vec![scalar("value", Datatype::Fp32)], json!([{"value": [1.5]}]), vec!["/predictions/0/value"]),
        (vec![array("y", Datatype::Fp32, &[-1, 2])], json!([{"y": [1, 2, 3]}]), vec!["/predictions/0/y"]),
        (vec![array("y", Datatype::Fp32, &[-1, 2])], json!([{"y": [1, "2"]}]), vec!["/predictions/0/y/1"]),
        (vec![array("y", Datatype::Fp32, &[2])], json!([{"y": [1, 2]}, {"y": [1, 2]}]), vec!["/predictions"]),
        (
            vec![of_schema("result", json!({"type": "object", "required": ["a"]}))],
            json!([{"result": {"b": 1}}]),
            vec!["/predictions/0/result/a"],
        ),
    ] {
        assert_eq!(misfits(outputs, &predictions), pointers, "{predictions}");
    }
}

#[test]
fn numbers_that_a_schema_describes_need_no_tree() {
    let number = json!({"type": "number", "description": "Metres."});
    let numbers = |items: &Value| json!({"type": "array", "items": items});
    for (schema, is_array) in [
        (number.clone(), true),
        (numbers(&numbers(&number)), true),
        (json!({"type": "array", "items": number, "minItems": 2}), false),
        (json!({"type": "number", "minimum": 0}), false),
        (numbers(&json!({"type": "string"})), false),
    ] {
        let answer = super::plan::Answer::of(&function(vec![of_schema("result", schema.clone())]));
        assert_eq!(matches!(answer.outputs[0].kind, super::plan::Kind::Array(_)), is_array, "{schema}");
    }
    let outputs = || vec![of_schema("a", numbers(&number)), of_schema("b", numbers(&number))];
    let misfits = |a: Value, b: Value| misfits(outputs(), &json!([{"a": a, "b": b}]));
    assert_eq!(misfits(json!([1, 2.5]), json!([])), Vec::<String>::new());
    assert_eq!(misfits(json!([1, "2"]), json!([null])), ["/predictions/0/a/1", "/predictions/0/b/0"]);
    assert_eq!(misfits(json!([[1]]), json!([[1]])), ["/predictions/0/a/0", "/predictions/0/b/0"]);
}

#[test]
fn a_misfit_says_what_was_promised_and_that_the_caller_is_not_to_blame() {
    let found = validator(classifier()).check_answer("predict", br#"{"predictions":[{"label":3}]}"#).unwrap_err();
    let told = found.0.iter().map(|problem| (&*problem.expected, &*problem.received)).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            ("one of \"cat\", \"dog\" (BYTES)", "number 3"),
            ("an object with `cat`, `dog`, each a number from 0 to 1 or null (FP64)", "nothing"),
        ]
    );
    assert!(found.0.iter().all(|problem| problem.detail.contains("nothing is wrong with the request")), "{found:?}");
}

#[test]
fn what_is_no_answer_at_all_is_told_so() {
    for (body, pointer) in
        [("[1]", ""), ("{}", "/predictions"), ("<html>", ""), (r#"{"predictions":1}"#, "/predictions")]
    {
        let found = validator(classifier()).check_answer("predict", body.as_bytes()).unwrap_err();
        assert_eq!(found.pointer(), pointer, "{body}");
    }
    let unknown = validator(classifier()).check_answer("other", b"[1]");
    assert_eq!(unknown, Ok(()), "nothing is promised of it");
}

#[test]
fn problems_without_end_are_not_listed() {
    let many: Vec<Value> = (0..5_000).map(|_| json!({"count": "x"})).collect();
    assert_eq!(misfits(vec![scalar("count", Datatype::Int8)], &json!(many)).len(), 100);
}

fn v2(outputs: Vec<Field>, tensors: &Value, all: bool) -> Vec<String> {
    let body = json!({"model_name": "m", "model_version": "1", "outputs": tensors}).to_string();
    let found = validator(outputs).check_v2_answer("predict", body.as_bytes(), all);
    found.map_or_else(|misfit| misfit.0.into_iter().map(|problem| problem.pointer).collect(), |()| Vec::new())
}

#[test]
fn tensors_of_v2_are_held_against_name_datatype_shape_and_data() {
    let tensor = |shape: Value, datatype: &str, data: Value| json!({"name": "y", "shape": shape, "datatype": datatype, "data": data});
    let y = || vec![array("y", Datatype::Fp32, &[-1, 2])];
    let good = tensor(json!([1, 2]), "FP32", json!([1.5, null]));
    let none: Vec<&str> = vec![];
    for (tensors, all, pointers) in [
        (json!([good]), true, none.clone()),
        (json!([good, {"name": "other"}]), true, none.clone()),
        (json!([]), true, vec!["/outputs"]),
        (json!([]), false, none),
        (json!({}), true, vec!["/outputs"]),
        (json!([tensor(json!([1, 2]), "FP64", json!([1, 2]))]), true, vec!["/outputs/0/datatype"]),
        (json!([tensor(json!([2]), "FP32", json!([1, 2]))]), true, vec!["/outputs/0/shape"]),
        (json!([tensor(json!([1, 3]), "FP32", json!([1, 2, 3]))]), true, vec!["/outputs/0/shape"]),
        (json!([tensor(json!([1, 2]), "FP32", json!([1]))]), true, vec!["/outputs/0/data"]),
        (json!([tensor(json!([1, 2]), "FP32", json!([1, "2"]))]), true, vec!["/outputs/0/data/1"]),
        (json!([{"name": "y", "shape": [1, 2], "datatype": "FP32"}]), true, vec!["/outputs/0/data"]),
    ] {
        assert_eq!(v2(y(), &tensors, all), pointers, "{tensors}");
    }
    let column = json!([{"name": "n", "shape": [2, 1], "datatype": "INT8", "data": [1, 2]}]);
    assert_eq!(v2(vec![scalar("n", Datatype::Int8)], &column, true), Vec::<String>::new());
}

/// A contract's output, and a tensor of it with that many rows.
fn output(rows: usize) -> impl Strategy<Value = (Field, Tensor)> {
    let tensor = move |shape: &[usize], data| Tensor { name: "y".into(), shape: shape.to_vec(), data };
    let floats = prop::collection::vec(prop::num::f32::ANY, rows * 6);
    let whole = prop::collection::vec(any::<i64>(), rows);
    let texts = prop::collection::vec("[a-z\"\\\\é\n]{0,4}", rows);
    let mut labelled = array("y", Datatype::Fp32, &[-1, 2, 3]);
    labelled.labels = ["a", "b\"", "c"].map(String::from).to_vec();
    prop_oneof![
        (floats.clone(), prop_oneof![Just(labelled), Just(array("y", Datatype::Fp32, &[-1, -1, 3]))])
            .prop_map(move |(data, field)| (field, tensor(&[rows, 2, 3], TensorData::Fp32(data)))),
        floats.prop_map(move |data| {
            (array("y", Datatype::Fp32, &[rows as i64 * 6]), tensor(&[rows * 6], TensorData::Fp32(data)))
        }),
        whole.prop_map(move |data| (scalar("y", Datatype::Int64), tensor(&[rows, 1], TensorData::Int64(data)))),
        texts.prop_map(move |data| {
            let data = data.into_iter().map(String::into_bytes).collect();
            (scalar("y", Datatype::Bytes), tensor(&[rows], TensorData::Bytes(data)))
        }),
    ]
}

proptest! {
    /// What KEA's own replicas write of tensors that are as the contract says is never refused, in either protocol.
    #[test]
    fn what_is_rendered_fits((field, tensor) in (2usize..5).prop_flat_map(output)) {
        let validator = validator(vec![field]);
        let (mut own, mut of_v2) = (Vec::new(), Vec::new());
        let tensors = [tensor];
        Renderer::new(&validator.contract().functions[0]).predictions(&tensors, &mut own);
        prop_assert_eq!(validator.check_answer("predict", &own), Ok(()), "{}", String::from_utf8_lossy(&own));
        v2_response("m", "1", None, &tensors, None, &mut of_v2);
        prop_assert_eq!(validator.check_v2_answer("predict", &of_v2, true), Ok(()));
    }

    /// Whatever comes is answered, and what is seen at a glance to fit has no problem that could be told.
    #[test]
    fn both_readings_agree(at in any::<prop::sample::Index>(), replaced in 0usize..3, by in "[\\[\\]{},:\"0-9a.eE+-]{0,2}") {
        let mut text = json!({"predictions": [{"label": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}}]}).to_string();
        let at = at.index(text.len());
        text.replace_range(at..(at + replaced).min(text.len()), &by);
        let answer = super::plan::Answer::of(&function(classifier()));
        let seen = super::glance::fits(&answer, text.as_bytes());
        let told = super::explain::predictions(&answer, text.as_bytes());
        prop_assert!(!seen || told.is_ok(), "{}: {:?}", text, told);
    }
}
