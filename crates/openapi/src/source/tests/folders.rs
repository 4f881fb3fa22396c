//! Folders: which file is the model, and types of its neighbours.

use serde_json::json;

use super::{folder, read, schema};
use crate::source::SourceError;

const MODEL: &str = "class Model:\n    def predict(self, x: int) -> int: ...\n";

#[test]
fn model_py_is_preferred() {
    let folder = folder(&[("model.py", MODEL), ("other.py", "class Other: ...\n")]);
    let model = read(folder.path()).unwrap();
    assert_eq!((model.class.as_deref(), model.file), (Some("Model"), folder.path().join("model.py")));
}

#[test]
fn the_only_file_that_is_no_test_is_meant() {
    let files =
        [("iris.py", MODEL), ("test_iris.py", "!"), ("conftest.py", "!"), ("setup.py", "!"), ("notes.txt", "!")];
    let folder = folder(&files);
    assert_eq!(read(folder.path()).unwrap().file, folder.path().join("iris.py"));
}

#[test]
fn several_files_are_named() {
    let folder = folder(&[("b.py", MODEL), ("a.py", MODEL)]);
    let error = read(folder.path()).unwrap_err();
    assert!(
        matches!(&error, SourceError::SeveralFiles { candidates, .. } if candidates == &["a.py", "b.py"]),
        "{error}"
    );
}

#[test]
fn an_empty_folder_says_what_to_put_there() {
    let folder = folder(&[]);
    let error = read(folder.path()).unwrap_err();
    assert!(error.to_string().ends_with("has no Python file: put the model's class into model.py"), "{error}");
}

#[test]
fn what_is_not_there_is_unreadable() {
    let folder = folder(&[]);
    assert!(matches!(read(&folder.path().join("none.py")), Err(SourceError::Unreadable { .. })));
}

#[test]
fn types_of_neighbours_are_followed() {
    let model = r"
from .types import Row
from shared.units import Metres as M
import enums
from again import Passed
class Model:
    def predict(self, row: Row, length: M, color: enums.Color, passed: Passed) -> int: ...
";
    let folder = folder(&[
        ("model.py", model),
        (
            "types.py",
            "from typing import TypedDict\nfrom enums import Color\nclass Row(TypedDict):\n    color: Color\n",
        ),
        ("shared/units.py", "Metres = float\n"),
        ("enums.py", "from enum import Enum\nclass Color(Enum):\n    RED = 'red'\n"),
        ("again.py", "from types_of_all import *\n"),
        ("types_of_all.py", "from again import Passed as Loop\nPassed = bool\n"),
    ]);
    let contract = read(folder.path()).unwrap().contract;
    let schemas: Vec<_> = contract.functions[0].inputs.iter().map(schema).collect();
    let color = json!({"type": "string", "enum": ["red"]});
    let row = json!({
        "type": "object", "required": ["color"], "additionalProperties": false, "properties": {"color": color},
    });
    assert_eq!(schemas, [&row, &json!({"type": "number"}), &color, &json!({"type": "boolean"})]);
    assert_eq!(contract.incomplete, [""; 0]);
}

#[test]
fn a_base_class_of_a_neighbour_brings_its_methods() {
    let base = "class Base:\n    def predict(self, x: int) -> int: ...\n";
    let folder = folder(&[("model.py", "from base import Base\nclass Model(Base):\n    pass\n"), ("base.py", base)]);
    assert_eq!(read(folder.path()).unwrap().contract.function_names(), ["predict"]);
}

#[test]
fn a_mistake_in_a_neighbour_names_its_file() {
    let folder = folder(&[("model.py", "import helper\nclass Model: ...\n"), ("helper.py", "def (\n")]);
    let error = read(folder.path()).unwrap_err();
    assert!(matches!(&error, SourceError::Syntax { file, line: 1, .. } if file.ends_with("helper.py")), "{error}");
}
