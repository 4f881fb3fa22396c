//! A function's contract, prepared so that nothing about it has to be found out while a request waits.

use std::{collections::HashMap, sync::Arc};

use kea_core::{Contract, Datatype, Field, Function, Layout, ValueType};
use serde_json::Value;

use super::{
    CompileError,
    arguments::Arguments,
    element::{Rules, Scalar, judge},
    nest,
};

/// Name of the one tensor that a matrix of features is.
const MATRIX_NAME: &str = "input";

/// How requests of one function are read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the function is in the contract.
    pub(crate) function: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Features(Features),
    Tensors(Tensors),
    Arguments(Arguments),
    Opaque,
    /// Has an input that JSON cannot carry: its name.
    Half(String),
}

/// Names of inputs in the contract's order.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) order: Vec<Arc<str>>,
    index: HashMap<Arc<str>, usize>,
}

/// [`Layout::Features`].
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) names: Names,
    pub(crate) rules: Vec<Rules>,
    pub(crate) missing: Vec<Missing>,
    /// Element type of the one matrix that rows make; `None` where each feature is a tensor of its own.
    pub(crate) matrix: Option<Datatype>,
    pub(crate) matrix_name: Arc<str>,
    /// Whether the rules of the first feature are those of all.
    pub(crate) uniform: bool,
}

/// [`Layout::Tensors`].
#[derive(Debug)]
pub(crate) struct Tensors {
    pub(crate) names: Names,
    pub(crate) inputs: Vec<Input>,
}

/// One tensor.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) rules: Rules,
    pub(crate) shape: Vec<i64>,
    pub(crate) missing: Missing,
}

/// What becomes of an input that a request does not have.
#[derive(Debug)]
pub(crate) enum Missing {
    /// The request is refused.
    Refuse,
    /// The model runs without it.
    Leave,
    /// This value is taken, for every row.
    Fill(Value),
}

impl Plan {
    pub(crate) fn of(contract: &Contract, index: usize) -> Result<Self, CompileError> {
        let function = &contract.functions[index];
        let half = |field: &&Field| datatype_of(field) == Some(Datatype::Fp16);
        let kind = match function.layout {
            Layout::Opaque => Kind::Opaque,
            Layout::Arguments => Kind::Arguments(Arguments::of(function)?),
            Layout::Features | Layout::Tensors if function.inputs.iter().any(|f| half(&f)) => {
                let field = function.inputs.iter().find(half);
                Kind::Half(field.map(|field| field.name.clone()).unwrap_or_default())
            }
            Layout::Features => Kind::Features(Features::of(function)?),
            Layout::Tensors => Kind::Tensors(Tensors::of(function)?),
        };
        Ok(Self { function: index, kind })
    }
}

fn datatype_of(field: &Field) -> Option<Datatype> {
    match field.value {
        ValueType::Scalar { datatype } | ValueType::Tensor { datatype, .. } => Some(datatype),
        ValueType::Json { .. } => None,
    }
}

impl Names {
    pub(crate) fn of(function: &Function) -> Result<Self, CompileError> {
        let order: Vec<Arc<str>> = function.inputs.iter().map(|field| field.name.as_str().into()).collect();
        let mut index = HashMap::with_capacity(order.len());
        for (i, name) in order.iter().enumerate() {
            if index.insert(name.clone(), i).is_some() {
                return Err(CompileError::TwoInputs { function: function.name.clone(), input: name.to_string() });
            }
        }
        Ok(Self { order, index })
    }

    /// Where `name` is; tried at `next` first, since clients keep the contract's order.
    #[inline]
    pub(crate) fn find(&self, name: &str, next: usize) -> Option<usize> {
        match self.order.get(next) {
            Some(expected) if **expected == *name => Some(next),
            _ => self.index.get(name).copied(),
        }
    }
}

impl Features {
    fn of(function: &Function) -> Result<Self, CompileError> {
        let rules = function.inputs.iter().map(|field| match field.value {
            ValueType::Scalar { datatype } => rules_of(function, field, datatype),
            _ => Err(CompileError::no_such_type(function, field)),
        });
        let rules: Vec<Rules> = rules.collect::<Result<_, _>>()?;
        let missing = function.inputs.iter().zip(&rules).map(|(field, rules)| missing_feature(function, field, rules));
        Ok(Self {
            names: Names::of(function)?,
            missing: missing.collect::<Result<_, _>>()?,
            uniform: rules.iter().all(|other| other.is_plainly(&rules[0])),
            rules,
            matrix: function.matrix_datatype(),
            matrix_name: MATRIX_NAME.into(),
        })
    }
}

impl Tensors {
    fn of(function: &Function) -> Result<Self, CompileError> {
        let inputs = function.inputs.iter().map(|field| Input::of(function, field));
        Ok(Self { names: Names::of(function)?, inputs: inputs.collect::<Result<_, _>>()? })
    }
}

impl Input {
    fn of(function: &Function, field: &Field) -> Result<Self, CompileError> {
        let (datatype, shape) = match &field.value {
            ValueType::Tensor { datatype, shape } => (*datatype, shape.clone()),
            ValueType::Scalar { datatype } => (*datatype, vec![-1]),
            ValueType::Json { .. } => return Err(CompileError::no_such_type(function, field)),
        };
        if shape.iter().any(|n| *n < -1) {
            return Err(CompileError::no_such_type(function, field));
        }
        let rules = rules_of(function, field, datatype)?;
        let missing = missing_tensor(function, field, &rules, &shape)?;
        Ok(Self { rules, shape, missing })
    }

    /// Whether the first dimension is the row of a batch.
    pub(crate) fn is_batched(&self) -> bool {
        self.shape.first() == Some(&-1)
    }
}

fn rules_of(function: &Function, field: &Field, datatype: Datatype) -> Result<Rules, CompileError> {
    Rules::of(field, datatype).map_err(|choice| CompileError::Choice {
        function: function.name.clone(),
        input: field.name.clone(),
        choice,
    })
}

fn missing_feature(function: &Function, field: &Field, rules: &Rules) -> Result<Missing, CompileError> {
    match &field.default {
        Some(default) => {
            let fits = Scalar::of(default).is_some_and(|scalar| judge(scalar, rules).is_ok());
            let bad = || CompileError::no_such_default(function, field, default);
            fits.then(|| Missing::Fill(default.clone())).ok_or_else(bad)
        }
        // A feature that may be absent and may be null is null where it is absent.
        None if !field.required && judge(Scalar::Null, rules).is_ok() => Ok(Missing::Fill(Value::Null)),
        None => Ok(Missing::Refuse),
    }
}

fn missing_tensor(function: &Function, field: &Field, rules: &Rules, shape: &[i64]) -> Result<Missing, CompileError> {
    match &field.default {
        Some(default) => {
            let one = nest::from_value(default, rules, shape);
            // It is repeated for every row of a request, so it has to be one.
            let fits = one.is_some_and(|(dims, _)| shape.first() != Some(&-1) || dims.first() == Some(&1));
            let bad = || CompileError::no_such_default(function, field, default);
            fits.then(|| Missing::Fill(default.clone())).ok_or_else(bad)
        }
        None if field.required => Ok(Missing::Refuse),
        None => Ok(Missing::Leave),
    }
}
