//! What is accepted, what is refused, and with which words.

#![allow(clippy::needless_pass_by_value, reason = "literals of JSON read best as they are")]

mod agreement;
mod arguments;
mod laws;
mod requests;
mod v2;

use std::sync::Arc;

use kea_core::{Contract, Datatype, Field, Function, Layout, Tensor, ValueType, management::Violation};
use serde_json::Value;

use super::{Call, Rejection, Validator};

fn function(layout: Layout, inputs: Vec<Field>) -> Function {
    Function {
        name: "predict".into(),
        description: String::new(),
        layout,
        inputs,
        outputs: vec![scalar("value", Datatype::Fp64)],
        idempotent: true,
        deterministic: true,
    }
}

fn validator(layout: Layout, inputs: Vec<Field>) -> Validator {
    let functions = vec![function(layout, inputs)];
    Validator::compile(Arc::new(Contract { functions, ..Contract::default() })).unwrap()
}

fn scalar(name: &str, datatype: Datatype) -> Field {
    Field::new(name, ValueType::Scalar { datatype })
}

fn array(name: &str, datatype: Datatype, shape: &[i64]) -> Field {
    Field::new(name, ValueType::Tensor { datatype, shape: shape.to_vec() })
}

fn argument(name: &str, schema: Value) -> Field {
    Field::new(name, ValueType::Json { schema })
}

/// Two numbers, as a small model of flowers takes them.
fn flowers() -> Validator {
    let mut length = scalar("petal_length", Datatype::Fp64);
    (length.minimum, length.maximum, length.example) = (Some(0.0), Some(10.0), Some(1.4.into()));
    let mut width = scalar("petal_width", Datatype::Fp64);
    width.example = Some(0.2.into());
    validator(Layout::Features, vec![length, width])
}

/// Rows of three numbers.
fn rows_of_three() -> Validator {
    validator(Layout::Tensors, vec![array("input", Datatype::Fp32, &[-1, 3])])
}

#[track_caller]
fn tensors(validator: &Validator, body: &str) -> Vec<Tensor> {
    match validator.decode("predict", body.as_bytes()) {
        Ok(Call::Tensors(tensors)) => tensors,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn violations(validator: &Validator, body: &str) -> Vec<Violation> {
    invalid(validator.decode("predict", body.as_bytes()).map(drop))
}

#[track_caller]
fn invalid(result: Result<(), Rejection>) -> Vec<Violation> {
    match result {
        Err(Rejection::Invalid(violations)) => violations,
        other => panic!("{other:?}"),
    }
}

/// The only violation is at `pointer`, and its words hold each of `words`.
#[track_caller]
fn only(violations: &[Violation], pointer: &str, words: &[&str]) {
    let [only] = violations else { panic!("{violations:#?}") };
    assert_eq!(only.pointer, pointer, "{only:#?}");
    let text = format!("{} | {} | {}", only.expected, only.received, only.detail);
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}
