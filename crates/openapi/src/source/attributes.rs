//! Attributes of dataclasses, typed dicts, named tuples and pydantic models, and the schemas of those.

use ruff_python_ast::{Arguments, Expr, Stmt, StmtAnnAssign, StmtClassDef};
use serde_json::{Map, Value, json};

use super::{
    annotation::{Types, elements, is_nullable, nullable},
    class::{self, Kind},
    docstring::{self, Docstring},
    extra::{self, Extra, Fallback},
    generics,
    project::ModuleId,
};

/// One attribute of a record.
#[derive(Clone, Debug)]
pub(super) struct Attribute {
    /// Its name in Python.
    name: String,
    /// Its name in JSON.
    pub(super) key: String,
    pub(super) schema: Value,
    pub(super) required: bool,
}

/// A type hint without what is wrapped around it.
pub(super) struct Unwrapped<'e> {
    pub(super) hint: &'e Expr,
    /// Whether a key of a typed dict has to be there, where it says so itself.
    pub(super) required: Option<bool>,
    skipped: bool,
    /// Whether it is given to the constructor and kept nowhere.
    passing: bool,
}

impl Attribute {
    /// One that is written and never read.
    pub(super) fn computed(name: String, key: String, schema: Value) -> Self {
        Self { name, key, schema, required: true }
    }
}

impl<'a> Types<'_, 'a> {
    /// The schema of a class whose instances are objects in JSON, or what a pydantic `RootModel` holds.
    pub(super) fn record(&mut self, module: ModuleId, class: &'a StmtClassDef, kind: Kind, depth: usize) -> Value {
        if let Some((scope, module, root)) = self.root_of(module, class, depth) {
            let mut schema = self.within(scope, |types| types.schema(module, root, depth + 1));
            describe(class, &mut schema);
            return schema;
        }
        let attributes = self.attributes(module, class, kind, depth);
        let required: Vec<&str> = attributes.iter().filter(|a| a.required).map(|a| a.key.as_str()).collect();
        let mut schema = Map::from_iter([("type".to_owned(), json!("object"))]);
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        let properties = attributes.iter().map(|attribute| (attribute.key.clone(), attribute.schema.clone()));
        schema.insert("properties".into(), Value::Object(properties.collect()));
        if !self.takes_more(module, class, kind) {
            schema.insert("additionalProperties".into(), false.into());
        }
        let mut schema = Value::Object(schema);
        describe(class, &mut schema);
        schema
    }

    /// The attributes of a class, those of its base classes first.
    pub(super) fn attributes(
        &mut self,
        module: ModuleId,
        class: &'a StmtClassDef,
        kind: Kind,
        depth: usize,
    ) -> Vec<Attribute> {
        let mut found: Vec<Attribute> = Vec::new();
        let lineage = class::lineage(self.project, module, class);
        let scopes = self.scopes_of_lineage(&lineage, depth);
        let spelling = if kind == Kind::Pydantic { self.spelling(module, class) } else { None };
        let outer = std::mem::replace(&mut self.spelling, spelling);
        let is_first = kind == Kind::Pydantic && self.is_of_first_pydantic(&lineage);
        let outer_first = std::mem::replace(&mut self.first_pydantic, is_first);
        for (module, class) in lineage.into_iter().rev() {
            let scope = generics::scope_in(&scopes, class);
            for attribute in self.within(scope, |types| types.own_attributes(module, class, kind, depth)) {
                match found.iter_mut().find(|known| known.name == attribute.name) {
                    Some(known) => *known = attribute,
                    None => found.push(attribute),
                }
            }
        }
        self.spelling = outer;
        self.first_pydantic = outer_first;
        found
    }

    fn own_attributes(
        &mut self,
        module: ModuleId,
        class: &'a StmtClassDef,
        kind: Kind,
        depth: usize,
    ) -> Vec<Attribute> {
        let words = docstring::of(&class.body).unwrap_or_default();
        let total = !keyword_is(class.arguments.as_deref(), "total", false);
        let mut found = Vec::new();
        for (at, statement) in class.body.iter().enumerate() {
            let Stmt::AnnAssign(assign) = statement else { continue };
            if self.exhausted() {
                break;
            }
            let below = docstring::of(class.body.get(at + 1..).unwrap_or_default());
            found.extend(self.attribute(module, assign, kind, depth, &Words { class: &words, below, total }));
        }
        if kind == Kind::Pydantic && self.writing {
            found.extend(self.computed_attributes(module, class, depth));
        }
        found
    }

    fn attribute(
        &mut self,
        module: ModuleId,
        assign: &StmtAnnAssign,
        kind: Kind,
        depth: usize,
        words: &Words<'_>,
    ) -> Option<Attribute> {
        let name = assign.target.as_name_expr()?.id.as_str();
        let unwrapped = self.unwrapped(module, &assign.annotation);
        let private = kind == Kind::Pydantic && (name.starts_with('_') || name == "model_config");
        if unwrapped.skipped || private || (unwrapped.passing && self.writing) {
            return None;
        }
        let mut schema = self.schema(module, unwrapped.hint, depth + 1);
        let mut extra = self.said_of(module, Some(unwrapped.hint), assign.value.as_deref());
        if (extra.hidden && !self.writing) || (extra.excluded && self.writing) {
            return None;
        }
        extra.describe(&words.of(name));
        if extra.default == Fallback::Known(Value::Null) {
            schema = nullable(schema);
        }
        extra.apply(&mut schema);
        let is_left_out = self.first_pydantic && assign.value.is_none() && is_nullable(&schema);
        let required = match kind {
            Kind::TypedDict => unwrapped.required.unwrap_or(words.total),
            _ if is_left_out => self.writing,
            _ => self.writing || extra.default == Fallback::Required,
        };
        let key = if kind == Kind::Pydantic { self.key_of(name, &mut extra) } else { name.to_owned() };
        Some(Attribute { name: name.to_owned(), key, schema, required })
    }

    /// What is said of an attribute or a parameter by `Annotated`, by `Field(...)` and by its default.
    pub(super) fn said_of(&mut self, module: ModuleId, hint: Option<&Expr>, value: Option<&Expr>) -> Extra {
        let mut said = match value.map(|value| (value, extra::field_call(self.project, module, value))) {
            Some((_, Some(call))) => Extra::of_call(self.project, module, &call.arguments),
            Some((value, None)) => Extra::of_default(self.project, module, value),
            None => Extra::default(),
        };
        self.note_dropped(&said);
        if let Some(metadata) = hint.and_then(|hint| self.metadata(module, hint)) {
            // The schema has it already; the alias and the default of a `Field` within are not the schema's.
            let inner = self.extra(module, metadata);
            said.alias = said.alias.or(inner.alias);
            said.written = said.written.or(inner.written);
            said.excluded |= inner.excluded;
            if value.is_none() {
                said.default = inner.default;
            }
        }
        said
    }

    /// The metadata of `Annotated[type, metadata...]`.
    fn metadata<'e>(&self, module: ModuleId, hint: &'e Expr) -> Option<&'e [Expr]> {
        let subscript = hint.as_subscript_expr()?;
        let name = self.project.external(module, &subscript.value)?;
        elements(&subscript.slice).get(1..).filter(|_| name.ends_with(".Annotated"))
    }

    /// The hint within `Required[...]`, `ReadOnly[...]` and the like.
    pub(super) fn unwrapped<'e>(&self, module: ModuleId, hint: &'e Expr) -> Unwrapped<'e> {
        let mut found = Unwrapped { hint, required: None, skipped: false, passing: false };
        loop {
            let (head, inner) = match found.hint {
                Expr::Subscript(subscript) => (&*subscript.value, Some(&*subscript.slice)),
                head => (head, None),
            };
            let name = self.project.external(module, head).unwrap_or_default();
            match name.rsplit('.').next().unwrap_or_default() {
                "Required" => found.required = Some(true),
                "NotRequired" => found.required = Some(false),
                "InitVar" => found.passing = true,
                "ReadOnly" | "Final" => {}
                "ClassVar" | "KW_ONLY" => found.skipped = true,
                _ => return found,
            }
            match inner {
                Some(inner) => found.hint = inner,
                None => return found,
            }
        }
    }
}

/// What is said of attributes in words.
struct Words<'d> {
    class: &'d Docstring,
    /// The string below the attribute.
    below: Option<Docstring>,
    /// Whether the keys of a typed dict are required.
    total: bool,
}

impl Words<'_> {
    fn of(&self, name: &str) -> String {
        let class = self.class.parameter(name);
        if class.is_empty() { self.below.as_ref().map(Docstring::summary).unwrap_or_default() } else { class }
    }
}

/// Adds what the class says of itself.
fn describe(class: &StmtClassDef, schema: &mut Value) {
    let words = docstring::of(&class.body).map(|words| words.summary()).filter(|words| !words.is_empty());
    if let (Some(words), Some(object)) = (words, schema.as_object_mut()) {
        object.insert("description".into(), words.into());
    }
}

fn keyword_is(arguments: Option<&Arguments>, name: &str, value: bool) -> bool {
    let keyword = arguments.and_then(|arguments| arguments.find_keyword(name));
    keyword.and_then(|keyword| keyword.value.as_boolean_literal_expr()).is_some_and(|literal| literal.value == value)
}
