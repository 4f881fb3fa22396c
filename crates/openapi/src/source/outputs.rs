//! What a function returns, as the fields of one prediction.
//!
//! An object is one prediction, a list of objects one prediction each, anything else `{result: value}`. Where a hint
//! leaves open which of these it is, nothing is promised.

use kea_core::{Field, ValueType};
use ruff_python_ast::{Expr, ExprCall, Operator, StmtClassDef};
use serde_json::Value;

use super::{
    annotation::{Types, elements, is_nullable, parse_hint},
    class,
    known::{self, Generic},
    project::{Meaning, ModuleId},
};

/// Aliases and quotes that are followed.
const HOPS: usize = 16;

/// The name of what is neither an object nor a list of objects.
const RESULT: &str = "result";

/// What a type is when it is returned.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// An object with these values.
    Record(Vec<Field>),
    /// A list of what the inner shape is.
    Rows(Box<Shape>),
    /// An object with other values, or anything at all.
    Open,
    /// No object and no list of objects.
    Value,
}

impl<'a> Types<'_, 'a> {
    /// The fields of one prediction of a function that returns `hint`; none where that is not known.
    pub(super) fn outputs(&mut self, module: ModuleId, hint: Option<&Expr>, words: &str) -> Vec<Field> {
        let scope = self.scope_of_results.clone();
        self.while_writing(|types| {
            types.within(scope, |types| match hint {
                None => types.no_outputs("it has no hint"),
                Some(Expr::NoneLiteral(_)) => types.no_outputs("it is None"),
                Some(hint) => types.fields(module, hint, words),
            })
        })
    }

    fn no_outputs(&mut self, why: &str) -> Vec<Field> {
        self.note(&format!("{why}, so what a prediction holds is not known"));
        Vec::new()
    }

    fn fields(&mut self, module: ModuleId, hint: &Expr, words: &str) -> Vec<Field> {
        match self.shape(module, hint, 0) {
            Shape::Record(fields) => fields,
            Shape::Rows(row) => match *row {
                Shape::Record(fields) => fields,
                Shape::Open => {
                    self.no_outputs("the hint does not name what each row holds (a list of TypedDict would)")
                }
                Shape::Rows(_) | Shape::Value => self.result(module, hint, words),
            },
            Shape::Open => self.no_outputs("the hint does not name its values (a TypedDict would)"),
            Shape::Value => self.result(module, hint, words),
        }
    }

    fn result(&mut self, module: ModuleId, hint: &Expr, words: &str) -> Vec<Field> {
        let schema = self.schema(module, hint, 0);
        let described = Some(words).filter(|words| !words.is_empty()).map(str::to_owned);
        vec![Field {
            description: described.unwrap_or_else(|| description(&schema)),
            ..field(RESULT.into(), schema, true)
        }]
    }

    pub(super) fn shape(&mut self, module: ModuleId, hint: &Expr, hops: usize) -> Shape {
        if hops > HOPS || self.exhausted() {
            return Shape::Open;
        }
        self.charge_one();
        match hint {
            Expr::StringLiteral(literal) => {
                parse_hint(literal.value.to_str()).map_or(Shape::Open, |hint| self.shape(module, &hint, hops + 1))
            }
            Expr::Subscript(subscript) => self.named_shape(module, &subscript.value, elements(&subscript.slice), hops),
            Expr::BinOp(operation) if operation.op == Operator::BitOr => {
                self.alternative_shape(module, [&*operation.left, &*operation.right].into_iter(), hops)
            }
            Expr::NoneLiteral(_) => Shape::Value,
            Expr::Name(_) | Expr::Attribute(_) => match self.bound(hint).map(|bound| bound.size) {
                Some(size) if !self.charge_size(size, hops) => Shape::Open,
                Some(_) => self.bound(hint).map_or(Shape::Open, |bound| bound.shape.clone()),
                None => self.named_shape(module, hint, &[], hops),
            },
            Expr::Call(call) if self.is_constrained(module, call) => Shape::Value,
            _ => Shape::Open,
        }
    }

    fn named_shape(&mut self, module: ModuleId, head: &Expr, arguments: &[Expr], hops: usize) -> Shape {
        match self.project.meaning(module, head) {
            Meaning::Class(of, class) => {
                let scope = self.scope_of_class((of, class), module, arguments, hops);
                self.within(scope, |types| types.shape_of_class(of, class, hops))
            }
            Meaning::Value(of, value) => {
                let scope = self.scope_of_alias((of, value), module, arguments, hops);
                self.within(scope, |types| types.shape_of_alias(of, value, hops))
            }
            Meaning::External(name) => self.generic_shape(module, &name, arguments, hops),
            Meaning::Function(..) | Meaning::Module(_) | Meaning::Unknown => Shape::Open,
        }
    }

    fn shape_of_class(&mut self, module: ModuleId, class: &'a StmtClassDef, hops: usize) -> Shape {
        if self.open.iter().any(|open| std::ptr::eq(*open, class)) {
            return Shape::Open;
        }
        let kind = class::kind(self.project, module, class);
        if kind == class::Kind::Enum {
            return Shape::Value;
        }
        if !kind.is_record() {
            return Shape::Open;
        }
        self.charge(class);
        self.open.push(class);
        let shape = match self.root_of(module, class, hops) {
            Some((scope, module, root)) => self.within(scope, |types| types.shape(module, root, hops + 1)),
            None => {
                let attributes = self.attributes(module, class, kind, hops);
                Shape::Record(attributes.into_iter().map(|a| field(a.key, a.schema, a.required)).collect())
            }
        };
        self.open.pop();
        shape
    }

    fn shape_of_alias(&mut self, module: ModuleId, value: &'a Expr, hops: usize) -> Shape {
        if self.open_aliases.iter().any(|open| std::ptr::eq(*open, value)) {
            return Shape::Open;
        }
        self.open_aliases.push(value);
        let shape = match value {
            Expr::Call(call) => self.shape_of_made(module, call, hops),
            other => self.shape(module, other, hops + 1),
        };
        self.open_aliases.pop();
        shape
    }

    /// What a call makes: another name of a type, or an object with the keys that its schema names.
    fn shape_of_made(&mut self, module: ModuleId, call: &'a ExprCall, hops: usize) -> Shape {
        let name = self.project.external(module, &call.func).unwrap_or_default();
        if let (true, [_, of, ..]) = (name.ends_with(".NewType"), &*call.arguments.args) {
            return self.shape(module, of, hops + 1);
        }
        let schema = self.made(module, call, hops);
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match schema["properties"].as_object() {
            Some(properties) => {
                let fields = properties
                    .iter()
                    .map(|(name, schema)| field(name.clone(), schema.clone(), required.contains(&name.as_str())));
                Shape::Record(fields.collect())
            }
            None if schema == serde_json::json!({}) => Shape::Open,
            None => Shape::Value,
        }
    }

    fn generic_shape(&mut self, module: ModuleId, name: &str, arguments: &[Expr], hops: usize) -> Shape {
        match (known::generic(name), arguments) {
            (Some(Generic::Array | Generic::Set), [item, ..]) => {
                Shape::Rows(Box::new(self.shape(module, item, hops + 1)))
            }
            (Some(Generic::Tuple), [item, Expr::EllipsisLiteral(_)]) => {
                Shape::Rows(Box::new(self.shape(module, item, hops + 1)))
            }
            (Some(Generic::Tuple), several @ [_, ..]) => match self.alternative_shape(module, several.iter(), hops) {
                Shape::Value => Shape::Value,
                _ => Shape::Open,
            },
            (Some(Generic::Annotated | Generic::Transparent), [inner, ..]) => self.shape(module, inner, hops + 1),
            (Some(Generic::Optional | Generic::Union), members) => {
                match self.alternative_shape(module, members.iter(), hops) {
                    Shape::Value => Shape::Value,
                    _ => Shape::Open,
                }
            }
            (Some(Generic::Literal), _) => Shape::Value,
            (Some(_), _) => Shape::Open,
            (None, _) if self.array(module, name, arguments).is_some() => Shape::Value,
            (None, _) => match known::simple(name) {
                Some(schema) if schema.get("type").is_some() => Shape::Value,
                _ => Shape::Open,
            },
        }
    }

    /// Of several types the one shape that is certain: values, where all are values.
    pub(super) fn alternative_shape<'e>(
        &mut self,
        module: ModuleId,
        mut members: impl Iterator<Item = &'e Expr>,
        hops: usize,
    ) -> Shape {
        let certain = members.all(|member| match self.shape(module, member, hops + 1) {
            Shape::Value => true,
            Shape::Rows(row) => matches!(*row, Shape::Value | Shape::Rows(_)),
            Shape::Record(_) | Shape::Open => false,
        });
        if certain { Shape::Value } else { Shape::Open }
    }
}

/// A field of a JSON schema, with what the schema says of it in words.
pub(super) fn field(name: String, schema: Value, required: bool) -> Field {
    Field {
        description: description(&schema),
        nullable: is_nullable(&schema),
        default: schema.get("default").cloned(),
        example: schema.get("example").cloned(),
        required,
        ..Field::new(name, ValueType::Json { schema })
    }
}

fn description(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}
