//! What a JSON schema finds wrong with a value, in KEA's words: one violation for each place.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use kea_core::management::Violation;
use serde_json::Value;

use super::words::{self, Path};

/// Longest piece of a schema that a violation repeats, in characters.
const LONGEST_QUOTE: usize = 160;

/// How much of what is expected a violation says. Who lists the values says their type with them, and a value of another type
/// breaks nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Part,
    Type,
    Values,
}

/// Violations of one value, by the place that each is about.
pub(crate) struct Broken<'a> {
    path: &'a Path<'a>,
    list: Vec<(Says, Violation)>,
}

impl<'a> Broken<'a> {
    /// None yet, of a value that lies at `path`.
    pub(crate) fn below(path: &'a Path<'a>) -> Self {
        Self { path, list: Vec::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn into_list(self) -> Vec<Violation> {
        self.list.into_iter().map(|(_, violation)| violation).collect()
    }

    /// Adds what `error` says.
    pub(crate) fn add(&mut self, error: &ValidationError<'_>) {
        if let Some(branch) = meant_branch(error) {
            return branch.iter().for_each(|error| self.add(error));
        }
        let at = format!("{}{}", self.path, error.instance_path().as_str());
        match error.kind() {
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                self.member(&at, name, "a value", "nothing".into(), format!("give `{name}`"));
            }
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                for name in unexpected {
                    let value = error.instance().get(name).map_or_else(|| "a value".into(), words::received_value);
                    self.member(&at, name, "no such property", value, format!("remove `{name}`"));
                }
            }
            kind => {
                let received = words::received_value(error.instance());
                let violation = Violation { pointer: at, expected: expected(kind), received, detail: detail(error) };
                self.push(Says::of(kind), violation);
            }
        }
    }

    fn member(&mut self, at: &str, name: &str, expected: &str, received: String, detail: String) {
        let pointer = format!("{at}/{}", words::escaped(name));
        self.push(Says::Part, Violation { pointer, expected: expected.into(), received, detail });
    }

    /// Adds a violation; to what is said of the same place, where that says no more.
    fn push(&mut self, says: Says, violation: Violation) {
        match self.list.iter_mut().find(|(_, known)| known.pointer == violation.pointer) {
            None => self.list.push((says, violation)),
            Some((known, _)) if says < *known => {}
            Some(known) if says > known.0 => *known = (says, violation),
            Some((_, known)) if known.expected == violation.expected => {}
            Some((_, known)) => {
                known.expected = format!("{} and {}", known.expected, violation.expected);
                known.detail = format!("{}; {}", known.detail, violation.detail);
            }
        }
    }
}

impl Says {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Enum { .. } | Kind::Constant { .. } => Self::Values,
            Kind::Type { .. } => Self::Type,
            _ => Self::Part,
        }
    }
}

/// The one alternative of an `anyOf` or `oneOf` that was meant: the only one whose type is that of the value.
fn meant_branch<'e>(error: &'e ValidationError<'_>) -> Option<&'e [ValidationError<'static>]> {
    let (Kind::AnyOf { context } | Kind::OneOfNotValid { context }) = error.kind() else {
        return None;
    };
    let is_other_type = |branch: &&Vec<ValidationError<'static>>| {
        let here = |inner: &ValidationError<'_>| inner.instance_path() == error.instance_path();
        branch.iter().any(|inner| matches!(inner.kind(), Kind::Type { .. }) && here(inner))
    };
    let is_null = |branch: &&Vec<ValidationError<'static>>| {
        branch.iter().any(|inner| matches!(inner.kind(), Kind::Type { kind } if type_names(kind) == "null"))
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

/// What a keyword asks for.
pub(crate) fn expected(kind: &Kind) -> String {
    let json = |value: &Value| words::cut(&value.to_string(), LONGEST_QUOTE);
    match kind {
        Kind::Type { kind } => type_names(kind),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::MinProperties { limit } => format!("at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("at most {limit} properties"),
        Kind::AdditionalItems { limit } => format!("at most {limit} items"),
        Kind::Constant { expected_value } => json(expected_value),
        Kind::Enum { options } => format!("one of {}", json(options).trim_matches(['[', ']'])),
        Kind::Format { format } => format!("text of format {format}"),
        Kind::Pattern { pattern } => format!("text that matches {}", words::cut(pattern, LONGEST_QUOTE)),
        Kind::UniqueItems => "no item twice".into(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "a value that fits one of the alternatives".into(),
        Kind::OneOfMultipleValid { .. } => "a value that fits one alternative only".into(),
        Kind::FalseSchema => "no value".into(),
        other => format!("a value that fits `{}`", other.keyword()),
    }
}

/// What the validator says, without a repetition of a long value.
fn detail(error: &ValidationError<'_>) -> String {
    words::cut(&error.masked().to_string(), 2 * LONGEST_QUOTE)
}
