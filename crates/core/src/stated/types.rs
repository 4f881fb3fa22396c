//! Types as authors state them: a datatype of the Open Inference Protocol, or a type of JSON.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{contract::ValueType, tensor::Datatype};

/// A type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StatedType {
    /// Any number.
    Number,
    /// A whole number of any width.
    Integer,
    /// A text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// Exactly that datatype.
    Datatype(Datatype),
}

const JSON: [(&str, StatedType); 4] = [
    ("number", StatedType::Number),
    ("integer", StatedType::Integer),
    ("string", StatedType::Text),
    ("boolean", StatedType::Boolean),
];

impl StatedType {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Datatype(datatype) => datatype.as_str(),
            json => JSON.into_iter().find(|(_, known)| *known == json).map_or("", |(name, _)| name),
        }
    }

    fn names() -> Vec<&'static str> {
        JSON.into_iter().map(|(name, _)| name).chain(Datatype::ALL.into_iter().map(Datatype::as_str)).collect()
    }

    /// Whether values of that datatype are of this type.
    pub(super) fn is_of(self, found: Datatype) -> bool {
        match self {
            Self::Number => found.is_float(),
            Self::Integer => found.integer_bounds().is_some(),
            Self::Text => found == Datatype::Bytes,
            Self::Boolean => found == Datatype::Bool,
            Self::Datatype(stated) => stated == found,
        }
    }

    /// Whether a value of JSON that is no array is of this type.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Number => value.is_number(),
            Self::Integer => whole(value).is_some(),
            Self::Text | Self::Datatype(Datatype::Bytes) => value.is_string(),
            Self::Boolean | Self::Datatype(Datatype::Bool) => value.is_boolean(),
            Self::Datatype(Datatype::Fp64) => value.is_number(),
            Self::Datatype(datatype) => match datatype.integer_bounds() {
                Some((low, high)) => whole(value).is_some_and(|number| (low..=high).contains(&number)),
                None => value.as_f64().is_some_and(|number| (number as f32).is_finite()),
            },
        }
    }

    /// Its name in JSON schemas.
    pub(super) fn in_json(self) -> &'static str {
        match self {
            Self::Datatype(Datatype::Bool) => "boolean",
            Self::Datatype(Datatype::Bytes) => "string",
            Self::Datatype(datatype) if datatype.is_float() => "number",
            Self::Datatype(_) => "integer",
            json => json.as_str(),
        }
    }
}

impl fmt::Display for StatedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<StatedType> for String {
    fn from(stated: StatedType) -> Self {
        stated.as_str().into()
    }
}

impl TryFrom<String> for StatedType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let json = JSON.into_iter().find(|(name, _)| *name == text).map(|(_, json)| json);
        json.or_else(|| text.parse().ok().map(Self::Datatype))
            .ok_or_else(|| format!("`{text}` is not a type: write one of {}", Self::names().join(", ")))
    }
}

impl JsonSchema for StatedType {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatedType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": Self::names()})
    }
}

/// The whole number that is meant, also by `5.0`.
fn whole(value: &Value) -> Option<i128> {
    let exact = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    exact.or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i128))
}

/// A type in words, as `FP64` or `FP32[-1, 4]`.
pub(super) fn words(value: &ValueType) -> String {
    match value {
        ValueType::Scalar { datatype } => datatype.to_string(),
        ValueType::Tensor { datatype, shape } => format!("{datatype}{shape:?}"),
        ValueType::Json { schema } => schema["type"].as_str().unwrap_or("any JSON").to_owned(),
    }
}
