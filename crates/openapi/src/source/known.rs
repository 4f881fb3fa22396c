//! Types of Python and of its common packages, by dotted name, and how each looks as JSON.

use serde_json::{Value, json};

/// A type that takes other types in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generic {
    /// Any number of elements of one type.
    Array,
    /// The same, each element once.
    Set,
    /// Elements by position.
    Tuple,
    /// Values by text.
    Object,
    /// The type or `None`.
    Optional,
    /// One of the types.
    Union,
    /// One of the values.
    Literal,
    /// A type with what is said about it.
    Annotated,
    /// The type within, as `Final[int]`.
    Transparent,
}

/// What else is looked for by name: base classes, decorators and calls that make types.
const MAKERS: [&str; 21] = [
    "dataclasses.KW_ONLY",
    "dataclasses.dataclass",
    "dataclasses.field",
    "enum.Enum",
    "enum.Flag",
    "enum.IntEnum",
    "enum.IntFlag",
    "enum.StrEnum",
    "enum.auto",
    "pydantic.BaseModel",
    "pydantic.ConfigDict",
    "pydantic.Field",
    "pydantic.RootModel",
    "typing.NamedTuple",
    "typing.NewType",
    "typing.Protocol",
    "typing.TypeVar",
    "typing.TypeVarTuple",
    "typing.TypedDict",
    "typing_extensions.NamedTuple",
    "typing_extensions.TypedDict",
];

/// Whether the name means something to the reader of types, so that `from package import *` may have brought it.
pub(super) fn is_known(name: &str) -> bool {
    generic(name).is_some() || simple(name).is_some() || is_table(name) || MAKERS.contains(&name)
}

/// The generic type of this name.
pub(super) fn generic(name: &str) -> Option<Generic> {
    let (package, name) = split(name);
    let builtin = matches!(package, "builtins" | "typing" | "collections");
    match name {
        "list" | "List" | "Sequence" | "MutableSequence" | "Iterable" | "Iterator" | "Collection" | "Generator"
        | "deque" | "Deque"
            if builtin =>
        {
            Some(Generic::Array)
        }
        "set" | "frozenset" | "Set" | "FrozenSet" | "AbstractSet" | "MutableSet" if builtin => Some(Generic::Set),
        "tuple" | "Tuple" if builtin => Some(Generic::Tuple),
        "dict" | "Dict" | "Mapping" | "MutableMapping" | "OrderedDict" | "defaultdict" | "DefaultDict" | "Counter"
            if builtin =>
        {
            Some(Generic::Object)
        }
        "Optional" if builtin => Some(Generic::Optional),
        "Union" if builtin => Some(Generic::Union),
        "Literal" if builtin => Some(Generic::Literal),
        "Annotated" if builtin => Some(Generic::Annotated),
        "Required" | "NotRequired" | "ReadOnly" | "Final" | "ClassVar" | "Awaitable" if builtin => {
            Some(Generic::Transparent)
        }
        "InitVar" if package == "dataclasses" => Some(Generic::Transparent),
        _ => None,
    }
}

/// The schema of a type that stands alone.
pub(super) fn simple(name: &str) -> Option<Value> {
    let (package, name) = split(name);
    match package {
        "builtins" | "typing" => builtin(name),
        "datetime" => date(name),
        "decimal" if name == "Decimal" => Some(json!({"type": "number"})),
        "fractions" if name == "Fraction" => Some(json!({"type": "number"})),
        "numbers" => number(name),
        "uuid" if name == "UUID" => Some(json!({"type": "string", "format": "uuid"})),
        "pathlib" if name.ends_with("Path") => Some(json!({"type": "string"})),
        "numpy" | "numpy.typing" => numpy(name),
        "pydantic" => pydantic(name),
        "torch" if name.ends_with("Tensor") => numpy("ndarray"),
        "tensorflow" | "jax" | "jax.numpy" if matches!(name, "Tensor" | "Array" | "ndarray") => numpy("ndarray"),
        "nptyping" if name == "NDArray" => numpy("ndarray"),
        "ipaddress" => address(name),
        _ => None,
    }
}

/// Whether the name is a table, which has no one form as JSON.
pub(super) fn is_table(name: &str) -> bool {
    let (package, name) = split(name);
    matches!(package, "pandas" | "polars") && matches!(name, "DataFrame" | "Series" | "LazyFrame")
}

/// Whether the name is a call that says more about a type or an attribute.
pub(super) fn is_field(name: &str) -> bool {
    is_web_parameter(name).is_some()
        || matches!(
            name,
            "pydantic.Field"
                | "pydantic.fields.Field"
                | "pydantic.v1.Field"
                | "dataclasses.field"
                | "attrs.field"
                | "attr.ib"
                | "attr.field"
        )
}

/// What a call of FastAPI says of a parameter: `Query` of `fastapi.Query`.
pub(super) fn is_web_parameter(name: &str) -> Option<&str> {
    let (package, name) = name.rsplit_once('.')?;
    let known = matches!(name, "Query" | "Path" | "Header" | "Cookie" | "Body" | "Form" | "File");
    (known && matches!(package, "fastapi" | "fastapi.params" | "fastapi.param_functions")).then_some(name)
}

fn split(name: &str) -> (&str, &str) {
    let (package, name) = name.rsplit_once('.').unwrap_or(("", name));
    let package = match package {
        "typing_extensions" => "typing",
        "collections.abc" => "collections",
        "pydantic.types" | "pydantic.networks" | "pydantic.v1" | "pydantic.v1.types" => "pydantic",
        package => package,
    };
    (package, name)
}

fn builtin(name: &str) -> Option<Value> {
    match name {
        "int" | "SupportsInt" => Some(json!({"type": "integer"})),
        "float" | "SupportsFloat" => Some(json!({"type": "number"})),
        "bool" | "TypeIs" | "TypeGuard" => Some(json!({"type": "boolean"})),
        "str" | "Text" | "LiteralString" | "AnyStr" => Some(json!({"type": "string"})),
        "bytes" | "bytearray" => Some(json!({"type": "string", "format": "byte"})),
        "Any" | "object" | "Hashable" => Some(json!({})),
        "NoneType" | "None" => Some(null()),
        _ => None,
    }
}

/// The schema of `None` alone. OpenAPI 3.0 has no type for it.
pub(super) fn null() -> Value {
    json!({"type": "string", "nullable": true, "enum": [null]})
}

fn date(name: &str) -> Option<Value> {
    let format = match name {
        "datetime" => "date-time",
        "date" => "date",
        // The format `time` asks for an offset, which Python's `time` seldom has.
        "time" => return Some(json!({"type": "string"})),
        "timedelta" => "duration",
        _ => return None,
    };
    Some(json!({"type": "string", "format": format}))
}

fn address(name: &str) -> Option<Value> {
    match name {
        "IPv4Address" => Some(json!({"type": "string", "format": "ipv4"})),
        "IPv6Address" => Some(json!({"type": "string", "format": "ipv6"})),
        "IPv4Network" | "IPv6Network" | "IPv4Interface" | "IPv6Interface" => Some(json!({"type": "string"})),
        _ => None,
    }
}

fn number(name: &str) -> Option<Value> {
    match name {
        "Number" | "Real" | "Rational" => Some(json!({"type": "number"})),
        "Integral" => Some(json!({"type": "integer"})),
        _ => None,
    }
}

fn numpy(name: &str) -> Option<Value> {
    let bounded = |low: i64, high: u64| Some(json!({"type": "integer", "minimum": low, "maximum": high}));
    match name {
        "ndarray" | "NDArray" | "ArrayLike" => {
            Some(json!({"type": "array", "items": {}, "description": "Numbers, nested by dimension."}))
        }
        "float16" | "float32" | "float64" | "floating" | "double" | "single" | "half" => {
            Some(json!({"type": "number"}))
        }
        "int8" => bounded(i8::MIN.into(), i8::MAX as u64),
        "int16" => bounded(i16::MIN.into(), i16::MAX as u64),
        "int32" => bounded(i32::MIN.into(), i32::MAX as u64),
        "uint8" => bounded(0, u8::MAX.into()),
        "uint16" => bounded(0, u16::MAX.into()),
        "uint32" => bounded(0, u32::MAX.into()),
        "uint64" => bounded(0, u64::MAX),
        "int64" | "integer" | "intp" | "int_" => Some(json!({"type": "integer"})),
        "bool_" => Some(json!({"type": "boolean"})),
        "str_" => Some(json!({"type": "string"})),
        _ => None,
    }
}

fn pydantic(name: &str) -> Option<Value> {
    match name {
        "PositiveInt" => Some(json!({"type": "integer", "minimum": 0, "exclusiveMinimum": true})),
        "NonNegativeInt" => Some(json!({"type": "integer", "minimum": 0})),
        "NegativeInt" => Some(json!({"type": "integer", "maximum": 0, "exclusiveMaximum": true})),
        "NonPositiveInt" => Some(json!({"type": "integer", "maximum": 0})),
        "PositiveFloat" => Some(json!({"type": "number", "minimum": 0, "exclusiveMinimum": true})),
        "NonNegativeFloat" => Some(json!({"type": "number", "minimum": 0})),
        "NegativeFloat" => Some(json!({"type": "number", "maximum": 0, "exclusiveMaximum": true})),
        "NonPositiveFloat" => Some(json!({"type": "number", "maximum": 0})),
        "FiniteFloat" | "StrictFloat" | "confloat" | "condecimal" => Some(json!({"type": "number"})),
        "StrictInt" | "conint" => Some(json!({"type": "integer"})),
        "StrictBool" => Some(json!({"type": "boolean"})),
        "StrictStr" | "constr" | "SecretStr" => Some(json!({"type": "string"})),
        "StrictBytes" | "conbytes" => Some(json!({"type": "string", "format": "byte"})),
        "EmailStr" => Some(json!({"type": "string", "format": "email"})),
        "AnyUrl" | "AnyHttpUrl" | "HttpUrl" | "FileUrl" => Some(json!({"type": "string", "format": "uri"})),
        "UUID1" | "UUID3" | "UUID4" | "UUID5" => Some(json!({"type": "string", "format": "uuid"})),
        "AwareDatetime" | "NaiveDatetime" | "PastDatetime" | "FutureDatetime" => date("datetime"),
        "PastDate" | "FutureDate" => date("date"),
        "FilePath" | "DirectoryPath" | "NewPath" | "IPvAnyAddress" | "IPvAnyNetwork" | "IPvAnyInterface" => {
            Some(json!({"type": "string"}))
        }
        "Json" | "JsonValue" => Some(json!({})),
        _ => None,
    }
}
