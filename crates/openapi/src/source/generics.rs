//! Type parameters: what `T` stands for where `Page[Hit]` is used, in the syntax of Python 3.12 and with `Generic[T]`.
//!
//! The arguments are read before what they fill in, so that a type which grows without bound costs one level each time.

use std::mem;

use ruff_python_ast::{Expr, StmtClassDef, TypeParam, TypeParams};
use serde_json::{Value, json};

use super::{
    annotation::{Types, elements},
    outputs::Shape,
    project::{Meaning, ModuleId},
};

/// Parameters of one type; nobody means more.
const PARAMETERS: usize = 16;

/// Parts of an alias in which type variables are looked for.
const PARTS: usize = 256;

/// What a type parameter stands for.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    name: String,
    /// Its schema; `None` where nothing says what it is.
    pub(super) schema: Option<Value>,
    /// How large the schema is: whoever uses the parameter makes it once more.
    pub(super) size: Size,
    /// What it is when it is returned.
    pub(super) shape: Shape,
}

/// How large a schema is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Objects that it is made of.
    pub(super) schemas: usize,
    /// How deep they lie in each other.
    pub(super) levels: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        let (within, own) = match value {
            Value::Object(members) => (members.values().map(Self::of).collect::<Vec<_>>(), 1),
            Value::Array(elements) => (elements.iter().map(Self::of).collect(), 0),
            _ => return Self::default(),
        };
        let levels = within.iter().map(|size| size.levels).max().unwrap_or_default();
        Self { schemas: within.iter().map(|size| size.schemas).sum::<usize>() + own, levels: levels + 1 }
    }
}

impl Bound {
    fn unknown(name: &str) -> Self {
        Self { name: name.to_owned(), schema: None, size: Size::default(), shape: Shape::Open }
    }
}

/// What the type parameters stand for in what is being read.
pub(super) type Scope = Vec<Bound>;

/// A type parameter as it is declared.
struct Parameter<'e> {
    name: &'e str,
    module: ModuleId,
    /// What it stands for where nothing is given: its default, or else its bound.
    fallback: Option<&'e Expr>,
    /// Whether it is a variable of the module, as `T = TypeVar("T")`.
    assigned: bool,
    /// Whether it stands for as many types as are given: `*Ts`.
    several: bool,
}

impl<'a> Types<'_, 'a> {
    /// Reads something with other type parameters.
    pub(super) fn within<T>(&mut self, scope: Scope, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = mem::replace(&mut self.scope, scope);
        let found = read(self);
        self.scope = outer;
        found
    }

    /// What a name stands for, where it is a type parameter of what is being read.
    pub(super) fn bound(&self, expr: &Expr) -> Option<&Bound> {
        let name = expr.as_name_expr()?.id.as_str();
        self.scope.iter().rev().find(|bound| bound.name == name)
    }

    /// The parameters of a class with `arguments` in its brackets, which stand in `module`.
    pub(super) fn scope_of_class(
        &mut self,
        of: (ModuleId, &'a StmtClassDef),
        module: ModuleId,
        arguments: &[Expr],
        depth: usize,
    ) -> Scope {
        let parameters = self.parameters_of_class(of.0, of.1);
        self.filled(&parameters, Scope::new(), (module, arguments), depth)
    }

    /// The same of an alias.
    pub(super) fn scope_of_alias(
        &mut self,
        of: (ModuleId, &'a Expr),
        module: ModuleId,
        arguments: &[Expr],
        depth: usize,
    ) -> Scope {
        let declared = self.project.type_parameters(of.0, of.1);
        let parameters = match declared {
            Some(declared) => declared_in(of.0, declared),
            // An alias by assignment has the type variables within it, but what is no generic needs no look.
            None if arguments.is_empty() => Vec::new(),
            None => self.variables_in(of.0, of.1),
        };
        self.filled(&parameters, Scope::new(), (module, arguments), depth)
    }

    /// Reads a function with its own type parameters beside those of its class.
    pub(super) fn within_function<T>(
        &mut self,
        module: ModuleId,
        declared: Option<&'a TypeParams>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let own = declared.map(|declared| declared_in(module, declared)).unwrap_or_default();
        let given = self.filled(&own, self.scope.clone(), (module, &[]), 0);
        let around = self.scope_of_results.clone();
        let returned = self.while_writing(|types| types.filled(&own, around, (module, &[]), 0));
        let outer = mem::replace(&mut self.scope_of_results, returned);
        let found = self.within(given, read);
        self.scope_of_results = outer;
        found
    }

    /// Reads what is written, not read, by a model.
    pub(super) fn while_writing<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = mem::replace(&mut self.writing, true);
        let found = read(self);
        self.writing = outer;
        found
    }

    /// The parameters of each class that a class is made of, itself the first. Its own are those in scope.
    pub(super) fn scopes_of_lineage(
        &mut self,
        lineage: &[(ModuleId, &'a StmtClassDef)],
        depth: usize,
    ) -> Vec<(*const StmtClassDef, Scope)> {
        let mut found: Vec<(*const StmtClassDef, Scope)> = Vec::new();
        if let Some((_, class)) = lineage.first() {
            found.push((std::ptr::from_ref(*class), self.scope.clone()));
        }
        for (module, class) in lineage {
            let scope = scope_in(&found, class);
            for base in class.bases() {
                let (head, arguments) = split(base);
                let Meaning::Class(of, base) = self.project.meaning(*module, head) else { continue };
                if !found.iter().any(|(known, _)| std::ptr::eq(*known, base)) {
                    let filled =
                        self.within(scope.clone(), |types| types.scope_of_class((of, base), *module, arguments, depth));
                    found.push((std::ptr::from_ref(base), filled));
                }
            }
        }
        found
    }

    /// `scope`, in which the parameters are declared, and what they stand for. Arguments are read where they stand, and what is
    /// said where nothing is given, where the parameter is declared: it may name those before it.
    fn filled(
        &mut self,
        parameters: &[Parameter<'a>],
        mut scope: Scope,
        (module, arguments): (ModuleId, &[Expr]),
        depth: usize,
    ) -> Scope {
        let mut is_told = true;
        for (at, parameter) in parameters.iter().take(PARAMETERS).enumerate() {
            // How many arguments are those of `*Ts`, and which come after them, is not counted.
            is_told &= !parameter.several;
            match (arguments.get(at), parameter.fallback) {
                _ if !is_told => scope.push(Bound::unknown(parameter.name)),
                (Some(argument), _) => scope.push(self.filled_with(parameter.name, module, argument, depth)),
                (None, Some(fallback)) => {
                    let found = self.within(scope.clone(), |types| types.fallen_back(parameter, fallback, depth));
                    scope.push(found);
                }
                // What an assigned variable stands for is found by its name.
                (None, None) if parameter.assigned => {}
                (None, None) => scope.push(Bound::unknown(parameter.name)),
            }
        }
        scope
    }

    /// One that is not given. `class Node[T: Node]` says of its parameter what it says of itself, which nobody can follow.
    fn fallen_back(&mut self, parameter: &Parameter<'a>, fallback: &'a Expr, depth: usize) -> Bound {
        if self.open_fallbacks.iter().any(|open| std::ptr::eq(*open, fallback)) {
            return Bound::unknown(parameter.name);
        }
        self.open_fallbacks.push(fallback);
        let found = self.filled_with(parameter.name, parameter.module, fallback, depth);
        self.open_fallbacks.pop();
        found
    }

    /// `(int, float)`, as a bound, is one of several types.
    fn filled_with(&mut self, name: &str, module: ModuleId, hint: &Expr, depth: usize) -> Bound {
        let schema = match hint {
            Expr::Tuple(several) => self.union(module, &several.elts.iter().collect::<Vec<_>>(), depth),
            Expr::EllipsisLiteral(_) => json!({}),
            hint => self.schema(module, hint, depth + 1),
        };
        let shape = match hint {
            _ if !self.writing => Shape::Open,
            Expr::Tuple(several) => self.alternative_shape(module, several.elts.iter(), depth + 1),
            hint => self.shape(module, hint, depth + 1),
        };
        Bound { name: name.to_owned(), size: Size::of(&schema), schema: Some(schema), shape }
    }

    /// Those in brackets behind the name, or those of `Generic[T]`, or those of the other bases.
    fn parameters_of_class(&self, module: ModuleId, class: &'a StmtClassDef) -> Vec<Parameter<'a>> {
        if let Some(declared) = class.type_params.as_deref() {
            return declared_in(module, declared);
        }
        let mut found = Vec::new();
        for base in class.bases() {
            let (head, arguments) = split(base);
            let name = self.project.external(module, head).unwrap_or_default();
            let listed = matches!(name.rsplit('.').next(), Some("Generic" | "Protocol"));
            if listed && !arguments.is_empty() {
                found.clear();
            }
            for argument in arguments {
                self.collect_variables(module, argument, &mut found, &mut 0);
            }
            if listed && !arguments.is_empty() {
                break;
            }
        }
        found
    }

    fn variables_in(&self, module: ModuleId, expr: &'a Expr) -> Vec<Parameter<'a>> {
        let mut found = Vec::new();
        self.collect_variables(module, expr, &mut found, &mut 0);
        found
    }

    /// Type variables in the order in which they first stand in a hint.
    fn collect_variables(&self, module: ModuleId, expr: &'a Expr, found: &mut Vec<Parameter<'a>>, looked: &mut usize) {
        *looked += 1;
        if *looked > PARTS {
            return;
        }
        match expr {
            Expr::Name(name) => {
                let known = found.iter().any(|parameter| parameter.name == name.id.as_str());
                if let Some(variable) = self.variable(module, expr).filter(|_| !known) {
                    found.push(Parameter { name: name.id.as_str(), ..variable });
                }
            }
            Expr::Subscript(subscript) => {
                let parts = elements(&subscript.slice);
                parts.iter().for_each(|part| self.collect_variables(module, part, found, looked));
            }
            Expr::BinOp(operation) => {
                self.collect_variables(module, &operation.left, found, looked);
                self.collect_variables(module, &operation.right, found, looked);
            }
            Expr::Starred(starred) => self.collect_variables(module, &starred.value, found, looked),
            Expr::List(list) => list.elts.iter().for_each(|part| self.collect_variables(module, part, found, looked)),
            _ => {}
        }
    }

    /// The parameter that `TypeVar("T", …)` is, where the name is one. Several types to choose from are left to the hint.
    fn variable(&self, module: ModuleId, expr: &Expr) -> Option<Parameter<'a>> {
        let Meaning::Value(module, Expr::Call(call)) = self.project.meaning(module, expr) else { return None };
        let name = self.project.external(module, &call.func)?;
        let kind = name.rsplit_once('.')?.1;
        let said = |name| call.arguments.find_keyword(name).map(|keyword| &keyword.value);
        matches!(kind, "TypeVar" | "ParamSpec" | "TypeVarTuple").then(|| Parameter {
            name: "",
            module,
            fallback: said("default").or(said("bound")),
            assigned: true,
            several: kind == "TypeVarTuple",
        })
    }
}

/// The scope of a class among those of a lineage; that of none where it has no parameters.
pub(super) fn scope_in(scopes: &[(*const StmtClassDef, Scope)], class: &StmtClassDef) -> Scope {
    let known = scopes.iter().find(|(known, _)| std::ptr::eq(*known, class));
    known.map(|(_, scope)| scope.clone()).unwrap_or_default()
}

/// `Page` and `[Hit]` of `Page[Hit]`.
fn split(expr: &Expr) -> (&Expr, &[Expr]) {
    match expr {
        Expr::Subscript(subscript) => (&*subscript.value, elements(&subscript.slice)),
        head => (head, &[]),
    }
}

fn declared_in<'e>(module: ModuleId, declared: &'e TypeParams) -> Vec<Parameter<'e>> {
    let parameter = |declared: &'e TypeParam| {
        let (fallback, several) = match declared {
            TypeParam::TypeVar(one) => (one.default.as_deref().or(one.bound.as_deref()), false),
            TypeParam::ParamSpec(_) => (None, false),
            TypeParam::TypeVarTuple(_) => (None, true),
        };
        Parameter { name: declared.name().as_str(), module, fallback, assigned: false, several }
    };
    declared.type_params.iter().map(parameter).collect()
}
