//! How long it takes to decode a request and to render its answer: one row of 4 named features, and one row of 784
//! numbers.
//!
//! `cargo run -p kea-openapi --example timing --release`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for the terminal")]

use std::{hint::black_box, sync::Arc, time::Instant};

use kea_core::{Contract, Datatype, Field, Function, Layout, Tensor, ValueType, tensor::TensorData};
use kea_openapi::{render::Renderer, validate::Validator};
use serde_json::{Value, json};

fn main() {
    let names = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    let features = names.map(|name| Field::new(name, ValueType::Scalar { datatype: Datatype::Fp64 }));
    let iris = function(Layout::Features, features.into());
    let flower = json!({ "sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2 });
    decoding("4 features", &iris, &json!({ "inputs": flower }));

    let shape = vec![-1, 784];
    let image = Field::new("input", ValueType::Tensor { datatype: Datatype::Fp32, shape });
    let pixels: Vec<f32> = (0..784).map(|i| (i % 256) as f32 / 255.0).collect();
    decoding("784 numbers", &function(Layout::Tensors, vec![image]), &json!({ "inputs": { "input": pixels } }));

    rendering(&iris);
}

fn function(layout: Layout, inputs: Vec<Field>) -> Function {
    let mut probabilities =
        Field::new("probabilities", ValueType::Tensor { datatype: Datatype::Fp64, shape: vec![-1, 3] });
    probabilities.labels = ["setosa", "versicolor", "virginica"].map(String::from).into();
    let label = Field::new("label", ValueType::Scalar { datatype: Datatype::Bytes });
    let outputs = vec![label, probabilities];
    Function {
        name: "predict".into(),
        description: String::new(),
        layout,
        inputs,
        outputs,
        idempotent: true,
        deterministic: true,
    }
}

fn decoding(what: &str, function: &Function, body: &Value) {
    let contract = Contract { functions: vec![function.clone()], ..Contract::default() };
    let validator = Validator::compile(Arc::new(contract)).unwrap();
    let body = body.to_string();
    measure(&format!("decode {what}, {} bytes", body.len()), || {
        black_box(validator.decode("predict", black_box(body.as_bytes())).unwrap());
    });
    measure("   as serde_json::Value", || {
        black_box(serde_json::from_str::<Value>(black_box(&body)).unwrap());
    });
}

fn rendering(function: &Function) {
    let label = Tensor { name: "label".into(), shape: vec![1], data: TensorData::Bytes(vec!["setosa".into()]) };
    let data = TensorData::Fp64(vec![0.9767, 0.0231, 0.000_213_456_78]);
    let outputs = [label, Tensor { name: "probabilities".into(), shape: vec![1, 3], data }];
    let renderer = Renderer::new(function);
    let mut out = Vec::new();
    measure("render label and 3 probabilities", || {
        out.clear();
        renderer.predictions(black_box(&outputs), &mut out);
        black_box(&out);
    });
}

fn measure(what: &str, mut run: impl FnMut()) {
    const RUNS: u32 = 20_000;
    (0..RUNS / 10).for_each(|_| run());
    let start = Instant::now();
    (0..RUNS).for_each(|_| run());
    println!("{what}: {:?}", start.elapsed() / RUNS);
}
