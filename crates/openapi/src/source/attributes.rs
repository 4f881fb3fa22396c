//! Attributes of dataclasses, typed dicts, named tuples and pydantic models, and the schemas of those.

use ruff_python_ast::{Arguments, Expr, Stmt, StmtAnnAssign, StmtClassDef};
use serde_json::{Map, Value, json};

use super::{
    annotation::{Types, elements, nullable},
    class::{self, Kind},
    docstring::{self, Docstring},
    extra::{self, Extra, Fallback},
    literal,
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
struct Unwrapped<'e> {
    hint: &'e Expr,
    required: Option<bool>,
    skipped: bool,
}

impl<'a> Types<'_, 'a> {
    /// The schema of a class whose instances are objects in JSON.
    pub(super) fn record(&mut self, module: ModuleId, class: &'a StmtClassDef, kind: Kind, depth: usize) -> Value {
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
        if let Some(words) = docstring::of(&class.body).map(|words| words.summary()).filter(|words| !words.is_empty()) {
            schema.insert("description".into(), words.into());
        }
        Value::Object(schema)
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
        for (module, class) in class::lineage(self.project, module, class).into_iter().rev() {
            for attribute in self.own_attributes(module, class, kind, depth) {
                match found.iter_mut().find(|known| known.name == attribute.name) {
                    Some(known) => *known = attribute,
                    None => found.push(attribute),
                }
            }
        }
        found
    }

    fn own_attributes(&mut self, module: ModuleId, class: &StmtClassDef, kind: Kind, depth: usize) -> Vec<Attribute> {
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
        if unwrapped.skipped || private {
            return None;
        }
        let mut schema = self.schema(module, unwrapped.hint, depth + 1);
        let mut extra = self.said_of(module, Some(unwrapped.hint), assign.value.as_deref());
        if extra.hidden && !self.writing {
            return None;
        }
        extra.describe(&words.of(name));
        if extra.default == Fallback::Known(Value::Null) {
            schema = nullable(schema);
        }
        extra.apply(&mut schema);
        let required = match kind {
            Kind::TypedDict => unwrapped.required.unwrap_or(words.total),
            _ => self.writing || extra.default == Fallback::Required,
        };
        let alias = extra.alias.filter(|_| kind == Kind::Pydantic && !self.writing);
        Some(Attribute { name: name.to_owned(), key: alias.unwrap_or_else(|| name.to_owned()), schema, required })
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
    fn unwrapped<'e>(&self, module: ModuleId, hint: &'e Expr) -> Unwrapped<'e> {
        let mut found = Unwrapped { hint, required: None, skipped: false };
        loop {
            let (head, inner) = match found.hint {
                Expr::Subscript(subscript) => (&*subscript.value, Some(&*subscript.slice)),
                head => (head, None),
            };
            let name = self.project.external(module, head).unwrap_or_default();
            match name.rsplit('.').next().unwrap_or_default() {
                "Required" => found.required = Some(true),
                "NotRequired" => found.required = Some(false),
                "ReadOnly" | "Final" | "InitVar" => {}
                "ClassVar" | "KW_ONLY" => found.skipped = true,
                _ => return found,
            }
            match inner {
                Some(inner) => found.hint = inner,
                None => return found,
            }
        }
    }

    /// Whether an object of the class may have more than its attributes.
    fn takes_more(&self, module: ModuleId, class: &'a StmtClassDef, kind: Kind) -> bool {
        match kind {
            Kind::Pydantic => {
                let lineage = class::lineage(self.project, module, class);
                lineage
                    .into_iter()
                    .find_map(|(module, class)| self.extra_setting(module, class))
                    .map_or(self.lenient, |extra| extra == "allow" || (self.lenient && extra == "ignore"))
            }
            _ => false,
        }
    }

    /// `extra` of a pydantic model's configuration, in any of its three forms.
    fn extra_setting(&self, module: ModuleId, class: &StmtClassDef) -> Option<String> {
        let text = |expr: &Expr| match literal::value(self.project, module, expr) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let keyword = |arguments: &Arguments| arguments.find_keyword("extra").and_then(|keyword| text(&keyword.value));
        class.arguments.as_deref().and_then(keyword).or_else(|| {
            class.body.iter().find_map(|statement| match statement {
                Stmt::Assign(assign) if assigns(&assign.targets, "model_config") => match &*assign.value {
                    Expr::Call(call) => keyword(&call.arguments),
                    other => literal::value(self.project, module, other)?.get("extra")?.as_str().map(str::to_owned),
                },
                Stmt::ClassDef(config) if config.name.as_str() == "Config" => config
                    .body
                    .iter()
                    .filter_map(Stmt::as_assign_stmt)
                    .find_map(|assign| assigns(&assign.targets, "extra").then(|| text(&assign.value)).flatten()),
                _ => None,
            })
        })
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

fn assigns(targets: &[Expr], name: &str) -> bool {
    targets.iter().any(|target| target.as_name_expr().is_some_and(|target| target.id.as_str() == name))
}

fn keyword_is(arguments: Option<&Arguments>, name: &str, value: bool) -> bool {
    let keyword = arguments.and_then(|arguments| arguments.find_keyword(name));
    keyword.and_then(|keyword| keyword.value.as_boolean_literal_expr()).is_some_and(|literal| literal.value == value)
}
