//! Arrays whose hints say their shape and elements: jaxtyping, nptyping, and the validators of bentoml.

use ruff_python_ast::Expr;
use serde_json::{Value, json};

use super::{annotation::Types, known, literal, project::ModuleId};

/// Dimensions that are nested; JSON readers stop at 128 levels.
const DIMENSIONS: usize = 16;

/// The dimensions of an array: their lengths where they are fixed, and their words.
struct Shape {
    lengths: Vec<Option<u64>>,
    words: Vec<String>,
    /// Whether any number of dimensions may stand somewhere.
    open: bool,
}

impl Types<'_, '_> {
    /// The schema of an array's hint, `head[arguments]`; `None` where it is none of those known here.
    pub(super) fn array(&mut self, module: ModuleId, name: &str, arguments: &[Expr]) -> Option<Value> {
        let (package, kind) = name.rsplit_once('.')?;
        match (package, arguments) {
            ("jaxtyping", [_, Expr::StringLiteral(shape), ..]) => {
                let words = shape.value.to_str().split_whitespace();
                Some(nested(&Shape::of_jaxtyping(words), element(kind)))
            }
            ("nptyping", [shape, elements, ..]) if kind == "NDArray" => {
                let shape = self.nptyping_shape(module, shape)?;
                let of = self.project.external(module, elements).unwrap_or_default();
                Some(nested(&shape, element(of.rsplit('.').next().unwrap_or_default())))
            }
            _ => None,
        }
    }

    /// `Shape["2, *"]`
    fn nptyping_shape(&self, module: ModuleId, expr: &Expr) -> Option<Shape> {
        let subscript = expr.as_subscript_expr()?;
        let name = self.project.external(module, &subscript.value)?;
        let text = subscript.slice.as_string_literal_expr()?.value.to_str();
        let parts = text.split(',').map(|part| part.split_whitespace().next().unwrap_or("*"));
        (name == "nptyping.Shape").then(|| Shape::of_words(parts))
    }

    /// The array that `Annotated[np.ndarray, Shape((-1, 4)), DType("float64")]` of bentoml is.
    pub(super) fn validated_array(&self, module: ModuleId, metadata: &[Expr]) -> Option<Value> {
        let argument = |wanted: &str| {
            let calls = metadata.iter().filter_map(Expr::as_call_expr);
            calls.into_iter().find_map(|call| {
                let name = self.project.external(module, &call.func)?;
                let is_it = name.starts_with("bentoml.") && name.ends_with(wanted);
                literal::value(self.project, module, call.arguments.args.first()?).filter(|_| is_it)
            })
        };
        let shape = argument(".Shape")?;
        let lengths: Vec<Option<u64>> = shape.as_array()?.iter().map(Value::as_u64).collect();
        let words = lengths.iter().map(|length| length.map_or("any".to_owned(), |length| length.to_string())).collect();
        let kind = argument(".DType");
        let of = element(kind.as_ref().and_then(Value::as_str).unwrap_or_default());
        Some(nested(&Shape { lengths, words, open: false }, of))
    }
}

impl Shape {
    /// The words between spaces: `batch`, `3`, `width=32`, `#rows`, `_`, `*any`, `...`.
    fn of_jaxtyping<'t>(words: impl Iterator<Item = &'t str>) -> Self {
        Self::of_words(words.map(|word| word.rsplit('=').next().unwrap_or(word)))
    }

    fn of_words<'t>(words: impl Iterator<Item = &'t str>) -> Self {
        let words: Vec<&str> = words.collect();
        let open = words.iter().any(|word| *word == "..." || (word.len() > 1 && word.starts_with('*')));
        let lengths = words.iter().map(|word| word.parse().ok()).collect();
        let plain = |word: &&str| match word.trim_start_matches(['#', '?']) {
            "_" | "*" => "any".to_owned(),
            word => word.to_owned(),
        };
        Self { lengths, words: words.iter().map(plain).collect(), open }
    }
}

/// Elements by the last word of a type's name: `Float32` of jaxtyping, `Int` of nptyping, `float64` of numpy.
fn element(kind: &str) -> Value {
    let kind = kind.to_lowercase();
    if let Some(exact) = known::simple(&format!("numpy.{kind}")) {
        return exact;
    }
    match kind.as_str() {
        "float" | "floating" | "inexact" | "real" | "num" | "number" | "bfloat16" => json!({"type": "number"}),
        "int" | "integer" => json!({"type": "integer"}),
        "uint" | "unsignedinteger" => json!({"type": "integer", "minimum": 0}),
        "bool" => json!({"type": "boolean"}),
        "str" | "string" | "unicode" => json!({"type": "string"}),
        _ => json!({}),
    }
}

fn nested(shape: &Shape, element: Value) -> Value {
    let words = format!("Shape: {}.", shape.words.join(", "));
    if shape.open || shape.lengths.len() > DIMENSIONS {
        return json!({"type": "array", "items": {}, "description": words});
    }
    let array = shape.lengths.iter().rev().fold(element, |items, length| match length {
        Some(length) => json!({"type": "array", "items": items, "minItems": length, "maxItems": length}),
        None => json!({"type": "array", "items": items}),
    });
    let mut array = array;
    if !shape.lengths.is_empty() {
        array["description"] = words.into();
    }
    array
}
