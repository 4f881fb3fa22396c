//! The application of a source, the routers that it is put together of, and what is registered with each.

use std::collections::HashMap;

use ruff_python_ast::{Expr, ExprCall, Stmt, StmtFunctionDef};
use serde_json::Value;

use super::{
    path::Template,
    routes::{Registration, Route},
};
use crate::source::{
    file::for_each_statement,
    literal,
    project::{Meaning, ModuleId, Project},
};

/// Routers within routers that are followed.
const DEPTH: usize = 16;

/// Routes of all routers together, each counted once for each place where its router is included.
const ROUTES: usize = 10_000;

/// What an application is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Framework {
    FastApi,
    Flask,
    Starlette,
}

impl Framework {
    pub(in crate::source) fn as_str(self) -> &'static str {
        match self {
            Self::FastApi => "FastAPI",
            Self::Flask => "Flask",
            Self::Starlette => "Starlette",
        }
    }

    /// How its applications are usually started.
    pub(in crate::source) fn command(self) -> &'static str {
        match self {
            Self::FastApi | Self::Starlette => "uvicorn app:app --host $HOST --port $PORT",
            Self::Flask => "gunicorn app:app --bind $HOST:$PORT",
        }
    }
}

/// An application and all that is registered with it.
pub(super) struct Application<'a> {
    pub(super) framework: Framework,
    /// The file that makes it.
    pub(super) module: ModuleId,
    /// What could not be read of its routes, a sentence each.
    pub(super) unread: Vec<String>,
    root: Key,
    routers: HashMap<Key, Router<'a>>,
}

/// Which router: the call that makes it.
pub(super) type Key = *const ExprCall;

/// An application or a part of one.
pub(super) struct Router<'a> {
    pub(super) call: &'a ExprCall,
    module: ModuleId,
    kind: Kind,
    prefix: String,
    routes: Vec<Registered<'a>>,
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
enum Kind {
    Application(Framework),
    Part,
}

/// What is registered with a router: the path as it is written, and what answers there.
pub(super) struct Registered<'a> {
    pub(super) path: String,
    pub(super) route: Registration<'a>,
}

/// A router within another.
pub(super) struct Part {
    pub(super) key: Key,
    pub(super) prefix: String,
    /// Whether the prefix stands in place of the part's own, as Flask's does.
    pub(super) instead: bool,
}

/// Statements that share names: a file's, or those of a function that makes an application.
pub(super) struct Scope<'a> {
    pub(super) module: ModuleId,
    body: &'a [Stmt],
    locals: HashMap<&'a str, &'a ExprCall>,
}

impl Scope<'_> {
    /// The names of a file alone.
    pub(super) fn of_names(module: ModuleId) -> Self {
        Self { module, body: &[], locals: HashMap::new() }
    }
}

impl<'a> Application<'a> {
    /// The application called `name` in the main file, or else the first one.
    pub(super) fn find(project: &Project<'a>, name: Option<&str>) -> Option<Self> {
        let mut scan = Scan { project, routers: HashMap::new(), order: Vec::new(), unread: Vec::new() };
        let scopes = scan.scopes();
        let root = scan.root(name)?;
        for scope in &scopes {
            for_each_statement(scope.body, &mut |statement| scan.register(scope, statement));
        }
        scan.register_lists();
        let Kind::Application(framework) = scan.routers[&root].kind else { return None };
        let module = scan.routers[&root].module;
        Some(Self { framework, module, unread: scan.unread, root, routers: scan.routers })
    }

    /// What its author calls it: `title` and `description` of FastAPI.
    pub(super) fn description(&self, project: &Project<'a>) -> Option<String> {
        let root = &self.routers[&self.root];
        let text = |keyword: &str| {
            let value = &root.call.arguments.find_keyword(keyword)?.value;
            literal::value(project, root.module, value)?.as_str().map(str::to_owned)
        };
        let words: Vec<String> = ["title", "summary", "description"].into_iter().filter_map(text).collect();
        (self.framework == Framework::FastApi && !words.is_empty()).then(|| words.join("\n\n"))
    }

    /// All routes, with the prefixes of the routers that they are within.
    pub(super) fn routes(&self) -> Vec<Route<'a>> {
        let mut found = Vec::new();
        self.collect(self.root, "", 0, &mut found);
        found
    }

    fn collect(&self, key: Key, prefix: &str, depth: usize, found: &mut Vec<Route<'a>>) {
        let Some(router) = self.routers.get(&key).filter(|_| depth < DEPTH) else { return };
        for Registered { path, route } in &router.routes {
            let template = Template::parse(self.framework, &format!("{prefix}{path}"));
            if found.len() < ROUTES {
                found.push(route.at(template));
            }
        }
        for part in &router.parts {
            let own = self.routers.get(&part.key).map_or("", |inner| &inner.prefix);
            let own = if part.instead { "" } else { own };
            self.collect(part.key, &format!("{prefix}{}{own}", part.prefix), depth + 1, found);
        }
    }
}

/// A source that is being looked through.
pub(super) struct Scan<'p, 'a> {
    pub(super) project: &'p Project<'a>,
    routers: HashMap<Key, Router<'a>>,
    /// Applications, as they stand in the source.
    order: Vec<Key>,
    unread: Vec<String>,
}

impl<'a> Scan<'_, 'a> {
    /// Files, and functions that make a router, with the routers found there.
    fn scopes(&mut self) -> Vec<Scope<'a>> {
        let mut scopes = Vec::new();
        for (module, body) in self.project.bodies() {
            let mut functions: Vec<&'a StmtFunctionDef> = Vec::new();
            for_each_statement(body, &mut |statement| functions.extend(statement.as_function_def_stmt()));
            scopes.push(self.scope(module, body));
            let inner = functions.into_iter().map(|function| self.scope(module, &function.body));
            scopes.extend(inner.filter(|scope| !scope.locals.is_empty()));
        }
        scopes
    }

    fn scope(&mut self, module: ModuleId, body: &'a [Stmt]) -> Scope<'a> {
        let mut scope = Scope { module, body, locals: HashMap::new() };
        for_each_statement(body, &mut |statement| {
            let (target, value) = match statement {
                Stmt::Assign(assign) => (assign.targets.first(), Some(&*assign.value)),
                Stmt::AnnAssign(assign) => (Some(&*assign.target), assign.value.as_deref()),
                _ => return,
            };
            if let (Some(Expr::Name(name)), Some(Expr::Call(call))) = (target, value)
                && self.add_router(module, call)
            {
                scope.locals.insert(name.id.as_str(), call);
            }
        });
        scope
    }

    fn add_router(&mut self, module: ModuleId, call: &'a ExprCall) -> bool {
        let name = self.project.external(module, &call.func).unwrap_or_default();
        let kind = match name.as_str() {
            "fastapi.FastAPI" | "fastapi.applications.FastAPI" => Kind::Application(Framework::FastApi),
            "flask.Flask" | "flask.app.Flask" => Kind::Application(Framework::Flask),
            "starlette.applications.Starlette" => Kind::Application(Framework::Starlette),
            "fastapi.APIRouter" | "fastapi.routing.APIRouter" | "flask.Blueprint" | "starlette.routing.Router" => {
                Kind::Part
            }
            _ => return false,
        };
        let prefix = self.keyword(module, call, "prefix").or_else(|| self.keyword(module, call, "url_prefix"));
        let prefix = prefix.unwrap_or_default();
        if matches!(kind, Kind::Application(_)) {
            self.order.push(call);
        }
        self.routers.insert(call, Router { call, module, kind, prefix, routes: Vec::new(), parts: Vec::new() });
        true
    }

    fn root(&self, name: Option<&str>) -> Option<Key> {
        let named = name.and_then(|name| match self.project.named(Project::MAIN, name) {
            Meaning::Value(_, Expr::Call(call)) => Some(std::ptr::from_ref(call)),
            _ => None,
        });
        let of_main = |key: &&Key| self.routers[*key].module == Project::MAIN;
        let first = || self.order.iter().find(of_main).or(self.order.first()).copied();
        named.filter(|key| self.order.contains(key)).or_else(first)
    }

    /// The router that an expression names.
    pub(super) fn router(&self, scope: &Scope<'a>, expr: &Expr) -> Option<Key> {
        let local = expr.as_name_expr().and_then(|name| scope.locals.get(name.id.as_str()).copied());
        let call = local.or_else(|| match self.project.meaning(scope.module, expr) {
            Meaning::Value(_, Expr::Call(call)) => Some(call),
            _ => None,
        })?;
        Some(std::ptr::from_ref(call)).filter(|key| self.routers.contains_key(key))
    }

    /// A keyword's text, where it is written out.
    pub(super) fn keyword(&self, module: ModuleId, call: &ExprCall, name: &str) -> Option<String> {
        self.text(module, &call.arguments.find_keyword(name)?.value)
    }

    pub(super) fn text(&self, module: ModuleId, expr: &Expr) -> Option<String> {
        match literal::value(self.project, module, expr)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn add_route(&mut self, key: Key, registered: Registered<'a>) {
        if let Some(router) = self.routers.get_mut(&key) {
            router.routes.push(registered);
        }
    }

    pub(super) fn add_part(&mut self, key: Key, part: Part) {
        if let Some(router) = self.routers.get_mut(&key) {
            router.parts.push(part);
        }
    }

    pub(super) fn unread(&mut self, note: String) {
        if !self.unread.contains(&note) {
            self.unread.push(note);
        }
    }

    /// The routes that are given to constructors, `Starlette(routes=[…])`.
    fn register_lists(&mut self) {
        let mut given = Vec::new();
        for (key, router) in &self.routers {
            if let Some(keyword) = router.call.arguments.find_keyword("routes") {
                given.push((*key, router.module, &keyword.value));
            }
        }
        for (key, module, list) in given {
            self.register_list(key, module, list, "", 0);
        }
    }
}
