//! Request Validator: compiled checks of a request against a contract.
//!
//! A request is read twice at most. The fast path (`decode`) goes over the bytes once and writes elements straight into
//! tensors; where it gives up, the slow one (`explain`) reads the request again and names every problem in it.

mod answer;
mod arguments;
mod broken;
mod decode;
mod element;
mod explain;
mod json;
mod nest;
pub(crate) mod one;
mod plan;
mod scan;
mod schema;
mod skim;
mod strict;
#[cfg(test)]
mod tests;
mod v2;
mod words;

use std::{collections::HashMap, fmt, sync::Arc};

use kea_core::{Contract, Field, Function, Tensor, management::Violation};
use serde_json::{Value, value::RawValue};

use answer::Answers;
pub use answer::Misfit;
use plan::{Kind, Plan};

/// A contract, ready to hold requests against.
pub struct Validator {
    contract: Arc<Contract>,
    plans: HashMap<String, Plan>,
    answers: Answers,
}

/// A request of KEA's own API, decoded.
#[derive(Clone, Debug)]
pub enum Call {
    /// For [`Layout::Features`] with one numeric datatype, the tensor `input` of shape `[rows, features]` in the
    /// contract's order; with several datatypes, a tensor `[rows]` a feature. For [`Layout::Tensors`], a tensor an
    /// input with the shape of the contract, one row being a batch of one.
    ///
    /// [`Layout::Features`]: kea_core::Layout::Features
    /// [`Layout::Tensors`]: kea_core::Layout::Tensors
    Tensors(Vec<Tensor>),
    /// For [`kea_core::Layout::Arguments`], the object `inputs` as it was written.
    Arguments(Box<RawValue>),
}

/// A request of the Open Inference Protocol V2, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct V2Call {
    /// The caller's name for the request, to be echoed.
    pub id: Option<String>,
    /// Laid out as [`Call::Tensors`].
    pub inputs: Vec<Tensor>,
    /// Names of the outputs that are asked for; all where there is no list.
    pub outputs: Option<Vec<String>>,
}

/// Why a request is refused. Whatever it is, the caller can mend it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The contract has no function of that name.
    #[error("there is no function `{name}`, but {}", words::list(known.iter().map(String::as_str)))]
    NoFunction {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The body is no JSON.
    #[error("the body is not JSON, line {line} column {column}: {why}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What the parser found, and what to do about it.
        why: String,
    },
    /// The body does not fit the contract. At most 100 problems are listed.
    #[error("{}", summary(.0))]
    Invalid(Vec<Violation>),
    /// What is asked for cannot be done this way: what to do instead.
    #[error("{0}")]
    Unsupported(String),
}

fn summary(violations: &[Violation]) -> String {
    match violations {
        [only] => format!("{}: expected {}, received {}", only.pointer, only.expected, only.received),
        [first, ..] => format!("{} problems, the first at {}: {}", violations.len(), first.pointer, first.detail),
        [] => "the request does not fit the contract".into(),
    }
}

/// A contract that no request could be held against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Two functions have one name.
    #[error("the contract has two functions `{0}`")]
    TwoFunctions(String),
    /// Two inputs of a function have one name.
    #[error("function `{function}` has two inputs `{input}`")]
    TwoInputs {
        /// The function.
        function: String,
        /// The name of both.
        input: String,
    },
    /// An input is of a type that the function's layout cannot have.
    #[error("input `{input}` of `{function}` has a type that its layout cannot have")]
    Type {
        /// The function.
        function: String,
        /// The input.
        input: String,
    },
    /// A default that the input itself would refuse.
    #[error("the default {default} of input `{input}` of `{function}` does not fit the input")]
    Default {
        /// The function.
        function: String,
        /// The input.
        input: String,
        /// The default, as JSON.
        default: String,
    },
    /// A choice that is not of the input's datatype.
    #[error("the choice {choice} of input `{input}` of `{function}` does not fit its datatype")]
    Choice {
        /// The function.
        function: String,
        /// The input.
        input: String,
        /// The choice, as JSON.
        choice: String,
    },
    /// The schema of an argument is none.
    #[error("the schema of input `{input}` of `{function}` cannot be used: {why}")]
    Schema {
        /// The function.
        function: String,
        /// The input.
        input: String,
        /// What is wrong with the schema.
        why: String,
    },
}

impl CompileError {
    fn no_such_type(function: &Function, field: &Field) -> Self {
        Self::Type { function: function.name.clone(), input: field.name.clone() }
    }

    fn no_such_default(function: &Function, field: &Field, default: &Value) -> Self {
        let default = default.to_string();
        Self::Default { function: function.name.clone(), input: field.name.clone(), default }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator").field("contract", &self.contract).finish_non_exhaustive()
    }
}

impl Validator {
    /// Prepares every function of `contract`.
    pub fn compile(contract: Arc<Contract>) -> Result<Self, CompileError> {
        let mut plans = HashMap::with_capacity(contract.functions.len());
        for (index, function) in contract.functions.iter().enumerate() {
            let plan = Plan::of(&contract, index)?;
            if plans.insert(function.name.clone(), plan).is_some() {
                return Err(CompileError::TwoFunctions(function.name.clone()));
            }
        }
        Ok(Self { contract, plans, answers: Answers::default() })
    }

    /// The contract that requests are held against.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Checks a body of KEA's own API, `{"inputs": {...}}`. A function of [`kea_core::Layout::Opaque`] takes any body.
    pub fn check(&self, function: &str, body: &[u8]) -> Result<(), Rejection> {
        match self.plan(function)? {
            (_, Plan { kind: Kind::Opaque, .. }) => Ok(()),
            (_, Plan { kind: Kind::Tensors(tensors), .. }) if skim::fits(tensors, body) => Ok(()),
            (function, plan) => decode(function, plan, body).map(drop),
        }
    }

    /// Decodes a body of KEA's own API, `{"inputs": {...}}`.
    pub fn decode(&self, function: &str, body: &[u8]) -> Result<Call, Rejection> {
        let (function, plan) = self.plan(function)?;
        decode(function, plan, body)
    }

    /// Decodes a JSON body of the Open Inference Protocol V2.
    ///
    /// Numbers may be declared with another datatype than the contract's where that loses nothing: whole numbers for
    /// floats, FP32 and FP64 for each other, whole numbers of another width as far as each of them fits.
    pub fn decode_v2(&self, function: &str, body: &[u8]) -> Result<V2Call, Rejection> {
        let (function, plan) = self.plan(function)?;
        v2::decode(function, plan, body)
    }

    /// Holds the body of an answer of KEA's own API, `{"predictions": [...]}`, against what the function gives.
    ///
    /// # Errors
    /// What does not fit, each problem with a pointer into the answer; at most 100.
    pub fn check_answer(&self, function: &str, body: &[u8]) -> Result<(), Misfit> {
        self.answers.check(&self.contract, function, body)
    }

    /// Holds the body of an answer of the Open Inference Protocol V2 against what the function gives. Where the request
    /// named the outputs that it wants, they are not `all`, and none is missed.
    ///
    /// # Errors
    /// What does not fit, each problem with a pointer into the answer; at most 100.
    pub fn check_v2_answer(&self, function: &str, body: &[u8], all: bool) -> Result<(), Misfit> {
        self.answers.check_v2(&self.contract, function, body, all)
    }

    fn plan(&self, name: &str) -> Result<(&Function, &Plan), Rejection> {
        let unknown = || Rejection::NoFunction {
            name: words::cut(name, 100),
            known: self.contract.function_names().into_iter().map(String::from).collect(),
        };
        let plan = self.plans.get(name).ok_or_else(unknown)?;
        Ok((&self.contract.functions[plan.function], plan))
    }
}

fn decode(function: &Function, plan: &Plan, body: &[u8]) -> Result<Call, Rejection> {
    let tensors = match &plan.kind {
        Kind::Arguments(arguments) => return arguments.read(function, body).map(Call::Arguments),
        Kind::Opaque => return Err(opaque(function)),
        Kind::Half(input) => return Err(half(input)),
        Kind::Features(features) => decode::features(features, body),
        Kind::Tensors(tensors) => decode::tensors(tensors, body),
    };
    match tensors {
        Some(tensors) => Ok(Call::Tensors(tensors)),
        None => Err(explain(function, plan, body)),
    }
}

/// Why the fast path refused `body`.
#[cold]
fn explain(function: &Function, plan: &Plan, body: &[u8]) -> Rejection {
    let body = match json::parse(body) {
        Ok(body) => body,
        Err(not_json) => return not_json,
    };
    let violations = match &plan.kind {
        Kind::Features(features) => explain::features(features, function, body),
        Kind::Tensors(tensors) => explain::tensors(tensors, function, body),
        Kind::Arguments(_) | Kind::Opaque | Kind::Half(_) => Vec::new(),
    };
    Rejection::Invalid(if violations.is_empty() { vec![unexplained(function)] } else { violations })
}

/// What is said where the slow path finds nothing wrong with what the fast one refused.
fn unexplained(function: &Function) -> Violation {
    Violation {
        pointer: "/inputs".into(),
        expected: "inputs as the contract has them".into(),
        received: "something else".into(),
        detail: words::with_example_body("compare the body with the service's documentation", function),
    }
}

fn opaque(function: &Function) -> Rejection {
    let name = &function.name;
    Rejection::Unsupported(format!("`{name}` belongs to a web service of its own, call it by that service's own paths"))
}

fn half(input: &str) -> Rejection {
    Rejection::Unsupported(format!(
        "input `{input}` is FP16, which JSON has no numbers for: export the model with FP32 inputs to call it with JSON"
    ))
}
