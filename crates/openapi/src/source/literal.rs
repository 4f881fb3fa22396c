//! Literal expressions as JSON: defaults, bounds, members of enumerations.

use std::cell::Cell;

use ruff_python_ast::{Expr, ExprCall, ExprDict, Number, UnaryOp};
use serde_json::{Map, Value, json};

use super::{
    arithmetic, class,
    project::{Meaning, ModuleId, Project},
};

/// Nesting that is followed. JSON readers stop at 128, and a schema nests around a default.
const DEPTH: usize = 16;

/// Values that are made for one expression: constants that are made of constants grow exponentially.
const VALUES: usize = 10_000;

/// The value of an expression; `None` where it is computed or has no form as JSON.
pub(super) fn value(project: &Project<'_>, module: ModuleId, expr: &Expr) -> Option<Value> {
    Literals { scope: Some((project, module)), left: &Cell::new(VALUES) }.value(expr, 0)
}

/// The same without looking names up.
pub(super) fn plain(expr: &Expr) -> Option<Value> {
    Literals { scope: None, left: &Cell::new(VALUES) }.value(expr, 0)
}

struct Literals<'p, 'a> {
    /// Where names are looked up.
    scope: Option<(&'p Project<'a>, ModuleId)>,
    left: &'p Cell<usize>,
}

impl Literals<'_, '_> {
    fn value(&self, expr: &Expr, depth: usize) -> Option<Value> {
        self.left.set(self.left.get().checked_sub(1)?);
        if depth > DEPTH {
            return None;
        }
        match expr {
            Expr::NoneLiteral(_) => Some(Value::Null),
            Expr::BooleanLiteral(literal) => Some(literal.value.into()),
            Expr::StringLiteral(literal) => Some(literal.value.to_str().into()),
            Expr::NumberLiteral(literal) => number(&literal.value, false),
            Expr::UnaryOp(operation) => match &*operation.operand {
                Expr::NumberLiteral(literal) => signed(operation.op, &literal.value),
                operand => arithmetic::signed(operation.op, &self.value(operand, depth + 1)?),
            },
            Expr::BinOp(operation) => {
                let (left, right) = (self.value(&operation.left, depth + 1)?, self.value(&operation.right, depth + 1)?);
                arithmetic::combined(operation.op, &left, &right)
            }
            Expr::List(list) => self.array(&list.elts, depth),
            Expr::Tuple(tuple) => self.array(&tuple.elts, depth),
            Expr::Set(set) => self.array(&set.elts, depth),
            Expr::Dict(dict) => self.object(dict, depth),
            Expr::Name(_) | Expr::Attribute(_) => self.named(expr, depth),
            Expr::Subscript(subscript) => {
                let (of, at) = (self.value(&subscript.value, depth + 1)?, self.value(&subscript.slice, depth + 1)?);
                let index = || usize::try_from(at.as_u64()?).ok();
                at.as_str().map_or_else(|| of.get(index()?), |key| of.get(key)).cloned()
            }
            Expr::Call(call) => self.made(call, depth),
            _ => None,
        }
    }

    /// `Decimal("0.5")`, `Path("a")` and calls of containers without arguments.
    fn made(&self, call: &ExprCall, depth: usize) -> Option<Value> {
        let (project, module) = self.scope?;
        let name = project.external(module, &call.func)?;
        match (name.as_str(), &*call.arguments.args) {
            ("decimal.Decimal", [amount]) => match self.value(amount, depth + 1)? {
                Value::String(text) => serde_json::Number::from_f64(text.trim().parse().ok()?).map(Value::Number),
                number => number.is_number().then_some(number),
            },
            ("pathlib.Path", [path]) => self.value(path, depth + 1).filter(Value::is_string),
            (name, []) if call.arguments.keywords.is_empty() => empty(name.strip_prefix("builtins.")?),
            _ => None,
        }
    }

    fn array(&self, elements: &[Expr], depth: usize) -> Option<Value> {
        elements.iter().map(|element| self.value(element, depth + 1)).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn object(&self, dict: &ExprDict, depth: usize) -> Option<Value> {
        let mut object = Map::new();
        for item in &dict.items {
            let Value::String(key) = self.value(item.key.as_ref()?, depth + 1)? else { return None };
            object.insert(key, self.value(&item.value, depth + 1)?);
        }
        Some(Value::Object(object))
    }

    /// A constant of a module, or a member of an enumeration with or without `.value`.
    fn named(&self, expr: &Expr, depth: usize) -> Option<Value> {
        let (project, module) = self.scope?;
        if let Meaning::Value(module, value) = project.meaning(module, expr) {
            return Literals { scope: Some((project, module)), left: self.left }.value(value, depth + 1);
        }
        let Expr::Attribute(attribute) = expr else { return None };
        match &*attribute.value {
            member @ Expr::Attribute(_) if attribute.attr.as_str() == "value" => self.member(member),
            _ => self.member(expr),
        }
    }

    fn member(&self, expr: &Expr) -> Option<Value> {
        let Expr::Attribute(attribute) = expr else { return None };
        let (project, module) = self.scope?;
        let Meaning::Class(module, enumeration) = project.meaning(module, &attribute.value) else { return None };
        if class::kind(project, module, enumeration) != class::Kind::Enum {
            return None;
        }
        let members = class::enum_members(project, module, enumeration);
        members.into_iter().find(|(name, _)| name == attribute.attr.as_str()).and_then(|(_, value)| value)
    }
}

/// What a type of Python makes of no arguments.
pub(super) fn empty(kind: &str) -> Option<Value> {
    match kind {
        "list" | "tuple" | "set" | "frozenset" => Some(json!([])),
        "dict" => Some(json!({})),
        "str" => Some(json!("")),
        "int" => Some(json!(0)),
        "float" => Some(json!(0.0)),
        "bool" => Some(json!(false)),
        _ => None,
    }
}

fn signed(operator: UnaryOp, literal: &Number) -> Option<Value> {
    match operator {
        UnaryOp::USub => number(literal, true),
        UnaryOp::UAdd => number(literal, false),
        UnaryOp::Not | UnaryOp::Invert => None,
    }
}

/// A number that JSON can hold: 64 bits for whole ones, finite for others.
fn number(number: &Number, negative: bool) -> Option<Value> {
    match number {
        Number::Int(int) if negative => {
            let value = i64::try_from(-i128::from(int.as_u64()?)).ok()?;
            Some(value.into())
        }
        Number::Int(int) => int.as_u64().map(Value::from),
        Number::Float(float) => {
            let value = if negative { -float } else { *float };
            serde_json::Number::from_f64(value).map(Value::Number)
        }
        Number::Complex { .. } => None,
    }
}
