//! The fast path: one pass over the body, guided by the contract, straight into typed elements.
//!
//! It builds no tree, allocates no keys and knows no reasons: `None` is all it says of a request that does not fit.
//! `explain` finds the reasons then.

use std::{fmt, marker::PhantomData, sync::Arc};

use kea_core::{Tensor, tensor::TensorData};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    element::{Element, Number, Rules, Scalar, accept, each_datatype},
    nest::{self, Level, Nest, refuse, visit_scalars},
    plan::{Features, Input, Missing, Names, Tensors},
    scan::Scanner,
};

/// Most elements that defaults may fill in for one request. All else is bounded by the length of the body; this keeps
/// a short body with many rows of one feature from asking for gigabytes of the others' defaults.
pub(crate) const MOST_FILLED: usize = 1 << 22;

/// Tensors of a body for [`kea_core::Layout::Features`].
pub(crate) fn features(plan: &Features, body: &[u8]) -> Option<Vec<Tensor>> {
    match plan.matrix {
        Some(datatype) => {
            each_datatype!(datatype, T => read(body, || MatrixInputs::<T> { plan, element: PhantomData }))
                .map(|t| vec![t])
        }
        None => read(body, || ColumnInputs { plan }),
    }
}

/// Tensors of a body for [`kea_core::Layout::Tensors`].
pub(crate) fn tensors(plan: &Tensors, body: &[u8]) -> Option<Vec<Tensor>> {
    read(body, || TensorInputs { plan, body_len: body.len() })
}

/// Reads a body that has `inputs` and nothing else. What the scanner does not take may still be good JSON.
fn read<'de, V: Visitor<'de>>(body: &'de [u8], inputs: impl Fn() -> V) -> Option<V::Value> {
    let mut scanner = Scanner::new(body);
    if let Ok(read) = scanner.deserialize_map(Body(inputs()))
        && scanner.end().is_ok()
    {
        return Some(read);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_map(Body(inputs())).ok()?;
    json.end().ok()?;
    Some(read)
}

struct Body<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Body<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with inputs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        map.next_key_seed(InputsKey)?.ok_or_else(refuse)?;
        let inputs = map.next_value_seed(Inputs(self.0))?;
        match map.next_key_seed(InputsKey)? {
            None => Ok(inputs),
            Some(()) => Err(refuse()),
        }
    }
}

struct InputsKey;

impl<'de> DeserializeSeed<'de> for InputsKey {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for InputsKey {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inputs")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        if key == "inputs" { Ok(()) } else { Err(refuse()) }
    }
}

struct Inputs<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Inputs<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_map(self.0)
    }
}

/// Reads the name of an input as its place in the contract.
struct Key<'p> {
    names: &'p Names,
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = usize;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an input")
    }

    #[inline]
    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<usize, E> {
        self.names.find(key, self.next).ok_or_else(refuse)
    }
}

/// How many rows the inputs read so far have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Unknown,
    One,
    Many(usize),
}

impl Rows {
    /// Takes up one more input; `false` where its rows are not those of the others.
    fn join(&mut self, other: Self) -> bool {
        if *self == Self::Unknown {
            *self = other;
        }
        *self == other
    }

    fn count(self) -> usize {
        if let Self::Many(rows) = self { rows } else { 1 }
    }
}

/// Reads the values of one feature: one, or an array of them.
struct Column<'a, T> {
    rules: &'a Rules,
    out: &'a mut Vec<T>,
}

impl<'de, T: Element> DeserializeSeed<'de> for Column<'_, T> {
    type Value = Rows;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rows, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for Column<'_, T> {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or an array of values")
    }

    visit_scalars!(self, scalar => {
        self.out.push(accept(scalar, self.rules).map_err(|_| refuse())?);
        Ok(Rows::One)
    });

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rows, A::Error> {
        let mut rows = 0;
        while seq.next_element_seed(Cell { rules: self.rules, out: &mut *self.out })?.is_some() {
            rows += 1;
        }
        if rows == 0 { Err(refuse()) } else { Ok(Rows::Many(rows)) }
    }
}

/// Reads one value of a column.
struct Cell<'a, T> {
    rules: &'a Rules,
    out: &'a mut Vec<T>,
}

impl<'de, T: Element> DeserializeSeed<'de> for Cell<'_, T> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T: Element> Visitor<'_> for Cell<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    visit_scalars!(self, scalar => {
        self.out.push(accept(scalar, self.rules).map_err(|_| refuse())?);
        Ok(())
    });
}

/// Where a column starts that has not come.
pub(crate) const ABSENT: usize = usize::MAX;

/// Columns of one element type, one after the other.
pub(crate) struct Columns<'p, T> {
    pub(crate) plan: &'p Features,
    pub(crate) values: Vec<T>,
    /// Where the column of each feature starts in `values`.
    pub(crate) starts: Vec<usize>,
    pub(crate) rows: Rows,
}

impl<T: Element> Columns<'_, T> {
    pub(crate) fn into_matrix(self) -> Option<Tensor> {
        let (rows, features, name) = (self.rows.count(), self.starts.len(), self.plan.matrix_name.clone());
        let in_order = rows == 1 && self.starts.iter().enumerate().all(|(i, start)| i == *start);
        let shape = vec![rows, features];
        let data = T::wrap(if in_order { self.values } else { self.transposed(rows)? });
        Some(Tensor { name, shape, data })
    }

    /// The values row by row, with defaults where a column is absent.
    fn transposed(self, rows: usize) -> Option<Vec<T>> {
        let absent = self.starts.iter().filter(|start| **start == ABSENT).count();
        if absent.saturating_mul(rows) > MOST_FILLED {
            return None;
        }
        // A column is a slice of the values and a stride: 1 for one that came, 0 for a default.
        let mut values = self.values;
        let mut columns = Vec::with_capacity(self.starts.len());
        for (i, start) in self.starts.iter().enumerate() {
            if *start == ABSENT {
                columns.push((values.len(), 0));
                values.push(default(&self.plan.missing[i], &self.plan.rules[i])?);
            } else {
                columns.push((*start, 1));
            }
        }
        let row = |row: usize| columns.iter().map(move |(start, stride)| start + row * stride);
        Some((0..rows).flat_map(row).map(|at| values[at].clone()).collect())
    }
}

/// The element that stands for a feature which has not come.
fn default<T: Element>(missing: &Missing, rules: &Rules) -> Option<T> {
    match missing {
        Missing::Fill(value) => accept(Scalar::of(value)?, rules).ok(),
        Missing::Refuse | Missing::Leave => None,
    }
}

struct MatrixInputs<'p, T> {
    plan: &'p Features,
    element: PhantomData<T>,
}

impl<'de, T: Element> Visitor<'de> for MatrixInputs<'_, T> {
    type Value = Tensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensor, A::Error> {
        let Features { names, rules, .. } = self.plan;
        let values = Vec::with_capacity(rules.len());
        let mut columns = Columns { plan: self.plan, values, starts: vec![ABSENT; rules.len()], rows: Rows::Unknown };
        let mut next = 0;
        while let Some(i) = map.next_key_seed(Key { names, next })? {
            if columns.starts[i] != ABSENT {
                return Err(refuse());
            }
            columns.starts[i] = columns.values.len();
            let column = Column::<T> { rules: &rules[i], out: &mut columns.values };
            if !columns.rows.join(map.next_value_seed(column)?) {
                return Err(refuse());
            }
            next = i + 1;
        }
        columns.into_matrix().ok_or_else(refuse)
    }
}

/// Features of several types, each a tensor of its own.
struct ColumnInputs<'p> {
    plan: &'p Features,
}

impl<'de> Visitor<'de> for ColumnInputs<'_> {
    type Value = Vec<Tensor>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Tensor>, A::Error> {
        let Features { names, rules, .. } = self.plan;
        let mut columns: Vec<Option<TensorData>> = vec![None; rules.len()];
        let (mut rows, mut next) = (Rows::Unknown, 0);
        while let Some(i) = map.next_key_seed(Key { names, next })? {
            if columns[i].is_some() {
                return Err(refuse());
            }
            let rules = &rules[i];
            let (came, data) = each_datatype!(rules.datatype, T => {
                let mut values = Vec::<T>::new();
                let came = map.next_value_seed(Column { rules, out: &mut values })?;
                (came, T::wrap(values))
            });
            columns[i] = Some(data);
            if !rows.join(came) {
                return Err(refuse());
            }
            next = i + 1;
        }
        finish_columns(self.plan, columns, rows.count()).ok_or_else(refuse)
    }
}

/// One tensor a feature, with defaults where a column has not come.
pub(crate) fn finish_columns(plan: &Features, columns: Vec<Option<TensorData>>, rows: usize) -> Option<Vec<Tensor>> {
    let absent = columns.iter().filter(|column| column.is_none()).count();
    if absent.saturating_mul(rows) > MOST_FILLED {
        return None;
    }
    let tensor = |(i, column): (usize, Option<TensorData>)| {
        let data = match column {
            Some(data) => data,
            None => each_datatype!(plan.rules[i].datatype, T => {
                T::wrap(vec![default::<T>(&plan.missing[i], &plan.rules[i])?; rows])
            }),
        };
        Some(Tensor { name: plan.names.order[i].clone(), shape: vec![rows], data })
    };
    columns.into_iter().enumerate().map(tensor).collect()
}

struct TensorInputs<'p> {
    plan: &'p Tensors,
    body_len: usize,
}

impl<'de> Visitor<'de> for TensorInputs<'_> {
    type Value = Vec<Tensor>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Tensor>, A::Error> {
        let Tensors { names, inputs } = self.plan;
        let mut tensors: Vec<Option<Tensor>> = vec![None; inputs.len()];
        let mut next = 0;
        while let Some(i) = map.next_key_seed(Key { names, next })? {
            if tensors[i].is_some() {
                return Err(refuse());
            }
            let Input { rules, shape, .. } = &inputs[i];
            let (lengths, data) = each_datatype!(rules.datatype, T => {
                let capacity = nest::capacity(shape, self.body_len);
                let mut nest = Nest::<T>::new(std::slice::from_ref(rules), shape.len(), capacity);
                map.next_value_seed(Level::outermost(&mut nest))?;
                nest.finish().ok_or_else(refuse)?
            });
            let shape = nest::shape_of(&lengths, shape).ok_or_else(refuse)?;
            tensors[i] = Some(Tensor { name: names.order[i].clone(), shape, data });
            next = i + 1;
        }
        finish_tensors(self.plan, tensors).ok_or_else(refuse)
    }
}

/// The tensors that came and the defaults of those that did not; `None` where rows differ or one is missing.
pub(crate) fn finish_tensors(plan: &Tensors, tensors: Vec<Option<Tensor>>) -> Option<Vec<Tensor>> {
    let batched = plan.inputs.iter().zip(&tensors).filter(|(input, _)| input.is_batched());
    let mut lengths = batched.filter_map(|(_, tensor)| tensor.as_ref().map(Tensor::rows));
    let rows = lengths.next();
    if lengths.any(|n| Some(n) != rows) {
        return None;
    }
    let mut finished = Vec::with_capacity(tensors.len());
    for (i, tensor) in tensors.into_iter().enumerate() {
        let input = &plan.inputs[i];
        match (tensor, &input.missing) {
            (Some(tensor), _) => finished.push(tensor),
            (None, Missing::Refuse) => return None,
            (None, Missing::Leave) => {}
            (None, Missing::Fill(value)) => {
                let name = plan.names.order[i].clone();
                finished.push(default_tensor(name, input, value, rows.unwrap_or(1))?);
            }
        }
    }
    Some(finished)
}

fn default_tensor(name: Arc<str>, input: &Input, value: &Value, rows: usize) -> Option<Tensor> {
    let (shape, data) = nest::from_value(value, &input.rules, &input.shape)?;
    let one = Tensor { name, shape, data };
    if !input.is_batched() {
        return Some(one);
    }
    if one.data.len().saturating_mul(rows) > MOST_FILLED {
        return None;
    }
    let mut batch = one.clone();
    for _ in 1..rows {
        batch.append_rows(&one).ok()?;
    }
    Some(batch)
}
