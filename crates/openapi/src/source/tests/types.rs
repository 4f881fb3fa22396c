//! Type hints and the schemas they make.

use serde_json::{Value, json};

use super::{contract, function, schema};

const HEAD: &str = r#"
from __future__ import annotations
import collections.abc
import datetime as dt
import enum
import typing as t
import uuid
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum, auto
from typing import *
import numpy as np
import nptyping
import torch as tensors
from bentoml.validators import DType, Shape
from jaxtyping import Float, Float32, Int
import numpy.typing as npt
import pandas as pd
from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, conint

class Color(Enum):
    RED = "red"
    BLUE = "blue"

class Level(IntEnum):
    LOW = auto()
    HIGH = auto()

class Word(StrEnum):
    YES = auto()

class Address(TypedDict, total=False):
    """Where somebody lives.

    Attributes:
        street: With the number.
    """
    street: Required[str]
    city: str

@dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)
    count: ClassVar[int] = 0
    norm: float = field(init=False)

class Pair(NamedTuple):
    left: int
    right: str = "r"

class Base(BaseModel):
    id: int

class House(Base):
    area: float = Field(gt=0, le=1000, description="Square metres.")
    rooms: Annotated[int, Field(ge=1)] = 3
    code: str = Field(min_length=2, max_length=4, pattern="^[A-Z]+$", examples=["AB"])
    kind: Literal["flat", "house"] = "flat"
    postcode: str = Field(..., alias="zip")

class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int

class Node(BaseModel):
    children: list["Node"]

class Plain:
    pass

UserId = NewType("UserId", int)
Alias = list[int]
type Modern = dict[str, int]
Movie = TypedDict("Movie", {"title": str})
T = TypeVar("T", bound=int)

class Model:
    def predict(self, x: HINT) -> int:
        return 1
"#;

/// The schema and the notes of a hint.
fn hint(hint: &str) -> (Value, Vec<String>) {
    let contract = contract(&HEAD.replace("HINT", hint));
    let field = function(&contract, "predict").inputs.remove(0);
    (schema(&field).clone(), contract.incomplete)
}

#[track_caller]
fn check(written: &str, expected: Value) {
    assert_eq!(hint(written), (expected, Vec::<String>::new()), "{written}");
}

#[track_caller]
fn check_noted(written: &str, expected: &Value, note: &str) {
    let (schema, notes) = hint(written);
    assert_eq!(&schema, expected, "{written}");
    assert!(notes.iter().any(|n| n.starts_with("`predict`: argument `x`: ") && n.contains(note)), "{notes:?}");
}

#[test]
fn plain_types_have_their_own_schema() {
    check("int", json!({"type": "integer"}));
    check("float", json!({"type": "number"}));
    check("str", json!({"type": "string"}));
    check("bool", json!({"type": "boolean"}));
    check("bytes", json!({"type": "string", "format": "byte"}));
    check("Any", json!({}));
    check("object", json!({}));
    check("None", json!({"type": "string", "nullable": true, "enum": [null]}));
    check("dt.datetime", json!({"type": "string", "format": "date-time"}));
    check("dt.date", json!({"type": "string", "format": "date"}));
    check("uuid.UUID", json!({"type": "string", "format": "uuid"}));
}

#[test]
fn optional_and_union_are_alternatives() {
    check("Optional[int]", json!({"type": "integer", "nullable": true}));
    check("int | None", json!({"type": "integer", "nullable": true}));
    check("t.Union[int, str]", json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}));
    check(
        "int | str | None",
        json!({"anyOf": [{"type": "integer", "nullable": true}, {"type": "string", "nullable": true}]}),
    );
    check("Union[int, Any]", json!({}));
    check("Union[int, int]", json!({"type": "integer"}));
    check("Optional[Literal['a']]", json!({"type": "string", "enum": ["a", null], "nullable": true}));
}

#[test]
fn hints_in_quotes_are_hints() {
    check("'list[int]'", json!({"type": "array", "items": {"type": "integer"}}));
    check("list['Color']", json!({"type": "array", "items": {"type": "string", "enum": ["red", "blue"]}}));
}

#[test]
fn containers_hold_their_elements() {
    let integers = json!({"type": "array", "items": {"type": "integer"}});
    for hint in ["list[int]", "List[int]", "Sequence[int]", "collections.abc.Sequence[int]", "tuple[int, ...]", "Alias"]
    {
        check(hint, integers.clone());
    }
    check("list", json!({"type": "array", "items": {}}));
    check("set[str]", json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}));
    check("dict[str, float]", json!({"type": "object", "additionalProperties": {"type": "number"}}));
    check("Modern", json!({"type": "object", "additionalProperties": {"type": "integer"}}));
    check("Mapping", json!({"type": "object"}));
    check(
        "tuple[int, str]",
        json!({
            "type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "minItems": 2, "maxItems": 2,
        }),
    );
}

#[test]
fn literals_and_enumerations_are_choices() {
    check("Literal['a', 'b']", json!({"type": "string", "enum": ["a", "b"]}));
    check("Literal[1, -2]", json!({"type": "integer", "enum": [1, -2]}));
    check("Literal[1, 'a', None]", json!({"enum": [1, "a", null]}));
    check("Literal[Color.RED]", json!({"type": "string", "enum": ["red"]}));
    check("Color", json!({"type": "string", "enum": ["red", "blue"]}));
    check("Level", json!({"type": "integer", "enum": [1, 2]}));
    check("Word", json!({"type": "string", "enum": ["yes"]}));
}

#[test]
fn records_become_objects() {
    check(
        "Address",
        json!({
            "type": "object", "description": "Where somebody lives.", "required": ["street"],
            "additionalProperties": false,
            "properties": {"street": {"type": "string", "description": "With the number."}, "city": {"type": "string"}},
        }),
    );
    check(
        "Point",
        json!({
            "type": "object", "required": ["x"], "additionalProperties": false,
            "properties": {
                "x": {"type": "number"}, "y": {"type": "number", "default": 0.0},
                "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            },
        }),
    );
    check(
        "Pair",
        json!({
            "type": "object", "required": ["left"], "additionalProperties": false,
            "properties": {"left": {"type": "integer"}, "right": {"type": "string", "default": "r"}},
        }),
    );
    check(
        "Movie",
        json!({
            "type": "object", "required": ["title"], "additionalProperties": false,
            "properties": {"title": {"type": "string"}},
        }),
    );
    check("Open", json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}));
}

#[test]
fn pydantic_fields_bring_their_constraints_and_their_base_class() {
    check(
        "House",
        json!({
            "type": "object", "required": ["id", "area", "code", "zip"], "additionalProperties": false,
            "properties": {
                "id": {"type": "integer"},
                "area": {
                    "type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1000,
                    "description": "Square metres.",
                },
                "rooms": {"type": "integer", "minimum": 1, "default": 3},
                "code": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[A-Z]+$", "example": "AB"},
                "kind": {"type": "string", "enum": ["flat", "house"], "default": "flat"},
                "zip": {"type": "string"},
            },
        }),
    );
    check("PositiveInt", json!({"type": "integer", "minimum": 0, "exclusiveMinimum": true}));
    check("conint(ge=2)", json!({"type": "integer", "minimum": 2}));
}

#[test]
fn annotated_says_more_about_a_type() {
    check(
        "Annotated[float, Field(ge=0, lt=1)]",
        json!({"type": "number", "minimum": 0, "maximum": 1, "exclusiveMaximum": true}),
    );
    check("Annotated[int, Ge(3)]", json!({"type": "integer", "minimum": 3}));
    check(
        "Annotated[list[int], Len(1, 4)]",
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 4}),
    );
    check("Annotated[str, 'A name.']", json!({"type": "string", "description": "A name."}));
    check("Annotated[int | None, Field(ge=1)]", json!({"type": "integer", "nullable": true, "minimum": 1}));
}

#[test]
fn numpy_arrays_are_arrays_and_its_numbers_have_bounds() {
    let array = json!({"type": "array", "items": {}, "description": "Numbers, nested by dimension."});
    check("np.ndarray", array.clone());
    check("npt.NDArray[np.float64]", array);
    check("np.uint8", json!({"type": "integer", "minimum": 0, "maximum": 255}));
    check("np.float32", json!({"type": "number"}));
}

#[test]
fn arrays_whose_hints_say_their_shape_are_nested_so() {
    let row = json!({"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3});
    let rows = |words: &str| json!({"type": "array", "items": row, "description": words});
    check("Float[np.ndarray, 'batch 3']", rows("Shape: batch, 3."));
    check("Float32[np.ndarray, '#b width=3']", rows("Shape: b, 3."));
    check("nptyping.NDArray[nptyping.Shape['*, 3 columns'], nptyping.Float]", rows("Shape: any, 3."));
    check("Annotated[np.ndarray, Shape((-1, 3)), DType('float64')]", rows("Shape: any, 3."));
    check("Int[np.ndarray, '']", json!({"type": "integer"}));
    check("Float[np.ndarray, '*batch 3']", json!({"type": "array", "items": {}, "description": "Shape: *batch, 3."}));
    check("tensors.Tensor", json!({"type": "array", "items": {}, "description": "Numbers, nested by dimension."}));
}

#[test]
fn other_names_of_types_are_followed() {
    check("UserId", json!({"type": "integer"}));
    check("T", json!({"type": "integer"}));
}

#[test]
fn what_is_not_known_is_open_and_noted() {
    check_noted("Missing", &json!({}), "`Missing` is no type that the source defines");
    check_noted("torch.Tensor", &json!({}), "`torch.Tensor` is no type that the source defines");
    check_noted("pd.DataFrame", &json!({}), "has no one form as JSON");
    check_noted("Plain", &json!({}), "`Plain` does not say what it holds");
    check_noted("some.call()", &json!({}), "computed");
    check_noted("'not a hint at all'", &json!({}), "in quotes");
    check_noted("3", &json!({}), "not a type");
}

#[test]
fn a_type_that_contains_itself_is_described_once() {
    let node = json!({
        "type": "object", "required": ["children"], "additionalProperties": false,
        "properties": {"children": {"type": "array", "items": {}}},
    });
    check_noted("Node", &node, "`Node` contains itself");
}

#[test]
fn a_pattern_that_only_python_reads_is_left_to_the_model() {
    let pattern = r#"Annotated[str, Field(pattern="(?P<a")]"#;
    check_noted(pattern, &json!({"type": "string"}), "`pattern` cannot be written in OpenAPI");
}

/// What `predict` takes as `x` in a source of its own, and the notes on it.
fn taken(classes: &str, hint: &str) -> (Value, Vec<String>) {
    let source = HEAD.replace("class Model:", &format!("{classes}\nclass Model:"));
    let contract = contract(&source.replace("HINT", hint));
    (schema(&function(&contract, "predict").inputs[0]).clone(), contract.incomplete)
}

#[test]
fn a_parameter_falls_back_to_those_before_it_and_not_to_those_around() {
    let classes = "class Inner[T, U = list[T]](BaseModel):\n    u: U\n\
        class Outer[T](BaseModel):\n    x: Inner[str]\n";
    let (schema, notes) = taken(classes, "Outer[int]");
    assert_eq!(schema["properties"]["x"]["properties"]["u"]["items"]["type"], "string");
    assert_eq!(notes, [""; 0]);
}

#[test]
fn what_comes_after_as_many_types_as_are_given_is_not_known() {
    let assigned = "Ts = TypeVarTuple('Ts')\nL = TypeVar('L')\nK = TypeVar('K')\n";
    let heads = [
        "class Row[K, *Ts, L](BaseModel):",
        "class Row(BaseModel, Generic[K, *Ts, L]):",
        "class Row(BaseModel, Generic[K, Unpack[Ts], L]):",
    ];
    for head in heads {
        let (schema, notes) =
            taken(&format!("{assigned}{head}\n    key: K\n    label: L\n"), "Row[int, str, str, float]");
        assert_eq!(schema["properties"]["key"]["type"], "integer", "{head}");
        assert_eq!(schema["properties"]["label"]["type"], Value::Null, "{head}");
        assert!(notes.iter().any(|note| note.contains("type variable")), "{head}: {notes:?}");
    }
}

#[test]
fn values_and_names_that_are_computed_are_not_made_up() {
    let classes = r#"
from elsewhere import OTHER, Foreign
KEY = "a"
Zero = Enum("Zero", "LOW HIGH", start=0)
Texts = Enum("Texts", "A B", type=str)
Keyed = TypedDict("Keyed", {KEY: int, "b": str})
Computed = TypedDict("Computed", {OTHER: int, "b": str})
Merged = TypedDict("Merged", {**OTHER, "b": str})
Point = NamedTuple("Point", [(KEY, float)])
Far = NamedTuple("Far", [(OTHER, float), ("b", str)])
LARGE = 18446744073709551615 - 1
"#;
    for hint in ["Zero", "Texts", "Computed", "Merged", "Far", "Literal[Foreign.RED, 'auto']", "Literal[LARGE]"] {
        let (schema, notes) = taken(classes, hint);
        assert_eq!((&schema, notes.len()), (&json!({}), 1), "{hint}: {notes:?}");
    }
    let properties =
        |hint| taken(classes, hint).0["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((properties("Keyed"), properties("Point")), (vec!["a".to_owned(), "b".into()], vec!["a".into()]));
    let (schema, notes) = taken(classes, "Literal['a', b'x']");
    assert_eq!(schema["enum"], json!(["a"]));
    assert!(notes[0].contains("bytes"), "{notes:?}");
}

#[test]
fn names_in_json_are_those_of_the_model_itself() {
    let classes = r#"
from pydantic.alias_generators import to_camel, to_snake
class Kept(BaseModel):
    its_name: int
class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    in_it: Kept
    after_it: int
class Snake(BaseModel):
    model_config = ConfigDict(alias_generator=to_snake)
    displayName: str
"#;
    let (schema, _) = taken(classes, "Camel");
    let names = |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&schema), ["afterIt", "inIt"]);
    assert_eq!(names(&schema["properties"]["inIt"]), ["its_name"]);
    let (_, notes) = taken(classes, "Snake");
    assert!(notes[0].contains("made by a function"), "{notes:?}");
}

#[test]
fn what_may_be_missing_in_the_first_pydantic_may_be_left_out() {
    let first = "from pydantic import root_validator\nimport pydantic.v1\n\
        class Old(BaseModel):\n    a: Optional[str]\n    b: str\n\
        \x20   @root_validator\n    def whole(cls, values): return values\n\
        class Older(pydantic.v1.BaseModel):\n    a: Optional[str]\n    b: str\n\
        class New(BaseModel):\n    a: Optional[str]\n    b: str\n\
        \x20   @root_validator(pre=True)\n    def whole(cls, values): return values\n";
    for (hint, required) in [("Old", json!(["b"])), ("Older", json!(["b"])), ("New", json!(["a", "b"]))] {
        assert_eq!(taken(first, hint).0["required"], required, "{hint}");
    }
}
