//! Methods, arguments and docstrings.

use kea_core::Layout;
use serde_json::json;

use super::{contract, function, names, read_text, schema};
use crate::source::SourceError;

const CHURN: &str = r#"
"""Models of the sales department."""
from typing import Optional, TypedDict

PERIOD = 12

class Result(TypedDict):
    churn: float
    reason: Optional[str]

class Churn:
    """Tells which customers are about to leave.

    Trained on the contracts of 2024.

    Attributes:
        threshold: not part of the prose
    """
    version = 3

    def __init__(self):
        self.model = None

    def load(self):
        self.model = object()

    def explain(self, customer: str, *, top: int = 3, period: int = PERIOD) -> list[str]:
        """Names the reasons.

        Parameters
        ----------
        customer : str
            The customer's number,
            as in the invoice.
        top, period : int
            How many.

        Returns
        -------
        list of str
            The reasons, strongest first.
        """

    def predict(self, months: int, spend: float, plan: str = "basic", note: str = None) -> list[Result]:
        """Says how likely a customer
        is to leave.

        More about it.

        Args:
            months (int): How long the contract
                has run.
            spend: Euro a month: net.
            plan (Optional[str], default: "basic"): The tariff.

        Returns:
            dict: the likelihood
        """

    @staticmethod
    def ping() -> str:
        """
        :param nothing: nothing
        :returns: pong
        """

    @classmethod
    def named(cls, name: str) -> bool:
        """:param str name: A name
            on two lines."""

    @property
    def size(self) -> int:
        return 1

    def helper(self, x):
        return x

    def _private(self, x: int) -> int:
        return x
"#;

#[test]
fn hinted_public_methods_are_functions_and_predict_is_the_first() {
    let contract = contract(CHURN);
    assert_eq!(contract.function_names(), ["predict", "explain", "ping", "named"]);
    assert_eq!(contract.description, "Tells which customers are about to leave.\n\nTrained on the contracts of 2024.");
    assert_eq!(contract.platform, "python Churn");
    assert_eq!(contract.incomplete, ["`helper`: it has no type hints, so it is not a function of the service"]);
}

#[test]
fn arguments_have_their_default_and_their_words() {
    let predict = function(&contract(CHURN), "predict");
    assert_eq!(predict.layout, Layout::Arguments);
    assert_eq!(predict.description, "Says how likely a customer is to leave.");
    assert_eq!(names(&predict.inputs), ["months", "spend", "plan", "note"]);
    let words: Vec<_> = predict.inputs.iter().map(|field| field.description.as_str()).collect();
    assert_eq!(words, ["How long the contract has run.", "Euro a month: net.", "The tariff.", ""]);
    let required: Vec<_> = predict.inputs.iter().map(|field| field.required).collect();
    assert_eq!(required, [true, true, false, false]);
    assert_eq!(predict.inputs[2].default, Some(json!("basic")));
    assert_eq!(schema(&predict.inputs[3]), &json!({"type": "string", "nullable": true}));
    assert_eq!(predict.inputs[3].default, Some(json!(null)));
    assert!(predict.inputs[3].nullable);
    assert_eq!(names(&predict.outputs), ["churn", "reason"]);
}

#[test]
fn numpy_and_rest_docstrings_are_read() {
    let contract = contract(CHURN);
    let explain = function(&contract, "explain");
    assert_eq!(explain.description, "Names the reasons.");
    assert_eq!(explain.inputs[0].description, "The customer's number, as in the invoice.");
    assert_eq!((&*explain.inputs[1].description, &*explain.inputs[2].description), ("How many.", "How many."));
    assert_eq!(explain.inputs[2].default, Some(json!(12)));
    assert_eq!(names(&explain.outputs), ["result"]);
    assert_eq!(explain.outputs[0].description, "The reasons, strongest first.");
    let ping = function(&contract, "ping");
    assert_eq!((ping.inputs.len(), &*ping.outputs[0].description), (0, "pong"));
    assert_eq!(function(&contract, "named").inputs[0].description, "A name on two lines.");
}

#[test]
fn predict_without_hints_is_a_function_that_takes_anything() {
    let contract = contract("class Model:\n    def predict(self, rows): ...\n");
    let predict = function(&contract, "predict");
    assert_eq!(schema(&predict.inputs[0]), &json!({}));
    assert_eq!(predict.outputs, []);
    assert_eq!(
        contract.incomplete,
        [
            "`predict`: argument `rows`: it has no type hint, so anything is accepted",
            "`predict`: the result: it has no hint, so what a prediction holds is not known",
        ]
    );
}

#[test]
fn what_cannot_be_given_by_name_is_noted() {
    let source = "class Model:\n    def predict(self, *args: int, **kwargs: int) -> int: ...\n    def at(self, x: int, /) -> int: ...\n";
    let contract = contract(source);
    assert_eq!(contract.function_names(), ["predict"]);
    assert_eq!(contract.functions[0].inputs, []);
    assert!(contract.incomplete.iter().any(|note| note.contains("`*args` cannot be described")));
    assert!(contract.incomplete.iter().any(|note| note.contains("`**kwargs` cannot be described")));
    assert!(contract.incomplete.iter().any(|note| note.starts_with("`at`: ") && note.contains("remove the `/`")));
}

#[test]
fn inherited_methods_are_functions_and_overridden_ones_are_meant_once() {
    let source = r"
class Base:
    def predict(self, x: int) -> int: ...
    def info(self) -> str: ...
class Model(Base):
    def predict(self, x: float) -> int: ...
";
    let model = read_text(source).unwrap();
    assert_eq!(model.class.as_deref(), Some("Model"));
    assert_eq!(model.contract.function_names(), ["predict", "info"]);
    assert_eq!(schema(&model.contract.functions[0].inputs[0]), &json!({"type": "number"}));
}

#[test]
fn the_class_with_predict_is_the_model() {
    let source = r"
from dataclasses import dataclass
@dataclass
class Row:
    x: int
class Other:
    def run(self, x: int) -> int: ...
class Model:
    def predict(self, row: Row) -> int: ...
";
    assert_eq!(read_text(source).unwrap().class.as_deref(), Some("Model"));
}

#[test]
fn the_only_public_class_is_the_model_where_none_predicts() {
    let source = "class _Helper:\n    pass\nclass LoadError(Exception):\n    pass\nclass Grades:\n    def get(self, name: str) -> int: ...\n";
    let model = read_text(source).unwrap();
    assert_eq!((model.class.as_deref(), model.contract.function_names()), (Some("Grades"), vec!["get"]));
}

#[test]
fn several_candidates_are_named() {
    let error = read_text("class A:\n    def predict(self): ...\nclass B:\n    def predict(self): ...\n").unwrap_err();
    assert!(matches!(&error, SourceError::SeveralClasses { candidates, .. } if candidates == &["A", "B"]), "{error}");
    assert!(error.to_string().contains("(A, B): give `predict` to one of them only"), "{error}");
}

#[test]
fn a_file_without_a_class_says_what_to_write() {
    let error = read_text("def predict(x):\n    return x\n").unwrap_err();
    assert!(
        error.to_string().ends_with("has no public class: write `class Model:` with a method `predict`"),
        "{error}"
    );
}

#[test]
fn hinted_functions_are_those_of_a_file_without_a_class() {
    let source = "import os\ndef helper(x): ...\ndef _own(x: int): ...\ndef area(side: float) -> float: ...\ndef predict(x: int) -> int: ...\n";
    let model = read_text(source).unwrap();
    assert_eq!((model.class, model.contract.function_names()), (None, vec!["predict", "area"]));
}

#[test]
fn functions_beside_other_files_of_a_folder_are_no_model() {
    let folder = super::folder(&[("train.py", "def train(rows: int) -> None: ...\n")]);
    assert!(matches!(super::read(folder.path()), Err(SourceError::NoClass { .. })));
    let folder = super::folder(&[("model.py", "def score(rows: int) -> int: ...\n")]);
    assert_eq!(super::read(folder.path()).unwrap().contract.function_names(), ["score"]);
}

#[test]
fn a_web_application_is_no_model_and_says_how_it_is_deployed() {
    let error =
        read_text("from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root() -> int: ...\n").unwrap_err();
    assert!(matches!(error, SourceError::WebApplication { framework: "FastAPI", .. }), "{error}");
    assert!(error.to_string().contains("--command 'exec uvicorn"), "{error}");
}

#[test]
fn a_syntax_error_has_its_place() {
    let error = read_text("class Model:\n    def predict(self, x: int -> int:\n        return x\n").unwrap_err();
    let SourceError::Syntax { line, column, why, .. } = error else { panic!("{error}") };
    assert_eq!((line, column), (2, 30), "{why}");
}

#[test]
fn a_class_names_the_functions_that_answer_differently() {
    let code = |list: &str| {
        format!(
            "class Model:\n    {list}\n    def predict(self, x: int) -> int: ...\n    def draw(self, x: int) -> int: ...\n"
        )
    };
    for list in [
        "non_deterministic = ['draw']",
        "non_deterministic: tuple[str, ...] = ('draw', 'nothing')",
        "non_deterministic = {'draw'}",
    ] {
        let contract = contract(&code(list));
        assert!(function(&contract, "predict").deterministic, "{list}");
        assert!(!function(&contract, "draw").deterministic, "{list}");
    }
    for list in ["non_deterministic = draw", "deterministic = ['draw']", "pass"] {
        assert!(function(&contract(&code(list)), "draw").deterministic, "{list}");
    }
}
