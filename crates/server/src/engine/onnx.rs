//! The ONNX engine: ONNX Runtime in this process, one session a worker.
//!
//! A session runs on the runtime's threads: handing a row to another thread and its answer back takes longer than a
//! small model. One that computes for longer tells the runtime first, which then moves its other tasks elsewhere.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use kea_core::{Contract, Datatype, Tensor, tensor::TensorData};
use ort::{
    environment::Environment,
    session::{Session, SessionInputValue},
    value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType as OrtType},
};
use serde_json::{Value, value::RawValue};
use tokio::{runtime::RuntimeFlavor, task};

use super::{ModelError, Runner};

mod graph;

/// Up to here a run may hold up the other tasks of its thread: about what waking another thread takes.
const SHORT_RUN: Duration = Duration::from_micros(100);

/// A session and what is known of its graph.
pub(crate) struct OnnxRunner {
    session: Session,
    inputs: Vec<GraphInput>,
    /// How long the run before took.
    took: Duration,
    /// Kept as long as the session: it is what the sessions of a process share.
    _environment: Environment,
}

/// One input of the graph.
#[derive(Clone, Debug)]
struct GraphInput {
    name: String,
    rank: usize,
}

/// Loads ONNX Runtime's shared library; once for each process.
///
/// # Errors
/// What is wrong with the library, and how to name another.
pub(crate) fn load_library(library: &Path) -> Result<Environment, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("ONNX Runtime at `{}` cannot be loaded: {error}; name another by KEA_ONNXRUNTIME", library.display())
    };
    let builder = ort::init_from(library).map_err(|error| failed(&error))?;
    builder.with_name("kea").with_telemetry(false).build().map_err(|error| failed(&error))
}

impl OnnxRunner {
    /// Reads the model and prepares its graph.
    ///
    /// # Errors
    /// ONNX Runtime's own words.
    pub(crate) fn open(environment: &Environment, model: &Path, threads: usize) -> Result<Self, String> {
        let session = session(environment, model, threads)
            .map_err(|error| format!("ONNX Runtime cannot use `{}`: {error}", model.display()))?;
        let inputs = session.inputs().iter().map(|input| {
            let rank = match input.dtype() {
                OrtType::Tensor { shape, .. } => shape.len(),
                OrtType::Sequence(_) | OrtType::Map { .. } | OrtType::Optional(_) => 0,
            };
            GraphInput { name: input.name().to_string(), rank }
        });
        Ok(Self { inputs: inputs.collect(), session, took: Duration::MAX, _environment: environment.clone() })
    }

    /// The contract that the graph states, and the examples that were tried.
    ///
    /// # Errors
    /// A graph whose inputs or outputs KEA cannot carry.
    pub(crate) fn contract(&mut self) -> Result<Contract, String> {
        graph::contract(self)
    }

    fn timed_run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let started = Instant::now();
        let outputs = self.run(inputs);
        self.took = started.elapsed();
        outputs
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let raised = |error: ort::Error| ModelError::Raised { kind: "onnxruntime".into(), message: error.to_string() };
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        let columns = self.columns(inputs);
        let tensors = columns.as_deref().unwrap_or(inputs);
        for tensor in tensors {
            let graph_input = self.inputs.iter().find(|input| *input.name == *tensor.name);
            let rank = graph_input.map_or(tensor.shape.len(), |input| input.rank);
            values.push((&tensor.name, to_ort(tensor, rank).map_err(raised)?.into()));
        }
        let outputs = self.session.run(values).map_err(raised)?;
        outputs.iter().map(|(name, value)| from_ort(name, &value)).collect()
    }

    /// A matrix of features, taken apart into the graph's scalar inputs where it has one for each feature.
    fn columns(&self, inputs: &[Tensor]) -> Option<Vec<Tensor>> {
        let [matrix] = inputs else { return None };
        let is_graph_input = self.inputs.iter().any(|input| *input.name == *matrix.name);
        if is_graph_input && self.inputs.len() == 1 {
            return None;
        }
        let width = matrix.row_len();
        let column = |(index, input): (usize, &GraphInput)| {
            let data = take_column(&matrix.data, index, width);
            Tensor { name: input.name.as_str().into(), shape: vec![matrix.rows()], data }
        };
        (matrix.shape.len() == 2 && width == self.inputs.len())
            .then(|| self.inputs.iter().enumerate().map(column).collect())
    }
}

fn session(environment: &Environment, model: &Path, threads: usize) -> Result<Session, ort::Error> {
    let builder = Session::builder(environment)?;
    // Spinning threads would take the cores that the other replicas and the server need.
    let mut builder = builder.with_intra_threads(threads)?.with_inter_threads(1)?.with_intra_op_spinning(false)?;
    builder.commit_from_file(model)
}

impl Runner for OnnxRunner {
    async fn ready(&mut self) {}

    async fn infer(&mut self, _function: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let is_shared = || tokio::runtime::Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        if self.took > SHORT_RUN && is_shared() {
            task::block_in_place(|| self.timed_run(inputs))
        } else {
            self.timed_run(inputs)
        }
    }

    /// Requests that have arrived get to the queue: no thread but this one would put them there meanwhile.
    async fn gather(&mut self) {
        task::yield_now().await;
    }

    async fn call(&mut self, function: &str, _arguments: &RawValue) -> Result<Value, ModelError> {
        Err(ModelError::Unusable(format!("an ONNX graph has no function `{function}` to call with arguments")))
    }
}

/// Runs `$body` with the vector of elements and KEA's variant, for each datatype that both sides have.
macro_rules! take_column {
    ($data:expr, $index:expr, $width:expr, $($kind:ident),*) => {
        match $data {
            $(TensorData::$kind(v) => {
                TensorData::$kind(v.iter().skip($index).step_by($width).cloned().collect())
            })*
        }
    };
}

fn take_column(data: &TensorData, index: usize, width: usize) -> TensorData {
    take_column!(
        data, index, width, Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Fp32, Fp64, Bytes
    )
}

/// The tensor as ONNX Runtime takes it. A column `[rows]` becomes `[rows, 1]` where the graph asks for rank 2.
fn to_ort(tensor: &Tensor, rank: usize) -> Result<DynValue, ort::Error> {
    let mut shape: Vec<i64> = tensor.shape.iter().map(|n| *n as i64).collect();
    if shape.len() + 1 == rank {
        shape.push(1);
    }
    macro_rules! numbers {
        ($v:expr) => {
            OrtTensor::from_array((shape, $v.clone())).map(|value| value.into_dyn())
        };
    }
    match &tensor.data {
        TensorData::Bool(v) => numbers!(v),
        TensorData::Uint8(v) => numbers!(v),
        TensorData::Uint16(v) => numbers!(v),
        TensorData::Uint32(v) => numbers!(v),
        TensorData::Uint64(v) => numbers!(v),
        TensorData::Int8(v) => numbers!(v),
        TensorData::Int16(v) => numbers!(v),
        TensorData::Int32(v) => numbers!(v),
        TensorData::Int64(v) => numbers!(v),
        TensorData::Fp32(v) => numbers!(v),
        TensorData::Fp64(v) => numbers!(v),
        TensorData::Fp16(_) => Err(ort::Error::new("inputs of datatype FP16 are not supported")),
        TensorData::Bytes(v) => {
            let texts: Vec<String> = v.iter().map(|element| kea_core::tensor::text_of(element).into_owned()).collect();
            OrtTensor::from_string_array((shape, texts.as_slice())).map(|value| value.into_dyn())
        }
    }
}

fn from_ort(name: &str, value: &DynValue) -> Result<Tensor, ModelError> {
    let unusable = |error: ort::Error| ModelError::Unusable(format!("output `{name}`: {error}"));
    let OrtType::Tensor { ty, .. } = value.dtype() else {
        return probabilities(name, value).map_err(unusable);
    };
    macro_rules! numbers {
        ($kind:ident, $t:ty) => {{
            let (shape, elements) = value.try_extract_tensor::<$t>().map_err(unusable)?;
            (shape.to_vec(), TensorData::$kind(elements.to_vec()))
        }};
    }
    let (shape, data) = match ty {
        TensorElementType::Bool => numbers!(Bool, bool),
        TensorElementType::Uint8 => numbers!(Uint8, u8),
        TensorElementType::Uint16 => numbers!(Uint16, u16),
        TensorElementType::Uint32 => numbers!(Uint32, u32),
        TensorElementType::Uint64 => numbers!(Uint64, u64),
        TensorElementType::Int8 => numbers!(Int8, i8),
        TensorElementType::Int16 => numbers!(Int16, i16),
        TensorElementType::Int32 => numbers!(Int32, i32),
        TensorElementType::Int64 => numbers!(Int64, i64),
        TensorElementType::Float32 => numbers!(Fp32, f32),
        TensorElementType::Float64 => numbers!(Fp64, f64),
        TensorElementType::String => {
            let (shape, texts) = value.try_extract_strings().map_err(unusable)?;
            (shape.to_vec(), TensorData::Bytes(texts.into_iter().map(String::into_bytes).collect()))
        }
        other => return Err(ModelError::Unusable(format!("output `{name}` has elements of {other}"))),
    };
    Ok(Tensor { name: name.into(), shape: shape.iter().map(|n| *n as usize).collect(), data })
}

/// A sequence of maps from class to probability, as scikit-learn's converter makes them, as one tensor whose columns
/// are the classes in order.
fn probabilities(name: &str, value: &DynValue) -> Result<Tensor, ort::Error> {
    let rows = graph::class_maps(value)?;
    let width = rows.first().map_or(0, Vec::len);
    let data = rows.iter().flatten().map(|(_, probability)| *probability).collect();
    Ok(Tensor { name: name.into(), shape: vec![rows.len(), width], data: TensorData::Fp32(data) })
}

/// The protocol's datatype of an ONNX element type.
fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}
