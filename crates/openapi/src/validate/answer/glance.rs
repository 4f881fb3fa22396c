//! A glance at an answer, which most often is as it should be: it says "yes" or nothing, and leaves all reasons to others.
//! Numbers are looked at where they stand; a tree is made only of what a schema describes.

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    super::{
        element::{Number, Rules, Scalar, judge},
        nest::{self, refuse, visit_scalars},
        scan::Scanner,
    },
    plan::{Answer, Array, Kind, Output},
};

/// Most outputs that are looked at.
const MOST: usize = 64;

/// Whether the body is `{"predictions": [...]}` of this answer.
pub(super) fn fits(answer: &Answer, body: &[u8]) -> bool {
    if answer.outputs.len() > MOST {
        return false;
    }
    reads(answer, body, answer.of_rows) || (answer.may_be_whole && reads(answer, body, false))
}

fn reads(answer: &Answer, body: &[u8], of_rows: bool) -> bool {
    let mut scanner = Scanner::new(body);
    if (Body { answer, of_rows }).deserialize(&mut scanner).is_ok() && scanner.end().is_ok() {
        return true;
    }
    // What the scanner does not take may still be good JSON.
    let mut json = serde_json::Deserializer::from_slice(body);
    (Body { answer, of_rows }).deserialize(&mut json).is_ok() && json.end().is_ok()
}

/// A seed that a visitor of the same type reads.
macro_rules! seed {
    ($name:ident) => {
        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();

            #[inline]
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("an answer")
}

struct Body<'a> {
    answer: &'a Answer,
    of_rows: bool,
}

seed!(Body);

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { answer, of_rows } = self;
        let mut seen = false;
        while let Some(is_predictions) = map.next_key_seed(Is(Some("predictions")))? {
            if !is_predictions {
                map.next_value::<IgnoredAny>()?;
            } else if seen {
                return Err(refuse());
            } else {
                map.next_value_seed(Predictions { answer, of_rows })?;
                seen = true;
            }
        }
        if seen { Ok(()) } else { Err(refuse()) }
    }
}

struct Predictions<'a> {
    answer: &'a Answer,
    of_rows: bool,
}

seed!(Predictions);

impl<'de> Visitor<'de> for Predictions<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { answer, of_rows } = self;
        let mut count = 0;
        while seq.next_element_seed(Prediction { answer, of_rows })?.is_some() {
            count += 1;
        }
        if of_rows || count == 1 { Ok(()) } else { Err(refuse()) }
    }
}

struct Prediction<'a> {
    answer: &'a Answer,
    of_rows: bool,
}

seed!(Prediction);

impl<'de> Visitor<'de> for Prediction<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { answer: Answer { outputs, .. }, of_rows } = self;
        let (mut seen, mut next) = (0u64, 0);
        while let Some(at) = map.next_key_seed(Named { outputs, next })? {
            let Some(at) = at else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen & (1 << at) != 0 {
                return Err(refuse());
            }
            seen |= 1 << at;
            next = at + 1;
            map.next_value_seed(Given { output: &outputs[at], of_rows })?;
        }
        let is_there = |(at, output): (usize, &Output)| !output.field.required || seen & (1 << at) != 0;
        if outputs.iter().enumerate().all(is_there) { Ok(()) } else { Err(refuse()) }
    }
}

/// Whether a key is this one.
struct Is<'a>(Option<&'a str>);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}

/// The place of the output that a key names; tried at `next` first.
struct Named<'a> {
    outputs: &'a [Output],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Option<usize>, E> {
        match self.outputs.get(self.next) {
            Some(output) if output.field.name == key => Ok(Some(self.next)),
            _ => Ok(self.outputs.iter().position(|output| output.field.name == key)),
        }
    }
}

/// The value of one output.
struct Given<'a> {
    output: &'a Output,
    of_rows: bool,
}

impl<'de> DeserializeSeed<'de> for Given<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { output, of_rows } = self;
        match &output.kind {
            Kind::Array(array) => nested(array, &output.field.labels, of_rows).deserialize(deserializer),
            Kind::Json(validator) => {
                let value = Value::deserialize(deserializer)?;
                if validator.is_valid(&value) { Ok(()) } else { Err(refuse()) }
            }
            Kind::Any => IgnoredAny::deserialize(deserializer).map(drop),
        }
    }
}

fn nested<'a>(array: &'a Array, labels: &'a [String], of_rows: bool) -> Nested<'a> {
    Nested { rules: &array.rules, dims: array.dims(of_rows), labels }
}

/// Nested arrays of elements, the last dimension an object where it has labels.
pub(super) struct Nested<'a> {
    pub(super) rules: &'a Rules,
    pub(super) dims: &'a [i64],
    pub(super) labels: &'a [String],
}

seed!(Nested);

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting(f)
    }

    visit_scalars!(self, scalar => {
        if !self.dims.is_empty() {
            return Err(refuse());
        }
        judge(scalar, self.rules).map_err(|_| refuse())
    });

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { rules, dims, labels } = self;
        let [wanted, dims @ ..] = dims else { return Err(refuse()) };
        if dims.is_empty() && !labels.is_empty() {
            return Err(refuse());
        }
        let mut length = 0;
        while seq.next_element_seed(Nested { rules, dims, labels })?.is_some() {
            length += 1;
        }
        if nest::fits(length, *wanted) { Ok(()) } else { Err(refuse()) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { rules, dims: [_], labels } = self else { return Err(refuse()) };
        let mut at = 0;
        // They come in the contract's order from KEA's own replicas; another one is for the slow path to judge.
        while let Some(is_next) = map.next_key_seed(Is(labels.get(at).map(String::as_str)))? {
            if !is_next {
                return Err(refuse());
            }
            map.next_value_seed(Nested { rules, dims: &[], labels: &[] })?;
            at += 1;
        }
        if at > 0 && at == labels.len() { Ok(()) } else { Err(refuse()) }
    }
}
