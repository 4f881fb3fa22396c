//! Parameters of FastAPI's functions: where a request has each, by its hint, its default and what stands beside them.

use kea_core::contract::web::{WebParameter, WebPlace};
use ruff_python_ast::{Expr, ExprCall, ParameterWithDefault, StmtFunctionDef};
use serde_json::{Value, json};

use super::{
    body::{self, BodyPart, PartKind},
    path::Template,
};
use crate::source::{
    annotation::{Types, elements, nullable},
    docstring::{self, Docstring},
    extra::{Extra, Fallback},
    known,
    outputs::field,
    project::{Meaning, ModuleId},
};

/// Dependencies of dependencies that are followed.
const DEPTH: usize = 8;

/// Aliases that are followed for one hint.
const HOPS: usize = 8;

/// What the server gives by itself.
const GIVEN: [&str; 8] = [
    "Request",
    "Response",
    "WebSocket",
    "HTTPConnection",
    "BackgroundTasks",
    "SecurityScopes",
    "StaticFiles",
    "Jinja2Templates",
];

/// What a function takes.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) parameters: Vec<WebParameter>,
    pub(super) parts: Vec<BodyPart>,
}

/// What a parameter's hint and default say of it.
struct Said<'e> {
    module: ModuleId,
    hint: Option<&'e Expr>,
    /// The call that says where it comes from, as `Query(…)`, with its name.
    call: Option<(String, &'e ExprCall)>,
}

impl<'a> Types<'_, 'a> {
    /// What FastAPI takes for a function, its dependencies included.
    pub(super) fn taken(&mut self, module: ModuleId, function: &'a StmtFunctionDef, path: &Template) -> Taken {
        let mut taken = Taken::default();
        self.take(module, function, path, 0, &mut taken);
        for (name, schema) in &path.variables {
            let known = |p: &WebParameter| p.place == WebPlace::Path && p.field.name == *name;
            if !taken.parameters.iter().any(known) {
                let field = field(name.clone(), schema.clone(), true);
                taken.parameters.push(WebParameter { place: WebPlace::Path, field });
            }
        }
        taken
    }

    fn take(
        &mut self,
        module: ModuleId,
        function: &'a StmtFunctionDef,
        path: &Template,
        depth: usize,
        taken: &mut Taken,
    ) {
        if depth > DEPTH || self.exhausted() {
            return self.note("its dependencies go too deep to be described in full");
        }
        let words = docstring::of(&function.body).unwrap_or_default();
        for parameter in function.parameters.iter_non_variadic_params() {
            let said = self.said(module, parameter);
            match &said.call {
                Some((name, call)) if name == "Depends" || name == "Security" => {
                    self.depend(&said, call, path, depth, taken);
                }
                _ if self.is_given(&said) => {}
                _ => self.take_one(parameter, &said, path, &words, taken),
            }
        }
    }

    fn said<'e>(&self, module: ModuleId, parameter: &'e ParameterWithDefault) -> Said<'e>
    where
        'a: 'e,
    {
        let mut said = Said { module, hint: parameter.annotation(), call: None };
        if let Some(Expr::Call(call)) = parameter.default() {
            said.call = self.place_call(module, call);
        }
        let mut hops = 0;
        while let Some(hint) = said.hint.filter(|_| hops < HOPS) {
            hops += 1;
            match self.project.meaning(said.module, hint) {
                Meaning::Value(module, value) if !value.is_call_expr() => {
                    (said.module, said.hint) = (module, Some(value));
                }
                _ => break,
            }
        }
        if let (None, Some(Expr::Subscript(subscript))) = (&said.call, said.hint)
            && self.project.external(said.module, &subscript.value).is_some_and(|name| name.ends_with(".Annotated"))
        {
            let metadata = elements(&subscript.slice).iter().skip(1).filter_map(Expr::as_call_expr);
            said.call = metadata.filter_map(|call| self.place_call(said.module, call)).next();
        }
        said
    }

    /// The call with its name, where it says where a parameter comes from.
    fn place_call<'e>(&self, module: ModuleId, call: &'e ExprCall) -> Option<(String, &'e ExprCall)> {
        let name = self.project.external(module, &call.func)?;
        let known = known::is_web_parameter(&name);
        let dependency = || name.strip_prefix("fastapi.").filter(|name| matches!(*name, "Depends" | "Security"));
        known.or_else(dependency).map(|known| (known.to_owned(), call))
    }

    fn is_given(&self, said: &Said<'_>) -> bool {
        let name = said.hint.and_then(|hint| self.project.external(said.module, hint)).unwrap_or_default();
        let (package, last) = name.rsplit_once('.').unwrap_or_default();
        (package.starts_with("fastapi") || package.starts_with("starlette")) && GIVEN.contains(&last)
    }

    /// The parameters of what `Depends(…)` names, or of the hint where it names nothing.
    fn depend(&mut self, said: &Said<'_>, call: &ExprCall, path: &Template, depth: usize, taken: &mut Taken) {
        let named = call.arguments.find_argument_value("dependency", 0).or_else(|| match said.hint {
            Some(Expr::Subscript(subscript)) => elements(&subscript.slice).first(),
            hint => hint,
        });
        let Some(named) = named else { return };
        match self.project.meaning(said.module, named) {
            Meaning::Function(module, function) => self.take(module, function, path, depth + 1, taken),
            Meaning::Class(module, class) => match constructor(class) {
                Some(constructor) => self.take(module, constructor, path, depth + 1, taken),
                None => self.note(&format!("what the dependency `{}` takes is not known", class.name)),
            },
            // A scheme of security, a pool of connections and the like take nothing that callers could leave out.
            Meaning::Value(..) | Meaning::External(_) | Meaning::Module(_) | Meaning::Unknown => {}
        }
    }

    fn take_one(
        &mut self,
        parameter: &ParameterWithDefault,
        said: &Said<'_>,
        path: &Template,
        words: &Docstring,
        taken: &mut Taken,
    ) {
        let name = parameter.name().as_str();
        if name == "self" || name == "cls" {
            return;
        }
        let place = std::mem::take(&mut self.place);
        self.place = format!("{place}: `{name}`");
        let is_file = self.is_upload(said);
        let mut schema = match (is_file, said.hint) {
            (true, Some(hint)) => files(self, said.module, hint),
            (_, Some(hint)) => self.schema(said.module, hint, 0),
            (_, None) => json!({}),
        };
        let mut extra = self.said_of(said.module, said.hint, parameter.default());
        extra.describe(&words.parameter(name));
        if extra.default == Fallback::Known(Value::Null) && !is_file {
            schema = nullable(schema);
        }
        extra.apply(&mut schema);
        self.place = place;
        let call = said.call.as_ref().map(|(name, _)| name.as_str());
        let is_variable = path.variables.iter().any(|(variable, _)| variable == name);
        match (call, is_variable) {
            (_, true) | (Some("Path"), _) => taken.add(WebPlace::Path, name, schema, &extra),
            (Some("Query"), _) => taken.add(WebPlace::Query, name, schema, &extra),
            (Some("Header"), _) => taken.add(WebPlace::Header, &name.replace('_', "-"), schema, &extra),
            (Some("Cookie"), _) => taken.add(WebPlace::Cookie, name, schema, &extra),
            (Some("File"), _) => taken.add_part(PartKind::File, name, schema, &extra),
            (Some("Form"), _) => taken.add_part(PartKind::Form, name, schema, &extra),
            (Some("Body"), _) => {
                let embedded = said.call.as_ref().is_some_and(|(_, call)| is_true(call, "embed"));
                let kind = if embedded { PartKind::Member } else { PartKind::Json };
                taken.add_part(kind, name, schema, &extra);
            }
            _ if is_file => taken.add_part(PartKind::File, name, schema, &extra),
            _ if is_plain(&schema) => taken.add(WebPlace::Query, name, schema, &extra),
            _ => taken.add_part(PartKind::Json, name, schema, &extra),
        }
    }

    fn is_upload(&self, said: &Said<'_>) -> bool {
        said.call.as_ref().is_some_and(|(name, _)| name == "File")
            || said.hint.is_some_and(|hint| mentions_upload(self, said.module, hint, 0))
    }
}

impl Taken {
    fn add(&mut self, place: WebPlace, name: &str, schema: Value, extra: &Extra) {
        if let (WebPlace::Query | WebPlace::Header | WebPlace::Cookie, Some("object"), Some(_)) =
            (place, schema["type"].as_str(), schema.get("properties"))
        {
            return self.add_properties(place, &schema);
        }
        let name = extra.alias.clone().unwrap_or_else(|| name.to_owned());
        let required = place == WebPlace::Path || extra.default == Fallback::Required;
        self.push(place, name, schema, required);
    }

    /// The members of a model that stands for several parameters.
    fn add_properties(&mut self, place: WebPlace, schema: &Value) {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|required| required == name);
            let name = if place == WebPlace::Header { name.replace('_', "-") } else { name.clone() };
            self.push(place, name, property.clone(), is_required);
        }
    }

    fn push(&mut self, place: WebPlace, name: String, mut schema: Value, required: bool) {
        if self.parameters.iter().any(|known| known.place == place && known.field.name == name) {
            return;
        }
        let mut field = field(name, schema.clone(), required);
        if let Some(object) = schema.as_object_mut() {
            object.retain(|keyword, _| !matches!(keyword.as_str(), "default" | "example" | "description"));
        }
        field.value = kea_core::ValueType::Json { schema };
        self.parameters.push(WebParameter { place, field });
    }

    fn add_part(&mut self, kind: PartKind, name: &str, schema: Value, extra: &Extra) {
        let name = extra.alias.clone().unwrap_or_else(|| name.to_owned());
        let required = extra.default == Fallback::Required;
        self.parts.push(BodyPart { name, schema, required, kind });
    }
}

/// Whether FastAPI looks for it in the query by itself: neither an object nor a list.
fn is_plain(schema: &Value) -> bool {
    let members = schema["anyOf"].as_array();
    match schema["type"].as_str() {
        Some(kind) => !matches!(kind, "object" | "array"),
        None => members.is_none_or(|members| members.iter().all(is_plain)),
    }
}

fn mentions_upload(types: &Types<'_, '_>, module: ModuleId, hint: &Expr, depth: usize) -> bool {
    let inner = |hint: &Expr| depth < HOPS && mentions_upload(types, module, hint, depth + 1);
    match hint {
        Expr::Subscript(subscript) => elements(&subscript.slice).iter().any(inner),
        Expr::BinOp(operation) => inner(&operation.left) || inner(&operation.right),
        _ => types.project.external(module, hint).is_some_and(|name| name.ends_with(".UploadFile")),
    }
}

/// One file, or a list of them.
fn files(types: &Types<'_, '_>, module: ModuleId, hint: &Expr) -> Value {
    let head = hint.as_subscript_expr().and_then(|subscript| types.project.external(module, &subscript.value));
    match head.and_then(|name| known::generic(&name)) {
        Some(known::Generic::Array) => json!({"type": "array", "items": body::file()}),
        _ => body::file(),
    }
}

fn is_true(call: &ExprCall, keyword: &str) -> bool {
    let value = call.arguments.find_keyword(keyword).map(|keyword| &keyword.value);
    value.and_then(Expr::as_boolean_literal_expr).is_some_and(|literal| literal.value)
}

fn constructor(class: &ruff_python_ast::StmtClassDef) -> Option<&StmtFunctionDef> {
    let functions = class.body.iter().filter_map(ruff_python_ast::Stmt::as_function_def_stmt);
    functions.into_iter().find(|function| function.name.as_str() == "__init__")
}
