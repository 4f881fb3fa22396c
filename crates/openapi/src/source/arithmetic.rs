//! Constants that are computed of constants, as `24 * 60` and `1 / 255`.

use ruff_python_ast::{Operator, UnaryOp};
use serde_json::{Number, Value};

/// Longest text that is put together.
const TEXT: usize = 10_000;

/// What an operator makes of two values as Python does; `None` where it makes no value of JSON's.
pub(super) fn combined(operator: Operator, left: &Value, right: &Value) -> Option<Value> {
    if let (Operator::Add, Some(left), Some(right)) = (operator, left.as_str(), right.as_str()) {
        return (left.len() + right.len() <= TEXT).then(|| format!("{left}{right}").into());
    }
    let is_large = |value: &Value| value.is_u64() && !value.is_i64();
    if operator != Operator::Div && (is_large(left) || is_large(right)) {
        return None;
    }
    let whole = left.as_i64().zip(right.as_i64());
    match whole.filter(|_| operator != Operator::Div).map(|(left, right)| of_whole(operator, left, right)) {
        Some(found) => found.map(Value::from),
        None => of_real(operator, left.as_f64()?, right.as_f64()?),
    }
}

/// The value with a sign.
pub(super) fn signed(operator: UnaryOp, value: &Value) -> Option<Value> {
    match operator {
        UnaryOp::UAdd => value.is_number().then(|| value.clone()),
        UnaryOp::USub => match value.as_i64() {
            Some(whole) => whole.checked_neg().map(Value::from),
            None => Number::from_f64(-value.as_f64()?).map(Value::Number),
        },
        UnaryOp::Not | UnaryOp::Invert => None,
    }
}

fn of_whole(operator: Operator, left: i64, right: i64) -> Option<i64> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Sub => left.checked_sub(right),
        Operator::Mult => left.checked_mul(right),
        Operator::Pow => left.checked_pow(u32::try_from(right).ok()?),
        Operator::LShift => left.checked_mul(2_i64.checked_pow(u32::try_from(right).ok()?)?),
        // Python rounds downwards, which for these is towards zero.
        Operator::FloorDiv if left >= 0 && right > 0 => Some(left / right),
        _ => None,
    }
}

fn of_real(operator: Operator, left: f64, right: f64) -> Option<Value> {
    let found = match operator {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mult => left * right,
        Operator::Div if right != 0.0 => left / right,
        _ => return None,
    };
    Number::from_f64(found).map(Value::Number)
}
