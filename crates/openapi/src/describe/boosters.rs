//! Boosters in their own formats, described as a worker describes them once they are loaded.

use std::collections::HashMap;

use kea_core::{Contract, Datatype, Field, Function, Layout, ValueType, contract::DEFAULT_FUNCTION};

/// Features, and classes, that are described; a file that claims more of them is none.
pub(super) const PARTS: usize = 1_000_000;

/// What a file tells of a booster.
pub(super) struct Booster {
    /// Library and objective.
    pub(super) platform: String,
    /// Names of the features; empty where they have none.
    pub(super) names: Vec<String>,
    /// How many features there are.
    pub(super) features: usize,
    /// What it gives.
    pub(super) gives: Gives,
    /// The type of its scores.
    pub(super) number: Datatype,
    /// Descriptions of features by name.
    pub(super) notes: HashMap<String, String>,
}

/// What a booster gives for a row.
pub(super) enum Gives {
    /// The likeliest class, and a probability for each of so many.
    Classes(usize),
    /// The class alone.
    Label,
    /// So many values.
    Values(usize),
}

impl Booster {
    /// Its contract, or what does not fit.
    pub(super) fn contract(self) -> Result<Contract, String> {
        if self.features == 0 || self.features > PARTS {
            return Err(format!("{} features cannot be", self.features));
        }
        if !self.names.is_empty() && self.names.len() != self.features {
            return Err(format!("it has {} features and names {}", self.features, self.names.len()));
        }
        let predict = Function {
            name: DEFAULT_FUNCTION.into(),
            description: String::new(),
            layout: if self.names.is_empty() { Layout::Tensors } else { Layout::Features },
            inputs: self.inputs(),
            outputs: self.outputs()?,
            idempotent: true,
            deterministic: true,
        };
        Ok(Contract { platform: self.platform, functions: vec![predict], ..Contract::default() })
    }

    /// A missing value is one that boosters are trained for.
    fn inputs(&self) -> Vec<Field> {
        if self.names.is_empty() {
            let shape = vec![-1, i64::try_from(self.features).unwrap_or(-1)];
            let field = Field::new("input", ValueType::Tensor { datatype: Datatype::Fp64, shape });
            return vec![Field { nullable: true, ..field }];
        }
        let feature = |name: &String| Field {
            nullable: true,
            description: self.notes.get(name).cloned().unwrap_or_default(),
            ..scalar(name, Datatype::Fp64)
        };
        self.names.iter().map(feature).collect()
    }

    fn outputs(&self) -> Result<Vec<Field>, String> {
        let label = scalar("label", Datatype::Int64);
        Ok(match self.gives {
            Gives::Classes(classes) => vec![label, self.probabilities(classes)?],
            Gives::Label => vec![label],
            Gives::Values(1) => vec![scalar("value", self.number)],
            Gives::Values(count) => vec![self.row("value", count)?],
        })
    }

    fn probabilities(&self, classes: usize) -> Result<Field, String> {
        let field = self.row("probabilities", classes)?;
        Ok(Field { labels: (0..classes).map(|class| class.to_string()).collect(), ..field })
    }

    fn row(&self, name: &str, count: usize) -> Result<Field, String> {
        let length = i64::try_from(count).ok().filter(|_| (1..=PARTS).contains(&count));
        let length = length.ok_or_else(|| format!("{count} classes cannot be"))?;
        Ok(Field::new(name, ValueType::Tensor { datatype: self.number, shape: vec![-1, length] }))
    }
}

fn scalar(name: &str, datatype: Datatype) -> Field {
    Field::new(name, ValueType::Scalar { datatype })
}

#[cfg(test)]
mod tests;
