//! Frames between the server and a worker: `u32` length of the JSON header, `u64` length of the tensors, both little
//! endian, then header and raw tensors.

use std::{io, sync::Arc};

use kea_core::{Contract, Datatype, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

const PREFIX: usize = 12;

/// A frame above this is no answer but a broken stream.
const LARGEST: u64 = 4 << 30;

/// What a worker answers.
pub(super) enum Answer {
    Outputs(Vec<Tensor>),
    Result(Value),
    Raised { kind: String, message: String },
}

#[derive(Serialize)]
struct Request<'a> {
    id: u64,
    op: &'static str,
    function: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<TensorHeader<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct TensorHeader<'a> {
    name: &'a str,
    datatype: Datatype,
    shape: &'a [usize],
    parameters: BinarySize,
}

#[derive(Serialize, Deserialize)]
struct BinarySize {
    binary_data_size: usize,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    outputs: Option<Vec<OutputHeader>>,
    #[serde(default)]
    error: Option<Raised>,
    #[serde(default)]
    result: Option<Value>,
}

#[derive(Deserialize)]
struct OutputHeader {
    name: Arc<str>,
    datatype: Datatype,
    shape: Vec<usize>,
    parameters: BinarySize,
}

#[derive(Deserialize)]
struct Raised {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Start {
    Ready { contract: Option<Contract> },
    Failed { error: Raised },
}

/// Header of a request to run `function` on tensors.
pub(super) fn infer_header(function: &str, inputs: &[Tensor]) -> Vec<u8> {
    let inputs = inputs.iter().map(|tensor| TensorHeader {
        name: &tensor.name,
        datatype: tensor.data.datatype(),
        shape: &tensor.shape,
        parameters: BinarySize { binary_data_size: binary_size(tensor) },
    });
    header(&Request { id: 0, op: "infer", function, inputs: inputs.collect(), arguments: None })
}

/// Header of a request to call `function` of a custom class.
pub(super) fn call_header(function: &str, arguments: &RawValue) -> Vec<u8> {
    header(&Request { id: 0, op: "call", function, inputs: Vec::new(), arguments: Some(arguments) })
}

fn header(request: &Request<'_>) -> Vec<u8> {
    let mut header = serde_json::to_vec(request).expect("a request is JSON");
    // Tensors begin at a multiple of eight bytes, so that the worker can use them where they are.
    header.resize((PREFIX + header.len()).next_multiple_of(8) - PREFIX, b' ');
    header
}

fn binary_size(tensor: &Tensor) -> usize {
    match (&tensor.data, tensor.data.datatype().size()) {
        (_, Some(size)) => size * tensor.data.len(),
        (kea_core::tensor::TensorData::Bytes(elements), None) => elements.iter().map(|e| 4 + e.len()).sum(),
        (_, None) => 0,
    }
}

/// The stream of frames to one worker.
pub(super) struct Frames {
    stream: UnixStream,
    /// Kept between frames, so that a steady load allocates nothing.
    buffer: Vec<u8>,
}

impl Frames {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The first frame: the model's contract, or why it could not be loaded.
    pub(super) async fn started(&mut self) -> io::Result<Result<Option<Contract>, String>> {
        let (header, _) = self.receive().await?;
        match serde_json::from_slice(&self.buffer[header]).map_err(io::Error::other)? {
            Start::Ready { contract } => Ok(Ok(contract)),
            Start::Failed { error } => Ok(Err(format!("{}: {}", error.kind, error.message))),
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(&mut self, header: &[u8], tensors: &[Tensor]) -> io::Result<Answer> {
        self.send(header, tensors).await?;
        let (header, body) = self.receive().await?;
        let response: Response = serde_json::from_slice(&self.buffer[header]).map_err(io::Error::other)?;
        if let Some(Raised { kind, message }) = response.error {
            return Ok(Answer::Raised { kind, message });
        }
        match response.outputs {
            Some(outputs) => read_outputs(outputs, &self.buffer[body]).map(Answer::Outputs),
            None => Ok(Answer::Result(response.result.unwrap_or(Value::Null))),
        }
    }

    async fn send(&mut self, header: &[u8], tensors: &[Tensor]) -> io::Result<()> {
        let size: usize = tensors.iter().map(binary_size).sum();
        self.buffer.clear();
        self.buffer.extend((header.len() as u32).to_le_bytes());
        self.buffer.extend((size as u64).to_le_bytes());
        self.buffer.extend_from_slice(header);
        for tensor in tensors {
            tensor.data.write_binary(&mut self.buffer);
        }
        self.stream.write_all(&self.buffer).await
    }

    /// Reads one whole frame into the buffer, and says where in it header and tensors are.
    async fn receive(&mut self) -> io::Result<(std::ops::Range<usize>, std::ops::Range<usize>)> {
        self.buffer.clear();
        self.read_up_to(PREFIX).await?;
        let header = u32::from_le_bytes(self.buffer[..4].try_into().expect("four bytes")) as usize;
        let body = u64::from_le_bytes(self.buffer[4..PREFIX].try_into().expect("eight bytes"));
        if body > LARGEST {
            return Err(io::Error::other("a frame of the worker is too large"));
        }
        let end = PREFIX + header + body as usize;
        self.read_up_to(end).await?;
        Ok((PREFIX..PREFIX + header, PREFIX + header..end))
    }

    async fn read_up_to(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.buffer.reserve(length - self.buffer.len());
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

fn read_outputs(headers: Vec<OutputHeader>, mut bytes: &[u8]) -> io::Result<Vec<Tensor>> {
    let mut outputs = Vec::with_capacity(headers.len());
    for OutputHeader { name, datatype, shape, parameters } in headers {
        let (own, rest) = bytes
            .split_at_checked(parameters.binary_data_size)
            .ok_or_else(|| io::Error::other("a frame of the worker is cut short"))?;
        bytes = rest;
        outputs.push(Tensor::from_binary(name, datatype, shape, own).map_err(io::Error::other)?);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use kea_core::tensor::TensorData;

    use super::*;

    /// A worker that answers each request with its own tensors as outputs.
    async fn echo(stream: UnixStream) {
        let mut frames = Frames::new(stream);
        while let Ok((header, body)) = frames.receive().await {
            let request: Value = serde_json::from_slice(&frames.buffer[header]).unwrap();
            let raw = frames.buffer[body].to_vec();
            let answer = serde_json::to_vec(&serde_json::json!({"id": 0, "outputs": request["inputs"]})).unwrap();
            let mut frame = Vec::new();
            frame.extend((answer.len() as u32).to_le_bytes());
            frame.extend((raw.len() as u64).to_le_bytes());
            frame.extend(answer);
            frame.extend(raw);
            frames.stream.write_all(&frame).await.unwrap();
        }
    }

    #[tokio::test]
    async fn tensors_go_to_a_worker_and_back() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(echo(theirs));
        let mut frames = Frames::new(ours);
        let inputs = vec![
            Tensor { name: "x".into(), shape: vec![2, 2], data: TensorData::Fp64(vec![1.0, 2.0, 3.0, 4.0]) },
            Tensor { name: "s".into(), shape: vec![2], data: TensorData::Bytes(vec![b"a".to_vec(), b"bc".to_vec()]) },
        ];
        for _ in 0..2 {
            match frames.ask(&infer_header("predict", &inputs), &inputs).await.unwrap() {
                Answer::Outputs(outputs) => assert_eq!(outputs, inputs),
                Answer::Result(_) | Answer::Raised { .. } => panic!("outputs are asked for"),
            }
        }
    }
}
