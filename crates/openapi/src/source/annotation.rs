//! Type hints as schemas of OpenAPI 3.0. What a hint does not say is `{}`, with a note.

use ruff_python_ast::{Expr, ExprCall, Operator, StmtClassDef};
use ruff_python_parser::parse_expression;
use serde_json::{Value, json};

use super::{
    class::{self, Kind},
    extra::Extra,
    generics::{Scope, Size},
    known::{self, Generic},
    literal, nesting,
    project::{Meaning, ModuleId, Project},
    pydantic::Spelling,
};

/// Nesting of types that is followed. JSON readers stop at 128 levels, of which a type takes up to [`LEVELS`].
const DEPTH: usize = 16;

/// Levels of JSON that a type takes.
const LEVELS: usize = 5;

/// Schemas that are made for one contract: types that are made of types grow exponentially.
const SCHEMAS: usize = 20_000;

/// Bytes of a class that count as one schema.
const CLASS_TEXT: usize = 256;

/// Notes that are kept; a source with more of them is not read to the end by anyone.
const NOTES: usize = 100;

/// Reads type hints and collects what could not be found out.
pub(super) struct Types<'p, 'a> {
    pub(super) project: &'p Project<'a>,
    /// What could not be found out, a sentence each.
    pub(super) notes: Vec<String>,
    /// What is being read, for the notes, as ``predict`: argument `x``.
    pub(super) place: String,
    /// Whether instances are written rather than read: by the names of their attributes, and whole.
    pub(super) writing: bool,
    /// Whether pydantic models take more than they name unless they forbid it, as they do by themselves.
    pub(super) lenient: bool,
    /// Classes that are being read, to stop at those that contain themselves.
    pub(super) open: Vec<*const StmtClassDef>,
    /// The same of aliases.
    pub(super) open_aliases: Vec<*const Expr>,
    /// What parameters fall back to that is being read.
    pub(super) open_fallbacks: Vec<*const Expr>,
    /// What the type parameters of what is being read stand for.
    pub(super) scope: Scope,
    /// The same in what the function returns: it is written in other forms than it is read.
    pub(super) scope_of_results: Scope,
    /// How the names in JSON of a pydantic model's attributes are made.
    pub(super) spelling: Option<Spelling>,
    /// Whether the pydantic model that is being read is one for the first pydantic.
    pub(super) first_pydantic: bool,
    /// How many schemas may still be made.
    left: usize,
}

impl<'p, 'a> Types<'p, 'a> {
    pub(super) fn new(project: &'p Project<'a>) -> Self {
        Self {
            project,
            notes: Vec::new(),
            place: String::new(),
            writing: false,
            lenient: false,
            open: Vec::new(),
            open_aliases: Vec::new(),
            open_fallbacks: Vec::new(),
            scope: Scope::new(),
            scope_of_results: Scope::new(),
            spelling: None,
            first_pydantic: false,
            left: SCHEMAS,
        }
    }

    /// Notes what could not be found out at the place that is being read.
    pub(super) fn note(&mut self, what: &str) {
        let note = format!("{}: {what}", self.place);
        if self.notes.len() < NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Whether the source has used up what is read of it.
    pub(super) fn exhausted(&self) -> bool {
        self.left == 0
    }

    /// Counts a class as many schemas as its text is long, since each use of it reads the text again.
    pub(super) fn charge(&mut self, class: &StmtClassDef) {
        self.left = self.left.saturating_sub(class.range.len().to_usize() / CLASS_TEXT);
    }

    /// Counts one schema.
    pub(super) fn charge_one(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Counts what a type parameter stands for, which is made once more; says whether there is room for it at that depth.
    pub(super) fn charge_size(&mut self, size: Size, depth: usize) -> bool {
        let fits = size.schemas <= self.left && depth * LEVELS + size.levels <= DEPTH * LEVELS;
        self.left = self.left.saturating_sub(size.schemas);
        fits
    }

    /// The schema of a type hint.
    pub(super) fn schema(&mut self, module: ModuleId, expr: &Expr, depth: usize) -> Value {
        if depth > DEPTH || self.exhausted() {
            return self.too_deep();
        }
        self.charge_one();
        match expr {
            Expr::NoneLiteral(_) => known::null(),
            Expr::StringLiteral(literal) => self.quoted(module, literal.value.to_str(), depth),
            Expr::BinOp(operation) if operation.op == Operator::BitOr => {
                let mut members = Vec::new();
                alternatives(expr, &mut members);
                self.union(module, &members, depth)
            }
            Expr::Subscript(subscript) => self.used(module, &subscript.value, elements(&subscript.slice), depth),
            Expr::Name(_) | Expr::Attribute(_) => self.named(module, expr, depth),
            Expr::Call(call) => self.constrained(module, call, depth),
            _ => self.unknown("the type hint is not a type"),
        }
    }

    fn too_deep(&mut self) -> Value {
        self.note("the type is nested too deep to be described in full");
        json!({})
    }

    pub(super) fn unknown(&mut self, why: &str) -> Value {
        self.note(&format!("{why}, so anything is accepted"));
        json!({})
    }

    /// A hint in quotes.
    fn quoted(&mut self, module: ModuleId, text: &str, depth: usize) -> Value {
        match parse_hint(text) {
            Some(hint) => self.schema(module, &hint, depth + 1),
            None => self.unknown("the type hint in quotes is not a type"),
        }
    }

    fn named(&mut self, module: ModuleId, expr: &Expr, depth: usize) -> Value {
        if let Some(size) = self.bound(expr).map(|bound| bound.size) {
            if !self.charge_size(size, depth) {
                return self.too_deep();
            }
            let known = self.bound(expr).and_then(|bound| bound.schema.clone());
            return known.unwrap_or_else(|| self.unknown("a type variable stands for any type"));
        }
        self.used(module, expr, &[], depth)
    }

    /// A type that has a name, with what stands in brackets behind it.
    fn used(&mut self, module: ModuleId, expr: &Expr, arguments: &[Expr], depth: usize) -> Value {
        match self.project.meaning(module, expr) {
            Meaning::Class(of, class) => {
                let scope = self.scope_of_class((of, class), module, arguments, depth);
                self.within(scope, |types| types.class(of, class, depth))
            }
            Meaning::Value(of, value) => {
                let scope = self.scope_of_alias((of, value), module, arguments, depth);
                self.within(scope, |types| types.alias(of, value, depth))
            }
            Meaning::External(name) => self.external(module, &name, arguments, depth),
            Meaning::Function(..) => self.unknown(&format!("`{}` is a function and no type", dotted(expr))),
            Meaning::Module(_) | Meaning::Unknown => {
                self.unknown(&format!("`{}` is no type that the source defines", dotted(expr)))
            }
        }
    }

    fn external(&mut self, module: ModuleId, name: &str, arguments: &[Expr], depth: usize) -> Value {
        if let Some(written) = self.written(name) {
            return written;
        }
        if let Some(array) = self.array(module, name, arguments) {
            return array;
        }
        if let Some(generic) = known::generic(name) {
            return self.container(module, generic, arguments, depth);
        }
        if known::is_table(name) {
            return self
                .unknown(&format!("`{name}` has no one form as JSON (take rows as a list of TypedDict instead)"));
        }
        known::simple(name).unwrap_or_else(|| self.unknown(&format!("`{name}` is defined outside of the source")))
    }

    /// What is written in another form than it is read: pydantic writes decimals as text, and so do KEA's workers, which
    /// write spans of time as seconds where pydantic writes them as text.
    fn written(&self, name: &str) -> Option<Value> {
        match name {
            _ if !self.writing => None,
            "decimal.Decimal" => Some(json!({"type": "string"})),
            "datetime.timedelta" if !self.lenient => Some(json!({"type": "number", "description": "In seconds."})),
            _ => None,
        }
    }

    fn container(&mut self, module: ModuleId, generic: Generic, arguments: &[Expr], depth: usize) -> Value {
        match (generic, arguments) {
            (Generic::Array, [item, ..]) => json!({"type": "array", "items": self.schema(module, item, depth + 1)}),
            (Generic::Array, []) => json!({"type": "array", "items": {}}),
            (Generic::Set, [item, ..]) => {
                json!({"type": "array", "items": self.schema(module, item, depth + 1), "uniqueItems": true})
            }
            (Generic::Set, []) => json!({"type": "array", "items": {}, "uniqueItems": true}),
            (Generic::Tuple, elements) => self.tuple(module, elements, depth),
            (Generic::Object, [_, value]) => {
                json!({"type": "object", "additionalProperties": self.schema(module, value, depth + 1)})
            }
            (Generic::Object, _) => json!({"type": "object"}),
            (Generic::Optional, [inner]) => nullable(self.schema(module, inner, depth + 1)),
            (Generic::Union, members) if !members.is_empty() => {
                self.union(module, &members.iter().collect::<Vec<_>>(), depth)
            }
            (Generic::Literal, values) => self.literal(module, values),
            (Generic::Annotated, [inner, metadata @ ..]) => self.annotated(module, inner, metadata, depth),
            (Generic::Transparent, [inner, ..]) => self.schema(module, inner, depth + 1),
            _ => self.unknown("the type hint lacks its types in brackets"),
        }
    }

    fn tuple(&mut self, module: ModuleId, elements: &[Expr], depth: usize) -> Value {
        match elements {
            [] => json!({"type": "array", "items": {}}),
            [item, Expr::EllipsisLiteral(_)] => json!({"type": "array", "items": self.schema(module, item, depth + 1)}),
            several => {
                let items = several.iter().map(|element| self.schema(module, element, depth + 1)).collect();
                json!({"type": "array", "items": any_of(items), "minItems": several.len(), "maxItems": several.len()})
            }
        }
    }

    pub(super) fn union(&mut self, module: ModuleId, members: &[&Expr], depth: usize) -> Value {
        let (absent, present): (Vec<&Expr>, Vec<&Expr>) =
            members.iter().copied().partition(|member| self.is_none(module, member));
        let schemas = present.into_iter().map(|member| self.schema(module, member, depth + 1)).collect::<Vec<_>>();
        match (absent.is_empty(), schemas.is_empty()) {
            (_, true) => known::null(),
            (true, false) => any_of(schemas),
            (false, false) => nullable(any_of(schemas)),
        }
    }

    fn is_none(&self, module: ModuleId, expr: &Expr) -> bool {
        expr.is_none_literal_expr()
            || self.project.external(module, expr).is_some_and(|name| name.ends_with(".NoneType"))
    }

    fn literal(&mut self, module: ModuleId, values: &[Expr]) -> Value {
        // Nobody can send bytes as JSON, whatever else is taken.
        let (bytes, values): (Vec<&Expr>, Vec<&Expr>) = values.iter().partition(|value| value.is_bytes_literal_expr());
        if !bytes.is_empty() {
            self.note("bytes among the values of `Literal` cannot be written as JSON");
        }
        let values: Option<Vec<Value>> =
            values.into_iter().map(|value| literal::value(self.project, module, value)).collect();
        match values {
            Some(values) if !values.is_empty() => choice(&values),
            _ => self.unknown("the values of `Literal` are not all known"),
        }
    }

    fn annotated(&mut self, module: ModuleId, inner: &Expr, metadata: &[Expr], depth: usize) -> Value {
        let shaped = self.validated_array(module, metadata);
        let mut schema = shaped.unwrap_or_else(|| self.schema(module, inner, depth + 1));
        self.extra(module, metadata).apply(&mut schema);
        schema
    }

    /// What the metadata of `Annotated` say, with notes on what they cannot.
    pub(super) fn extra(&mut self, module: ModuleId, metadata: &[Expr]) -> Extra {
        let mut extra = Extra::default();
        for element in metadata {
            extra.add_metadata(self.project, module, element);
        }
        self.note_dropped(&extra);
        extra
    }

    pub(super) fn note_dropped(&mut self, extra: &Extra) {
        for keyword in &extra.dropped {
            self.note(&format!("`{keyword}` cannot be written in OpenAPI, so only the model checks it"));
        }
    }

    /// Whether a call is one that says more of a plain type, as `conint(ge=0)` does.
    pub(super) fn is_constrained(&self, module: ModuleId, call: &ExprCall) -> bool {
        let name = self.project.external(module, &call.func).unwrap_or_default();
        known::simple(&name).is_some() || name.ends_with(".conlist") || name.ends_with(".conset")
    }

    /// `conint(ge=0)`, and the functional forms of classes.
    pub(super) fn constrained(&mut self, module: ModuleId, call: &ExprCall, depth: usize) -> Value {
        let name = self.project.external(module, &call.func).unwrap_or_default();
        let schema = match (name.rsplit('.').next().unwrap_or_default(), &*call.arguments.args) {
            ("conlist" | "conset", [item, ..]) => {
                Some(json!({"type": "array", "items": self.schema(module, item, depth + 1)}))
            }
            _ => known::simple(&name),
        };
        let Some(mut schema) = schema else { return self.unknown("the type hint is computed") };
        let extra = Extra::of_call(self.project, module, &call.arguments);
        self.note_dropped(&extra);
        extra.apply(&mut schema);
        drop(schema.as_object_mut().and_then(|object| object.remove("default")));
        schema
    }

    /// A name that was assigned: another name of a type, or what makes one.
    fn alias(&mut self, module: ModuleId, value: &'a Expr, depth: usize) -> Value {
        if self.open_aliases.iter().any(|open| std::ptr::eq(*open, value)) {
            return self.unknown("the type contains itself, which is described once");
        }
        self.open_aliases.push(value);
        let schema = match value {
            Expr::Call(call) => self.made(module, call, depth),
            other => self.schema(module, other, depth + 1),
        };
        self.open_aliases.pop();
        schema
    }

    fn class(&mut self, module: ModuleId, class: &'a StmtClassDef, depth: usize) -> Value {
        if self.open.iter().any(|open| std::ptr::eq(*open, class)) {
            return self.unknown(&format!("`{}` contains itself, which is described once", class.name));
        }
        self.charge(class);
        match class::kind(self.project, module, class) {
            Kind::Enum => self.enumeration(module, class),
            kind if kind.is_record() => {
                self.open.push(class);
                let schema = self.record(module, class, kind, depth);
                self.open.pop();
                schema
            }
            _ => self.unknown(&format!(
                "`{}` does not say what it holds (make it a dataclass, a TypedDict or a pydantic model)",
                class.name
            )),
        }
    }

    fn enumeration(&mut self, module: ModuleId, class: &StmtClassDef) -> Value {
        let members = class::enum_members(self.project, module, class);
        let values: Option<Vec<Value>> = members.into_iter().map(|(_, value)| value).collect();
        match values {
            Some(values) if !values.is_empty() => choice(&class::distinct(values)),
            _ => self.unknown(&format!("the values of `{}` are computed", class.name)),
        }
    }
}

/// The hint that a text in quotes is.
pub(super) fn parse_hint(text: &str) -> Option<Expr> {
    if nesting::too_deep(text) {
        return None;
    }
    parse_expression(text.trim()).ok().map(|parsed| *parsed.into_syntax().body)
}

/// The members of `A | B | C`, in order. The chain leans to the left and is as long as the author likes.
fn alternatives<'e>(expr: &'e Expr, members: &mut Vec<&'e Expr>) {
    match expr {
        Expr::BinOp(operation) if operation.op == Operator::BitOr => {
            alternatives(&operation.left, members);
            alternatives(&operation.right, members);
        }
        other => members.push(other),
    }
}

/// The types in brackets.
pub(super) fn elements(slice: &Expr) -> &[Expr] {
    match slice {
        Expr::Tuple(tuple) => &tuple.elts,
        one => std::slice::from_ref(one),
    }
}

/// One of several schemas: each once, the alternatives of alternatives among them, anything where one takes anything.
fn any_of(schemas: Vec<Value>) -> Value {
    let mut members: Vec<Value> = Vec::new();
    for schema in schemas {
        let inner = match &schema {
            Value::Object(object) if object.len() == 1 && object.contains_key("anyOf") => object["anyOf"].as_array(),
            _ => None,
        };
        let several = inner.cloned().unwrap_or_else(|| vec![schema]);
        for member in several {
            if !members.contains(&member) {
                members.push(member);
            }
        }
    }
    if members.contains(&json!({})) {
        return json!({});
    }
    if members.len() == 1 { members.remove(0) } else { json!({"anyOf": members}) }
}

/// The schema, or `null`. In OpenAPI 3.0 `nullable` stands beside a type.
pub(super) fn nullable(mut schema: Value) -> Value {
    let Some(object) = schema.as_object_mut() else { return schema };
    if let Some(members) = object.get_mut("anyOf").and_then(Value::as_array_mut) {
        for member in members {
            *member = nullable(member.take());
        }
        return schema;
    }
    if object.contains_key("type") {
        object.insert("nullable".into(), true.into());
    }
    if let Some(values) = object.get_mut("enum").and_then(Value::as_array_mut)
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    schema
}

/// Whether a schema takes `null`, and says so.
pub(super) fn is_nullable(schema: &Value) -> bool {
    let members =
        || schema.get("anyOf").and_then(Value::as_array).is_some_and(|members| members.iter().any(is_nullable));
    let listed = || schema.get("enum").and_then(Value::as_array).is_some_and(|values| values.contains(&Value::Null));
    schema.get("nullable") == Some(&Value::Bool(true)) || members() || (schema.get("type").is_none() && listed())
}

/// One of some values, with their type where they share one.
pub(super) fn choice(values: &[Value]) -> Value {
    let kind = |value: &Value| match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) if number.is_f64() => Some("number"),
        Value::Number(_) => Some("integer"),
        _ => None,
    };
    let typed: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
    let shared =
        typed.first().and_then(|first| kind(first)).filter(|first| typed.iter().all(|v| kind(v) == Some(first)));
    match shared {
        Some(shared) if typed.len() < values.len() => json!({"type": shared, "enum": values, "nullable": true}),
        Some(shared) => json!({"type": shared, "enum": values}),
        None => json!({"enum": values}),
    }
}

/// A name as it is written.
pub(super) fn dotted(expr: &Expr) -> String {
    match expr {
        Expr::Name(name) => name.id.to_string(),
        Expr::Attribute(attribute) => format!("{}.{}", dotted(&attribute.value), attribute.attr),
        _ => "…".into(),
    }
}
