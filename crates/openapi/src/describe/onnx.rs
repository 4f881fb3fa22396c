//! What an ONNX graph says of its inputs and outputs, read without ONNX Runtime.
//!
//! A replica knows more, as it tries a row: names of classes, and whether the graph takes zeros. What is said here is
//! said there too.

mod proto;
mod wire;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::Path,
};

use kea_core::{Contract, Datatype, Field, Function, Layout, ValueType, contract::DEFAULT_FUNCTION};
use prost::Message as _;

use super::DescribeError;
use proto::{Dimension, Length, Shape, Tensor, Type, Value, ValueInfo};
use wire::Message;

/// Numbers of the fields that are read: of the model, its graph, and the graph's constants.
const DESCRIPTION: u64 = 6;
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const INPUT: u64 = 11;
const OUTPUT: u64 = 12;
const CONSTANT_NAME: u64 = 8;

/// Longest description of one input or output, and longest text, in bytes.
const LONGEST: u64 = 1 << 20;

/// Inputs, outputs and constants that are read; a graph of more of them is none.
const PARTS: usize = 1_000_000;

/// What is read of a graph.
#[derive(Default)]
struct Graph {
    description: String,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    /// Graphs before version 4 of the format list their constants among the inputs.
    constants: HashSet<String>,
}

/// The contract of the graph in a file.
pub(super) fn contract(path: &Path) -> Result<Contract, DescribeError> {
    let file = || path.display().to_string();
    let opened = File::open(path).map_err(|why| DescribeError::Unreadable { file: file(), why })?;
    let graph = read(&mut BufReader::new(opened));
    let graph = graph.map_err(|error| DescribeError::NotOnnx { file: file(), why: error.to_string() })?;
    described(&graph).map_err(|why| DescribeError::NotOnnx { file: file(), why })
}

fn read(file: &mut (impl Read + Seek)) -> io::Result<Graph> {
    let mut graph = Graph::default();
    let mut model = Message::whole(file)?;
    while let Some(part) = model.next()? {
        match part.number {
            DESCRIPTION => graph.description = String::from_utf8_lossy(&model.bytes(&part, LONGEST)?).into_owned(),
            GRAPH => read_graph(&mut model.within(&part), &mut graph)?,
            _ => {}
        }
    }
    Ok(graph)
}

fn read_graph(message: &mut Message<'_, impl Read + Seek>, graph: &mut Graph) -> io::Result<()> {
    while let Some(part) = message.next()? {
        match part.number {
            INPUT => graph.inputs.push(ValueInfo::decode(&*message.bytes(&part, LONGEST)?)?),
            OUTPUT => graph.outputs.push(ValueInfo::decode(&*message.bytes(&part, LONGEST)?)?),
            INITIALIZER => graph.constants.extend(constant_name(&mut message.within(&part))?),
            _ => {}
        }
        if graph.inputs.len() + graph.outputs.len() + graph.constants.len() > PARTS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has too many parts"));
        }
    }
    Ok(())
}

fn constant_name(message: &mut Message<'_, impl Read + Seek>) -> io::Result<Option<String>> {
    while let Some(part) = message.next()? {
        if part.number == CONSTANT_NAME {
            return Ok(Some(String::from_utf8_lossy(&message.bytes(&part, LONGEST)?).into_owned()));
        }
    }
    Ok(None)
}

fn described(graph: &Graph) -> Result<Contract, String> {
    let given = graph.inputs.iter().filter(|input| !graph.constants.contains(&input.name));
    let inputs = given.map(input).collect::<Result<Vec<Field>, String>>()?;
    if inputs.is_empty() || graph.outputs.is_empty() {
        return Err("it has no inputs or no outputs".into());
    }
    let mut incomplete = Vec::new();
    let outputs = graph.outputs.iter().map(|info| output(info, &mut incomplete)).collect::<Result<_, _>>()?;
    let layout = layout(&inputs);
    let predict = Function {
        name: DEFAULT_FUNCTION.into(),
        description: String::new(),
        layout,
        inputs: if layout == Layout::Features { inputs.into_iter().map(as_feature).collect() } else { inputs },
        outputs,
        idempotent: true,
        deterministic: true,
    };
    let description = graph.description.clone();
    Ok(Contract { description, platform: "onnx".into(), functions: vec![predict], incomplete, ..Contract::default() })
}

fn input(info: &ValueInfo) -> Result<Field, String> {
    match kind(info) {
        Some(Value::Tensor(tensor)) => tensor_field(info, tensor),
        _ => Err(format!("input `{}` is no tensor: KEA serves graphs whose inputs are tensors", info.name)),
    }
}

fn output(info: &ValueInfo, incomplete: &mut Vec<String>) -> Result<Field, String> {
    match kind(info) {
        Some(Value::Tensor(tensor)) => {
            let mut field = tensor_field(info, tensor)?;
            if let ValueType::Tensor { datatype, shape } = &field.value
                && shape.len() == 1
            {
                field.value = ValueType::Scalar { datatype: *datatype };
            }
            Ok(field)
        }
        Some(Value::Sequence(sequence)) if is_map(sequence.element.as_deref()) => {
            incomplete.push(format!("`predict`: the classes of `{}` are known once it is deployed", info.name));
            Ok(Field::new(&info.name, ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, -1] }))
        }
        _ => Err(format!("output `{}` is neither a tensor nor maps of classes, which KEA cannot carry", info.name)),
    }
}

fn kind(info: &ValueInfo) -> Option<&Value> {
    info.kind.as_ref()?.value.as_ref()
}

fn is_map(kind: Option<&Type>) -> bool {
    matches!(kind.and_then(|kind| kind.value.as_ref()), Some(Value::Map(_)))
}

fn tensor_field(info: &ValueInfo, tensor: &Tensor) -> Result<Field, String> {
    let datatype = datatype(tensor.element)
        .ok_or_else(|| format!("`{}` has elements of type {}, which KEA does not carry", info.name, tensor.element))?;
    let dimensions = tensor.shape.as_ref().map_or(&[][..], |Shape { dimensions }| dimensions);
    let shape = dimensions.iter().map(length).collect();
    let named = named_dimensions(dimensions);
    let words: Vec<&str> = [info.doc_string.as_str(), &named].into_iter().filter(|text| !text.is_empty()).collect();
    Ok(Field { description: words.join(" "), ..Field::new(&info.name, ValueType::Tensor { datatype, shape }) })
}

fn length(dimension: &Dimension) -> i64 {
    match dimension.length {
        Some(Length::Fixed(length)) if length > 0 => length,
        _ => -1,
    }
}

/// What the graph calls its dimensions, where one after the row has a name: `Dimensions: batch, 3, height, width.`
fn named_dimensions(dimensions: &[Dimension]) -> String {
    let is_named = |dimension: &Dimension| matches!(dimension.length, Some(Length::Named(_)));
    if !dimensions.iter().skip(1).any(is_named) {
        return String::new();
    }
    let shown = dimensions.iter().map(|dimension| match &dimension.length {
        Some(Length::Fixed(length)) => length.to_string(),
        Some(Length::Named(name)) => name.clone(),
        None => "any".to_owned(),
    });
    format!("Dimensions: {}.", shown.collect::<Vec<_>>().join(", "))
}

/// A graph whose inputs are all columns, and more than one, takes named features, as a replica of it does.
fn layout(inputs: &[Field]) -> Layout {
    let is_column =
        |field: &Field| matches!(&field.value, ValueType::Tensor { shape, .. } if matches!(shape[..], [-1] | [-1, 1]));
    if inputs.len() > 1 && inputs.iter().all(is_column) { Layout::Features } else { Layout::Tensors }
}

fn as_feature(mut field: Field) -> Field {
    if let ValueType::Tensor { datatype, .. } = field.value {
        field.value = ValueType::Scalar { datatype };
    }
    field
}

/// The numbers of `TensorProto.DataType`.
fn datatype(number: i32) -> Option<Datatype> {
    Some(match number {
        1 => Datatype::Fp32,
        2 => Datatype::Uint8,
        3 => Datatype::Int8,
        4 => Datatype::Uint16,
        5 => Datatype::Int16,
        6 => Datatype::Int32,
        7 => Datatype::Int64,
        8 => Datatype::Bytes,
        9 => Datatype::Bool,
        10 => Datatype::Fp16,
        11 => Datatype::Fp64,
        12 => Datatype::Uint32,
        13 => Datatype::Uint64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
