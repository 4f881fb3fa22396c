//! What an ONNX graph says of itself: its inputs and outputs, and an example that was tried.

use kea_core::{
    Contract, Datatype, Field, Function, Layout, Tensor, ValueType, contract::DEFAULT_FUNCTION, tensor::TensorData,
};
use ort::{
    session::Session,
    value::{DynValue, TensorElementType, ValueType as OrtType},
};
use serde_json::{Value, json};

use super::{OnnxRunner, datatype};

/// The contract of the runner's graph. The example is kept only where the graph answers it.
pub(crate) fn contract(runner: &mut OnnxRunner) -> Result<Contract, String> {
    let inputs = input_fields(&runner.session)?;
    let mut outputs = output_fields(&runner.session)?;
    let layout = layout(&inputs);
    let mut function = Function {
        name: DEFAULT_FUNCTION.into(),
        description: String::new(),
        layout,
        inputs: if layout == Layout::Features { inputs.into_iter().map(as_feature).collect() } else { inputs },
        outputs: Vec::new(),
        idempotent: true,
        deterministic: true,
    };
    let mut incomplete = Vec::new();
    match runner.run(&zeros(&function)) {
        Ok(answered) => {
            name_classes(runner, &function, &mut outputs, &answered);
            for field in &mut function.inputs {
                field.example = example(&field.value);
            }
        }
        Err(error) => incomplete.push(format!("no example is known: the graph refuses zeros ({error})")),
    }
    function.outputs = outputs;
    let description = runner.session.metadata().ok().and_then(|m| m.description()).unwrap_or_default();
    Ok(Contract { description, platform: "onnx".into(), functions: vec![function], incomplete, ..Contract::default() })
}

fn input_fields(session: &Session) -> Result<Vec<Field>, String> {
    let field = |input: &ort::value::Outlet| match input.dtype() {
        OrtType::Tensor { ty, shape, .. } => {
            let datatype = datatype(*ty).ok_or_else(|| format!("input `{}` has elements of {ty}", input.name()))?;
            Ok(Field::new(input.name(), ValueType::Tensor { datatype, shape: shape.to_vec() }))
        }
        other => Err(format!("input `{}` is a {other}: KEA serves graphs whose inputs are tensors", input.name())),
    };
    session.inputs().iter().map(field).collect()
}

fn output_fields(session: &Session) -> Result<Vec<Field>, String> {
    let field = |output: &ort::value::Outlet| {
        let value = match output.dtype() {
            OrtType::Tensor { ty, shape, .. } => {
                let datatype =
                    datatype(*ty).ok_or_else(|| format!("output `{}` has elements of {ty}", output.name()))?;
                match shape.as_ref() {
                    [_] => ValueType::Scalar { datatype },
                    shape => ValueType::Tensor { datatype, shape: shape.to_vec() },
                }
            }
            // Maps from class to probability: shown by class once the classes are known.
            OrtType::Sequence(of) if matches!(**of, OrtType::Map { .. }) => {
                ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, -1] }
            }
            other => return Err(format!("output `{}` is a {other}, which KEA cannot carry", output.name())),
        };
        Ok(Field::new(output.name(), value))
    };
    session.outputs().iter().map(field).collect()
}

/// A graph whose inputs are all columns (`[-1]` or `[-1, 1]`), and more than one, takes named features.
fn layout(inputs: &[Field]) -> Layout {
    let is_column = |field: &Field| match &field.value {
        ValueType::Tensor { shape, .. } => matches!(shape[..], [-1] | [-1, 1]),
        ValueType::Scalar { .. } | ValueType::Json { .. } => false,
    };
    if inputs.len() > 1 && inputs.iter().all(is_column) { Layout::Features } else { Layout::Tensors }
}

fn as_feature(mut field: Field) -> Field {
    if let ValueType::Tensor { datatype, .. } = field.value {
        field.value = ValueType::Scalar { datatype };
    }
    field
}

/// One row of zeros and empty texts.
fn zeros(function: &Function) -> Vec<Tensor> {
    let zero = |field: &Field| {
        let (datatype, shape): (_, Vec<usize>) = match &field.value {
            ValueType::Tensor { datatype, shape } => (*datatype, shape.iter().map(|n| (*n).max(1) as usize).collect()),
            ValueType::Scalar { datatype } => (*datatype, vec![1]),
            ValueType::Json { .. } => (Datatype::Bytes, vec![1]),
        };
        let length = shape.iter().product();
        Tensor { name: field.name.as_str().into(), shape, data: filled(datatype, length) }
    };
    function.inputs.iter().map(zero).collect()
}

fn filled(datatype: Datatype, length: usize) -> TensorData {
    let mut data = TensorData::with_capacity(datatype, length);
    kea_core::each_data!(&mut data, elements => elements.resize(length, Default::default()));
    data
}

/// The value that [`zeros`] tried, as a request writes it.
fn example(value: &ValueType) -> Option<Value> {
    let (datatype, shape) = match value {
        ValueType::Tensor { datatype, shape } => (*datatype, shape.as_slice()),
        ValueType::Scalar { datatype } => (*datatype, &[][..]),
        ValueType::Json { .. } => return None,
    };
    let zero = match datatype {
        Datatype::Bytes => json!(""),
        Datatype::Bool => json!(false),
        number if number.is_float() => json!(0.0),
        _ => json!(0),
    };
    // A row is enough: the variable first dimension is left out.
    let dimensions = shape.strip_prefix(&[-1]).unwrap_or(shape);
    let nest = |inner: Value, length: &i64| Value::Array(vec![inner; (*length).max(1) as usize]);
    Some(dimensions.iter().rev().fold(zero, nest))
}

/// Names the columns of outputs that are maps from class to probability.
fn name_classes(runner: &mut OnnxRunner, function: &Function, outputs: &mut [Field], answered: &[Tensor]) {
    let is_map = |index: usize| matches!(runner.session.outputs()[index].dtype(), OrtType::Sequence(_));
    let maps: Vec<usize> = (0..outputs.len()).filter(|index| is_map(*index)).collect();
    if maps.is_empty() {
        return;
    }
    let Ok(labels) = runner.class_labels(&zeros(function), &maps) else { return };
    for (index, labels) in maps.into_iter().zip(labels) {
        let width = answered.get(index).map_or(-1, |tensor| tensor.row_len() as i64);
        outputs[index].value = ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, width] };
        outputs[index].labels = labels;
    }
}

impl OnnxRunner {
    fn class_labels(&mut self, inputs: &[Tensor], maps: &[usize]) -> Result<Vec<Vec<String>>, ort::Error> {
        let ranks: Vec<usize> = self.inputs.iter().map(|input| input.rank).collect();
        let mut values = Vec::new();
        for (tensor, rank) in inputs.iter().zip(ranks) {
            values.push((tensor.name.to_string(), super::to_ort(tensor, rank)?));
        }
        let outputs = self.session.run(values)?;
        let labels = |index: &usize| {
            let rows = class_maps(&outputs[*index])?;
            Ok(rows.into_iter().next().unwrap_or_default().into_iter().map(|(label, _)| label).collect())
        };
        maps.iter().map(labels).collect()
    }
}

/// Each row's classes with their probabilities, in the order of the classes.
pub(super) fn class_maps(value: &DynValue) -> Result<Vec<Vec<(String, f32)>>, ort::Error> {
    let sequence = value.view().downcast::<ort::value::DynSequenceValueType>()?;
    let rows = sequence.try_extract_sequence::<ort::value::DynMapValueType>()?;
    let row = |map: &ort::value::DynMap| {
        let mut classes = match map.dtype() {
            OrtType::Map { key: TensorElementType::String, .. } => map.try_extract_key_values::<String, f32>()?,
            _ => {
                let mut numbered = map.try_extract_key_values::<i64, f32>()?;
                numbered.sort_unstable_by_key(|(class, _)| *class);
                return Ok(numbered.into_iter().map(|(class, p)| (class.to_string(), p)).collect());
            }
        };
        classes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(classes)
    };
    rows.iter().map(row).collect()
}
