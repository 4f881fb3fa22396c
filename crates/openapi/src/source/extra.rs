//! What `Field(...)`, `field(...)` and the metadata of `Annotated[...]` say beyond a type.

use ruff_python_ast::{Arguments, Expr, ExprCall};
use serde_json::{Map, Value, json};

use super::{
    known, literal,
    project::{ModuleId, Project},
};

/// What is said beyond the type.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Keywords of the schema.
    keywords: Map<String, Value>,
    /// Its name in JSON, where that is another one.
    pub(super) alias: Option<String>,
    /// The same where it is written.
    pub(super) written: Option<String>,
    /// Whether it is never written.
    pub(super) excluded: bool,
    /// Whether it may be left out, and what then is taken.
    pub(super) default: Fallback,
    /// Whether it is no parameter of the constructor.
    pub(super) hidden: bool,
    /// Keywords that were understood but have no form in OpenAPI.
    pub(super) dropped: Vec<String>,
}

/// Whether there is a default.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Fallback {
    /// None: it has to be given.
    #[default]
    Required,
    /// A value.
    Known(Value),
    /// A value that is computed.
    Computed,
}

/// Whether an expression is a call of `Field` or `field`.
pub(super) fn field_call<'e>(project: &Project<'_>, module: ModuleId, expr: &'e Expr) -> Option<&'e ExprCall> {
    let call = expr.as_call_expr()?;
    project.external(module, &call.func).is_some_and(|name| known::is_field(&name)).then_some(call)
}

/// The default that an expression stands for.
fn default_of(project: &Project<'_>, module: ModuleId, expr: &Expr) -> Fallback {
    match expr {
        Expr::EllipsisLiteral(_) => Fallback::Required,
        expr => literal::value(project, module, expr).map_or(Fallback::Computed, Fallback::Known),
    }
}

impl Extra {
    /// A default and nothing else.
    pub(super) fn of_default(project: &Project<'_>, module: ModuleId, value: &Expr) -> Self {
        Self { default: default_of(project, module, value), ..Self::default() }
    }

    /// What the arguments of `Field`, `field`, `conint` and the like say. Their first positional one is the default.
    pub(super) fn of_call(project: &Project<'_>, module: ModuleId, arguments: &Arguments) -> Self {
        let mut extra = Self::default();
        if let Some(first) = arguments.args.first() {
            extra.default = default_of(project, module, first);
        }
        for keyword in &arguments.keywords {
            if let Some(name) = &keyword.arg {
                extra.add(project, module, name.as_str(), &keyword.value);
            }
        }
        extra
    }

    /// What one element of `Annotated[type, ...]` says.
    pub(super) fn add_metadata(&mut self, project: &Project<'_>, module: ModuleId, metadata: &Expr) {
        match metadata {
            Expr::StringLiteral(words) => drop(self.keywords.insert("description".into(), words.value.to_str().into())),
            Expr::Call(call) => {
                let Some(name) = project.external(module, &call.func) else { return };
                if known::is_field(&name) {
                    self.merge(Self::of_call(project, module, &call.arguments));
                } else {
                    self.add_annotated_type(project, module, &name, &call.arguments);
                }
            }
            _ => {}
        }
    }

    /// `Ge(0)`, `Interval(ge=0)`, `Len(1, 3)` of annotated_types and `Doc("words")` of typing_extensions.
    fn add_annotated_type(&mut self, project: &Project<'_>, module: ModuleId, name: &str, arguments: &Arguments) {
        let (_, name) = name.rsplit_once('.').unwrap_or(("", name));
        let keywords: &[&str] = match name {
            "Ge" => &["ge"],
            "Gt" => &["gt"],
            "Le" => &["le"],
            "Lt" => &["lt"],
            "MultipleOf" => &["multiple_of"],
            "MinLen" => &["min_length"],
            "MaxLen" => &["max_length"],
            "Len" => &["min_length", "max_length"],
            "Doc" => &["description"],
            "Interval" | "StringConstraints" => &[],
            _ => return,
        };
        for (keyword, value) in keywords.iter().zip(&arguments.args) {
            self.add(project, module, keyword, value);
        }
        for keyword in &arguments.keywords {
            if let Some(name) = &keyword.arg {
                self.add(project, module, name.as_str(), &keyword.value);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.keywords.extend(other.keywords);
        self.alias = other.alias.or(self.alias.take());
        self.written = other.written.or(self.written.take());
        self.excluded |= other.excluded;
        self.hidden |= other.hidden;
        self.dropped.extend(other.dropped);
        if other.default != Fallback::Required {
            self.default = other.default;
        }
    }

    fn add(&mut self, project: &Project<'_>, module: ModuleId, keyword: &str, expr: &Expr) {
        let value = literal::value(project, module, expr);
        match (keyword, value) {
            ("default", _) => self.default = default_of(project, module, expr),
            ("default_factory" | "factory", _) => self.default = factory_default(project, module, expr),
            ("init", Some(Value::Bool(init))) => self.hidden = !init,
            ("exclude", Some(Value::Bool(exclude))) => self.excluded = exclude,
            ("alias", Some(Value::String(alias))) => {
                self.alias.get_or_insert_with(|| alias.clone());
                self.written.get_or_insert(alias);
            }
            ("validation_alias", Some(Value::String(alias))) => self.alias = Some(alias),
            ("validation_alias", None) => self.alias = first_choice(expr).or(self.alias.take()),
            ("serialization_alias", Some(Value::String(alias))) => self.written = Some(alias),
            ("examples", Some(Value::Array(examples))) => {
                self.keywords.extend(examples.into_iter().next().map(|example| ("example".to_owned(), example)));
            }
            ("pattern" | "regex", Some(Value::String(pattern))) => self.add_pattern(pattern),
            (keyword, Some(value)) => self.keywords.extend(schema_keywords(keyword, value)),
            (keyword, None) if schema_keywords(keyword, json!(1)).next().is_some() => {
                self.dropped.push(keyword.to_owned())
            }
            _ => {}
        }
    }

    /// A pattern that other languages read too; Python's own forms are left to the model.
    fn add_pattern(&mut self, pattern: String) {
        let portable = jsonschema::validator_for(&json!({"pattern": pattern})).is_ok();
        if portable {
            self.keywords.insert("pattern".into(), pattern.into());
        } else {
            self.dropped.push("pattern".into());
        }
    }

    /// The description, where one is given.
    pub(super) fn describe(&mut self, words: &str) {
        if !words.is_empty() {
            self.keywords.entry("description").or_insert_with(|| words.into());
        }
    }

    /// Puts what is said into the schema of the type.
    pub(super) fn apply(&self, schema: &mut Value) {
        for (keyword, value) in &self.keywords {
            match keyword.as_str() {
                "description" | "title" | "example" => insert(schema, keyword, value.clone()),
                keyword => constrain(schema, keyword, value),
            }
        }
        if let Fallback::Known(value) = &self.default {
            insert(schema, "default", value.clone());
        }
    }
}

/// The first name of `AliasChoices("a", "b")`.
fn first_choice(expr: &Expr) -> Option<String> {
    let first = expr.as_call_expr()?.arguments.args.first()?;
    Some(first.as_string_literal_expr()?.value.to_str().to_owned())
}

/// `default_factory=list` and `dict` have a literal form, and so may what a lambda gives.
fn factory_default(project: &Project<'_>, module: ModuleId, expr: &Expr) -> Fallback {
    let known = match expr {
        Expr::Lambda(lambda) => literal::value(project, module, &lambda.body),
        Expr::Name(name) => literal::empty(name.id.as_str()),
        _ => None,
    };
    known.map_or(Fallback::Computed, Fallback::Known)
}

/// The keywords of OpenAPI 3.0 for one of pydantic's, with lengths still in its words.
fn schema_keywords(keyword: &str, value: Value) -> impl Iterator<Item = (String, Value)> {
    let exclusive =
        |bound: &str, flag: &str| vec![(bound.to_owned(), value.clone()), (flag.to_owned(), Value::Bool(true))];
    let number = value.is_number();
    let found = match keyword {
        "ge" if number => vec![("minimum".to_owned(), value)],
        "le" if number => vec![("maximum".to_owned(), value)],
        "gt" if number => exclusive("minimum", "exclusiveMinimum"),
        "lt" if number => exclusive("maximum", "exclusiveMaximum"),
        "multiple_of" if value.as_f64().is_some_and(|step| step > 0.0) => vec![("multipleOf".to_owned(), value)],
        "min_length" | "min_items" if value.is_u64() => vec![("min_length".to_owned(), value)],
        "max_length" | "max_items" if value.is_u64() => vec![("max_length".to_owned(), value)],
        "description" | "title" if value.is_string() => vec![(keyword.to_owned(), value)],
        "example" => vec![(keyword.to_owned(), value)],
        _ => Vec::new(),
    };
    found.into_iter()
}

/// Adds a keyword where the schema's type has it: a bound to numbers, a length to what has one.
fn constrain(schema: &mut Value, keyword: &str, value: &Value) {
    if let Some(members) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        members.iter_mut().for_each(|member| constrain(member, keyword, value));
        return;
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let keyword = match (keyword, kind) {
        ("min_length", "string") => "minLength",
        ("min_length", "array") => "minItems",
        ("min_length", "object") => "minProperties",
        ("max_length", "string") => "maxLength",
        ("max_length", "array") => "maxItems",
        ("max_length", "object") => "maxProperties",
        ("pattern", "string") => "pattern",
        ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf", "integer" | "number") => {
            keyword
        }
        _ => return,
    };
    insert(schema, keyword, value.clone());
}

fn insert(schema: &mut Value, keyword: &str, value: Value) {
    if let Some(object) = schema.as_object_mut() {
        object.insert(keyword.to_owned(), value);
    }
}
