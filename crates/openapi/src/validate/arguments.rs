//! [`kea_core::Layout::Arguments`]: each argument against its JSON schema.

use jsonschema::Draft;
use kea_core::{Field, Function};
use serde::de::DeserializeSeed;
use serde_json::{Value, value::RawValue};

use super::{
    CompileError, Rejection,
    broken::Broken,
    explain::{self, expected_field, give},
    json::{self, Raw},
    plan::Names,
    schema,
    strict::Strict,
    words::{self, MOST_VIOLATIONS, Path, Problems},
};

/// The arguments of a function.
#[derive(Debug)]
pub(crate) struct Arguments {
    names: Names,
    validators: Vec<jsonschema::Validator>,
}

impl Arguments {
    pub(crate) fn of(function: &Function) -> Result<Self, CompileError> {
        let validator = |field: &Field| {
            compiled(&schema::of_field(field)).map_err(|why| CompileError::Schema {
                function: function.name.clone(),
                input: field.name.clone(),
                why,
            })
        };
        let validators = function.inputs.iter().map(validator).collect::<Result<_, _>>()?;
        Ok(Self { names: Names::of(function)?, validators })
    }

    /// The `inputs` of a body, as they are written, after each was validated.
    pub(crate) fn read(&self, function: &Function, body: &[u8]) -> Result<Box<RawValue>, Rejection> {
        let body = json::parse(body)?;
        let mut problems = Problems::default();
        let inputs = explain::inputs_of(function, body, &mut problems);
        if let Some((_, members)) = &inputs {
            let values = explain::known_inputs(function, &self.names, members, &mut problems);
            self.validate(function, &values, &mut problems);
        }
        match (inputs, problems.into_list()) {
            (Some((inputs, _)), problems) if problems.is_empty() => Ok(inputs.to_owned()),
            (_, problems) => Err(Rejection::Invalid(problems)),
        }
    }

    fn validate(&self, function: &Function, values: &[Option<Raw<'_>>], problems: &mut Problems) {
        for (i, field) in function.inputs.iter().enumerate() {
            let path = explain::INPUTS.key(&field.name);
            match values[i] {
                Some(value) => validate_one(&self.validators[i], value, &path, problems),
                None if field.required => problems.add(&path, expected_field(field), "nothing", give(field)),
                None => {}
            }
        }
    }
}

/// A validator of a JSON Schema, or why there is none.
pub(crate) fn compiled(schema: &Value) -> Result<jsonschema::Validator, String> {
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
    options.build(schema).map_err(|error| error.to_string())
}

pub(crate) fn validate_one(validator: &jsonschema::Validator, raw: Raw<'_>, path: &Path<'_>, problems: &mut Problems) {
    let mut json = serde_json::Deserializer::from_str(raw.get());
    let value = match (Strict { path, problems: &mut *problems }).deserialize(&mut json) {
        Ok(value) => value,
        Err(error) => {
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            return problems.add(path, "a value that can be read", words::received(raw), why);
        }
    };
    let mut broken = Broken::below(path);
    for error in validator.iter_errors(&value) {
        broken.add(&error);
        if problems.count() + broken.count() > MOST_VIOLATIONS {
            break;
        }
    }
    broken.into_list().into_iter().for_each(|violation| problems.push(violation));
}
