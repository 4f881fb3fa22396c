//! Operations of FastAPI: parameters and body by the function's own, answers by `response_model` or the result's hint.

use kea_core::contract::web::{WebAnswer, WebMethod, WebOperation};
use ruff_python_ast::{Expr, ExprDict};
use serde_json::{Value, json};

use super::{body, reads, routes::Route, status};
use crate::source::{
    annotation::Types,
    docstring::{self, Docstring},
    literal,
    project::{Meaning, ModuleId},
};

/// What FastAPI answers without being told.
const OK: u16 = 200;
const NO_CONTENT: u16 = 204;
const INVALID: u16 = 422;

const JSON: &str = "application/json";

impl<'a> Types<'_, 'a> {
    /// The operation of a route, but for its name and method.
    pub(super) fn fastapi(&mut self, route: &Route<'a>) -> WebOperation {
        let words = docstring::of(&route.function.body).unwrap_or_default();
        self.writing = false;
        let taken = self.taken(route.module, route.function, &route.path);
        let checked = !taken.parameters.is_empty() || !taken.parts.is_empty();
        self.writing = true;
        let answers = self.answers(route, &words, checked);
        self.writing = false;
        WebOperation {
            name: String::new(),
            method: WebMethod::Get,
            path: route.path.template.clone(),
            description: self.description(route, &words),
            deprecated: self.keyword(route, "deprecated") == Some(Value::Bool(true)),
            parameters: taken.parameters,
            body: body::of_parts(taken.parts),
            answers,
        }
    }

    fn keyword(&self, route: &Route<'_>, name: &str) -> Option<Value> {
        literal::value(self.project, route.registered_in, &route.arguments.find_keyword(name)?.value)
    }

    fn description(&self, route: &Route<'_>, words: &Docstring) -> String {
        let given = |name| self.keyword(route, name).and_then(|value| Some(value.as_str()?.trim().to_owned()));
        // A form feed ends what FastAPI shows of a docstring.
        let prose = words.prose.split('\u{c}').next().unwrap_or_default().trim().to_owned();
        let parts = [given("summary"), given("description").or(Some(prose))];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    fn answers(&mut self, route: &Route<'a>, words: &Docstring, checked: bool) -> Vec<WebAnswer> {
        let named = route.arguments.find_keyword("status_code").map(|keyword| &keyword.value);
        let success = named.and_then(|expr| status::of(self.project, route.registered_in, expr)).unwrap_or(OK);
        let place = std::mem::take(&mut self.place);
        self.place = format!("{place}: its answer");
        let mut answers = vec![self.success(route, words, success)];
        if let Some(Expr::Dict(listed)) = route.arguments.find_keyword("responses").map(|keyword| &keyword.value) {
            self.add_listed(route.registered_in, listed, &mut answers);
        }
        self.place = place;
        for raised in reads::raised(self.project, route.module, route.function) {
            if !answers.iter().any(|answer| answer.status == raised.status) {
                let schema = Some(json!({"type": "object", "properties": {"detail": {}}}));
                answers.push(WebAnswer { media_type: Some(JSON.into()), schema, ..raised });
            }
        }
        if checked && !answers.iter().any(|answer| answer.status == INVALID) {
            let media_type = Some(JSON.into());
            let description = "The request does not fit; `detail` names each field.".into();
            answers.push(WebAnswer { status: INVALID, description, media_type, schema: None });
        }
        answers
    }

    fn success(&mut self, route: &Route<'a>, words: &Docstring, success: u16) -> WebAnswer {
        let description = match (words.returns.as_str(), self.keyword(route, "response_description")) {
            (_, Some(Value::String(given))) => given,
            ("", _) => status::meaning(success),
            (returns, _) => returns.to_owned(),
        };
        let model = route.arguments.find_keyword("response_model").map(|keyword| (route.registered_in, &keyword.value));
        let hinted = || route.function.returns.as_deref().map(|hint| (route.module, hint));
        let class = route.arguments.find_keyword("response_class").map(|keyword| (route.registered_in, &keyword.value));
        let sent = class.and_then(|(module, expr)| self.sent_by(module, expr));
        let returned = hinted().and_then(|(module, hint)| self.sent_by(module, hint));
        let (media_type, schema) = match (model.or_else(hinted), sent.or(returned)) {
            _ if success == NO_CONTENT => (None, None),
            (_, Some(media_type)) if media_type != JSON => (Some(media_type.to_owned()), None),
            (Some((_, Expr::NoneLiteral(_))), _) => (Some(JSON.to_owned()), None),
            (Some((module, hint)), _) if self.sent_by(module, hint).is_none() => {
                (Some(JSON.to_owned()), Some(self.schema(module, hint, 0)))
            }
            _ => {
                self.note("it has neither a `response_model` nor a hint, so what it holds is not known");
                (Some(JSON.to_owned()), None)
            }
        };
        WebAnswer { status: success, description, media_type, schema }
    }

    /// The media type that a class of answers sends; `None` where it is no such class.
    fn sent_by(&self, module: ModuleId, expr: &Expr) -> Option<&'static str> {
        let name = self.project.external(module, expr)?;
        let (package, name) = name.rsplit_once('.')?;
        let of_server = package.starts_with("fastapi") || package.starts_with("starlette");
        of_server.then_some(match name {
            "HTMLResponse" => "text/html",
            "PlainTextResponse" => "text/plain",
            "JSONResponse" | "ORJSONResponse" | "UJSONResponse" => JSON,
            "Response" | "FileResponse" | "StreamingResponse" | "RedirectResponse" => "*/*",
            _ => return None,
        })
    }

    /// `responses={404: {"description": "…", "model": Model}}`
    fn add_listed(&mut self, module: ModuleId, listed: &ExprDict, answers: &mut Vec<WebAnswer>) {
        for item in &listed.items {
            let status = item.key.as_ref().and_then(|key| self.status_key(module, key));
            let (Some(status), Expr::Dict(said)) = (status, &item.value) else { continue };
            let member = |name: &str| {
                let is_it = |key: &Expr| key.as_string_literal_expr().is_some_and(|text| text.value.to_str() == name);
                said.items.iter().find(|item| item.key.as_ref().is_some_and(is_it)).map(|item| &item.value)
            };
            let words = member("description").and_then(|value| literal::value(self.project, module, value));
            let description = words.and_then(|words| Some(words.as_str()?.to_owned()));
            let schema = member("model").map(|model| self.schema(module, model, 0));
            match answers.iter_mut().find(|answer| answer.status == status) {
                Some(known) => known.description = description.unwrap_or_else(|| known.description.clone()),
                None => answers.push(WebAnswer {
                    status,
                    description: description.unwrap_or_else(|| status::meaning(status)),
                    media_type: schema.is_some().then(|| JSON.to_owned()),
                    schema,
                }),
            }
        }
    }

    fn status_key(&self, module: ModuleId, key: &Expr) -> Option<u16> {
        let text = key.as_string_literal_expr().and_then(|text| text.value.to_str().parse().ok());
        text.or_else(|| status::of(self.project, module, key))
    }

    /// The class of data that an expression names.
    pub(super) fn is_record(&self, module: ModuleId, expr: &Expr) -> bool {
        match self.project.meaning(module, expr) {
            Meaning::Class(module, class) => crate::source::class::kind(self.project, module, class).is_record(),
            _ => false,
        }
    }
}
