//! Tensors as the Open Inference Protocol has them: a name, a datatype, a shape and row-major data.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Element types of the Open Inference Protocol V2. `Bytes` holds UTF-8 text or any octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// The protocol's name, as `FP32`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// Bytes that one element takes in the binary layout; `None` for `BYTES`, whose elements differ.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Whether elements are whole numbers, and between which bounds.
    pub fn integer_bounds(self) -> Option<(i128, i128)> {
        match self {
            Self::Uint8 => Some((0, u8::MAX.into())),
            Self::Uint16 => Some((0, u16::MAX.into())),
            Self::Uint32 => Some((0, u32::MAX.into())),
            Self::Uint64 => Some((0, u64::MAX.into())),
            Self::Int8 => Some((i8::MIN.into(), i8::MAX.into())),
            Self::Int16 => Some((i16::MIN.into(), i16::MAX.into())),
            Self::Int32 => Some((i32::MIN.into(), i32::MAX.into())),
            Self::Int64 => Some((i64::MIN.into(), i64::MAX.into())),
            Self::Bool | Self::Fp16 | Self::Fp32 | Self::Fp64 | Self::Bytes => None,
        }
    }

    /// Whether elements are floating point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Fp16 | Self::Fp32 | Self::Fp64)
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no datatype.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a datatype of the Open Inference Protocol")]
pub struct UnknownDatatype(pub String);

impl FromStr for Datatype {
    type Err = UnknownDatatype;

    fn from_str(text: &str) -> Result<Self, UnknownDatatype> {
        let quoted = serde_json::Value::from(text);
        serde_json::from_value(quoted).map_err(|_| UnknownDatatype(text.into()))
    }
}

/// A named array. `data` has as many elements as the product of `shape`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the contract.
    pub name: Arc<str>,
    /// Lengths of its dimensions; the first one is the row of a batch where the function takes many rows.
    pub shape: Vec<usize>,
    /// Its elements.
    pub data: TensorData,
}

/// Elements of a tensor, typed. FP16 is held as its bits.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are the protocol's")]
pub enum TensorData {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<u16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    Bytes(Vec<Vec<u8>>),
}

/// Runs one expression for whichever vector of elements a [`TensorData`] holds.
#[macro_export]
macro_rules! each_data {
    ($data:expr, $elements:ident => $body:expr) => {
        match $data {
            $crate::tensor::TensorData::Bool($elements) => $body,
            $crate::tensor::TensorData::Uint8($elements) => $body,
            $crate::tensor::TensorData::Uint16($elements) => $body,
            $crate::tensor::TensorData::Uint32($elements) => $body,
            $crate::tensor::TensorData::Uint64($elements) => $body,
            $crate::tensor::TensorData::Int8($elements) => $body,
            $crate::tensor::TensorData::Int16($elements) => $body,
            $crate::tensor::TensorData::Int32($elements) => $body,
            $crate::tensor::TensorData::Int64($elements) => $body,
            $crate::tensor::TensorData::Fp16($elements) => $body,
            $crate::tensor::TensorData::Fp32($elements) => $body,
            $crate::tensor::TensorData::Fp64($elements) => $body,
            $crate::tensor::TensorData::Bytes($elements) => $body,
        }
    };
}

/// Binary data that does not fit what was said of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The data has another length than shape and datatype ask for.
    #[error("tensor `{name}` has {received} bytes where its shape and datatype ask for {expected}")]
    Length {
        /// The tensor.
        name: String,
        /// Bytes asked for.
        expected: usize,
        /// Bytes that came.
        received: usize,
    },
    /// The elements of a BYTES tensor end in the middle of one, or are too few or many.
    #[error("tensor `{name}` of datatype BYTES is malformed at byte {offset}")]
    MalformedBytes {
        /// The tensor.
        name: String,
        /// Where reading stopped.
        offset: usize,
    },
    /// Two tensors that cannot be joined, since datatype or shape differ.
    #[error("tensor `{0}` cannot be joined with one of another datatype or shape")]
    NotJoinable(String),
}

impl TensorData {
    /// No elements yet, with room for `capacity`.
    pub fn with_capacity(datatype: Datatype, capacity: usize) -> Self {
        match datatype {
            Datatype::Bool => Self::Bool(Vec::with_capacity(capacity)),
            Datatype::Uint8 => Self::Uint8(Vec::with_capacity(capacity)),
            Datatype::Uint16 => Self::Uint16(Vec::with_capacity(capacity)),
            Datatype::Uint32 => Self::Uint32(Vec::with_capacity(capacity)),
            Datatype::Uint64 => Self::Uint64(Vec::with_capacity(capacity)),
            Datatype::Int8 => Self::Int8(Vec::with_capacity(capacity)),
            Datatype::Int16 => Self::Int16(Vec::with_capacity(capacity)),
            Datatype::Int32 => Self::Int32(Vec::with_capacity(capacity)),
            Datatype::Int64 => Self::Int64(Vec::with_capacity(capacity)),
            Datatype::Fp16 => Self::Fp16(Vec::with_capacity(capacity)),
            Datatype::Fp32 => Self::Fp32(Vec::with_capacity(capacity)),
            Datatype::Fp64 => Self::Fp64(Vec::with_capacity(capacity)),
            Datatype::Bytes => Self::Bytes(Vec::with_capacity(capacity)),
        }
    }

    /// The type of the elements.
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Bool(_) => Datatype::Bool,
            Self::Uint8(_) => Datatype::Uint8,
            Self::Uint16(_) => Datatype::Uint16,
            Self::Uint32(_) => Datatype::Uint32,
            Self::Uint64(_) => Datatype::Uint64,
            Self::Int8(_) => Datatype::Int8,
            Self::Int16(_) => Datatype::Int16,
            Self::Int32(_) => Datatype::Int32,
            Self::Int64(_) => Datatype::Int64,
            Self::Fp16(_) => Datatype::Fp16,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Fp64(_) => Datatype::Fp64,
            Self::Bytes(_) => Datatype::Bytes,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        each_data!(self, elements => elements.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the elements of `other`; `false` where the datatypes differ.
    fn append(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.extend_from_slice(b),
            (Self::Uint8(a), Self::Uint8(b)) => a.extend_from_slice(b),
            (Self::Uint16(a), Self::Uint16(b)) | (Self::Fp16(a), Self::Fp16(b)) => a.extend_from_slice(b),
            (Self::Uint32(a), Self::Uint32(b)) => a.extend_from_slice(b),
            (Self::Uint64(a), Self::Uint64(b)) => a.extend_from_slice(b),
            (Self::Int8(a), Self::Int8(b)) => a.extend_from_slice(b),
            (Self::Int16(a), Self::Int16(b)) => a.extend_from_slice(b),
            (Self::Int32(a), Self::Int32(b)) => a.extend_from_slice(b),
            (Self::Int64(a), Self::Int64(b)) => a.extend_from_slice(b),
            (Self::Fp32(a), Self::Fp32(b)) => a.extend_from_slice(b),
            (Self::Fp64(a), Self::Fp64(b)) => a.extend_from_slice(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.extend_from_slice(b),
            _ => return false,
        }
        true
    }

    /// The elements from `from` up to but without `to`.
    fn slice(&self, from: usize, to: usize) -> Self {
        match self {
            Self::Bool(v) => Self::Bool(v[from..to].to_vec()),
            Self::Uint8(v) => Self::Uint8(v[from..to].to_vec()),
            Self::Uint16(v) => Self::Uint16(v[from..to].to_vec()),
            Self::Uint32(v) => Self::Uint32(v[from..to].to_vec()),
            Self::Uint64(v) => Self::Uint64(v[from..to].to_vec()),
            Self::Int8(v) => Self::Int8(v[from..to].to_vec()),
            Self::Int16(v) => Self::Int16(v[from..to].to_vec()),
            Self::Int32(v) => Self::Int32(v[from..to].to_vec()),
            Self::Int64(v) => Self::Int64(v[from..to].to_vec()),
            Self::Fp16(v) => Self::Fp16(v[from..to].to_vec()),
            Self::Fp32(v) => Self::Fp32(v[from..to].to_vec()),
            Self::Fp64(v) => Self::Fp64(v[from..to].to_vec()),
            Self::Bytes(v) => Self::Bytes(v[from..to].to_vec()),
        }
    }

    /// Appends the binary layout to `out`: little endian, row-major, no padding, BOOL one byte, a `u32` length before
    /// each element of BYTES.
    pub fn write_binary(&self, out: &mut Vec<u8>) {
        macro_rules! numbers {
            ($v:expr) => {
                out.extend($v.iter().flat_map(|x| x.to_le_bytes()))
            };
        }
        match self {
            Self::Bool(v) => out.extend(v.iter().map(|b| u8::from(*b))),
            Self::Uint8(v) => out.extend_from_slice(v),
            Self::Uint16(v) | Self::Fp16(v) => numbers!(v),
            Self::Uint32(v) => numbers!(v),
            Self::Uint64(v) => numbers!(v),
            Self::Int8(v) => numbers!(v),
            Self::Int16(v) => numbers!(v),
            Self::Int32(v) => numbers!(v),
            Self::Int64(v) => numbers!(v),
            Self::Fp32(v) => numbers!(v),
            Self::Fp64(v) => numbers!(v),
            Self::Bytes(v) => v.iter().for_each(|element| {
                // Elements are bounded by the body limit, far below 4 GiB.
                out.extend((element.len() as u32).to_le_bytes());
                out.extend_from_slice(element);
            }),
        }
    }

    fn read_binary(datatype: Datatype, bytes: &[u8]) -> Result<Self, usize> {
        macro_rules! numbers {
            ($kind:ident, $t:ty) => {{
                let chunks = bytes.chunks_exact(size_of::<$t>());
                let number = |chunk: &[u8]| <$t>::from_le_bytes(chunk.try_into().expect("chunks are of that size"));
                Self::$kind(chunks.map(number).collect())
            }};
        }
        Ok(match datatype {
            Datatype::Bool => Self::Bool(bytes.iter().map(|b| *b != 0).collect()),
            Datatype::Uint8 => Self::Uint8(bytes.to_vec()),
            Datatype::Uint16 => numbers!(Uint16, u16),
            Datatype::Uint32 => numbers!(Uint32, u32),
            Datatype::Uint64 => numbers!(Uint64, u64),
            Datatype::Int8 => numbers!(Int8, i8),
            Datatype::Int16 => numbers!(Int16, i16),
            Datatype::Int32 => numbers!(Int32, i32),
            Datatype::Int64 => numbers!(Int64, i64),
            Datatype::Fp16 => numbers!(Fp16, u16),
            Datatype::Fp32 => numbers!(Fp32, f32),
            Datatype::Fp64 => numbers!(Fp64, f64),
            Datatype::Bytes => return read_elements(bytes).map(Self::Bytes),
        })
    }
}

fn read_elements(bytes: &[u8]) -> Result<Vec<Vec<u8>>, usize> {
    let mut elements = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let (length, after) = rest.split_first_chunk::<4>().ok_or(offset)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (element, after) = after.split_at_checked(length).ok_or(offset)?;
        elements.push(element.to_vec());
        rest = after;
    }
    Ok(elements)
}

impl Tensor {
    /// Length of the first dimension: the rows of a batch. A scalar is one row.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements of one row.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Reads the binary layout.
    pub fn from_binary(
        name: Arc<str>,
        datatype: Datatype,
        shape: Vec<usize>,
        bytes: &[u8],
    ) -> Result<Self, TensorError> {
        let elements = shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).unwrap_or(usize::MAX);
        if let Some(size) = datatype.size() {
            let expected = elements.saturating_mul(size);
            if expected != bytes.len() {
                return Err(TensorError::Length { name: name.to_string(), expected, received: bytes.len() });
            }
        }
        let malformed = |offset| TensorError::MalformedBytes { name: name.to_string(), offset };
        let data = TensorData::read_binary(datatype, bytes).map_err(malformed)?;
        if data.len() != elements {
            return Err(malformed(bytes.len()));
        }
        Ok(Self { name, shape, data })
    }

    /// Appends the rows of `other`.
    pub fn append_rows(&mut self, other: &Self) -> Result<(), TensorError> {
        let joinable = self.shape.get(1..) == other.shape.get(1..) && !self.shape.is_empty();
        if !joinable || !self.data.append(&other.data) {
            return Err(TensorError::NotJoinable(self.name.to_string()));
        }
        self.shape[0] += other.shape[0];
        Ok(())
    }

    /// The rows from `from` up to but without `to`; both within the tensor.
    pub fn slice_rows(&self, from: usize, to: usize) -> Self {
        let row = self.row_len();
        let mut shape = self.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows = to - from;
        }
        Self { name: self.name.clone(), shape, data: self.data.slice(from * row, to * row) }
    }
}

/// The text of a BYTES element, with what is no UTF-8 replaced.
pub fn text_of(element: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], data: TensorData) -> Tensor {
        Tensor { name: "x".into(), shape: shape.to_vec(), data }
    }

    #[test]
    fn binary_layout_is_read_as_it_was_written() {
        let cases = [
            tensor(&[2], TensorData::Bool(vec![true, false])),
            tensor(&[2, 2], TensorData::Fp32(vec![1.5, -2.0, f32::MAX, 0.0])),
            tensor(&[1], TensorData::Int64(vec![i64::MIN])),
            tensor(&[3], TensorData::Bytes(vec![b"a".to_vec(), vec![], "ü".into()])),
        ];
        for case in cases {
            let mut bytes = Vec::new();
            case.data.write_binary(&mut bytes);
            let read = Tensor::from_binary(case.name.clone(), case.data.datatype(), case.shape.clone(), &bytes);
            assert_eq!(read, Ok(case));
        }
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let read = |datatype, shape: &[usize], bytes: &[u8]| {
            Tensor::from_binary("x".into(), datatype, shape.to_vec(), bytes).is_err()
        };
        assert!(read(Datatype::Fp64, &[2], &[0; 15]));
        assert!(read(Datatype::Fp64, &[usize::MAX, 2], &[0; 16]));
        assert!(read(Datatype::Bytes, &[1], &[255, 255, 255, 255, 1]));
        assert!(read(Datatype::Bytes, &[2], &[1, 0, 0, 0, 65]));
        assert!(read(Datatype::Bytes, &[1], &[1, 0]));
    }

    #[test]
    fn rows_are_joined_and_taken_apart() {
        let mut batch = tensor(&[1, 2], TensorData::Fp64(vec![1.0, 2.0]));
        batch.append_rows(&tensor(&[2, 2], TensorData::Fp64(vec![3.0, 4.0, 5.0, 6.0]))).unwrap();
        assert_eq!(batch.shape, [3, 2]);
        assert_eq!(batch.slice_rows(1, 2), tensor(&[1, 2], TensorData::Fp64(vec![3.0, 4.0])));
        assert!(batch.append_rows(&tensor(&[1, 3], TensorData::Fp64(vec![0.0; 3]))).is_err());
        assert!(batch.append_rows(&tensor(&[1, 2], TensorData::Fp32(vec![0.0; 2]))).is_err());
    }
}
