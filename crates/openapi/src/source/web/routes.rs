//! How routes are registered: by decorators, by calls, and in lists.

use kea_core::contract::web::WebMethod;
use ruff_python_ast::{Arguments, Expr, ExprCall, Stmt, StmtClassDef, StmtFunctionDef};
use serde_json::Value;

use super::{
    application::{Key, Part, Registered, Scan, Scope},
    path::Template,
};
use crate::source::{
    annotation::dotted,
    file::for_each_statement,
    literal,
    project::{Meaning, ModuleId},
};

/// Lists within lists that are followed.
const DEPTH: usize = 8;

/// A function that answers methods of a path.
pub(super) struct Route<'a> {
    pub(super) path: Template,
    pub(super) methods: Vec<WebMethod>,
    /// The file of the function.
    pub(super) module: ModuleId,
    pub(super) function: &'a StmtFunctionDef,
    /// The file of the decorator or call that registers it.
    pub(super) registered_in: ModuleId,
    /// The arguments of the decorator or call that registers it.
    pub(super) arguments: &'a Arguments,
    /// Its name, where that is not the function's.
    pub(super) name: Option<String>,
}

/// The same before its path is known.
pub(super) struct Registration<'a> {
    methods: Vec<WebMethod>,
    module: ModuleId,
    function: &'a StmtFunctionDef,
    registered_in: ModuleId,
    arguments: &'a Arguments,
    name: Option<String>,
}

impl<'a> Registration<'a> {
    pub(super) fn at(&self, path: Template) -> Route<'a> {
        let Self { methods, module, function, registered_in, arguments, name } = self;
        let (methods, name) = (methods.clone(), name.clone());
        Route { path, methods, module: *module, function, registered_in: *registered_in, arguments, name }
    }
}

impl<'a> Scan<'_, 'a> {
    /// What one statement registers.
    pub(super) fn register(&mut self, scope: &Scope<'a>, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(function) => {
                for decorator in &function.decorator_list {
                    if let Expr::Call(call) = &decorator.expression {
                        self.decorated(scope, call, function);
                    }
                }
            }
            Stmt::Expr(expression) => {
                if let Expr::Call(call) = &*expression.value {
                    self.called(scope, call);
                }
            }
            _ => {}
        }
    }

    /// `@app.get("/path")` and the like.
    fn decorated(&mut self, scope: &Scope<'a>, call: &'a ExprCall, function: &'a StmtFunctionDef) {
        let Expr::Attribute(attribute) = &*call.func else { return };
        let Some(key) = self.router(scope, &attribute.value) else { return };
        let methods = match attribute.attr.as_str() {
            "route" | "api_route" => self.methods(scope.module, &call.arguments),
            verb => verb.parse().ok().map(|method| vec![method]),
        };
        if let Some(methods) = methods {
            self.add(key, scope.module, call, Endpoint { methods, module: scope.module, function });
        }
    }

    /// `app.include_router(…)`, `app.add_api_route(…)` and the like.
    fn called(&mut self, scope: &Scope<'a>, call: &'a ExprCall) {
        let Expr::Attribute(attribute) = &*call.func else { return };
        let Some(key) = self.router(scope, &attribute.value) else { return };
        let arguments = &call.arguments;
        match attribute.attr.as_str() {
            "include_router" | "register_blueprint" => self.include(scope, key, call),
            "mount" => self.mount(scope, key, call),
            "add_api_route" | "add_route" => {
                self.add_endpoint(key, scope.module, call, arguments.find_argument_value("endpoint", 1))
            }
            "add_url_rule" => self.add_endpoint(key, scope.module, call, arguments.find_argument_value("view_func", 2)),
            _ => {}
        }
    }

    fn include(&mut self, scope: &Scope<'a>, key: Key, call: &'a ExprCall) {
        let Some(first) = call.arguments.args.first() else { return };
        let Some(part) = self.router(scope, first) else {
            return self
                .unread(format!("the router `{}` is not in the source, so its routes are not known", dotted(first)));
        };
        let flask = self.keyword(scope.module, call, "url_prefix");
        let instead = flask.is_some();
        let prefix = flask.or_else(|| self.keyword(scope.module, call, "prefix")).unwrap_or_default();
        self.add_part(key, Part { key: part, prefix, instead });
    }

    fn mount(&mut self, scope: &Scope<'a>, key: Key, call: &'a ExprCall) {
        let path = call.arguments.find_argument_value("path", 0).and_then(|path| self.text(scope.module, path));
        let app = call.arguments.find_argument_value("app", 1).and_then(|app| self.router(scope, app));
        if let (Some(prefix), Some(part)) = (path, app) {
            self.add_part(key, Part { key: part, prefix, instead: true });
        }
    }

    fn add_endpoint(&mut self, key: Key, module: ModuleId, call: &'a ExprCall, endpoint: Option<&'a Expr>) {
        let Some(endpoint) = endpoint else { return };
        let methods = self.methods(module, &call.arguments).unwrap_or_default();
        for endpoint in self.endpoints(module, endpoint, &methods) {
            self.add(key, module, call, endpoint);
        }
    }

    fn add(&mut self, key: Key, module: ModuleId, call: &'a ExprCall, endpoint: Endpoint<'a>) {
        self.add_within(key, module, call, endpoint, "");
    }

    fn add_within(&mut self, key: Key, module: ModuleId, call: &'a ExprCall, endpoint: Endpoint<'a>, prefix: &str) {
        let Endpoint { methods, module: defined, function } = endpoint;
        let hidden = call
            .arguments
            .find_keyword("include_in_schema")
            .is_some_and(|keyword| keyword.value.as_boolean_literal_expr().is_some_and(|literal| !literal.value));
        if hidden {
            return;
        }
        let path = ["path", "rule"].into_iter().find_map(|name| call.arguments.find_argument_value(name, 0));
        let Some(path) = path.and_then(|path| self.text(module, path)) else {
            return self.unread(format!("`{}`: its path is computed, so the operation is not known", function.name));
        };
        let route = Registration {
            methods,
            module: defined,
            function,
            registered_in: module,
            arguments: &call.arguments,
            name: self.keyword(module, call, "operation_id"),
        };
        self.add_route(key, Registered { path: format!("{prefix}{path}"), route });
    }

    /// The methods that are named, or `GET`; `None` where they are computed.
    fn methods(&self, module: ModuleId, arguments: &Arguments) -> Option<Vec<WebMethod>> {
        let Some(keyword) = arguments.find_keyword("methods") else { return Some(vec![WebMethod::Get]) };
        let Value::Array(methods) = literal::value(self.project, module, &keyword.value)? else { return None };
        Some(methods.iter().filter_map(|method| method.as_str()?.parse().ok()).collect())
    }

    /// The functions that an endpoint is: itself, or a method each of a class of them.
    fn endpoints(&self, module: ModuleId, endpoint: &Expr, methods: &[WebMethod]) -> Vec<Endpoint<'a>> {
        // `Items.as_view("items")` of Flask.
        let named = match endpoint {
            Expr::Call(call) => match &*call.func {
                Expr::Attribute(attribute) if attribute.attr.as_str() == "as_view" => &attribute.value,
                _ => return Vec::new(),
            },
            other => other,
        };
        match self.project.meaning(module, named) {
            Meaning::Function(module, function) => vec![Endpoint { methods: methods.to_vec(), module, function }],
            Meaning::Class(module, class) => methods_of(module, class),
            _ => Vec::new(),
        }
    }

    /// `[Route("/path", function), Mount("/prefix", routes=[…])]`
    pub(super) fn register_list(&mut self, key: Key, module: ModuleId, list: &'a Expr, prefix: &str, depth: usize) {
        let (module, list) = match self.project.meaning(module, list) {
            Meaning::Value(module, value) => (module, value),
            _ => (module, list),
        };
        let elements = match list {
            Expr::List(list) => &list.elts,
            Expr::Tuple(tuple) => &tuple.elts,
            _ => return self.unread("its list of routes is computed, so not all operations are known".into()),
        };
        for element in elements.iter().filter_map(Expr::as_call_expr) {
            let name = self.project.external(module, &element.func).unwrap_or_default();
            match name.as_str() {
                "starlette.routing.Route" | "fastapi.routing.APIRoute" => self.listed(key, module, element, prefix),
                "starlette.routing.Mount" if depth < DEPTH => self.mounted(key, module, element, prefix, depth),
                _ => {}
            }
        }
    }

    fn listed(&mut self, key: Key, module: ModuleId, call: &'a ExprCall, prefix: &str) {
        let Some(endpoint) = call.arguments.find_argument_value("endpoint", 1) else { return };
        let methods = self.methods(module, &call.arguments).unwrap_or_default();
        for endpoint in self.endpoints(module, endpoint, &methods) {
            self.add_within(key, module, call, endpoint, prefix);
        }
    }

    fn mounted(&mut self, key: Key, module: ModuleId, call: &'a ExprCall, prefix: &str, depth: usize) {
        let path = call.arguments.find_argument_value("path", 0).and_then(|path| self.text(module, path));
        let prefix = format!("{prefix}{}", path.unwrap_or_default());
        if let Some(routes) = call.arguments.find_keyword("routes") {
            return self.register_list(key, module, &routes.value, &prefix, depth + 1);
        }
        let scope = Scope::of_names(module);
        if let Some(part) = call.arguments.find_argument_value("app", 1).and_then(|app| self.router(&scope, app)) {
            self.add_part(key, Part { key: part, prefix, instead: true });
        }
    }
}

/// A function and the methods that it answers.
struct Endpoint<'a> {
    methods: Vec<WebMethod>,
    module: ModuleId,
    function: &'a StmtFunctionDef,
}

/// A class with a method for each method of HTTP.
fn methods_of(module: ModuleId, class: &StmtClassDef) -> Vec<Endpoint<'_>> {
    let mut found = Vec::new();
    for_each_statement(&class.body, &mut |statement| {
        if let Stmt::FunctionDef(function) = statement
            && let Ok(method) = function.name.parse::<WebMethod>()
        {
            found.push(Endpoint { methods: vec![method], module, function });
        }
    });
    found
}
