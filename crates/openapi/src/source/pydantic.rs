//! What pydantic models say by more than their attributes: their configuration, their root, their computed fields.

use ruff_python_ast::{Expr, Stmt, StmtClassDef, StmtFunctionDef};
use serde_json::Value;

use super::{
    annotation::{Types, elements},
    attributes::Attribute,
    class::{self, Kind},
    docstring,
    extra::Extra,
    generics::{self, Scope},
    literal,
    project::ModuleId,
};

/// How a configuration makes the names in JSON of those in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Camel,
    Pascal,
}

impl<'a> Types<'_, 'a> {
    /// The hint of what a `RootModel` holds, with what its type variables stand for; `None` where the class is none.
    pub(super) fn root_of(
        &mut self,
        module: ModuleId,
        class: &'a StmtClassDef,
        depth: usize,
    ) -> Option<(Scope, ModuleId, &'a Expr)> {
        let lineage = class::lineage(self.project, module, class);
        let (at, root) = lineage.iter().enumerate().find_map(|(at, (module, class))| {
            let listed = class.bases().iter().find_map(|base| {
                let subscript = base.as_subscript_expr()?;
                let name = self.project.external(*module, &subscript.value)?;
                elements(&subscript.slice).first().filter(|_| is_root_model(&name))
            });
            Some((at, annotated_root(class).or(listed)?))
        })?;
        let is_root = |(module, class): &(ModuleId, &StmtClassDef)| {
            let named = |base: &Expr| {
                let head = base.as_subscript_expr().map_or(base, |subscript| &subscript.value);
                self.project.external(*module, head).is_some_and(|name| is_root_model(&name))
            };
            class.bases().iter().any(named) || has_old_root(class)
        };
        if !lineage.iter().any(is_root) {
            return None;
        }
        let (module, class) = lineage[at];
        let scopes = self.scopes_of_lineage(&lineage, depth);
        Some((generics::scope_in(&scopes, class), module, root))
    }

    /// Whether a class of that lineage is one for the first pydantic alone, in which `Optional` is None where nothing is given.
    pub(super) fn is_of_first_pydantic(&self, lineage: &[(ModuleId, &'a StmtClassDef)]) -> bool {
        lineage.iter().any(|(module, class)| {
            let is =
                |expr: &Expr, of: fn(&str) -> bool| self.project.external(*module, expr).is_some_and(|name| of(&name));
            let is_bare = |decorator: &Expr| is(decorator, |name| name.ends_with(".root_validator"));
            let functions = class.body.iter().filter_map(Stmt::as_function_def_stmt);
            let mut decorators = functions.flat_map(|function| &function.decorator_list);
            class.bases().iter().any(|base| is(base, |name| name.starts_with("pydantic.v1.")))
                || decorators.any(|decorator| is_bare(&decorator.expression))
        })
    }

    /// How the names in JSON are made, where the configuration says so.
    pub(super) fn spelling(&mut self, module: ModuleId, class: &'a StmtClassDef) -> Option<Spelling> {
        let (module, generator) = self.setting(module, class, "alias_generator")?;
        let name = self.project.external(module, generator).unwrap_or_default();
        match name.rsplit('.').next() {
            Some("to_camel") => Some(Spelling::Camel),
            Some("to_pascal") => Some(Spelling::Pascal),
            _ => {
                self.note("its names in JSON are made by a function, so they are not known");
                None
            }
        }
    }

    /// The name in JSON of a pydantic model's attribute. A web application writes aliases, and KEA's workers write names.
    pub(super) fn key_of(&self, name: &str, extra: &mut Extra) -> String {
        if self.writing && !self.lenient {
            return name.to_owned();
        }
        let given = if self.writing { extra.written.take() } else { extra.alias.take() };
        given.unwrap_or_else(|| self.spelling.map_or_else(|| name.to_owned(), |spelling| spelling.of(name)))
    }

    /// Properties that are written like attributes, by `@computed_field`.
    pub(super) fn computed_attributes(
        &mut self,
        module: ModuleId,
        class: &'a StmtClassDef,
        depth: usize,
    ) -> Vec<Attribute> {
        let functions = class.body.iter().filter_map(Stmt::as_function_def_stmt);
        functions.filter_map(|function| self.computed_attribute(module, function, depth)).collect()
    }

    fn computed_attribute(
        &mut self,
        module: ModuleId,
        function: &'a StmtFunctionDef,
        depth: usize,
    ) -> Option<Attribute> {
        let call = function.decorator_list.iter().find_map(|decorator| {
            let (head, call) = match &decorator.expression {
                Expr::Call(call) => (&*call.func, Some(call)),
                head => (head, None),
            };
            let name = self.project.external(module, head)?;
            (name == "pydantic.computed_field" || name == "pydantic.fields.computed_field").then_some(call)
        })?;
        let mut extra = call.map(|call| Extra::of_call(self.project, module, &call.arguments)).unwrap_or_default();
        let said = call.and_then(|call| call.arguments.find_keyword("return_type")).map(|keyword| &keyword.value);
        let mut schema = match said.or(function.returns.as_deref()) {
            Some(hint) => self.schema(module, hint, depth + 1),
            None => self.unknown(&format!("`{}` has no hint", function.name)),
        };
        extra.describe(&docstring::of(&function.body).map(|words| words.summary()).unwrap_or_default());
        extra.apply(&mut schema);
        let key = self.key_of(function.name.as_str(), &mut extra);
        Some(Attribute::computed(function.name.to_string(), key, schema))
    }

    /// Whether an object of the class may have more than its attributes.
    pub(super) fn takes_more(&self, module: ModuleId, class: &'a StmtClassDef, kind: Kind) -> bool {
        if kind != Kind::Pydantic {
            return false;
        }
        let extra = self.setting(module, class, "extra").and_then(|(module, value)| self.word(module, value));
        extra.map_or(self.lenient, |extra| extra == "allow" || (self.lenient && extra == "ignore"))
    }

    /// A text, or the last word of `Extra.forbid`.
    fn word(&self, module: ModuleId, value: &Expr) -> Option<String> {
        match literal::value(self.project, module, value) {
            Some(Value::String(text)) => Some(text),
            Some(_) => None,
            None => self.project.external(module, value)?.rsplit_once('.').map(|(_, word)| word.to_owned()),
        }
    }

    /// One of a pydantic model's settings, in any of the three forms, its own before those that it inherits.
    fn setting(&self, module: ModuleId, class: &'a StmtClassDef, name: &str) -> Option<(ModuleId, &'a Expr)> {
        let lineage = class::lineage(self.project, module, class);
        lineage.into_iter().find_map(|(module, class)| Some((module, own_setting(class, name)?)))
    }
}

impl Spelling {
    fn of(self, name: &str) -> String {
        let mut words = name.split('_');
        let first = match self {
            Self::Camel => words.next().unwrap_or_default().to_owned(),
            Self::Pascal => String::new(),
        };
        words.fold(first, |joined, word| {
            let mut letters = word.chars();
            let initial = letters.next().into_iter().flat_map(char::to_uppercase);
            joined.chars().chain(initial).chain(letters).collect()
        })
    }
}

fn own_setting<'a>(class: &'a StmtClassDef, name: &str) -> Option<&'a Expr> {
    let keyword = class.arguments.as_deref().and_then(|arguments| arguments.find_keyword(name));
    keyword.map(|keyword| &keyword.value).or_else(|| {
        class.body.iter().find_map(|statement| match statement {
            Stmt::Assign(assign) if assigns(&assign.targets, "model_config") => configured(&assign.value, name),
            Stmt::AnnAssign(assign) if assigns(std::slice::from_ref(&assign.target), "model_config") => {
                configured(assign.value.as_deref()?, name)
            }
            Stmt::ClassDef(config) if config.name.as_str() == "Config" => config
                .body
                .iter()
                .filter_map(Stmt::as_assign_stmt)
                .find_map(|assign| assigns(&assign.targets, name).then_some(&*assign.value)),
            _ => None,
        })
    })
}

/// A value of `ConfigDict(name=…)` or of `{"name": …}`.
fn configured<'a>(config: &'a Expr, name: &str) -> Option<&'a Expr> {
    match config {
        Expr::Call(call) => call.arguments.find_keyword(name).map(|keyword| &keyword.value),
        Expr::Dict(dict) => dict.items.iter().find_map(|item| {
            let key = item.key.as_ref()?.as_string_literal_expr()?;
            (key.value.to_str() == name).then_some(&item.value)
        }),
        _ => None,
    }
}

fn assigns(targets: &[Expr], name: &str) -> bool {
    targets.iter().any(|target| target.as_name_expr().is_some_and(|target| target.id.as_str() == name))
}

fn is_root_model(name: &str) -> bool {
    name == "pydantic.RootModel" || name == "pydantic.root_model.RootModel"
}

/// The hint of `root`, as of pydantic 2, or of `__root__`, as of pydantic 1.
fn annotated_root(class: &StmtClassDef) -> Option<&Expr> {
    let assigned = class.body.iter().filter_map(Stmt::as_ann_assign_stmt);
    let named =
        |target: &Expr| target.as_name_expr().is_some_and(|name| matches!(name.id.as_str(), "root" | "__root__"));
    assigned.filter(|assign| named(&assign.target)).map(|assign| &*assign.annotation).next()
}

fn has_old_root(class: &StmtClassDef) -> bool {
    let assigned = class.body.iter().filter_map(Stmt::as_ann_assign_stmt);
    assigned.filter_map(|assign| assign.target.as_name_expr()).any(|name| name.id.as_str() == "__root__")
}
