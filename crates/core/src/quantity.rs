//! Quantities as people write them in documents: durations (`300ms`, `5s`, `1m30s`) and Kubernetes' CPU and memory.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time, written as a number of seconds or as text like `300ms`, `5s`, `1m30s`, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// CPUs in thousandths, written as Kubernetes does: `2`, `0.5`, `500m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu {
    /// Thousandths of one CPU.
    pub millis: u64,
}

/// Memory in bytes, written as Kubernetes does: `512Mi`, `2Gi`, `500M`, `1073741824`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No span of time.
    #[error("`{0}` is not a duration: write seconds, or for example `300ms`, `5s`, `1m30s`")]
    Span(String),
    /// No number of CPUs.
    #[error("`{0}` is not a number of CPUs: write for example `2`, `0.5` or `500m`")]
    Cpu(String),
    /// No amount of memory.
    #[error("`{0}` is not an amount of memory: write for example `512Mi`, `2Gi` or `500M`")]
    Memory(String),
}

/// The longest span, in seconds: some 30,000 years.
const LONGEST_S: f64 = 1e12;

impl FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let seconds = text.trim().parse::<f64>().ok();
        let from_number = seconds.filter(|s| *s <= LONGEST_S).and_then(|s| Duration::try_from_secs_f64(s).ok());
        let from_text = || text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
        from_number.or_else(from_text).map(Self).ok_or_else(|| QuantityError::Span(text.into()))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (seconds, 0) => write!(f, "{seconds}s"),
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

impl FromStr for Cpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, factor) = text.strip_suffix('m').map_or((text, 1000.0), |number| (number, 1.0));
        let millis = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| (n * factor).round());
        millis.map(|m| Self { millis: m as u64 }).ok_or_else(|| QuantityError::Cpu(text.into()))
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millis % 1000 {
            0 => write!(f, "{}", self.millis / 1000),
            _ => write!(f, "{}m", self.millis),
        }
    }
}

const MEMORY_UNITS: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

impl FromStr for Memory {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let parsed = MEMORY_UNITS.iter().find_map(|(unit, factor)| {
            let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
            (number.is_finite() && number >= 0.0).then_some((number * *factor as f64) as u64)
        });
        parsed.map(|bytes| Self { bytes }).ok_or_else(|| QuantityError::Memory(text.into()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = MEMORY_UNITS[..4].iter().rev();
        let exact = binary.clone().find(|(_, factor)| self.bytes > 0 && self.bytes.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) => write!(f, "{}{unit}", self.bytes / factor),
            None => write!(f, "{}", self.bytes),
        }
    }
}

/// Accepts a JSON number or text, as YAML writes `cpu: 2` and `cpu: 500m`.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText<'a> {
    Number(serde_json::Number),
    Text(Cow<'a, str>),
}

macro_rules! as_text {
    ($name:ident, $description:literal, $example:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = match NumberOrText::deserialize(deserializer)? {
                    NumberOrText::Number(number) => number.to_string(),
                    NumberOrText::Text(text) => text.into_owned(),
                };
                text.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $description,
                    "anyOf": [
                        {"type": "string", "pattern": $pattern, "example": $example, "description": $description},
                        {"type": "number", "minimum": 0, "maximum": 1e12},
                    ],
                })
            }
        }
    };
}
as_text!(
    Span,
    "A duration: seconds, or text like `300ms`, `5s`, `1m30s`.",
    "5s",
    "^([0-9]{1,9}(\\.[0-9]{1,9})?|[0-9]{1,6}h([0-9]{1,6}m)?([0-9]{1,6}s)?|[0-9]{1,6}m([0-9]{1,6}s)?|[0-9]{1,13}s|[0-9]{1,16}ms)$"
);
as_text!(
    Cpu,
    "CPUs as Kubernetes writes them: `2`, `0.5`, `500m`.",
    "500m",
    "^([0-9]{1,6}(\\.[0-9]{1,3})?|[0-9]{1,9}m)$"
);
as_text!(
    Memory,
    "Memory as Kubernetes writes it: `512Mi`, `2Gi`, `500M`.",
    "512Mi",
    "^[0-9]{1,15}(\\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        let millis = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(millis("5"), Ok(5000));
        assert_eq!(millis("0.25"), Ok(250));
        assert_eq!(millis("300ms"), Ok(300));
        assert_eq!(millis("1m30s"), Ok(90_000));
        for bad in ["", "-1", "NaN", "soon", "-5s", "2e12"] {
            assert_eq!(millis(bad), Err(QuantityError::Span(bad.into())), "{bad}");
        }
    }

    #[test]
    fn cpu_and_memory_read_as_kubernetes_writes_them() {
        assert_eq!("500m".parse::<Cpu>().unwrap().millis, 500);
        assert_eq!("0.5".parse::<Cpu>().unwrap().millis, 500);
        assert_eq!("512Mi".parse::<Memory>().unwrap().bytes, 512 << 20);
        assert_eq!("1.5G".parse::<Memory>().unwrap().bytes, 1_500_000_000);
        assert_eq!("512Mi".parse::<Memory>().unwrap().to_string(), "512Mi");
        assert!("512MB".parse::<Memory>().is_err());
        assert!("many".parse::<Cpu>().is_err());
    }

    #[test]
    fn a_number_in_json_is_a_quantity_too() {
        assert_eq!(serde_json::from_str::<Cpu>("2").unwrap().millis, 2000);
        assert_eq!(serde_json::from_str::<Span>("1.5").unwrap().0.as_millis(), 1500);
    }

    #[test]
    fn the_longest_spans_are_written_as_they_are_read() {
        for seconds in [LONGEST_S, LONGEST_S - 0.5] {
            let written = seconds.to_string().parse::<Span>().unwrap().to_string();
            assert_eq!(written.parse::<Span>().unwrap().0.as_secs_f64().to_bits(), seconds.to_bits(), "{written}");
        }
    }
}
