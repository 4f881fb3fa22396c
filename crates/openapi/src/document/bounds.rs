//! Bounds of numbers as JSON: whole where the type is.

use kea_core::{Datatype, Field};
use serde_json::{Number, Value};

/// Smallest and largest value that a field of a datatype takes, where there is one.
pub(super) fn of(field: &Field, datatype: Datatype) -> (Option<Value>, Option<Value>) {
    match datatype.integer_bounds() {
        Some((low, high)) => {
            let minimum = field.minimum.map_or(low, |minimum| low.max(minimum.ceil() as i128));
            let maximum = field.maximum.map_or(high, |maximum| high.min(maximum.floor() as i128));
            (whole(minimum), whole(maximum))
        }
        None if datatype.is_float() => (number(field.minimum), number(field.maximum)),
        None => (None, None),
    }
}

fn whole(value: i128) -> Option<Value> {
    i64::try_from(value).map(Value::from).or_else(|_| u64::try_from(value).map(Value::from)).ok()
}

/// A bound of a number, written without a fraction where it has none.
fn number(bound: Option<f64>) -> Option<Value> {
    /// Up to here a float is surely the whole number that was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let bound = bound?;
    if bound.fract() == 0.0 && bound.abs() <= EXACT {
        return Some(Value::from(bound as i64));
    }
    Number::from_f64(bound).map(Value::Number)
}
