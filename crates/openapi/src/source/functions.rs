//! Methods of the model's class as functions of the contract.

use kea_core::{Field, Function, Layout, ValueType, contract::DEFAULT_FUNCTION};
use ruff_python_ast::{Parameter, ParameterWithDefault, Parameters, StmtClassDef, StmtFunctionDef};
use serde_json::{Value, json};

use super::{
    annotation::{Types, nullable},
    class::{self, Method},
    convention, determinism,
    docstring::{self, Docstring},
    extra::Fallback,
    file::for_each_statement,
    generics,
    outputs::field,
    project::{Meaning, ModuleId, Project},
};

/// The functions of a class, `predict` first, and what could not be found out.
pub(super) fn of_class<'a>(project: &Project<'a>, class: &'a StmtClassDef) -> (Vec<Function>, Vec<String>) {
    let mut types = Types::new(project);
    let mut functions = Vec::new();
    let convention = convention::of(project, Project::MAIN, class);
    let lineage = class::lineage(project, Project::MAIN, class);
    let (given, returned) =
        (types.scopes_of_lineage(&lineage, 0), types.while_writing(|types| types.scopes_of_lineage(&lineage, 0)));
    for method in class::methods(project, Project::MAIN, class) {
        let of_class = |scopes| method.class.map(|class| generics::scope_in(scopes, class)).unwrap_or_default();
        types.scope_of_results = of_class(&returned);
        let scope = of_class(&given);
        functions.extend(types.within(scope, |types| match convention {
            None => types.function(&method),
            Some(convention) if convention::is_function(project, convention, &method) => {
                types.conventional(convention, class, &method)
            }
            Some(_) => None,
        }));
    }
    let random = determinism::not_deterministic(class);
    for function in &mut functions {
        function.deterministic = !random.contains(&function.name.as_str());
    }
    functions.sort_by_key(|function| function.name != DEFAULT_FUNCTION);
    if functions.is_empty() {
        types.place = format!("`{}`", class.name);
        types.note("it has no function that can be called; write a public method with type hints, as `def predict(self, x: float) -> float`");
    }
    (functions, types.notes)
}

/// The functions of a file without a class: those that are public and have type hints.
pub(super) fn of_module(project: &Project<'_>) -> (Vec<Function>, Vec<String>) {
    let mut types = Types::new(project);
    let mut functions: Vec<Function> = Vec::new();
    let mut defined = Vec::new();
    for_each_statement(project.main_body(), &mut |statement| defined.extend(statement.as_function_def_stmt()));
    for function in defined {
        let (module, documented) = (Project::MAIN, function.body.as_slice());
        let method = Method { module, class: None, function, documented, bound: false };
        if class::is_public(function) && is_hinted(&method) {
            functions.retain(|earlier| earlier.name != function.name.as_str());
            functions.extend(types.function(&method));
        }
    }
    functions.sort_by_key(|function| function.name != DEFAULT_FUNCTION);
    (functions, types.notes)
}

impl<'a> Types<'_, 'a> {
    fn function(&mut self, method: &Method<'a>) -> Option<Function> {
        self.place = format!("`{}`", method.function.name);
        if self.can_be_called(method) { self.described(method) } else { None }
    }

    /// The function that a method is, whether or not it has hints.
    pub(super) fn described(&mut self, method: &Method<'a>) -> Option<Function> {
        let declared = method.function.type_params.as_deref();
        self.within_function(method.module, declared, |types| types.described_here(method))
    }

    fn described_here(&mut self, method: &Method<'a>) -> Option<Function> {
        let function = method.function;
        let name = function.name.as_str();
        let words = docstring::of(method.documented).unwrap_or_default();
        let inputs = self.inputs(method, &words);
        self.place = format!("`{name}`: the result");
        let outputs = self.outputs(method.module, function.returns.as_deref(), &words.returns);
        Some(Function {
            name: name.to_owned(),
            description: words.summary(),
            layout: Layout::Arguments,
            inputs,
            outputs,
            idempotent: false,
            deterministic: true,
        })
    }

    /// Whether requests can call a method: its hints ask for it, and all that it needs can be given by name.
    fn can_be_called(&mut self, method: &Method<'_>) -> bool {
        let (function, name) = (method.function, method.function.name.as_str());
        if !is_hinted(method) && name != DEFAULT_FUNCTION {
            self.note("it has no type hints, so it is not a function of the service");
            return false;
        }
        let by_position = positional(&function.parameters, method.bound).any(|parameter| parameter.default.is_none());
        if by_position {
            self.note(
                "arguments before `/` cannot be given by name, so it is not a function of the service; remove the `/`",
            );
        }
        !by_position
    }

    fn inputs(&mut self, method: &Method<'a>, words: &Docstring) -> Vec<Field> {
        let parameters = &method.function.parameters;
        self.note_variadic("*", parameters.vararg.as_deref());
        let unpacked = self.unpacked(method.module, parameters.kwarg.as_deref());
        if unpacked.is_none() {
            self.note_variadic("**", parameters.kwarg.as_deref());
        }
        // What is left before `/` has a default and is never given, but by systems that give it by name.
        let before = positional(parameters, method.bound).filter(|parameter| parameter.default.is_none());
        let named = parameters.args.iter().skip(usize::from(method.bound && parameters.posonlyargs.is_empty()));
        let given = before.chain(named).chain(&parameters.kwonlyargs);
        given
            .map(|parameter| self.input(method.module, method.function, parameter, words))
            .chain(unpacked.into_iter().flatten())
            .collect()
    }

    /// The keys of `**options: Unpack[Options]`, which are given like other arguments.
    fn unpacked(&mut self, module: ModuleId, parameter: Option<&'a Parameter>) -> Option<Vec<Field>> {
        let subscript = parameter?.annotation.as_deref()?.as_subscript_expr()?;
        let name = self.project.external(module, &subscript.value)?;
        let Meaning::Class(module, class) = self.project.meaning(module, &subscript.slice) else { return None };
        let kind = class::kind(self.project, module, class);
        let unpacks = name.ends_with(".Unpack") && kind == class::Kind::TypedDict;
        unpacks.then(|| self.fields_of(module, class, kind))
    }

    fn note_variadic(&mut self, stars: &str, parameter: Option<&Parameter>) {
        if let Some(parameter) = parameter {
            let what = format!("`{stars}{}` cannot be described, so requests cannot give it", parameter.name);
            self.note(&what);
        }
    }

    fn input(
        &mut self,
        module: ModuleId,
        function: &StmtFunctionDef,
        parameter: &ParameterWithDefault,
        words: &Docstring,
    ) -> Field {
        let name = parameter.name().as_str();
        self.place = format!("`{}`: argument `{name}`", function.name);
        let hint = parameter.annotation();
        let mut schema = match hint {
            Some(hint) => self.schema(module, hint, 0),
            None => self.unhinted(),
        };
        let said = self.said_of(module, hint, parameter.default());
        self.place = format!("`{}`", function.name);
        if said.default == Fallback::Known(Value::Null) {
            schema = nullable(schema);
        }
        said.apply(&mut schema);
        let mut field = field(name.to_owned(), schema, said.default == Fallback::Required);
        let described = words.parameter(name);
        if !described.is_empty() {
            field.description = described;
        }
        settle_default(&mut field);
        field
    }

    fn unhinted(&mut self) -> Value {
        self.note("it has no type hint, so anything is accepted");
        json!({})
    }
}

/// The default belongs to the field, not to its schema.
pub(super) fn settle_default(field: &mut Field) {
    field.default = match &mut field.value {
        ValueType::Json { schema } => schema.as_object_mut().and_then(|schema| schema.remove("default")),
        ValueType::Scalar { .. } | ValueType::Tensor { .. } => None,
    };
}

fn is_hinted(method: &Method<'_>) -> bool {
    let parameters = &method.function.parameters;
    let hinted = parameters.iter_non_variadic_params().skip(usize::from(method.bound));
    method.function.returns.is_some() || hinted.into_iter().any(|parameter| parameter.annotation().is_some())
}

/// Parameters that can only be given by position, without the instance.
fn positional(parameters: &Parameters, bound: bool) -> impl Iterator<Item = &ParameterWithDefault> {
    parameters.posonlyargs.iter().skip(usize::from(bound))
}
