//! A JSON tree that tells of keys which come twice, where a plain one would silently keep the last.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::words::{Path, Problems};

/// Reads a value that lies at `path`.
pub(crate) struct Strict<'a> {
    pub(crate) path: &'a Path<'a>,
    pub(crate) problems: &'a mut Problems,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Self { path, problems } = self;
        let mut elements = Vec::new();
        loop {
            let path = path.index(elements.len());
            match seq.next_element_seed(Strict { path: &path, problems: &mut *problems })? {
                Some(element) => elements.push(element),
                None => return Ok(Value::Array(elements)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Self { path, problems } = self;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let at = path.key(&key);
            if members.contains_key(&key) {
                problems.add(&at, "each key once", format!("`{key}` again"), "give each key once only");
            }
            let value = map.next_value_seed(Strict { path: &at, problems: &mut *problems })?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}
