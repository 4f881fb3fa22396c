use serde_json::json;

use super::*;
use crate::{contract::ValueType, tensor::Datatype};

fn function(layout: &str, inputs: Value) -> Function {
    serde_json::from_value(json!({"name": "predict", "layout": layout, "inputs": inputs, "outputs": []})).unwrap()
}

fn contract(function: Function) -> Contract {
    Contract { functions: vec![function], ..Contract::default() }
}

/// A flower's row, as a model with names has it.
fn flower() -> Contract {
    let scalar = json!({"scalar": {"datatype": "FP64"}});
    contract(function(
        "features",
        json!([
            {"name": "length", "type": scalar, "minimum": 0.0, "maximum": 10.0, "example": 1.4},
            {"name": "colour", "type": {"scalar": {"datatype": "BYTES"}}, "enum": ["red", "blue"]},
        ]),
    ))
}

/// Rows of four numbers, as a graph has them.
fn graph() -> Contract {
    let tensor = json!({"tensor": {"datatype": "FP32", "shape": [-1, 4]}});
    contract(function("tensors", json!([{"name": "input", "type": tensor, "example": [[1, 2, 3, 4]]}])))
}

/// Arguments of a Python function.
fn call() -> Contract {
    let inputs = json!([
        {"name": "amount", "type": {"json": {"schema": {"type": "number", "minimum": 0}}}},
        {"name": "note", "type": {"json": {"schema": {}}}},
        {"name": "times", "type": {"json": {"schema": {"type": "integer"}}}, "required": false, "default": 1},
        {"name": "row", "type": {"json": {"schema": {"type": "array", "minItems": 2, "items": {"type": "number"}}}}},
        {"name": "either", "type": {"json": {"schema": {"anyOf": [{"type": "string"}, {"type": "number"}]}}}},
    ]);
    let incomplete = vec![
        "`predict`: argument `note`: it has no type hint, so anything is accepted".to_owned(),
        "`predict`: the result: it has no hint, so what a prediction holds is not known".to_owned(),
    ];
    Contract { incomplete, ..contract(function("arguments", inputs)) }
}

fn stated(inputs: Value) -> Vec<StatedFunction> {
    serde_json::from_value(json!([{"name": "predict", "inputs": inputs}])).unwrap()
}

/// The first input, with what is stated of it alone.
fn refined(found: Contract, input: Value) -> Field {
    let name = input["name"].clone();
    let merged = merge(found, &stated(json!([input]))).unwrap();
    merged.functions[0].inputs.iter().find(|field| name == field.name.as_str()).unwrap().clone()
}

fn contradiction(found: Contract, inputs: Value) -> String {
    let stated = stated(inputs);
    check(&stated).unwrap();
    merge(found, &stated).unwrap_err().to_string()
}

#[test]
fn nothing_stated_changes_nothing() {
    for found in [flower(), graph(), call()] {
        assert_eq!(merge(found.clone(), &[]).unwrap(), found);
        assert_eq!(merge(found.clone(), &stated(json!([]))).unwrap(), found);
    }
}

#[test]
fn words_units_and_examples_are_the_authors() {
    let field =
        refined(flower(), json!({"name": "length", "description": "Of the petal.", "unit": "cm", "example": 2.5}));
    assert_eq!((field.description.as_str(), field.example), ("Of the petal, in cm.", Some(json!(2.5))));
    assert_eq!(refined(flower(), json!({"name": "length", "unit": "cm"})).description, "In cm.");
    let words: Vec<StatedFunction> =
        serde_json::from_value(json!([{"name": "predict", "description": "Says which flower it is."}])).unwrap();
    assert_eq!(merge(flower(), &words).unwrap().functions[0].description, "Says which flower it is.");
}

#[test]
fn ranges_and_choices_become_narrower() {
    let field = refined(flower(), json!({"name": "length", "minimum": 1, "maximum": 7, "type": "number"}));
    assert_eq!((field.minimum, field.maximum), (Some(1.0), Some(7.0)));
    assert_eq!(refined(flower(), json!({"name": "colour", "enum": ["red"]})).choices, [json!("red")]);
    let amount = refined(call(), json!({"name": "amount", "type": "integer", "maximum": 9}));
    let ValueType::Json { schema } = amount.value else { panic!() };
    assert_eq!(schema, json!({"type": "integer", "minimum": 0, "maximum": 9.0}));
    let row = refined(call(), json!({"name": "row", "shape": [3], "minimum": 0}));
    let ValueType::Json { schema } = row.value else { panic!() };
    let items = json!({"type": "number", "minimum": 0.0});
    assert_eq!(schema, json!({"type": "array", "items": items, "minItems": 3, "maxItems": 3}));
}

#[test]
fn a_default_makes_an_input_optional_where_kea_fills_it_in() {
    let field = refined(flower(), json!({"name": "length", "default": 5}));
    assert_eq!((field.required, field.default.clone()), (false, Some(json!(5))));
    assert!(!field.must_be_given(Layout::Features));
    let times = refined(call(), json!({"name": "times", "required": true}));
    assert!(times.required && times.default.is_none());
}

#[test]
fn what_is_stated_is_not_incomplete_any_more() {
    let known: Vec<StatedFunction> = serde_json::from_value(json!([{
        "name": "predict",
        "inputs": [{"name": "note", "type": "string", "enum": ["a", "b"]}],
        "outputs": [{"name": "result", "type": "number", "minimum": 0}],
    }]))
    .unwrap();
    let merged = merge(call(), &known).unwrap();
    assert_eq!(merged.incomplete, [""; 0]);
    let schema = json!({"type": "number", "minimum": 0.0});
    assert_eq!(merged.functions[0].outputs, [Field::new("result", ValueType::Json { schema })]);
    // Words say nothing of the type, and a few values say all of it.
    let words = |input: Value, output: Value| -> Vec<StatedFunction> {
        serde_json::from_value(json!([{"name": "predict", "inputs": [input], "outputs": [output]}])).unwrap()
    };
    let described =
        words(json!({"name": "note", "description": "a note"}), json!({"name": "sum", "description": "a sum"}));
    assert_eq!(merge(call(), &described).unwrap().incomplete.len(), 2);
    let chosen = words(json!({"name": "note", "enum": ["a"]}), json!({"name": "sum", "enum": [1, 2]}));
    assert_eq!(merge(call(), &chosen).unwrap().incomplete, [""; 0]);
}

#[test]
fn columns_get_names_where_as_many_are_stated() {
    let four = json!([{"name": "a", "minimum": 0}, {"name": "b"}, {"name": "c"}, {"name": "d", "example": 9}]);
    let merged = merge(graph(), &stated(four)).unwrap();
    let function = &merged.functions[0];
    assert_eq!(function.layout, Layout::Features);
    let seen: Vec<_> = function.inputs.iter().map(|f| (f.name.as_str(), f.example.clone().unwrap())).collect();
    assert_eq!(seen, [("a", json!(1)), ("b", json!(2)), ("c", json!(3)), ("d", json!(9))]);
    assert_eq!(function.matrix_datatype(), Some(Datatype::Fp32));
}

#[test]
fn a_contradiction_names_both_values_and_both_places() {
    let cases = [
        (
            graph(),
            json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]),
            "`/functions/0/inputs/0/name` says `a` (all that is stated: 3, `a`, `b`, `c`), but `predict` of the model has \
             1: `input` FP32[-1, 4]: correct one of the two",
        ),
        (
            graph(),
            json!([{"name": "input", "shape": [-1, 3]}]),
            "`/functions/0/inputs/0/shape` says [-1, 3], but the model's input `input` of `predict` is FP32[-1, 4]: correct \
             one of the two",
        ),
        (graph(), json!([{"name": "input", "shape": [8, 4]}]), "says [8, 4], but"),
        (graph(), json!([{"name": "input", "type": "FP64"}]), "/0/type` says FP64, but the model's input `input`"),
        (flower(), json!([{"name": "length", "type": "integer"}]), "says integer, but the model's input `length`"),
        (flower(), json!([{"name": "length", "shape": [2]}]), "is one FP64 a row"),
        (flower(), json!([{"name": "length", "minimum": -1}]), "/0/minimum` says -1, but the model's input `length`"),
        (
            flower(),
            json!([{"name": "length", "maximum": 11}]),
            "says 11, but the model's input `length` of `predict` has the maximum 10",
        ),
        (
            flower(),
            json!([{"name": "length", "minimum": 11}]),
            "/0/minimum` says 11, but the model's input `length` of `predict` has the maximum 10",
        ),
        (flower(), json!([{"name": "length"}, {"name": "colour", "enum": ["green"]}]), "/1/enum` says \"green\", but"),
        (flower(), json!([{"name": "colour", "minimum": 1}]), "BYTES, which has no range"),
        (flower(), json!([{"name": "length", "required": false}]), "has to be given, since it has no default"),
        (
            call(),
            json!([{"name": "amount", "type": "string"}]),
            "says string, but the model's input `amount` of `predict` is of type number",
        ),
        (
            call(),
            json!([{"name": "amount", "minimum": -1}]),
            "says -1, but the model's input `amount` of `predict` has the minimum 0",
        ),
        (call(), json!([{"name": "amount", "shape": [2]}]), "/0/shape` says array, but"),
        (call(), json!([{"name": "row", "shape": [1]}]), "has minItems 2"),
        (
            call(),
            json!([{"name": "times", "default": 2}]),
            "says 2, but the model's input `times` of `predict` has the default 1",
        ),
        (call(), json!([{"name": "amount", "default": 2}]), "has none"),
        (call(), json!([{"name": "amount", "required": false}]), "has to be given"),
        (call(), json!([{"name": "either", "type": "string"}]), "is of several types"),
        (call(), json!([{"name": "note", "minimum": 1}]), "not known to be a number"),
    ];
    for (found, inputs, expected) in cases {
        let error = contradiction(found, inputs.clone());
        assert!(error.contains(expected), "{inputs}: {error}");
    }
    let other: Vec<StatedFunction> = serde_json::from_value(json!([{"name": "explain"}])).unwrap();
    let error = merge(flower(), &other).unwrap_err().to_string();
    assert!(error.contains("`/functions/0/name` says `explain`, but the model has `predict`"), "{error}");
}

#[test]
fn what_no_model_could_bear_out_is_refused_at_once() {
    let cases = [
        (json!([{"name": "a"}, {"name": "a"}]), "/functions/0/inputs/1/name"),
        (json!([{"name": "a", "minimum": 2, "maximum": 1}]), "/functions/0/inputs/0/minimum"),
        (json!([{"name": "a", "shape": [0]}]), "/functions/0/inputs/0/shape"),
        (json!([{"name": "a", "default": 1, "required": true}]), "/functions/0/inputs/0/required"),
        (json!([{"name": "a", "description": "x".repeat(MAX_BYTES)}]), "/functions"),
        (json!([{"name": "a", "type": "integer", "enum": [1, 1.5]}]), "/functions/0/inputs/0/enum"),
        (json!([{"name": "a", "maximum": 10, "enum": [1, 11]}]), "/functions/0/inputs/0/enum"),
        (json!([{"name": "a", "type": "number", "default": "red"}]), "/functions/0/inputs/0/default"),
        (json!([{"name": "a", "minimum": 0, "default": -1}]), "/functions/0/inputs/0/default"),
        (json!([{"name": "a", "minimum": 0, "example": "low"}]), "/functions/0/inputs/0/example"),
        (json!([{"name": "a", "enum": ["red"], "example": "blue"}]), "/functions/0/inputs/0/example"),
        (json!([{"name": "a", "enum": [1_u64 << 53], "example": (1_u64 << 53) + 1}]), "/functions/0/inputs/0/example"),
        (json!([{"name": "a", "shape": [-1, 2], "example": [[1, 2], [3]]}]), "/functions/0/inputs/0/example"),
        (json!([{"name": "a", "shape": [2], "example": 1}]), "/functions/0/inputs/0/example"),
        (json!([{"name": "a", "type": "INT8", "example": [[7], [128]]}]), "/functions/0/inputs/0/example"),
    ];
    for (inputs, pointer) in cases {
        assert_eq!(check(&stated(inputs)).unwrap_err().0, pointer);
    }
}

#[test]
fn values_that_agree_with_all_that_is_stated_pass() {
    let cases = [
        json!({"name": "a", "type": "integer", "enum": [1, 2.0], "default": 2}),
        json!({"name": "a", "shape": [-1, 2], "example": [1, 2], "minimum": 1}),
        json!({"name": "a", "shape": [-1, 2], "example": [[1, 2], [3, 4]]}),
        json!({"name": "a", "enum": [[1], [2]], "example": [1]}),
        json!({"name": "a", "type": "string", "example": null}),
        json!({"name": "a", "type": "string", "enum": ["red", null]}),
        json!({"name": "a", "minimum": 0, "enum": [1, null]}),
        json!({"name": "a", "type": "UINT64", "example": u64::MAX}),
    ];
    for input in cases {
        assert_eq!(check(&stated(json!([input]))), Ok(()), "{input}");
    }
}

#[test]
fn both_places_are_named_where_statements_exclude_each_other() {
    let (_, why) = check(&stated(json!([{"name": "a", "maximum": 10, "default": 11}]))).unwrap_err();
    assert_eq!(why, "it says 11, but `/functions/0/inputs/0/maximum` says 10: correct one of the two");
    let long = "x".repeat(200);
    let (_, why) = check(&stated(json!([{"name": "a", "enum": ["red"], "example": long}]))).unwrap_err();
    assert!(why.contains("x…, but `/functions/0/inputs/0/enum` says [\"red\"]") && why.len() < 200, "{why}");
}

#[test]
fn values_that_the_model_does_not_take_are_refused_with_both_places() {
    let cases = [
        (
            flower(),
            json!([{"name": "length", "example": 11}]),
            "`/functions/0/inputs/0/example` says 11, but the model's input `length` of `predict` has the maximum 10",
        ),
        (flower(), json!([{"name": "length", "enum": [1, -1]}]), "/0/enum` says -1, but the model's input `length`"),
        (flower(), json!([{"name": "length", "default": "long"}]), "/0/default` says \"long\", but the model's input"),
        (flower(), json!([{"name": "length", "example": [1, 2]}]), "says [1,2], but the model's input `length` of"),
        (flower(), json!([{"name": "colour", "example": "green"}]), "takes [\"red\",\"blue\"] alone"),
        (
            graph(),
            json!([{"name": "input", "example": [[1, 2, 3]]}]),
            "says [[1,2,3]], but the model's input `input` of",
        ),
        (graph(), json!([{"name": "input", "example": [1e300, 0, 0, 0]}]), "of `predict` is FP32"),
    ];
    for (found, inputs, expected) in cases {
        let error = contradiction(found, inputs.clone());
        assert!(error.contains(expected), "{inputs}: {error}");
    }
    let row = refined(graph(), json!({"name": "input", "example": [1, 2, 3, 4]}));
    assert_eq!(row.example, Some(json!([1, 2, 3, 4])));
}
