//! Operations of Flask and Starlette, whose functions have no hints of what they take: it is what they read of their
//! request by name.

use kea_core::contract::web::{WebAnswer, WebBody, WebMethod, WebOperation, WebParameter, WebPlace};
use ruff_python_ast::Expr;
use serde_json::{Map, Value, json};

use super::{
    application::Framework,
    body::{self, BodyPart, PartKind},
    reads::{self, Read, Reads, Request},
    routes::Route,
    status,
};
use crate::source::{
    annotation::Types,
    docstring::{self, Docstring},
    known, literal,
    outputs::field,
    project::ModuleId,
};

const OK: u16 = 200;
const JSON: &str = "application/json";

impl<'a> Types<'_, 'a> {
    /// The operation of a function that gets a request, but for its name.
    pub(super) fn handler(&mut self, framework: Framework, route: &Route<'a>, method: WebMethod) -> WebOperation {
        let words = docstring::of(&route.function.body).unwrap_or_default();
        let request = match framework {
            Framework::Flask => Request::Flask,
            Framework::Starlette | Framework::FastApi => {
                let names = route.function.parameters.iter_non_variadic_params().map(|p| p.name().as_str());
                names.into_iter().find(|name| *name != "self").map_or(Request::Unread, Request::Parameter)
            }
        };
        let reads = reads::of(self.project, route.module, route.function, request);
        let takes_body = !matches!(method, WebMethod::Get | WebMethod::Head | WebMethod::Delete | WebMethod::Options);
        let body = if takes_body { self.read_body(route.module, &reads) } else { None };
        WebOperation {
            name: String::new(),
            method,
            path: route.path.template.clone(),
            description: words.prose.clone(),
            deprecated: false,
            parameters: self.read_parameters(route, &words, &reads),
            body,
            answers: self.read_answers(route, &words, reads),
        }
    }

    fn read_parameters(&mut self, route: &Route<'_>, words: &Docstring, reads: &Reads<'_>) -> Vec<WebParameter> {
        let mut parameters = Vec::new();
        for (name, schema) in &route.path.variables {
            let mut field = field(name.clone(), schema.clone(), true);
            field.description = words.parameter(name);
            parameters.push(WebParameter { place: WebPlace::Path, field });
        }
        for (place, read) in [(WebPlace::Query, &reads.query), (WebPlace::Header, &reads.headers)] {
            for read in read {
                // OpenAPI has another place for these.
                let general = ["authorization", "content-type", "accept"].contains(&read.name.to_lowercase().as_str());
                if !(place == WebPlace::Header && general) {
                    parameters.push(WebParameter { place, field: self.read_field(route.module, read, words) });
                }
            }
        }
        parameters
    }

    fn read_field(&mut self, module: ModuleId, read: &Read<'_>, words: &Docstring) -> kea_core::Field {
        let default = read.default.and_then(|default| literal::value(self.project, module, default));
        let converter = read.converter.and_then(|converter| self.project.external(module, converter));
        let converted = converter.and_then(|name| known::simple(&name));
        let schema = converted.unwrap_or_else(|| json!({"type": "string"}));
        let mut field = field(read.name.clone(), schema, read.required);
        field.description = words.parameter(&read.name);
        field.default = default.filter(|default| !default.is_null());
        field
    }

    fn read_body(&mut self, module: ModuleId, reads: &Reads<'_>) -> Option<WebBody> {
        let form = reads.form.iter().map(|read| (read, PartKind::Form, json!({"type": "string"})));
        let files = reads.files.iter().map(|read| (read, PartKind::File, body::file()));
        let part = |(read, kind, schema): (&Read<'_>, PartKind, Value)| BodyPart {
            name: read.name.clone(),
            schema,
            required: read.required,
            kind,
        };
        let parts: Vec<BodyPart> = form.chain(files).map(part).collect();
        if !parts.is_empty() {
            return body::of_parts(parts);
        }
        if let Some(model) = reads.model.filter(|model| self.is_record(module, model)) {
            return Some(json_body(self.schema(module, model, 0)));
        }
        if reads.json || !reads.members.is_empty() {
            self.note("the types of what it reads of its JSON body are not known");
            return Some(json_body(of_members(&reads.members)));
        }
        if reads.raw {
            self.note("what its body holds is not known");
        }
        reads.raw.then(|| WebBody { media_type: "*/*".into(), schema: json!({}), required: true })
    }

    fn read_answers(&mut self, route: &Route<'a>, words: &Docstring, reads: Reads<'_>) -> Vec<WebAnswer> {
        let hint = route.function.returns.as_deref().filter(|hint| !self.is_answer(route.module, hint));
        self.writing = true;
        let schema = hint.map(|hint| self.schema(route.module, hint, 0));
        self.writing = false;
        if schema.is_none() {
            self.note("its answer: the function has no hint of it, so what it holds is not known");
        }
        let mut statuses: Vec<u16> = reads.returned.clone();
        if statuses.iter().all(|status| *status >= 300) {
            statuses.insert(0, OK);
        }
        let mut answers = reads.answers;
        for status in statuses {
            if answers.iter().all(|answer| answer.status != status) {
                let own = status < 300;
                let described =
                    if own && !words.returns.is_empty() { words.returns.clone() } else { status::meaning(status) };
                let schema = schema.clone().filter(|_| own);
                let media_type = schema.is_some().then(|| JSON.to_owned());
                answers.push(WebAnswer { status, description: described, media_type, schema });
            }
        }
        answers.sort_by_key(|answer| answer.status);
        answers
    }

    /// Whether a hint is a class of answers, which says nothing of what they hold.
    fn is_answer(&self, module: ModuleId, hint: &Expr) -> bool {
        let name = self.project.external(module, hint).unwrap_or_default();
        ["flask.", "werkzeug.", "starlette."].iter().any(|package| name.starts_with(package))
    }
}

fn json_body(schema: Value) -> WebBody {
    WebBody { media_type: JSON.into(), schema, required: true }
}

fn of_members(members: &[Read<'_>]) -> Value {
    let properties: Map<String, Value> = members.iter().map(|read| (read.name.clone(), json!({}))).collect();
    if properties.is_empty() { json!({}) } else { json!({"type": "object", "properties": properties}) }
}
