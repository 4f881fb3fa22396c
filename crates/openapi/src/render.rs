//! Answers from output tensors and from results of custom functions.
//!
//! Answers are written straight into bytes. Numbers are the shortest that read back as the same value; NaN and
//! infinities, which JSON does not have, are `null`.

mod half;
mod v2;

use kea_core::{
    Field, Function, Tensor, ValueType,
    tensor::{TensorData, text_of},
};
use serde_json::{Value, json};

pub use v2::{v2_metadata, v2_response};

/// Writes the predictions of one function, whose labels it has prepared.
#[derive(Debug)]
pub struct Renderer {
    outputs: Vec<Output>,
}

/// What is known of an output.
#[derive(Debug)]
struct Output {
    name: String,
    /// `"name":`, escaped.
    key: Vec<u8>,
    /// `"label":` of each element of the last dimension, escaped.
    labels: Vec<Vec<u8>>,
    /// Whether the first dimension is the row of a batch.
    batched: bool,
    /// Whether a row is one value even where it comes as `[rows, 1]`.
    scalar: bool,
}

/// Appends `{"predictions":[{...},...]}` to `out`, one object a row with the function's outputs by name.
///
/// Outputs that the contract does not know are shown as they are. Where rows cannot be told apart, since an output has
/// none or another number of them, everything is one prediction.
pub fn predictions(function: &Function, outputs: &[Tensor], out: &mut Vec<u8>) {
    Renderer::new(function).predictions(outputs, out);
}

/// `{"predictions":[...]}` of a custom function's result: an object is one prediction, a list of objects one each,
/// anything else `{"result": value}`.
pub fn predictions_of_result(result: &Value) -> Value {
    match result {
        Value::Object(_) => json!({ "predictions": [result] }),
        Value::Array(list) if list.iter().all(Value::is_object) => json!({ "predictions": list }),
        other => json!({ "predictions": [{ "result": other }] }),
    }
}

impl Renderer {
    /// Prepares the outputs of `function`.
    pub fn new(function: &Function) -> Self {
        Self { outputs: function.outputs.iter().map(Output::of).collect() }
    }

    /// Appends the same as [`predictions`] to `out`.
    pub fn predictions(&self, outputs: &[Tensor], out: &mut Vec<u8>) {
        let mut unknown = Vec::new();
        let known = self.match_up(outputs, &mut unknown);
        let shown: Vec<(&Tensor, &Output)> =
            outputs.iter().zip(&known).map(|(tensor, at)| (tensor, at.unwrap_or_else(|i| &unknown[i]))).collect();
        out.extend_from_slice(br#"{"predictions":["#);
        match rows_of(&shown) {
            Some(rows) => separated(out, 0..rows, |out, row| {
                object(out, &shown, |out, tensor, output| {
                    let length = tensor.row_len();
                    write_row(out, &tensor.data, row * length, &tensor.shape[1..], output);
                });
            }),
            None => object(out, &shown, |out, tensor, output| {
                write_nested(out, &tensor.data, 0, &tensor.shape, &output.labels);
            }),
        }
        out.extend_from_slice(b"]}");
    }

    /// The output that each tensor is; those that the contract does not have are added to `unknown`.
    fn match_up<'a>(&'a self, tensors: &[Tensor], unknown: &mut Vec<Output>) -> Vec<Result<&'a Output, usize>> {
        let mut find = |(i, tensor): (usize, &Tensor)| {
            // Engines give outputs in the contract's order, so the place is tried first.
            let named = |output: &&Output| *output.name == *tensor.name;
            let found = self.outputs.get(i).filter(named).or_else(|| self.outputs.iter().find(named));
            found.ok_or_else(|| {
                unknown.push(Output::unknown(&tensor.name));
                unknown.len() - 1
            })
        };
        tensors.iter().enumerate().map(&mut find).collect()
    }
}

impl Output {
    fn of(field: &Field) -> Self {
        let (batched, scalar) = match &field.value {
            ValueType::Scalar { .. } => (true, true),
            ValueType::Tensor { shape, .. } => (matches!(shape.first(), Some(-1 | 1)), false),
            ValueType::Json { .. } => (true, false),
        };
        let labels = field.labels.iter().map(|label| key(label)).collect();
        Self { name: field.name.clone(), key: key(&field.name), labels, batched, scalar }
    }

    fn unknown(name: &str) -> Self {
        Self { name: name.into(), key: key(name), labels: Vec::new(), batched: true, scalar: false }
    }
}

/// The number of rows that all outputs have.
fn rows_of(shown: &[(&Tensor, &Output)]) -> Option<usize> {
    let rows = shown.first()?.0.rows();
    let alike =
        |(tensor, output): &(&Tensor, &Output)| output.batched && !tensor.shape.is_empty() && tensor.rows() == rows;
    shown.iter().all(alike).then_some(rows)
}

fn object(out: &mut Vec<u8>, shown: &[(&Tensor, &Output)], mut value: impl FnMut(&mut Vec<u8>, &Tensor, &Output)) {
    out.push(b'{');
    separated(out, shown.iter(), |out, (tensor, output)| {
        out.extend_from_slice(&output.key);
        value(out, tensor, output);
    });
    out.push(b'}');
}

fn write_row(out: &mut Vec<u8>, data: &TensorData, start: usize, shape: &[usize], output: &Output) {
    let one_value = shape.is_empty() || (output.scalar && shape.iter().all(|n| *n == 1));
    if one_value {
        write_element(out, data, start);
    } else {
        write_nested(out, data, start, shape, &output.labels);
    }
}

/// Writes the elements from `start` on as nested arrays of `shape`, the last dimension as an object where it has labels.
fn write_nested(out: &mut Vec<u8>, data: &TensorData, start: usize, shape: &[usize], labels: &[Vec<u8>]) {
    match shape {
        [] => write_element(out, data, start),
        [length] if !labels.is_empty() && *length == labels.len() => {
            out.push(b'{');
            separated(out, labels.iter().enumerate(), |out, (i, label)| {
                out.extend_from_slice(label);
                write_element(out, data, start + i);
            });
            out.push(b'}');
        }
        [length] => write_flat(out, data, start, *length),
        [length, inner @ ..] => {
            let step: usize = inner.iter().product();
            out.push(b'[');
            separated(out, 0..*length, |out, i| write_nested(out, data, start + i * step, inner, labels));
            out.push(b']');
        }
    }
}

/// Writes `length` elements from `start` on as one array. The type is looked at once, not for each of them.
fn write_flat(out: &mut Vec<u8>, data: &TensorData, start: usize, length: usize) {
    out.push(b'[');
    let end = start + length;
    match data {
        TensorData::Fp16(v) => separated(out, &v[start..end], |out, bits| write_json(out, &half::to_f32(*bits))),
        TensorData::Bytes(v) => separated(out, &v[start..end], |out, bytes| write_json(out, &text_of(bytes))),
        TensorData::Bool(v) => separated(out, &v[start..end], write_json),
        TensorData::Uint8(v) => separated(out, &v[start..end], write_json),
        TensorData::Uint16(v) => separated(out, &v[start..end], write_json),
        TensorData::Uint32(v) => separated(out, &v[start..end], write_json),
        TensorData::Uint64(v) => separated(out, &v[start..end], write_json),
        TensorData::Int8(v) => separated(out, &v[start..end], write_json),
        TensorData::Int16(v) => separated(out, &v[start..end], write_json),
        TensorData::Int32(v) => separated(out, &v[start..end], write_json),
        TensorData::Int64(v) => separated(out, &v[start..end], write_json),
        TensorData::Fp32(v) => separated(out, &v[start..end], write_json),
        TensorData::Fp64(v) => separated(out, &v[start..end], write_json),
    }
    out.push(b']');
}

fn write_element(out: &mut Vec<u8>, data: &TensorData, at: usize) {
    match data {
        TensorData::Fp16(v) => write_json(out, &half::to_f32(v[at])),
        TensorData::Bytes(v) => write_json(out, &text_of(&v[at])),
        TensorData::Bool(v) => write_json(out, &v[at]),
        TensorData::Uint8(v) => write_json(out, &v[at]),
        TensorData::Uint16(v) => write_json(out, &v[at]),
        TensorData::Uint32(v) => write_json(out, &v[at]),
        TensorData::Uint64(v) => write_json(out, &v[at]),
        TensorData::Int8(v) => write_json(out, &v[at]),
        TensorData::Int16(v) => write_json(out, &v[at]),
        TensorData::Int32(v) => write_json(out, &v[at]),
        TensorData::Int64(v) => write_json(out, &v[at]),
        TensorData::Fp32(v) => write_json(out, &v[at]),
        TensorData::Fp64(v) => write_json(out, &v[at]),
    }
}

/// Writes a number, a boolean or text; what is not finite becomes `null`.
fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("numbers and text serialize, and a vector takes all bytes");
}

/// `"name":`
fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_json(&mut key, name);
    key.push(b':');
    key
}

/// Writes each of `items`, with commas between them.
fn separated<I: IntoIterator>(out: &mut Vec<u8>, items: I, mut write: impl FnMut(&mut Vec<u8>, I::Item)) {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

#[cfg(test)]
mod tests;
