//! Checks a body against the JSON schema of its type and says of each wrong field what was expected and what came.
//!
//! The schema is made from the same type as the document's, so the document promises exactly what is checked.

use jsonschema::{
    ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use kea_core::management::Violation;
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

/// Most violations that are told of one body: more help nobody.
const MOST: usize = 32;

/// Longest value that is repeated to the caller, in characters.
const LONGEST: usize = 60;

/// A compiled schema.
pub(crate) struct SchemaCheck {
    schema: Value,
    validator: Validator,
}

impl SchemaCheck {
    /// The check of `T`'s schema.
    pub(crate) fn of<T: JsonSchema>() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.transforms.push(Box::new(RecursiveTransform(one_enum)));
        });
        let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        let validator = jsonschema::validator_for(&schema).expect("schemas made from types are valid");
        Self { schema, validator }
    }

    /// What is wrong with a body; nothing where it fits.
    pub(crate) fn violations(&self, body: &Value) -> Vec<Violation> {
        let mut found = Vec::new();
        for error in self.validator.iter_errors(body).take(MOST) {
            self.collect(&error, &mut found);
        }
        found
    }

    fn collect(&self, error: &ValidationError<'_>, found: &mut Vec<Violation>) {
        match error.kind() {
            ValidationErrorKind::AnyOf { context } => match meant(error, context) {
                Some(branch) => branch.iter().for_each(|inner| self.collect(inner, found)),
                None => found.push(violation(error, types_of(context))),
            },
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                found.extend(unexpected.iter().map(|name| self.unknown_field(error, name)));
            }
            ValidationErrorKind::Required { property } => found.push(missing_field(error, property)),
            _ => found.push(violation(error, self.expected(error))),
        }
    }

    /// What the schema at hand asks for, in words.
    fn expected(&self, error: &ValidationError<'_>) -> String {
        match error.kind() {
            ValidationErrorKind::Type { kind } => type_name(kind),
            ValidationErrorKind::Enum { options } => listed(options),
            ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
            ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
            ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters"),
            ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters"),
            ValidationErrorKind::Not { schema } => format!("anything but {}", listed(&schema["enum"])),
            // A pattern is read by people in the words of its schema.
            _ => self.described(error).map_or_else(|| error.to_string(), str::to_owned),
        }
    }

    /// The description of the schema whose keyword was violated.
    fn described(&self, error: &ValidationError<'_>) -> Option<&str> {
        self.parent(error)?.get("description")?.as_str()
    }

    fn parent(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let (parent, _keyword) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)
    }

    fn unknown_field(&self, error: &ValidationError<'_>, name: &str) -> Violation {
        let fields = self.parent(error).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        let names: Vec<&str> = fields.map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default();
        Violation {
            pointer: joined(error.instance_path().as_str(), name),
            expected: format!("one of the fields `{}`", names.join("`, `")),
            received: error.instance().get(name).map_or_else(String::new, describe),
            detail: format!("there is no field `{name}` here"),
        }
    }
}

/// The branch that the caller meant: the one whose type the value has.
fn meant<'a>(
    error: &ValidationError<'_>,
    context: &'a [Vec<ValidationError<'static>>],
) -> Option<&'a Vec<ValidationError<'static>>> {
    let other_type = |inner: &ValidationError<'_>| {
        matches!(inner.kind(), ValidationErrorKind::Type { .. }) && inner.instance_path() == error.instance_path()
    };
    context.iter().find(|branch| !branch.iter().any(other_type))
}

/// The types of all branches. `null` is left out: it says no more than that the field may be left out.
fn types_of(context: &[Vec<ValidationError<'static>>]) -> String {
    let kinds = context.iter().flatten().filter_map(|inner| match inner.kind() {
        ValidationErrorKind::Type { kind } => Some(type_name(kind)),
        _ => None,
    });
    kinds.filter(|name| name != "null").collect::<Vec<_>>().join(" or ")
}

fn type_name(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(many) => {
            let names = many.into_iter().map(|one| one.to_string()).filter(|name| name != "null");
            names.collect::<Vec<_>>().join(" or ")
        }
    }
}

fn listed(options: &Value) -> String {
    let text = |option: &Value| option.as_str().map_or_else(|| option.to_string(), str::to_owned);
    let options = options.as_array().into_iter().flatten().filter(|option| !option.is_null());
    options.map(|option| format!("`{}`", text(option))).collect::<Vec<_>>().join(", ")
}

fn missing_field(error: &ValidationError<'_>, property: &Value) -> Violation {
    let name = property.as_str().unwrap_or_default();
    Violation {
        pointer: joined(error.instance_path().as_str(), name),
        expected: "a value".into(),
        received: "nothing".into(),
        detail: format!("the field `{name}` is missing"),
    }
}

fn violation(error: &ValidationError<'_>, expected: String) -> Violation {
    let pointer = error.instance_path().as_str().to_owned();
    let received = describe(error.instance());
    let place = if pointer.is_empty() { "the body" } else { &pointer };
    let detail = format!("{place}: expected {expected}, received {received}");
    Violation { pointer, expected, received, detail }
}

fn joined(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A value for messages: scalars as they are, others by their kind.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(elements) => format!("an array of {}", elements.len()),
        Value::Object(_) => "an object".into(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let text = value.to_string();
            match text.char_indices().nth(LONGEST) {
                Some((cut, _)) => format!("`{}…`", &text[..cut]),
                None => format!("`{text}`"),
            }
        }
    }
}

/// Makes one `enum` of an enumeration whose variants are described one by one, which schemars writes as alternatives.
pub(crate) fn one_enum(schema: &mut Schema) {
    let Some(alternatives) = schema.get("oneOf").and_then(Value::as_array) else { return };
    let words = alternatives.iter().map(words_of).collect::<Option<Vec<_>>>().map(|words| words.concat());
    let Some(words) = words else { return };
    schema.remove("oneOf");
    schema.insert("type".into(), json!("string"));
    schema.insert("enum".into(), Value::Array(words));
}

fn words_of(alternative: &Value) -> Option<Vec<Value>> {
    if alternative.get("type") != Some(&json!("string")) {
        return None;
    }
    let constant = alternative.get("const").map(|word| vec![word.clone()]);
    constant.or_else(|| alternative.get("enum").and_then(Value::as_array).cloned())
}

/// Applies the settings' transforms to a schema that is used on its own.
pub(crate) fn finished(generator: &mut schemars::SchemaGenerator, mut schema: Schema) -> Value {
    generator.transforms_mut().for_each(|transform| transform.transform(&mut schema));
    schema.to_value()
}
