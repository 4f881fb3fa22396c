//! [`kea_core::Layout::Arguments`]: each argument against its JSON schema.

use jsonschema::{
    Draft, ValidationError,
    error::{TypeKind, ValidationErrorKind as Broken},
};
use kea_core::{Function, management::Violation};
use serde::de::DeserializeSeed;
use serde_json::{Value, value::RawValue};

use super::{
    CompileError, Rejection,
    explain::{self, expected_field, give},
    json::{self, Raw},
    plan::Names,
    schema,
    strict::Strict,
    words::{self, Path, Problems},
};

/// Longest piece of a schema that a violation repeats, in characters.
const LONGEST_QUOTE: usize = 160;

/// The arguments of a function.
#[derive(Debug)]
pub(crate) struct Arguments {
    names: Names,
    validators: Vec<jsonschema::Validator>,
}

impl Arguments {
    pub(crate) fn of(function: &Function) -> Result<Self, CompileError> {
        let validator = |field| {
            let schema = schema::of_field(field);
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
            options.build(&schema).map_err(|error| CompileError::Schema {
                function: function.name.clone(),
                input: field.name.clone(),
                why: error.to_string(),
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
    for error in validator.iter_errors(&value) {
        if problems.is_full() {
            return;
        }
        report(&error, path, problems);
    }
}

fn report(error: &ValidationError<'_>, path: &Path<'_>, problems: &mut Problems) {
    if let Some(branch) = meant_branch(error) {
        return branch.iter().for_each(|error| report(error, path, problems));
    }
    let at = format!("{path}{}", error.instance_path().as_str());
    let received = words::received_value(error.instance());
    let mut add = |pointer: String, expected: String, received: String, detail: String| {
        problems.push(Violation { pointer, expected, received, detail });
    };
    match error.kind() {
        Broken::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let pointer = format!("{at}/{}", words::escaped(name));
            add(pointer, "a value".into(), "nothing".into(), format!("give `{name}`"));
        }
        Broken::AdditionalProperties { unexpected } | Broken::UnevaluatedProperties { unexpected } => {
            for name in unexpected {
                let value = error.instance().get(name).map_or_else(|| "a value".into(), words::received_value);
                let pointer = format!("{at}/{}", words::escaped(name));
                add(pointer, "no such property".into(), value, format!("remove `{name}`"));
            }
        }
        kind => add(at, expected(kind), received, detail(error)),
    }
}

/// The one alternative of an `anyOf` or `oneOf` that was meant: the only one whose type is that of the value.
fn meant_branch<'e>(error: &'e ValidationError<'_>) -> Option<&'e [ValidationError<'static>]> {
    let (Broken::AnyOf { context } | Broken::OneOfNotValid { context }) = error.kind() else {
        return None;
    };
    let is_other_type = |branch: &&Vec<ValidationError<'static>>| {
        let here = |inner: &ValidationError<'_>| inner.instance_path() == error.instance_path();
        branch.iter().any(|inner| matches!(inner.kind(), Broken::Type { .. }) && here(inner))
    };
    let is_null = |branch: &&Vec<ValidationError<'static>>| {
        branch.iter().any(|inner| matches!(inner.kind(), Broken::Type { kind } if type_names(kind) == "null"))
    };
    let mut meant = context.iter().filter(|branch| !is_other_type(branch));
    let mut not_null = context.iter().filter(|branch| !is_null(branch));
    match (meant.next(), meant.next()) {
        (Some(only), None) => Some(only),
        (None, _) => match (not_null.next(), not_null.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        },
        _ => None,
    }
}

fn type_names(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(types) => {
            let mut names: Vec<String> = types.iter().map(|one| one.to_string()).collect();
            names.sort_by_key(|name| name == "null");
            names.join(" or ")
        }
    }
}

fn expected(kind: &Broken) -> String {
    let json = |value: &Value| words::cut(&value.to_string(), LONGEST_QUOTE);
    match kind {
        Broken::Type { kind } => type_names(kind),
        Broken::Minimum { limit } => format!("at least {limit}"),
        Broken::Maximum { limit } => format!("at most {limit}"),
        Broken::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Broken::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Broken::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Broken::MinLength { limit } => format!("at least {limit} characters"),
        Broken::MaxLength { limit } => format!("at most {limit} characters"),
        Broken::MinItems { limit } => format!("at least {limit} items"),
        Broken::MaxItems { limit } => format!("at most {limit} items"),
        Broken::MinProperties { limit } => format!("at least {limit} properties"),
        Broken::MaxProperties { limit } => format!("at most {limit} properties"),
        Broken::AdditionalItems { limit } => format!("at most {limit} items"),
        Broken::Constant { expected_value } => json(expected_value),
        Broken::Enum { options } => format!("one of {}", json(options).trim_matches(['[', ']'])),
        Broken::Format { format } => format!("text of format {format}"),
        Broken::Pattern { pattern } => format!("text that matches {}", words::cut(pattern, LONGEST_QUOTE)),
        Broken::UniqueItems => "no item twice".into(),
        Broken::AnyOf { .. } | Broken::OneOfNotValid { .. } => "a value that fits one of the alternatives".into(),
        Broken::OneOfMultipleValid { .. } => "a value that fits one alternative only".into(),
        Broken::FalseSchema => "no value".into(),
        other => format!("a value that fits `{}`", other.keyword()),
    }
}

/// What the validator says, without a repetition of a long value.
fn detail(error: &ValidationError<'_>) -> String {
    words::cut(&error.masked().to_string(), 2 * LONGEST_QUOTE)
}
