//! Nested JSON arrays read straight into row-major elements.

use std::fmt;

use kea_core::tensor::TensorData;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use super::element::{Element, Number, Rules, Scalar, accept, each_datatype};

/// The error of the fast path: that there is one is all it tells.
pub(crate) fn refuse<E: de::Error>() -> E {
    E::custom("")
}

/// The visits of a scalar, each of which does the same with it.
macro_rules! visit_scalars {
    ($this:ident, $scalar:ident => $body:expr) => {
        visit_scalars!(@ $this, $scalar, $body, visit_bool(v: bool) => Scalar::Bool(v));
        visit_scalars!(@ $this, $scalar, $body, visit_u64(v: u64) => Scalar::Number(Number::Unsigned(v)));
        visit_scalars!(@ $this, $scalar, $body, visit_i64(v: i64) => Scalar::Number(Number::Signed(v)));
        visit_scalars!(@ $this, $scalar, $body, visit_f64(v: f64) => Scalar::Number(Number::Float(v)));
        visit_scalars!(@ $this, $scalar, $body, visit_str(v: &str) => Scalar::Text(v));
        visit_scalars!(@ $this, $scalar, $body, visit_unit() => Scalar::Null);
    };
    (@ $this:ident, $scalar:ident, $body:expr, $visit:ident($($v:ident: $t:ty)?) => $made:expr) => {
        #[inline]
        fn $visit<E: serde::de::Error>($this $(, $v: $t)?) -> Result<Self::Value, E> {
            let $scalar = $made;
            $body
        }
    };
}
pub(crate) use visit_scalars;

/// Collects nested arrays. Every array of one level has the same length, and every scalar lies equally deep.
pub(crate) struct Nest<'r, T> {
    /// Rules of the elements, taken in turn: one for all, or one for each column.
    rules: &'r [Rules],
    elements: Vec<T>,
    /// Length of the arrays of each level; 0 where none has ended yet, since empty ones are refused.
    lengths: Vec<usize>,
    /// How deep scalars lie.
    rank: Option<usize>,
}

impl<'r, T: Element> Nest<'r, T> {
    /// Arrays nested at most `max_rank` deep, with room for `capacity` elements.
    pub(crate) fn new(rules: &'r [Rules], max_rank: usize, capacity: usize) -> Self {
        Self { rules, elements: Vec::with_capacity(capacity), lengths: vec![0; max_rank], rank: None }
    }

    /// The lengths of the dimensions, and the elements.
    pub(crate) fn into_elements(self) -> Option<(Vec<usize>, Vec<T>)> {
        let mut lengths = self.lengths;
        lengths.truncate(self.rank?);
        Some((lengths, self.elements))
    }

    /// The lengths of the dimensions, and the elements as a tensor's data.
    pub(crate) fn finish(self) -> Option<(Vec<usize>, TensorData)> {
        let (lengths, elements) = self.into_elements()?;
        Some((lengths, T::wrap(elements)))
    }

    #[inline]
    fn rule(&self) -> &'r Rules {
        match self.rules {
            [one] => one,
            columns => &columns[self.elements.len() % columns.len()],
        }
    }
}

/// Reads one level of a [`Nest`].
pub(crate) struct Level<'n, 'r, T> {
    nest: &'n mut Nest<'r, T>,
    level: usize,
}

impl<'n, 'r, T> Level<'n, 'r, T> {
    pub(crate) fn outermost(nest: &'n mut Nest<'r, T>) -> Self {
        Self { nest, level: 0 }
    }
}

impl<'de, T: Element> DeserializeSeed<'de> for Level<'_, '_, T> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Element> Visitor<'de> for Level<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    visit_scalars!(self, scalar => {
        if *self.nest.rank.get_or_insert(self.level) != self.level {
            return Err(refuse());
        }
        let element = accept(scalar, self.nest.rule()).map_err(|_| refuse())?;
        self.nest.elements.push(element);
        Ok(())
    });

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { nest, level } = self;
        if level == nest.lengths.len() {
            return Err(refuse());
        }
        let mut length = 0;
        while seq.next_element_seed(Level { nest: &mut *nest, level: level + 1 })?.is_some() {
            length += 1;
        }
        let known = &mut nest.lengths[level];
        if length == 0 || (*known != 0 && *known != length) {
            return Err(refuse());
        }
        *known = length;
        Ok(())
    }
}

/// The shape that arrays of these `lengths` have in the contract's `shape`: the row may be left out where there is one.
pub(crate) fn shape_of(lengths: &[usize], shape: &[i64]) -> Option<Vec<usize>> {
    let one_row = may_leave_out_row(shape) && lengths.len() + 1 == shape.len();
    let full: Vec<usize> = one_row.then_some(1).into_iter().chain(lengths.iter().copied()).collect();
    let fits = full.len() == shape.len() && full.iter().zip(shape).all(|(n, wanted)| fits(*n, *wanted));
    fits.then_some(full)
}

/// Whether one row may be given without the dimension of rows.
pub(crate) fn may_leave_out_row(shape: &[i64]) -> bool {
    matches!(shape.first(), Some(-1 | 1))
}

/// Whether `n` is a length that a dimension of the contract takes.
pub(crate) fn fits(n: usize, wanted: i64) -> bool {
    wanted == -1 || usize::try_from(wanted) == Ok(n)
}

/// Elements to make room for: those that the fixed dimensions ask for, as far as the text can hold them.
pub(crate) fn capacity(shape: &[i64], text_len: usize) -> usize {
    let fixed = shape.iter().map(|n| usize::try_from(*n).unwrap_or(1));
    let wanted = fixed.fold(1usize, usize::saturating_mul);
    wanted.min(text_len / 2 + 1)
}

/// Shape and elements of a parsed value.
pub(crate) fn from_value(value: &Value, rules: &Rules, shape: &[i64]) -> Option<(Vec<usize>, TensorData)> {
    each_datatype!(rules.datatype, T => {
        let mut nest = Nest::<T>::new(std::slice::from_ref(rules), shape.len(), 0);
        Level::outermost(&mut nest).deserialize(value).ok()?;
        let (lengths, data) = nest.finish()?;
        Some((shape_of(&lengths, shape)?, data))
    })
}
