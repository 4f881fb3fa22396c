//! What the body of a function reads of its request and answers, as far as it is written out.

use std::collections::HashSet;

use kea_core::contract::web::WebAnswer;
use ruff_python_ast::{
    Expr, ExprCall, ExprSubscript, Stmt, StmtFunctionDef,
    visitor::{self, Visitor},
};

use super::status;
use crate::source::{
    literal,
    project::{ModuleId, Project},
};

/// Names that are kept of one kind; a function that reads more of them has no readers.
const NAMES: usize = 200;

/// One value that is read by name.
pub(super) struct Read<'a> {
    pub(super) name: String,
    /// What is taken where a request does not have it.
    pub(super) default: Option<&'a Expr>,
    /// What it is converted to, as `type=int`.
    pub(super) converter: Option<&'a Expr>,
    /// Whether a request without it fails.
    pub(super) required: bool,
}

/// All that is read of a request.
#[derive(Default)]
pub(super) struct Reads<'a> {
    pub(super) query: Vec<Read<'a>>,
    pub(super) headers: Vec<Read<'a>>,
    pub(super) form: Vec<Read<'a>>,
    pub(super) files: Vec<Read<'a>>,
    /// Members of a JSON body that are read by name.
    pub(super) members: Vec<Read<'a>>,
    /// Whether a JSON body is read at all.
    pub(super) json: bool,
    /// Whether the body is read in another way.
    pub(super) raw: bool,
    /// The class that a JSON body is made an instance of.
    pub(super) model: Option<&'a Expr>,
    pub(super) answers: Vec<WebAnswer>,
    /// Statuses that are returned beside a body.
    pub(super) returned: Vec<u16>,
}

/// Errors that a function raises, each status once.
pub(super) fn raised(project: &Project<'_>, module: ModuleId, function: &StmtFunctionDef) -> Vec<WebAnswer> {
    of(project, module, function, Request::Unread).answers
}

/// How a function knows its request.
#[derive(Clone, Copy)]
pub(super) enum Request<'r> {
    /// Flask's global.
    Flask,
    /// A parameter of that name, as Starlette gives it.
    Parameter(&'r str),
    /// Not at all.
    Unread,
}

/// What a function reads and answers.
pub(super) fn of<'a>(
    project: &Project<'_>,
    module: ModuleId,
    function: &'a StmtFunctionDef,
    request: Request<'_>,
) -> Reads<'a> {
    let mut reader = Reader { project, module, request, bodies: HashSet::new(), reads: Reads::default() };
    reader.visit_body(&function.body);
    reader.reads
}

struct Reader<'p, 'a> {
    project: &'p Project<'p>,
    module: ModuleId,
    request: Request<'p>,
    /// Names of what holds the JSON body.
    bodies: HashSet<&'a str>,
    reads: Reads<'a>,
}

/// A part of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Query,
    Headers,
    Form,
    Files,
    Json,
}

impl<'a> Visitor<'a> for Reader<'_, 'a> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Assign(assign) if self.is_json(&assign.value) => {
                self.bodies.extend(assign.targets.iter().filter_map(|target| Some(target.as_name_expr()?.id.as_str())));
            }
            Stmt::Raise(raise) => {
                if let Some(Expr::Call(call)) = raise.exc.as_deref() {
                    self.add_error(call);
                }
            }
            Stmt::Return(returned) => {
                if let Some(Expr::Tuple(tuple)) = returned.value.as_deref() {
                    let status = tuple.elts.get(1).and_then(|status| status::of(self.project, self.module, status));
                    self.reads.returned.extend(status);
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Call(call) => self.visit_call(call),
            Expr::Subscript(subscript) => self.visit_subscript(subscript),
            Expr::Attribute(attribute) if self.is_request(&attribute.value) => match attribute.attr.as_str() {
                "json" | "get_json" => self.reads.json = true,
                "data" | "get_data" | "stream" | "body" => self.reads.raw = true,
                _ => {}
            },
            _ => {}
        }
        visitor::walk_expr(self, expr);
    }
}

impl<'a> Reader<'_, 'a> {
    fn visit_call(&mut self, call: &'a ExprCall) {
        let Expr::Attribute(attribute) = &*call.func else { return self.visit_made(call) };
        match attribute.attr.as_str() {
            "get" | "getlist" => {
                if let (Some(part), Some(name)) = (self.part(&attribute.value), call.arguments.args.first()) {
                    let default = call.arguments.find_argument_value("default", 1);
                    let converter = call.arguments.find_keyword("type").map(|keyword| &keyword.value);
                    self.add(part, name, default, converter, false);
                }
            }
            "model_validate" | "parse_obj" | "model_validate_json" | "parse_raw" if self.takes_body(call) => {
                self.reads.model = self.reads.model.or(Some(&attribute.value));
            }
            "abort" => self.add_error(call),
            _ => {}
        }
    }

    /// `Model(**body)`, and `abort(404)`.
    fn visit_made(&mut self, call: &'a ExprCall) {
        let unpacked = call.arguments.keywords.iter().filter(|keyword| keyword.arg.is_none());
        if unpacked.into_iter().any(|keyword| self.is_json(&keyword.value)) {
            self.reads.model = self.reads.model.or(Some(&*call.func));
        }
        if self.project.external(self.module, &call.func).is_some_and(|name| name == "flask.abort") {
            self.add_error(call);
        }
    }

    fn visit_subscript(&mut self, subscript: &'a ExprSubscript) {
        if let Some(part) = self.part(&subscript.value) {
            self.add(part, &subscript.slice, None, None, part != Part::Json);
        }
    }

    fn takes_body(&self, call: &ExprCall) -> bool {
        let raw = |argument: &Expr| match argument {
            Expr::Attribute(attribute) => self.is_request(&attribute.value),
            Expr::Call(inner) => match &*inner.func {
                Expr::Attribute(attribute) => self.is_request(&attribute.value),
                _ => false,
            },
            Expr::Await(awaited) => self.is_json(&awaited.value),
            _ => false,
        };
        call.arguments.args.first().is_some_and(|argument| self.is_json(argument) || raw(argument))
    }

    /// The part of the request that an expression is.
    fn part(&self, expr: &Expr) -> Option<Part> {
        if self.is_json(expr) {
            return Some(Part::Json);
        }
        let Expr::Attribute(attribute) = expr else { return None };
        if !self.is_request(&attribute.value) {
            return None;
        }
        match attribute.attr.as_str() {
            "args" | "query_params" => Some(Part::Query),
            "headers" => Some(Part::Headers),
            "form" => Some(Part::Form),
            "files" => Some(Part::Files),
            _ => None,
        }
    }

    /// Whether an expression is the JSON body: `request.json`, `request.get_json()`, `await request.json()`, or a name
    /// for it.
    fn is_json(&self, expr: &Expr) -> bool {
        let of_request = |expr: &Expr| match expr {
            Expr::Attribute(attribute) => {
                matches!(attribute.attr.as_str(), "json" | "get_json") && self.is_request(&attribute.value)
            }
            _ => false,
        };
        match expr {
            Expr::Name(name) => self.bodies.contains(name.id.as_str()),
            Expr::Await(awaited) => self.is_json(&awaited.value),
            Expr::Call(call) => of_request(&call.func),
            other => of_request(other),
        }
    }

    fn is_request(&self, expr: &Expr) -> bool {
        match self.request {
            Request::Flask => self.project.external(self.module, expr).is_some_and(|name| name == "flask.request"),
            Request::Parameter(name) => expr.as_name_expr().is_some_and(|expr| expr.id.as_str() == name),
            Request::Unread => false,
        }
    }

    fn add(&mut self, part: Part, name: &Expr, default: Option<&'a Expr>, converter: Option<&'a Expr>, required: bool) {
        let Some(name) = literal::value(self.project, self.module, name) else { return };
        let Some(name) = name.as_str().map(str::to_owned) else { return };
        let reads = match part {
            Part::Query => &mut self.reads.query,
            Part::Headers => &mut self.reads.headers,
            Part::Form => &mut self.reads.form,
            Part::Files => &mut self.reads.files,
            Part::Json => &mut self.reads.members,
        };
        let has_room = reads.len() < NAMES;
        match reads.iter_mut().find(|read| read.name == name) {
            Some(known) => known.required |= required,
            None if has_room => reads.push(Read { name, default, converter, required }),
            None => {}
        }
    }

    /// `HTTPException(404, "words")` and `abort(404, "words")`.
    fn add_error(&mut self, call: &ExprCall) {
        let name = self.project.external(self.module, &call.func).unwrap_or_default();
        if !name.ends_with(".HTTPException") && !name.ends_with(".abort") {
            return;
        }
        let status = ["status_code", "code"].into_iter().find_map(|name| call.arguments.find_argument_value(name, 0));
        let Some(status) = status.and_then(|status| status::of(self.project, self.module, status)) else { return };
        let words = ["detail", "description"].into_iter().find_map(|name| call.arguments.find_argument_value(name, 1));
        let words = words.and_then(|words| literal::value(self.project, self.module, words));
        let description = words.and_then(|words| Some(words.as_str()?.to_owned()));
        if !self.reads.answers.iter().any(|answer| answer.status == status) {
            let description = description.unwrap_or_else(|| status::meaning(status));
            self.reads.answers.push(WebAnswer { status, description, media_type: None, schema: None });
        }
    }
}
