//! Return hints and what they say of one prediction.

use super::{contract, names};

const HEAD: &str = r"
from dataclasses import dataclass
from typing import *
import numpy as np
from pydantic import BaseModel

@dataclass
class Score:
    label: str
    score: float = 0.0

class Row(BaseModel):
    value: float

class Model:
    def predict(self, x: int) -> HINT:
        ...
";

/// Names of the outputs and whether something is noted.
#[track_caller]
fn check(hint: &str, expected: &[&str], noted: bool) {
    let contract = contract(&HEAD.replace("HINT", hint));
    assert_eq!(names(&contract.functions[0].outputs), expected, "{hint}");
    assert_eq!(!contract.incomplete.is_empty(), noted, "{hint}: {:?}", contract.incomplete);
}

#[test]
fn an_object_is_one_prediction_and_a_list_of_them_one_each() {
    check("Score", &["label", "score"], false);
    check("'Score'", &["label", "score"], false);
    check("list[Score]", &["label", "score"], false);
    check("Iterable[Row]", &["value"], false);
    check("tuple[Row, ...]", &["value"], false);
}

#[test]
fn anything_else_is_a_result() {
    check("int", &["result"], false);
    check("list[float]", &["result"], false);
    check("np.ndarray", &["result"], false);
    check("list[list[Score]]", &["result"], false);
    check("Literal['a']", &["result"], false);
    check("Optional[float]", &["result"], false);
    check("str | int", &["result"], false);
    check("tuple[int, str]", &["result"], false);
}

#[test]
fn nothing_is_promised_where_the_hint_leaves_it_open() {
    check("dict", &[], true);
    check("dict[str, float]", &[], true);
    check("list[dict]", &[], true);
    check("Any", &[], true);
    check("Score | None", &[], true);
    check("None", &[], true);
    check("Unknown", &[], true);
}

#[test]
fn what_is_returned_has_all_its_attributes() {
    let contract = contract(&HEAD.replace("HINT", "Score"));
    assert!(contract.functions[0].outputs.iter().all(|field| field.required));
}
