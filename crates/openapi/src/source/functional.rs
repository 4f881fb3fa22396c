//! Types that calls make: `NewType`, `TypedDict("Name", {...})`, `namedtuple`, `Enum("Name", "A B")` and their like.

use ruff_python_ast::{Expr, ExprCall, ExprDict};
use serde_json::{Map, Value, json};

use super::{
    annotation::{Types, choice},
    class, literal,
    project::ModuleId,
};

impl<'a> Types<'_, 'a> {
    /// The schema of a type that a call makes.
    pub(super) fn made(&mut self, module: ModuleId, call: &'a ExprCall, depth: usize) -> Value {
        let name = self.project.external(module, &call.func).unwrap_or_default();
        match (name.rsplit('.').next().unwrap_or_default(), &*call.arguments.args) {
            ("NewType", [_, of, ..]) | ("TypeAliasType", [_, of, ..]) => self.schema(module, of, depth + 1),
            ("TypedDict", [_, Expr::Dict(dict), ..]) => {
                let total = call.arguments.find_keyword("total").map(|keyword| &keyword.value);
                let required = total.is_none_or(|total| literal::plain(total) != Some(false.into()));
                self.keys(module, dict, required, depth)
            }
            ("NamedTuple", [_, fields, ..]) => self.elements_of_tuple(module, fields, depth),
            ("namedtuple", [_, names, ..]) => self.names_of_tuple(module, call, names),
            ("Enum" | "IntEnum" | "StrEnum", [_, members, ..]) => self.members(module, &name, call, members),
            ("TypeVar", [_, _, _, ..]) => {
                let choices: Vec<&Expr> = call.arguments.args.iter().skip(1).collect();
                self.union(module, &choices, depth)
            }
            ("TypeVar" | "ParamSpec", _) => {
                let said = |name| call.arguments.find_keyword(name).map(|keyword| &keyword.value);
                match said("default").or(said("bound")) {
                    Some(bound) => self.schema(module, bound, depth + 1),
                    None => self.unknown("a type variable stands for any type"),
                }
            }
            _ => self.constrained(module, call, depth),
        }
    }

    fn keys(&mut self, module: ModuleId, dict: &'a ExprDict, total: bool, depth: usize) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for item in &dict.items {
            let key = item.key.as_ref().and_then(|key| literal::value(self.project, module, key));
            let Some(Value::String(name)) = key else { return self.unknown("its keys are computed") };
            let unwrapped = self.unwrapped(module, &item.value);
            if unwrapped.required.unwrap_or(total) {
                required.push(name.clone());
            }
            properties.insert(name, self.schema(module, unwrapped.hint, depth + 1));
        }
        object(properties, required)
    }

    /// `NamedTuple("Point", [("x", float), ("y", float)])`
    fn elements_of_tuple(&mut self, module: ModuleId, fields: &'a Expr, depth: usize) -> Value {
        let Expr::List(list) = fields else { return self.unknown("the names of its elements are computed") };
        let mut properties = Map::new();
        for pair in &list.elts {
            let named = match pair.as_tuple_expr().map(|pair| &*pair.elts) {
                Some([name, hint]) => literal::value(self.project, module, name).zip(Some(hint)),
                _ => None,
            };
            let Some((Value::String(name), hint)) = named else {
                return self.unknown("the names of its elements are computed");
            };
            properties.insert(name, self.schema(module, hint, depth + 1));
        }
        let required = properties.keys().cloned().collect();
        object(properties, required)
    }

    /// `namedtuple("Point", "x y", defaults=[0])`: names without types.
    fn names_of_tuple(&mut self, module: ModuleId, call: &ExprCall, names: &Expr) -> Value {
        let Some(names) = names_in(literal::value(self.project, module, names)) else {
            return self.unknown("the names of its elements are computed");
        };
        self.note(
            "the elements of a `namedtuple` have no types (a typing.NamedTuple has), so anything is accepted there",
        );
        let defaults = call.arguments.find_keyword("defaults").map(|keyword| &keyword.value);
        let defaults = defaults.and_then(|defaults| literal::value(self.project, module, defaults));
        let defaults = defaults.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
        let given = if self.writing { names.len() } else { names.len().saturating_sub(defaults) };
        let required = names.iter().take(given).cloned().collect();
        object(names.into_iter().map(|name| (name, json!({}))).collect(), required)
    }

    /// `Enum("Color", "RED GREEN")`, `Enum("Color", ["RED"])`, `Enum("Color", {"RED": 1})`
    fn members(&mut self, module: ModuleId, kind: &str, call: &ExprCall, members: &Expr) -> Value {
        if call.arguments.find_keyword("type").is_some() || call.arguments.find_keyword("start").is_some() {
            return self.unknown("the values of the enumeration are computed");
        }
        let value = literal::value(self.project, module, members);
        let textual = kind.ends_with("StrEnum");
        let numbered = |(at, name): (usize, String)| if textual { name.to_lowercase().into() } else { json!(at + 1) };
        let values: Option<Vec<Value>> = match value {
            Some(Value::Object(named)) => Some(named.into_iter().map(|(_, value)| value).collect()),
            names => names_in(names).map(|names| names.into_iter().enumerate().map(numbered).collect()),
        };
        match values {
            Some(values) if !values.is_empty() => choice(&class::distinct(values)),
            _ => self.unknown("the values of the enumeration are computed"),
        }
    }
}

/// Names in a list, or in a text between spaces or commas.
fn names_in(value: Option<Value>) -> Option<Vec<String>> {
    match value? {
        Value::String(text) => Some(text.replace(',', " ").split_whitespace().map(str::to_owned).collect()),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn object(properties: Map<String, Value>, required: Vec<String>) -> Value {
    let mut schema = Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), Value::Object(properties)),
        ("additionalProperties".to_owned(), false.into()),
    ]);
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    Value::Object(schema)
}
