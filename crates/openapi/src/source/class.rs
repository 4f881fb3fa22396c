//! What kind of class a class is, what it inherits, and its public methods.

use std::collections::HashMap;

use ruff_python_ast::{Expr, Stmt, StmtClassDef, StmtFunctionDef};
use serde_json::Value;

use super::{
    docstring,
    file::for_each_statement,
    literal,
    project::{Meaning, ModuleId, Project},
};

/// Base classes that are followed; a loop of inheritance ends here.
const BASES: usize = 64;

/// What a class is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A set of values.
    Enum,
    /// A dict with named keys.
    TypedDict,
    /// A tuple with named elements.
    NamedTuple,
    /// A dataclass, of the standard library or of attrs.
    Dataclass,
    /// A pydantic model.
    Pydantic,
    /// An exception, a protocol: neither data nor a model.
    Other,
    /// Anything else, a model among them.
    Plain,
}

impl Kind {
    /// Whether instances look like an object with named values in JSON.
    pub(super) fn is_record(self) -> bool {
        matches!(self, Self::TypedDict | Self::NamedTuple | Self::Dataclass | Self::Pydantic)
    }
}

/// A public method.
pub(super) struct Method<'a> {
    /// The file that defines it.
    pub(super) module: ModuleId,
    /// The class that defines it; a function of a file has none.
    pub(super) class: Option<&'a StmtClassDef>,
    pub(super) function: &'a StmtFunctionDef,
    /// The body that begins with its docstring: its own, or that of the nearest method it overrides, as for
    /// `inspect.getdoc`.
    pub(super) documented: &'a [Stmt],
    /// Whether its first parameter is the instance or the class.
    pub(super) bound: bool,
}

/// What kind a class is, by its bases and decorators and those of its base classes.
pub(super) fn kind(project: &Project<'_>, module: ModuleId, class: &StmtClassDef) -> Kind {
    let own = |module, class: &StmtClassDef| own_kind(project, module, class);
    own(module, class)
        .or_else(|| bases_of(project, module, class).into_iter().find_map(|(module, base)| own(module, base)))
        .unwrap_or(Kind::Plain)
}

fn own_kind(project: &Project<'_>, module: ModuleId, class: &StmtClassDef) -> Option<Kind> {
    let decorators =
        class.decorator_list.iter().filter_map(|decorator| decorator_name(project, module, &decorator.expression));
    let decorated = decorators.filter_map(|name| match name.as_str() {
        "dataclasses.dataclass" | "pydantic.dataclasses.dataclass" => Some(Kind::Dataclass),
        "attrs.define" | "attrs.frozen" | "attrs.mutable" | "attr.s" | "attr.define" | "attr.frozen" => {
            Some(Kind::Dataclass)
        }
        _ => None,
    });
    let based = class.bases().iter().filter_map(|base| base_kind(project, module, base));
    decorated.chain(based).next()
}

fn base_kind(project: &Project<'_>, module: ModuleId, base: &Expr) -> Option<Kind> {
    let base = unsubscripted(base);
    let name = match project.meaning(module, base) {
        Meaning::External(name) => name,
        Meaning::Unknown => base.as_name_expr()?.id.to_string(),
        _ => return None,
    };
    match name.as_str() {
        "enum.Enum" | "enum.IntEnum" | "enum.StrEnum" | "enum.Flag" | "enum.IntFlag" => Some(Kind::Enum),
        "typing.TypedDict" | "typing_extensions.TypedDict" => Some(Kind::TypedDict),
        "typing.NamedTuple" | "typing_extensions.NamedTuple" => Some(Kind::NamedTuple),
        "pydantic.BaseModel" | "pydantic.v1.BaseModel" | "pydantic.RootModel" | "pydantic_settings.BaseSettings" => {
            Some(Kind::Pydantic)
        }
        "typing.Protocol" | "typing_extensions.Protocol" => Some(Kind::Other),
        name if name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("Warning") => {
            Some(Kind::Other)
        }
        _ => None,
    }
}

/// The name of a decorator, with or without a call.
fn decorator_name(project: &Project<'_>, module: ModuleId, expr: &Expr) -> Option<String> {
    let named = match expr {
        Expr::Call(call) => &call.func,
        other => other,
    };
    project.external(module, named)
}

/// `Base` of `Base[T]`.
fn unsubscripted(expr: &Expr) -> &Expr {
    match expr {
        Expr::Subscript(subscript) => &subscript.value,
        other => other,
    }
}

/// The class and the base classes of it that are in the files, nearest first.
pub(super) fn lineage<'a>(
    project: &Project<'a>,
    module: ModuleId,
    class: &'a StmtClassDef,
) -> Vec<(ModuleId, &'a StmtClassDef)> {
    let mut found = vec![(module, class)];
    found.extend(bases_of(project, module, class).into_iter().filter(|(_, base)| !std::ptr::eq(*base, class)));
    found
}

/// The same by shared borrows, for classes of any lifetime.
pub(super) fn ancestry<'a, 'c>(
    project: &Project<'a>,
    module: ModuleId,
    class: &'c StmtClassDef,
) -> Vec<(ModuleId, &'c StmtClassDef)>
where
    'a: 'c,
{
    let mut found = vec![(module, class)];
    found.extend(bases_of(project, module, class));
    found
}

fn bases_of<'a>(project: &Project<'a>, module: ModuleId, class: &StmtClassDef) -> Vec<(ModuleId, &'a StmtClassDef)> {
    let mut found: Vec<(ModuleId, &StmtClassDef)> = direct_bases(project, module, class);
    let mut next = 0;
    while next < found.len() && found.len() < BASES {
        let (module, base) = found[next];
        for candidate in direct_bases(project, module, base) {
            if !found.iter().any(|(_, known)| std::ptr::eq(*known, candidate.1)) {
                found.push(candidate);
            }
        }
        next += 1;
    }
    found
}

fn direct_bases<'a>(
    project: &Project<'a>,
    module: ModuleId,
    class: &StmtClassDef,
) -> Vec<(ModuleId, &'a StmtClassDef)> {
    let of_files = |base| match project.meaning(module, unsubscripted(base)) {
        Meaning::Class(module, class) => Some((module, class)),
        _ => None,
    };
    class.bases().iter().take(BASES).filter_map(of_files).collect()
}

/// The public methods of a class, its own before those it inherits. Of two with one name the nearer and later is meant.
pub(super) fn methods<'a>(project: &Project<'a>, module: ModuleId, class: &'a StmtClassDef) -> Vec<Method<'a>> {
    let mut found: Vec<Method<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (module, class) in lineage(project, module, class) {
        let inherited = found.len();
        for_each_statement(&class.body, &mut |statement| {
            let Stmt::FunctionDef(function) = statement else { return };
            let place = places.get(function.name.as_str()).copied();
            if let Some(place) = place.filter(|place| *place < inherited) {
                return document(&mut found[place], function);
            }
            let Some(bound) = callable(project, module, function) else { return };
            let method = Method { module, class: Some(class), function, documented: &function.body, bound };
            match place {
                Some(place) => found[place] = method,
                None => {
                    places.insert(function.name.as_str(), found.len());
                    found.push(method);
                }
            }
        });
    }
    found
}

/// Lets a method without a docstring have that of one that it overrides.
fn document<'a>(method: &mut Method<'a>, overridden: &'a StmtFunctionDef) {
    if !docstring::is_there(method.documented) {
        method.documented = &overridden.body;
    }
}

/// Whether requests may call a function by its name.
pub(super) fn is_public(function: &StmtFunctionDef) -> bool {
    let name = function.name.as_str();
    !name.starts_with('_') && name != "load"
}

/// Whether a function of a class is a public method, and then whether it is bound.
fn callable(project: &Project<'_>, module: ModuleId, function: &StmtFunctionDef) -> Option<bool> {
    if !is_public(function) {
        return None;
    }
    let mut bound = true;
    for decorator in &function.decorator_list {
        let last = match &decorator.expression {
            Expr::Name(name) => name.id.as_str(),
            Expr::Attribute(attribute) => attribute.attr.as_str(),
            _ => continue,
        };
        match last {
            "staticmethod" => bound = false,
            "property" | "cached_property" | "setter" | "getter" | "deleter" | "overload" | "abstractmethod" => {
                return None;
            }
            _ => {}
        }
        if decorator_name(project, module, &decorator.expression).is_some_and(|name| name.contains("property")) {
            return None;
        }
    }
    Some(bound)
}

/// Members of an enumeration with their values; `None` for a value that is computed.
pub(super) fn enum_members(
    project: &Project<'_>,
    module: ModuleId,
    class: &StmtClassDef,
) -> Vec<(String, Option<Value>)> {
    let textual =
        class.bases().iter().any(|base| project.external(module, base).is_some_and(|name| name == "enum.StrEnum"));
    let mut members: Vec<(String, Option<Value>)> = Vec::new();
    let mut highest = 0;
    for assign in class.body.iter().filter_map(Stmt::as_assign_stmt) {
        let [Expr::Name(name)] = assign.targets.as_slice() else { continue };
        if name.id.starts_with('_') {
            continue;
        }
        let value = match &*assign.value {
            Expr::Call(call) if project.external(module, &call.func).is_some_and(|name| name == "enum.auto") => {
                Some(if textual { name.id.to_lowercase().into() } else { Value::from(highest + 1) })
            }
            // Another name of a member before it.
            Expr::Name(other) if members.iter().any(|(name, _)| name == other.id.as_str()) => continue,
            other => literal::plain(other),
        };
        highest = value.as_ref().and_then(Value::as_i64).map_or(highest, |value| value.clamp(highest, i64::MAX - 1));
        members.push((name.id.to_string(), value));
    }
    members
}

/// Each value once, in order.
pub(super) fn distinct(values: Vec<Value>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}
