//! What authors state of a model's functions, and how that refines the contract that was found.
//!
//! Pure. What is stated wins where nothing was found, and where it is narrower than what was found. Where the model cannot do
//! what is stated, both are named: one of them is wrong, and KEA does not choose.

mod check;
mod columns;
mod fields;
mod schema;
#[cfg(test)]
mod tests;
mod types;
mod values;

use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Contract, Field, Function, Layout};

pub use check::{check, check_types};
pub use types::StatedType;

/// Most bytes of a statement as JSON: a replica is told it by a variable of its environment.
pub const MAX_BYTES: usize = 64 << 10;

/// Why functions of a web service are not to be stated.
pub const OF_A_WEB_SERVICE: &str = "it is a web service, which says itself what it takes: remove `functions`";

/// What is stated of one function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatedFunction {
    /// Its name; the model has a function of that name.
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is known better of its inputs. Those that are not named stay as they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<StatedField>,
    /// The same of its outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<StatedField>,
}

/// What is stated of one input or output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatedField {
    /// Its name in requests and answers.
    pub name: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The unit of its numbers, as `cm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Type of its values, or of the elements of an array.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<StatedType>,
    /// Dimensions of an array, -1 for a variable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<i64>>,
    /// Smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// Largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The only values it takes.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// Whether a request without it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// What is taken where a request does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// A value that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
}

/// A statement that the model does not bear out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}` says {stated}, but {place} {found}: {advice}")]
pub struct Contradiction {
    /// Where it is stated: a JSON pointer (RFC 6901) into the MLModel's `spec`.
    pub pointer: String,
    /// What is stated.
    pub stated: String,
    /// Where something else was found, as "the model's input `x` of `predict`".
    pub place: String,
    /// What was found, with its verb.
    pub found: String,
    /// What to do.
    pub advice: &'static str,
}

/// What to do about a contradiction.
pub const ADVICE: &str = "correct one of the two";

/// A place in a statement, and the same place in what was found.
struct Place {
    pointer: String,
    found: String,
}

impl Place {
    fn contradicts(&self, keyword: &str, stated: impl Display, found: impl Display) -> Contradiction {
        let pointer = if keyword.is_empty() { self.pointer.clone() } else { format!("{}/{keyword}", self.pointer) };
        let (place, advice) = (self.found.clone(), ADVICE);
        Contradiction { pointer, stated: stated.to_string(), place, found: found.to_string(), advice }
    }
}

/// The contract with what is `stated` of its functions.
///
/// # Errors
/// The first statement that the model does not bear out.
pub fn merge(mut contract: Contract, stated: &[StatedFunction]) -> Result<Contract, Contradiction> {
    for (index, of) in stated.iter().enumerate() {
        let pointer = format!("/functions/{index}");
        let Some(at) = contract.functions.iter().position(|function| function.name == of.name) else {
            let place = Place { pointer, found: "the model".into() };
            let found = format!("has {}", named(contract.function_names(), "no functions"));
            return Err(place.contradicts("name", format_args!("`{}`", of.name), found));
        };
        let known = refine(&mut contract.functions[at], of, &pointer)?;
        contract.incomplete.retain(|note| !known.iter().any(|known| known.answers(&of.name, note)));
    }
    Ok(contract)
}

/// What was not known, and is stated.
enum Known {
    Input(String),
    Outputs,
}

impl Known {
    /// Whether a note of what could not be found out of the function is about this.
    fn answers(&self, function: &str, note: &str) -> bool {
        let (place, end) = match self {
            Self::Input(name) => (format!("`{function}`: argument `{name}`: "), ANYTHING),
            Self::Outputs => (format!("`{function}`: the result: "), NO_OUTPUTS),
        };
        note.starts_with(&place) && note.ends_with(end)
    }
}

/// How readers of sources end their note of an argument without a type.
pub const ANYTHING: &str = "so anything is accepted";

/// How readers of sources end their note of a result without a type.
pub const NO_OUTPUTS: &str = "so what a prediction holds is not known";

fn refine(function: &mut Function, stated: &StatedFunction, pointer: &str) -> Result<Vec<Known>, Contradiction> {
    if let Some(description) = &stated.description {
        function.description.clone_from(description);
    }
    columns::name(function, stated);
    let mut known = Vec::new();
    for (index, of) in stated.inputs.iter().enumerate() {
        let place = Place {
            pointer: format!("{pointer}/inputs/{index}"),
            found: format!("the model's input `{}` of `{}`", of.name, function.name),
        };
        let layout = function.layout;
        let field = find(&mut function.inputs, of, &stated.inputs, &place, &function.name)?;
        if fields::refine(field, of, &place, Some(layout))? {
            known.push(Known::Input(of.name.clone()));
        }
    }
    let are_new = function.outputs.is_empty() && !stated.outputs.is_empty();
    if are_new {
        function.outputs = stated.outputs.iter().map(|of| fields::unknown(&of.name)).collect();
    }
    // A name and words alone do not say what a prediction holds.
    let has_values = |of: &StatedField| of.kind.is_some() || of.shape.is_some() || !of.choices.is_empty();
    if are_new && stated.outputs.iter().all(has_values) {
        known.push(Known::Outputs);
    }
    for (index, of) in stated.outputs.iter().enumerate() {
        let place = Place {
            pointer: format!("{pointer}/outputs/{index}"),
            found: format!("the model's output `{}` of `{}`", of.name, function.name),
        };
        let field = find(&mut function.outputs, of, &stated.outputs, &place, &function.name)?;
        fields::refine(field, of, &place, None)?;
    }
    Ok(known)
}

/// The field that a statement is about.
fn find<'a>(
    fields: &'a mut [Field],
    of: &StatedField,
    all: &[StatedField],
    place: &Place,
    function: &str,
) -> Result<&'a mut Field, Contradiction> {
    match fields.iter().position(|field| field.name == of.name) {
        Some(at) => Ok(&mut fields[at]),
        None => {
            let stated = named(all.iter().map(|field| field.name.as_str()), "none");
            let stated = format!("`{}` (all that is stated: {}, {stated})", of.name, all.len());
            let count = fields.len();
            let there = fields.iter().map(|field| format!("`{}` {}", field.name, types::words(&field.value)));
            let there: Vec<String> = there.collect();
            let found = format!("has {count}: {}", if there.is_empty() { "none".into() } else { there.join(", ") });
            let place = Place { pointer: place.pointer.clone(), found: format!("`{function}` of the model") };
            Err(place.contradicts("name", stated, found))
        }
    }
}

fn named<'a>(names: impl IntoIterator<Item = &'a str>, none: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { none.into() } else { names.join(", ") }
}

/// Whether values of the field are given to the model by KEA, which then fills in a default.
fn fills_in_defaults(layout: Layout) -> bool {
    matches!(layout, Layout::Features | Layout::Tensors)
}
