//! One field: what is stated of it, on what was found of it.

use serde_json::{Map, Value};

use crate::contract::{Field, Layout, ValueType};

use super::{Contradiction, Place, StatedField, fills_in_defaults, schema, types, values};

/// A field of which only the name is known.
pub(super) fn unknown(name: &str) -> Field {
    Field::new(name, ValueType::Json { schema: Value::Object(Map::new()) })
}

/// Refines a field; whether its type was not known before, and is now. Outputs have no `layout`.
pub(super) fn refine(
    field: &mut Field,
    stated: &StatedField,
    place: &Place,
    layout: Option<Layout>,
) -> Result<bool, Contradiction> {
    describe(field, stated);
    let fills_in = value(field, stated, place)?;
    limits(field, stated, place)?;
    if let Some(layout) = layout {
        given(field, stated, place, layout)?;
    }
    values::fit(field, stated, place)?;
    if stated.example.is_some() {
        field.example.clone_from(&stated.example);
    }
    Ok(fills_in)
}

fn describe(field: &mut Field, stated: &StatedField) {
    if let Some(description) = &stated.description {
        field.description.clone_from(description);
    }
    if let Some(unit) = &stated.unit {
        let words = field.description.trim_end().trim_end_matches('.');
        field.description = if words.is_empty() { format!("In {unit}.") } else { format!("{words}, in {unit}.") };
    }
}

fn value(field: &mut Field, stated: &StatedField, place: &Place) -> Result<bool, Contradiction> {
    let found = types::words(&field.value);
    match &mut field.value {
        ValueType::Json { schema } => return schema::refine(schema, stated, place),
        ValueType::Scalar { datatype } | ValueType::Tensor { datatype, .. } => {
            if let Some(kind) = stated.kind.filter(|kind| !kind.is_of(*datatype)) {
                return Err(place.contradicts("type", kind, format_args!("is {found}")));
            }
        }
    }
    match (&mut field.value, &stated.shape) {
        (ValueType::Tensor { shape, .. }, Some(stated)) if !narrows(shape, stated) => {
            Err(place.contradicts("shape", format_args!("{stated:?}"), format_args!("is {found}")))
        }
        (ValueType::Tensor { shape, .. }, Some(stated)) => {
            shape.clone_from(stated);
            Ok(false)
        }
        (ValueType::Scalar { .. }, Some(stated)) => {
            Err(place.contradicts("shape", format_args!("{stated:?}"), format_args!("is one {found} a row")))
        }
        _ => Ok(false),
    }
}

/// Whether each array of the stated shape is one of the found shape. A variable first dimension is the row, and stays so.
fn narrows(found: &[i64], stated: &[i64]) -> bool {
    let same_row = found.first() == stated.first();
    let fits = |(found, stated): (&i64, &i64)| found == stated || *found == -1;
    same_row && found.len() == stated.len() && found.iter().zip(stated).all(fits)
}

fn limits(field: &mut Field, stated: &StatedField, place: &Place) -> Result<(), Contradiction> {
    let datatype = match &mut field.value {
        ValueType::Json { schema } => return schema::limits(schema, stated, place),
        ValueType::Scalar { datatype } | ValueType::Tensor { datatype, .. } => *datatype,
    };
    let is_number = datatype.is_float() || datatype.integer_bounds().is_some();
    for (keyword, limit) in [("minimum", stated.minimum), ("maximum", stated.maximum)] {
        if let Some(limit) = limit.filter(|_| !is_number) {
            return Err(place.contradicts(keyword, limit, format_args!("is {datatype}, which has no range")));
        }
    }
    if let Some(minimum) = stated.minimum {
        field.minimum = Some(at_least(field.minimum, minimum, place)?);
    }
    if let Some(maximum) = stated.maximum {
        field.maximum = Some(at_most(field.maximum, maximum, place)?);
    }
    if !stated.choices.is_empty() {
        among(&field.choices, &stated.choices, place)?;
        field.choices.clone_from(&stated.choices);
    }
    is_not_empty(field.minimum, field.maximum, stated, place)
}

/// A stated bound on one side leaves something of the found one on the other.
pub(super) fn is_not_empty(
    minimum: Option<f64>,
    maximum: Option<f64>,
    stated: &StatedField,
    place: &Place,
) -> Result<(), Contradiction> {
    match (minimum, maximum) {
        (Some(minimum), Some(maximum)) if minimum > maximum && stated.minimum.is_some() => {
            Err(place.contradicts("minimum", minimum, format_args!("has the maximum {maximum}")))
        }
        (Some(minimum), Some(maximum)) if minimum > maximum => {
            Err(place.contradicts("maximum", maximum, format_args!("has the minimum {minimum}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn at_least(found: Option<f64>, stated: f64, place: &Place) -> Result<f64, Contradiction> {
    match found {
        Some(found) if stated < found => {
            Err(place.contradicts("minimum", stated, format_args!("has the minimum {found}")))
        }
        _ => Ok(stated),
    }
}

pub(super) fn at_most(found: Option<f64>, stated: f64, place: &Place) -> Result<f64, Contradiction> {
    match found {
        Some(found) if stated > found => {
            Err(place.contradicts("maximum", stated, format_args!("has the maximum {found}")))
        }
        _ => Ok(stated),
    }
}

/// What is stated is some of what was found.
pub(super) fn among(found: &[Value], stated: &[Value], place: &Place) -> Result<(), Contradiction> {
    let strange = stated.iter().find(|choice| !found.is_empty() && !found.contains(choice));
    strange.map_or(Ok(()), |strange| {
        let found = Value::from(found);
        Err(place.contradicts("enum", strange, format_args!("takes {found} alone")))
    })
}

/// Whether it has to be given, and what is taken else. A Python function has its own defaults, which KEA cannot add to.
fn given(field: &mut Field, stated: &StatedField, place: &Place, layout: Layout) -> Result<(), Contradiction> {
    if let Some(default) = &stated.default {
        if !fills_in_defaults(layout) && field.default.as_ref() != Some(default) {
            let found = field.default.as_ref().map_or("has none".into(), |found| format!("has the default {found}"));
            return Err(place.contradicts("default", default, found));
        }
        field.default = Some(default.clone());
        field.required = false;
    }
    match stated.required {
        Some(true) => (field.required, field.default) = (true, None),
        Some(false) if field.must_be_given(layout) => {
            return Err(place.contradicts("required", "false", "has to be given, since it has no default"));
        }
        _ => {}
    }
    Ok(())
}
