//! Conventions of other serving systems: what a base class or a decorator of theirs makes of a method.
//!
//! Such a class is served as it is. The worker calls it in the way of its own system, by that system's package.

use kea_core::{Field, Function, Layout};
use ruff_python_ast::{Expr, StmtClassDef, StmtFunctionDef};
use serde_json::{Value, json};

use super::{
    annotation::{Types, elements},
    class::{self, Method},
    docstring,
    known::{self, Generic},
    outputs::field,
    project::{Meaning, ModuleId, Project},
};

/// The system that a class is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    /// `kserve.Model`: `preprocess`, `predict` and `postprocess` of a payload.
    KServe,
    /// `mlserver.MLModel`: `predict` of a request of the Open Inference Protocol, or of its decoded inputs.
    MlServer,
    /// `@bentoml.service`: methods with `@bentoml.api`.
    Bento,
    /// `mlrun.serving.V2ModelServer`: `predict` of a body with `inputs`.
    Mlrun,
}

impl Convention {
    /// The system's name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::KServe => "kserve",
            Self::MlServer => "mlserver",
            Self::Bento => "bentoml",
            Self::Mlrun => "mlrun",
        }
    }
}

/// The system that a class is written for, by its decorators, its bases and theirs.
pub(super) fn of(project: &Project<'_>, module: ModuleId, class: &StmtClassDef) -> Option<Convention> {
    let named = |module, expr: &Expr| {
        let named = match expr {
            Expr::Call(call) => &call.func,
            other => other,
        };
        project.external(module, named)
    };
    let decorated = class.decorator_list.iter().filter_map(|decorator| named(module, &decorator.expression));
    if decorated.into_iter().any(|name| name == "bentoml.service") {
        return Some(Convention::Bento);
    }
    let own = |(module, class): &(ModuleId, &StmtClassDef)| {
        class.bases().iter().find_map(|base| match named(*module, base)?.as_str() {
            "kserve.Model" | "kserve.model.Model" => Some(Convention::KServe),
            "mlserver.MLModel" | "mlserver.model.MLModel" => Some(Convention::MlServer),
            "mlrun.serving.V2ModelServer" | "mlrun.serving.v2_serving.V2ModelServer" => Some(Convention::Mlrun),
            _ => None,
        })
    };
    class::ancestry(project, module, class).iter().find_map(own)
}

/// Whether a method is a function of a service by the convention.
pub(super) fn is_function(project: &Project<'_>, convention: Convention, method: &Method<'_>) -> bool {
    match convention {
        Convention::KServe | Convention::Mlrun => matches!(method.function.name.as_str(), "predict" | "explain"),
        Convention::MlServer => method.function.name.as_str() == "predict",
        Convention::Bento => decorated_with(project, method, &["bentoml.api", "bentoml.task"]),
    }
}

fn decorated_with(project: &Project<'_>, method: &Method<'_>, names: &[&str]) -> bool {
    method.function.decorator_list.iter().any(|decorator| {
        let named = match &decorator.expression {
            Expr::Call(call) => &call.func,
            other => other,
        };
        project.external(method.module, named).is_some_and(|name| names.contains(&name.as_str()))
    })
}

impl<'a> Types<'_, 'a> {
    /// The function that a convention makes of a method; `None` where it makes none that KEA could call.
    pub(super) fn conventional(
        &mut self,
        convention: Convention,
        class: &'a StmtClassDef,
        method: &Method<'a>,
    ) -> Option<Function> {
        self.place = format!("`{}`", method.function.name);
        match convention {
            Convention::Bento => self.bento(method),
            Convention::MlServer if decorated_with(self.project, method, &DECODED) => self.described(method),
            Convention::KServe | Convention::MlServer | Convention::Mlrun => {
                Some(self.of_payload(convention, class, method))
            }
        }
    }

    fn bento(&mut self, method: &Method<'a>) -> Option<Function> {
        if self.streams(method) {
            self.note("it answers a stream, which KEA does not, so it is not a function of the service");
            return None;
        }
        let mut function = self.described(method)?;
        // The context is given by bentoml, and no part of a request.
        function.inputs.retain(|input| input.name != "ctx" && input.name != "context");
        let name = format!("`{}`", function.name);
        self.forget(&[format!("{name}: argument `ctx`"), format!("{name}: argument `context`")]);
        if let Some((module, spec)) = input_spec(method)
            && let Meaning::Class(module, class) = self.project.meaning(module, spec)
        {
            let kind = class::kind(self.project, module, class);
            function.inputs = self.fields_of(module, class, kind);
            // They are what `**params` of the method is.
            self.forget(&[format!("{name}: `**")]);
        }
        Some(function)
    }

    /// Takes back notes on what turned out to be known.
    fn forget(&mut self, beginnings: &[String]) {
        self.notes.retain(|note| !beginnings.iter().any(|beginning| note.starts_with(beginning)));
    }

    fn streams(&self, method: &Method<'_>) -> bool {
        let hint = method.function.returns.as_deref().and_then(|hint| match hint {
            Expr::Subscript(subscript) => self.project.external(method.module, &subscript.value),
            hint => self.project.external(method.module, hint),
        });
        hint.is_some_and(|name| name.ends_with("Generator") || name.ends_with("AsyncIterator"))
    }

    /// A method that takes the whole payload of a protocol.
    fn of_payload(&mut self, convention: Convention, class: &'a StmtClassDef, method: &Method<'a>) -> Function {
        let words = docstring::of(method.documented).unwrap_or_default();
        // What comes in and goes out is what the steps around it take and give.
        let first = self.step(convention, class, "preprocess").unwrap_or((method.module, method.function));
        let last = self.step(convention, class, "postprocess").unwrap_or((method.module, method.function));
        let inputs = self.payload(convention, first.0, first.1);
        self.place = format!("`{}`: the result", method.function.name);
        let outputs = self.answer(last.0, last.1, &words.returns);
        Function {
            name: method.function.name.to_string(),
            description: words.summary(),
            layout: Layout::Arguments,
            inputs,
            outputs,
            idempotent: false,
            deterministic: true,
        }
    }

    fn step(
        &self,
        convention: Convention,
        class: &'a StmtClassDef,
        name: &str,
    ) -> Option<(ModuleId, &'a StmtFunctionDef)> {
        if convention == Convention::MlServer {
            return None;
        }
        let methods = class::methods(self.project, Project::MAIN, class);
        let found = methods.into_iter().find(|method| method.function.name.as_str() == name)?;
        Some((found.module, found.function))
    }

    /// The members of the payload that the first parameter is.
    fn payload(&mut self, convention: Convention, module: ModuleId, function: &'a StmtFunctionDef) -> Vec<Field> {
        let parameter = function.parameters.iter_non_variadic_params().nth(1);
        let hint = parameter.and_then(|parameter| parameter.annotation());
        if convention == Convention::MlServer || hint.is_some_and(|hint| self.is_tensors(module, hint)) {
            return vec![field("inputs".into(), tensors(), true)];
        }
        if let Some(hint) = hint
            && let Meaning::Class(module, class) = self.project.meaning(module, hint)
            && class::kind(self.project, module, class).is_record()
        {
            let kind = class::kind(self.project, module, class);
            return self.fields_of(module, class, kind);
        }
        let name = if convention == Convention::Mlrun { "inputs" } else { "instances" };
        let schema = hint.and_then(|hint| self.value_of_dict(module, hint)).unwrap_or_else(|| {
            self.note(&format!("what `{name}` holds is not known (a TypedDict as the payload's hint would say it)"));
            json!({"type": "array", "items": {}})
        });
        vec![field(name.into(), schema, true)]
    }

    /// The schema of the values of `Dict[str, …]`, where it says one.
    fn value_of_dict(&mut self, module: ModuleId, hint: &Expr) -> Option<Value> {
        let subscript = hint.as_subscript_expr()?;
        let name = self.project.external(module, &subscript.value)?;
        let [_, value] = elements(&subscript.slice) else { return None };
        let schema = (known::generic(&name) == Some(Generic::Object)).then(|| self.schema(module, value, 1))?;
        (schema != json!({})).then_some(schema)
    }

    /// Whether a hint is a request or response of the Open Inference Protocol.
    fn is_tensors(&self, module: ModuleId, hint: &Expr) -> bool {
        let name = self.project.external(module, hint).unwrap_or_default();
        let (package, last) = name.rsplit_once('.').unwrap_or_default();
        let of_system = package.starts_with("kserve") || package.starts_with("mlserver");
        of_system && matches!(last, "InferRequest" | "InferResponse" | "InferenceRequest" | "InferenceResponse")
    }

    fn answer(&mut self, module: ModuleId, function: &'a StmtFunctionDef, words: &str) -> Vec<Field> {
        let hint = function.returns.as_deref();
        if hint.is_some_and(|hint| self.is_tensors(module, hint)) {
            let name = field("model_name".into(), json!({"type": "string"}), true);
            return vec![name, field("outputs".into(), tensors(), true)];
        }
        self.outputs(module, hint, words)
    }

    /// The attributes of a class of data as fields of their own.
    pub(super) fn fields_of(&mut self, module: ModuleId, class: &'a StmtClassDef, kind: class::Kind) -> Vec<Field> {
        let scope = self.scope_of_class((module, class), module, &[], 0);
        self.open.push(class);
        let attributes = self.within(scope, |types| types.attributes(module, class, kind, 0));
        self.open.pop();
        let mut fields: Vec<Field> = attributes
            .into_iter()
            .map(|attribute| field(attribute.key, attribute.schema, attribute.required))
            .collect();
        fields.iter_mut().for_each(super::functions::settle_default);
        fields
    }
}

/// Decorators of MLServer under which a method takes its decoded inputs by name.
const DECODED: [&str; 2] = ["mlserver.codecs.decode_args", "mlserver.codecs.decorator.decode_args"];

/// The class that `@bentoml.api(input_spec=…)` names.
fn input_spec<'a>(method: &Method<'a>) -> Option<(ModuleId, &'a Expr)> {
    method.function.decorator_list.iter().find_map(|decorator| {
        let call = decorator.expression.as_call_expr()?;
        Some((method.module, &call.arguments.find_keyword("input_spec")?.value))
    })
}

/// A list of tensors in the JSON of the Open Inference Protocol, version 2.
fn tensors() -> Value {
    let datatypes = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
        "BYTES",
    ];
    json!({
        "type": "array",
        "description": "Tensors of the Open Inference Protocol.",
        "items": {
            "type": "object",
            "required": ["name", "shape", "datatype", "data"],
            "properties": {
                "name": {"type": "string"},
                "shape": {"type": "array", "items": {"type": "integer"}},
                "datatype": {"type": "string", "enum": datatypes},
                "data": {"type": "array", "items": {}, "description": "The elements, flat or nested."},
                "parameters": {"type": "object"},
            },
        },
    })
}
