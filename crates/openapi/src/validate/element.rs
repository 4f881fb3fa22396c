//! One JSON scalar as one element of a tensor: the rules of a field, and what can break them.
//!
//! Both paths ask [`accept`], so that they cannot disagree about a value.

use kea_core::{Datatype, Field, tensor::TensorData};
use serde_json::Value;

/// Runs one expression with `T` as the element type of a datatype. FP16 has none in JSON and is read as FP32, which
/// nothing comes to: plans with FP16 are refused before.
macro_rules! each_datatype {
    ($datatype:expr, $t:ident => $body:expr) => {{
        use kea_core::Datatype as D;
        match $datatype {
            D::Bool => {
                type $t = bool;
                $body
            }
            D::Uint8 => {
                type $t = u8;
                $body
            }
            D::Uint16 => {
                type $t = u16;
                $body
            }
            D::Uint32 => {
                type $t = u32;
                $body
            }
            D::Uint64 => {
                type $t = u64;
                $body
            }
            D::Int8 => {
                type $t = i8;
                $body
            }
            D::Int16 => {
                type $t = i16;
                $body
            }
            D::Int32 => {
                type $t = i32;
                $body
            }
            D::Int64 => {
                type $t = i64;
                $body
            }
            D::Fp16 | D::Fp32 => {
                type $t = f32;
                $body
            }
            D::Fp64 => {
                type $t = f64;
                $body
            }
            D::Bytes => {
                type $t = Vec<u8>;
                $body
            }
        }
    }};
}
pub(crate) use each_datatype;

/// Up to here, every whole number has a float of its own, so that `5.0` surely means 5.
const EXACT_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

/// A number as JSON text gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// Zero or a positive whole number.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Written with a fraction or exponent, or too long for 64 bits.
    Float(f64),
}

impl Number {
    #[inline]
    fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(n) => n as f64,
            Self::Signed(n) => n as f64,
            Self::Float(n) => n,
        }
    }

    /// The whole number that is meant; `None` where there is a fraction.
    fn as_whole(self) -> Option<i128> {
        match self {
            Self::Unsigned(n) => Some(n.into()),
            Self::Signed(n) => Some(n.into()),
            // Saturates, and what saturates is beyond every datatype.
            Self::Float(n) => (n.fract() == 0.0).then_some(n as i128),
        }
    }
}

/// A JSON value that is no array and no object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    /// The scalar that `value` is.
    pub(crate) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::String(text) => Some(Self::Text(text)),
            Value::Number(n) => {
                let unsigned = n.as_u64().map(Number::Unsigned);
                let number = unsigned.or(n.as_i64().map(Number::Signed)).or(n.as_f64().map(Number::Float))?;
                Some(Self::Number(number))
            }
            Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// Why a scalar is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `null` where there must be a value.
    Null,
    /// Text, a boolean or a number where another of them is asked for.
    Kind,
    /// A number with a fraction for a whole number.
    Fraction,
    /// A whole number written as a float so large that it may not be the one that is meant.
    Inexact,
    /// A number that the datatype cannot hold.
    Overflow,
    /// Below the minimum or above the maximum of the field.
    Range,
    /// None of the values that the field lists.
    Choice,
    /// A string with half of a surrogate pair, which is no text.
    Text,
}

/// What a field asks of each of its elements.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) datatype: Datatype,
    /// Elements must also fit this datatype: the one that a V2 request says its data has.
    pub(crate) declared: Option<Datatype>,
    nullable: bool,
    /// Whether there are no bounds and choices to look at.
    plain: bool,
    minimum: f64,
    maximum: f64,
    choices: Choices,
}

#[derive(Clone, Debug)]
enum Choices {
    Any,
    Flags(Vec<bool>),
    Whole(Vec<i128>),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl Rules {
    /// The rules of `field`, whose elements are of `datatype`; an error says which choice does not fit.
    pub(crate) fn of(field: &Field, datatype: Datatype) -> Result<Self, String> {
        let choices = Choices::of(&field.choices, datatype)?;
        Ok(Self {
            datatype,
            declared: None,
            nullable: field.nullable,
            plain: field.minimum.is_none() && field.maximum.is_none() && field.choices.is_empty(),
            minimum: field.minimum.unwrap_or(f64::NEG_INFINITY),
            maximum: field.maximum.unwrap_or(f64::INFINITY),
            choices,
        })
    }

    /// Whether these rules and `other` ask the same, without bounds and choices to compare.
    pub(crate) fn is_plainly(&self, other: &Self) -> bool {
        self.plain && other.plain && self.datatype == other.datatype && self.nullable == other.nullable
    }

    /// Whether every number of the datatype will do.
    pub(crate) fn takes_any_number(&self) -> bool {
        self.plain && self.declared.is_none()
    }

    /// The same rules for data that is said to be of datatype `declared`.
    pub(crate) fn declared(&self, declared: Datatype) -> Self {
        Self { declared: Some(declared), ..self.clone() }
    }

    fn check(&self, scalar: Scalar<'_>) -> Result<(), Fault> {
        if let Scalar::Number(number) = scalar {
            let value = number.as_f64();
            if value < self.minimum || value > self.maximum {
                return Err(Fault::Range);
            }
        }
        if self.choices.contain(scalar) { Ok(()) } else { Err(Fault::Choice) }
    }
}

impl Choices {
    fn of(values: &[Value], datatype: Datatype) -> Result<Self, String> {
        fn all<'v, T>(values: &'v [Value], pick: impl Fn(&'v Value) -> Option<T>) -> Result<Vec<T>, String> {
            // `null` among the choices says what `nullable` says, and is judged by that.
            let present = values.iter().filter(|value| !value.is_null());
            present.map(|value| pick(value).ok_or_else(|| value.to_string())).collect()
        }
        let whole = |value: &Value| match Scalar::of(value)? {
            Scalar::Number(number) => number.as_whole(),
            _ => None,
        };
        Ok(match datatype {
            _ if values.is_empty() => Self::Any,
            Datatype::Bool => Self::Flags(all(values, Value::as_bool)?),
            Datatype::Bytes => Self::Texts(all(values, |value| value.as_str().map(String::from))?),
            Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 => Self::Numbers(all(values, Value::as_f64)?),
            _ => Self::Whole(all(values, whole)?),
        })
    }

    fn contain(&self, scalar: Scalar<'_>) -> bool {
        match (self, scalar) {
            (Self::Any, _) => true,
            (Self::Flags(flags), Scalar::Bool(flag)) => flags.contains(&flag),
            (Self::Whole(numbers), Scalar::Number(number)) => number.as_whole().is_some_and(|n| numbers.contains(&n)),
            (Self::Numbers(numbers), Scalar::Number(number)) => numbers.contains(&number.as_f64()),
            (Self::Texts(texts), Scalar::Text(text)) => texts.iter().any(|t| t == text),
            _ => false,
        }
    }
}

/// The element that `scalar` is under `rules`, whose datatype is that of `T`.
#[inline]
pub(crate) fn accept<T: Element>(scalar: Scalar<'_>, rules: &Rules) -> Result<T, Fault> {
    if scalar == Scalar::Null {
        return if rules.nullable { T::missing().ok_or(Fault::Null) } else { Err(Fault::Null) };
    }
    let element = T::read(scalar)?;
    if let Some(declared) = rules.declared {
        fits(scalar, declared)?;
    }
    if !rules.plain {
        rules.check(scalar)?;
    }
    Ok(element)
}

/// Whether `scalar` is an element under `rules`.
pub(crate) fn judge(scalar: Scalar<'_>, rules: &Rules) -> Result<(), Fault> {
    each_datatype!(rules.datatype, T => accept::<T>(scalar, rules).map(drop))
}

fn fits(scalar: Scalar<'_>, datatype: Datatype) -> Result<(), Fault> {
    each_datatype!(datatype, T => T::read(scalar).map(drop))
}

/// An element of a tensor.
pub(crate) trait Element: Clone {
    /// Reads a scalar that is not null.
    fn read(scalar: Scalar<'_>) -> Result<Self, Fault>;

    /// What stands for a missing value.
    fn missing() -> Option<Self> {
        None
    }

    /// The elements as a tensor's data.
    fn wrap(elements: Vec<Self>) -> TensorData;
}

macro_rules! whole_number {
    ($($t:ident $kind:ident),*) => {$(
        impl Element for $t {
            #[inline]
            fn read(scalar: Scalar<'_>) -> Result<Self, Fault> {
                match scalar {
                    Scalar::Number(Number::Unsigned(n)) => n.try_into().map_err(|_| Fault::Overflow),
                    Scalar::Number(Number::Signed(n)) => n.try_into().map_err(|_| Fault::Overflow),
                    Scalar::Number(number @ Number::Float(n)) => {
                        let whole = number.as_whole().ok_or(Fault::Fraction)?;
                        let element = whole.try_into().map_err(|_| Fault::Overflow)?;
                        if n.abs() <= EXACT_FLOAT_MAX { Ok(element) } else { Err(Fault::Inexact) }
                    }
                    _ => Err(Fault::Kind),
                }
            }

            fn wrap(elements: Vec<Self>) -> TensorData {
                TensorData::$kind(elements)
            }
        }
    )*};
}

whole_number!(u8 Uint8, u16 Uint16, u32 Uint32, u64 Uint64, i8 Int8, i16 Int16, i32 Int32, i64 Int64);

macro_rules! float {
    ($($t:ident $kind:ident),*) => {$(
        impl Element for $t {
            #[inline]
            fn read(scalar: Scalar<'_>) -> Result<Self, Fault> {
                let Scalar::Number(number) = scalar else { return Err(Fault::Kind) };
                let element = number.as_f64() as $t;
                if element.is_finite() { Ok(element) } else { Err(Fault::Overflow) }
            }

            #[inline]
            fn missing() -> Option<Self> {
                Some($t::NAN)
            }

            fn wrap(elements: Vec<Self>) -> TensorData {
                TensorData::$kind(elements)
            }
        }
    )*};
}

float!(f32 Fp32, f64 Fp64);

impl Element for bool {
    fn read(scalar: Scalar<'_>) -> Result<Self, Fault> {
        if let Scalar::Bool(flag) = scalar { Ok(flag) } else { Err(Fault::Kind) }
    }

    fn wrap(elements: Vec<Self>) -> TensorData {
        TensorData::Bool(elements)
    }
}

impl Element for Vec<u8> {
    fn read(scalar: Scalar<'_>) -> Result<Self, Fault> {
        if let Scalar::Text(text) = scalar { Ok(text.into()) } else { Err(Fault::Kind) }
    }

    fn wrap(elements: Vec<Self>) -> TensorData {
        TensorData::Bytes(elements)
    }
}
