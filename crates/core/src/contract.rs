//! The contract of one model version: which functions there are, what each accepts and what it returns.
//!
//! One contract drives the OpenAPI document, the metadata of the inference protocols, request validation and the pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tensor::Datatype;

pub mod schema;
pub mod web;

pub use web::WebOperation;

/// The function that is meant where a caller names none.
pub const DEFAULT_FUNCTION: &str = "predict";

/// What a model version offers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contract {
    /// What the model is, in its author's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The engine's name for the kind of model, as `scikit-learn LogisticRegression` or `onnx`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// What its replicas speak, where it is an existing web service.
    #[serde(default, skip_serializing_if = "WebProtocol::is_http1")]
    pub protocol: WebProtocol,
    /// The functions, `predict` first where there is one.
    pub functions: Vec<Function>,
    /// What an existing web service answers besides, as its source says; requests of them are passed on as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<WebOperation>,
    /// What could not be found out, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
}

/// What an existing web service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, which both ends know beforehand: what servers of gRPC speak.
    Http2,
}

impl WebProtocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }

    fn is_http1(&self) -> bool {
        *self == Self::Http1
    }
}

/// One function of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// Its name in URLs: a Python identifier.
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How `inputs` of a request is laid out.
    pub layout: Layout,
    /// What it takes, in the model's order.
    pub inputs: Vec<Field>,
    /// What one prediction holds. Empty where nothing is known.
    #[serde(default)]
    pub outputs: Vec<Field>,
    /// Whether calling it twice is the same as calling it once, so that a failed call may be sent to another replica.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether the same inputs give the same answer, so that it may be kept. A service's author turns the response cache
    /// on, so that it is said of the functions that are to stay out of it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub deterministic: bool,
}

/// How `inputs` of a request is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Layout {
    /// Named scalar features: one row as `{feature: value}`, many rows as `{feature: [values]}`.
    Features,
    /// Named tensors, whose first dimension is the row where it is variable: `{input: row or rows}`.
    Tensors,
    /// Named arguments of one call, each described by a JSON schema.
    Arguments,
    /// Passed on as it is: an existing web service.
    Opaque,
}

/// One input or output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// Its name in requests and answers.
    pub name: String,
    /// What it means, with its unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What values it takes.
    #[serde(rename = "type")]
    pub value: ValueType,
    /// Whether a request without it is refused.
    #[serde(default = "yes")]
    pub required: bool,
    /// Whether `null` stands for a missing value (NaN, for numbers).
    #[serde(default)]
    pub nullable: bool,
    /// Smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// Largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The only values it takes.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// What is taken where a request does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// A value that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
    /// Names of the elements of the last dimension of an output, as a classifier's classes: it is then shown as an
    /// object `{name: value}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

/// What values a field takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ValueType {
    /// One value a row.
    Scalar {
        /// Its type.
        datatype: Datatype,
    },
    /// An array.
    Tensor {
        /// Type of its elements.
        datatype: Datatype,
        /// Its dimensions, -1 for a variable one.
        shape: Vec<i64>,
    },
    /// Any JSON that fits an OpenAPI 3.0 schema.
    Json {
        /// The schema. References point into `$defs` of the same schema.
        schema: Value,
    },
}

impl Contract {
    /// The function called `name`.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Names of all functions, for messages.
    pub fn function_names(&self) -> Vec<&str> {
        self.functions.iter().map(|function| function.name.as_str()).collect()
    }
}

impl Function {
    /// A request's `inputs` made of the fields' examples; `None` where a required field has none.
    pub fn example_inputs(&self) -> Option<Value> {
        let mut inputs = serde_json::Map::new();
        for field in &self.inputs {
            match (&field.example, field.required) {
                (Some(example), _) => drop(inputs.insert(field.name.clone(), example.clone())),
                (None, true) => return None,
                (None, false) => {}
            }
        }
        Some(Value::Object(inputs))
    }

    /// The one datatype that all features have, where rows of them can be laid out as one matrix.
    pub fn matrix_datatype(&self) -> Option<Datatype> {
        let datatype = |field: &Field| match field.value {
            ValueType::Scalar { datatype } if datatype != Datatype::Bytes => Some(datatype),
            _ => None,
        };
        let first = datatype(self.inputs.first()?)?;
        let uniform = self.layout == Layout::Features && self.inputs.iter().all(|f| datatype(f) == Some(first));
        uniform.then_some(first)
    }
}

impl Field {
    /// A required field without further words.
    pub fn new(name: impl Into<String>, value: ValueType) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            value,
            required: true,
            nullable: false,
            minimum: None,
            maximum: None,
            choices: Vec::new(),
            default: None,
            example: None,
            labels: Vec::new(),
        }
    }

    /// Whether `null` is taken for elements of a tensor: of their types, floats alone have a value that stands for none.
    pub fn has_missing_values(&self) -> bool {
        match self.value {
            ValueType::Scalar { datatype } | ValueType::Tensor { datatype, .. } => self.nullable && datatype.is_float(),
            ValueType::Json { .. } => self.nullable,
        }
    }

    /// Whether a request without this input is refused, where inputs are laid out so.
    pub fn must_be_given(&self, layout: Layout) -> bool {
        match layout {
            // An absent feature is its default, or null where that is a value of it.
            Layout::Features => self.default.is_none() && (self.required || !self.has_missing_values()),
            Layout::Tensors => self.default.is_none() && self.required,
            Layout::Arguments | Layout::Opaque => self.required,
        }
    }
}
