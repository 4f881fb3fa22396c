//! Which changes break callers: one line a change.

mod laws;
mod schemas;

use serde_json::json;

use crate::{
    contract::{Contract, Field, Function, Layout, ValueType},
    tensor::Datatype::{self, *},
};

use super::*;

fn number(name: &str) -> Field {
    Field::new(name, ValueType::Scalar { datatype: Fp64 })
}

fn scalar(name: &str, datatype: Datatype) -> Field {
    Field::new(name, ValueType::Scalar { datatype })
}

fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> Field {
    Field::new(name, ValueType::Tensor { datatype, shape: shape.to_vec() })
}

fn function(layout: Layout, inputs: &[Field], outputs: &[Field]) -> Function {
    Function {
        name: "predict".into(),
        description: String::new(),
        layout,
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        idempotent: true,
        deterministic: true,
    }
}

fn contract(function: Function) -> Contract {
    Contract { functions: vec![function], ..Contract::default() }
}

/// The changes, as `effect pointer`.
fn told(before: &Function, after: &Function) -> Vec<String> {
    let changes = compare(&contract(before.clone()), &contract(after.clone()));
    changes.iter().map(|change| format!("{} {}", change.effect.as_str(), change.pointer)).collect()
}

/// What another input is to callers, and what the same is as an output.
#[track_caller]
fn check(before: Field, after: Field, as_input: &str, as_output: &str) {
    let side = |layout, inputs: &[Field], outputs: &[Field]| function(layout, inputs, outputs);
    let layout = if matches!(before.value, ValueType::Tensor { .. }) { Layout::Tensors } else { Layout::Features };
    let (one, other) = (std::slice::from_ref(&before), std::slice::from_ref(&after));
    let expected = |effect: &str, pointer: &str| match effect {
        "" => Vec::new(),
        effect => vec![format!("{effect} {pointer}/x")],
    };
    let found = told(&side(layout, one, &[]), &side(layout, other, &[]));
    assert_eq!(found, expected(as_input, "/inputs"), "input: {before:?} -> {after:?}");
    let found = told(&side(layout, &[], one), &side(layout, &[], other));
    assert_eq!(found, expected(as_output, "/predictions/*"), "output: {before:?} -> {after:?}");
}

const BREAKING: &str = "breaking";
const COMPATIBLE: &str = "compatible";
const DOCUMENTATION: &str = "documentation";

#[test]
fn datatypes_break_where_values_are_lost_or_come() {
    for (before, after, as_input, as_output) in [
        (Fp64, Fp64, "", ""),
        (Fp64, Fp32, DOCUMENTATION, DOCUMENTATION),
        (Fp32, Fp64, DOCUMENTATION, DOCUMENTATION),
        (Int64, Fp64, COMPATIBLE, BREAKING),
        (Fp64, Int64, BREAKING, COMPATIBLE),
        (Int32, Int64, COMPATIBLE, BREAKING),
        (Int64, Int32, BREAKING, COMPATIBLE),
        (Uint8, Int16, COMPATIBLE, BREAKING),
        (Int8, Uint8, BREAKING, BREAKING),
        (Fp64, Bytes, BREAKING, BREAKING),
        (Bytes, Fp64, BREAKING, BREAKING),
        (Bool, Fp64, BREAKING, BREAKING),
        (Int64, Bool, BREAKING, BREAKING),
        (Bytes, Bool, BREAKING, BREAKING),
    ] {
        check(scalar("x", before), scalar("x", after), as_input, as_output);
    }
}

#[test]
fn shapes_break_where_lengths_are_lost_or_come() {
    for (before, after, as_input, as_output) in [
        (&[-1, 4][..], &[-1, 4][..], "", ""),
        (&[-1, 4], &[-1, -1], COMPATIBLE, BREAKING),
        (&[-1, -1], &[-1, 4], BREAKING, COMPATIBLE),
        (&[-1, 4], &[-1, 5], BREAKING, BREAKING),
        (&[-1, 4], &[-1, 4, 1], BREAKING, BREAKING),
        (&[-1, 4], &[1, 4], BREAKING, COMPATIBLE),
        (&[-1, 4], &[1, -1], BREAKING, BREAKING),
    ] {
        check(tensor("x", Fp32, before), tensor("x", Fp32, after), as_input, as_output);
    }
}

#[test]
fn ranges_choices_and_null_break_where_values_are_lost_or_come() {
    let least = |value: f64| Field { minimum: Some(value), ..number("x") };
    let most = |value: f64| Field { maximum: Some(value), ..number("x") };
    let one_of = |values: &[&str]| Field { choices: values.iter().map(|v| json!(v)).collect(), ..scalar("x", Bytes) };
    let null = Field { nullable: true, ..number("x") };
    for (before, after, as_input, as_output) in [
        (number("x"), least(0.0), BREAKING, COMPATIBLE),
        (least(0.0), number("x"), COMPATIBLE, BREAKING),
        (least(0.0), least(1.0), BREAKING, COMPATIBLE),
        (least(1.0), least(0.0), COMPATIBLE, BREAKING),
        (most(1.0), most(2.0), COMPATIBLE, BREAKING),
        (most(2.0), most(1.0), BREAKING, COMPATIBLE),
        (number("x"), null.clone(), COMPATIBLE, BREAKING),
        (null, number("x"), BREAKING, COMPATIBLE),
        (one_of(&["a", "b"]), one_of(&["b", "a"]), "", ""),
        (one_of(&["a"]), one_of(&["a", "b"]), COMPATIBLE, BREAKING),
        (one_of(&["a", "b"]), one_of(&["a"]), BREAKING, COMPATIBLE),
        (one_of(&["a"]), one_of(&["b"]), BREAKING, BREAKING),
        (scalar("x", Bytes), one_of(&["a"]), BREAKING, COMPATIBLE),
        (one_of(&["a"]), scalar("x", Bytes), COMPATIBLE, BREAKING),
    ] {
        check(before, after, as_input, as_output);
    }
}

#[test]
fn words_examples_and_defaults_break_nobody() {
    let described = Field { description: "in cm".into(), ..number("x") };
    check(number("x"), described, DOCUMENTATION, DOCUMENTATION);
    let shown = Field { example: Some(json!(1)), ..number("x") };
    check(number("x"), shown, DOCUMENTATION, DOCUMENTATION);
    let by_default = |value: i32| Field { default: Some(json!(value)), ..number("x") };
    check(by_default(1), by_default(2), COMPATIBLE, COMPATIBLE);
}

/// What other inputs, and what other outputs are to callers.
#[track_caller]
fn check_many(before: &[Field], after: &[Field], as_inputs: &[&str], as_outputs: &[&str]) {
    let found = told(&function(Layout::Features, before, &[]), &function(Layout::Features, after, &[]));
    assert_eq!(found, as_inputs, "inputs: {before:?} -> {after:?}");
    let found = told(&function(Layout::Features, &[], before), &function(Layout::Features, &[], after));
    assert_eq!(found, as_outputs, "outputs: {before:?} -> {after:?}");
}

#[test]
fn members_break_where_they_are_missed() {
    let (x, y) = (number("x"), number("y"));
    let optional = Field { required: false, nullable: true, ..number("y") };
    let by_default = Field { default: Some(json!(1)), ..number("y") };
    let text = scalar("z", Bytes);
    let both = |y: &Field| vec![x.clone(), y.clone()];
    check_many(&both(&x)[..1], &both(&y), &["breaking /inputs/y"], &["compatible /predictions/*/y"]);
    check_many(&both(&x)[..1], &both(&optional), &["compatible /inputs/y"], &["compatible /predictions/*/y"]);
    check_many(&both(&x)[..1], &both(&by_default), &["compatible /inputs/y"], &["compatible /predictions/*/y"]);
    check_many(&both(&y), &both(&x)[..1], &["breaking /inputs/y"], &["breaking /predictions/*/y"]);
    check_many(&both(&by_default), &both(&x)[..1], &["breaking /inputs/y"], &["breaking /predictions/*/y"]);
    // A default lets callers leave out what they had to send; without it they are refused.
    check_many(&both(&y), &both(&by_default), &["compatible /inputs/y"], &[]);
    check_many(&both(&by_default), &both(&y), &["breaking /inputs/y"], &[]);
    // Another name is one that is gone and one that came.
    let renamed = ["breaking /inputs/x", "breaking /inputs/z"];
    check_many(
        std::slice::from_ref(&x),
        &[text],
        &renamed,
        &["breaking /predictions/*/x", "compatible /predictions/*/z"],
    );
}

#[test]
fn features_in_another_order_break_who_sends_them_as_a_matrix() {
    let (x, y, z) = (number("x"), number("y"), scalar("z", Bytes));
    check_many(&[x.clone(), y.clone()], &[y.clone(), x.clone()], &["breaking /inputs"], &[]);
    // No matrix has numbers and texts.
    check_many(&[x.clone(), z.clone()], &[z, x], &[], &[]);
}

#[test]
fn pointers_are_those_of_json() {
    check_many(&[number("a/b~c")], &[], &["breaking /inputs/a~1b~0c"], &["unknown /predictions/*"]);
}

#[test]
fn classes_break_where_one_comes_or_goes() {
    let classes = |labels: &[&str]| Field {
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        ..tensor("p", Fp32, &[-1, labels.len() as i64])
    };
    let told = |before: &[&str], after: &[&str]| {
        let of = |labels| function(Layout::Features, &[], &[classes(labels)]);
        told(&of(before), &of(after))
    };
    assert_eq!(told(&["a", "b"], &["b", "a"]), Vec::<String>::new());
    assert_eq!(told(&["a", "b"], &["a", "b", "c"]), ["breaking /predictions/*/p"]);
    assert_eq!(told(&["a", "b"], &["a"]), ["breaking /predictions/*/p"]);
    assert_eq!(told(&["a"], &[]), ["breaking /predictions/*/p"]);
}

#[test]
fn layouts_break_unless_one_call_is_one_row() {
    let of = |layout| function(layout, &[number("x")], &[]);
    for (before, after, expected) in [
        (Layout::Arguments, Layout::Features, "compatible /inputs"),
        (Layout::Features, Layout::Arguments, "breaking /inputs"),
        (Layout::Tensors, Layout::Features, "breaking /inputs"),
        (Layout::Features, Layout::Opaque, "unknown "),
        (Layout::Opaque, Layout::Features, "unknown "),
    ] {
        assert_eq!(told(&of(before), &of(after)), [expected], "{before:?} -> {after:?}");
    }
    assert_eq!(told(&of(Layout::Opaque), &function(Layout::Opaque, &[], &[])), Vec::<String>::new());
}

#[test]
fn functions_break_where_they_go() {
    let named = |names: &[&str]| {
        let function = |name: &&str| Function { name: (*name).into(), ..function(Layout::Arguments, &[], &[]) };
        Contract { functions: names.iter().map(function).collect(), ..Contract::default() }
    };
    let told = |before: &[&str], after: &[&str]| -> Vec<String> {
        let changes = compare(&named(before), &named(after));
        changes.iter().map(|change| format!("{} {}", change.effect.as_str(), change.function)).collect()
    };
    assert_eq!(told(&["predict"], &["predict", "explain"]), ["compatible explain"]);
    assert_eq!(told(&["predict", "explain"], &["predict"]), ["breaking explain"]);
    let mut described = named(&["predict"]);
    described.functions[0].description = "Tells the species.".into();
    let changes = compare(&named(&["predict"]), &described);
    assert_eq!((changes.len(), changes[0].effect), (1, Effect::Documentation));
}

#[test]
fn what_is_not_known_is_said_and_breaks_nobody() {
    let outputs = |outputs: &[Field]| function(Layout::Features, &[], outputs);
    assert_eq!(told(&outputs(&[]), &outputs(&[number("x")])), ["unknown /predictions/*"]);
    assert_eq!(told(&outputs(&[number("x")]), &outputs(&[])), ["unknown /predictions/*"]);
    let argument = |schema| function(Layout::Arguments, &[Field::new("x", ValueType::Json { schema })], &[]);
    let (before, after) = (contract(argument(json!({}))), contract(argument(json!({"type": "integer"}))));
    // `Any` is as good as a type where all is known, and may be a hint that could not be read where it is not.
    assert_eq!(compare(&before, &after)[0].effect, Effect::Breaking);
    let incomplete = Contract { incomplete: vec!["`predict`: argument `x`: the hint is no type".into()], ..before };
    assert_eq!(compare(&incomplete, &after)[0].effect, Effect::Unknown);
    assert_eq!(compare(&after, &incomplete)[0].effect, Effect::Unknown);
}

#[test]
fn a_change_is_told_in_one_line() {
    let before = function(Layout::Features, &[number("x")], &[]);
    let after = function(Layout::Features, &[Field { minimum: Some(0.5), ..number("x") }], &[]);
    let changes = compare(&contract(before), &contract(after));
    let told =
        "predict, input /inputs/x: was without a least value, is at least 0.5: something that was taken is refused";
    assert_eq!(changes[0].to_string(), told);
}
