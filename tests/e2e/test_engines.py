"""One real model of each engine, deployed with an environment that KEA makes for it; it answers as the model does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from harness import API, Kea
from models import ModelShelf, Trained
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

CLASSES = ["0", "1", "2"]


@pytest.fixture(scope="module")
def kea(shared_kea: Kea) -> Kea:
    return shared_kea


def methods(kea: Kea, name: str) -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in kea.request("GET", f"/services/{name}/methods").json()}


def environment(details: dict[str, Any]) -> str:
    """What the environment was made with, as `kea status` tells it."""
    return next(step["detail"] for step in details["steps"] if step["name"] == "make the environment")


def log(kea: Kea, name: str) -> str:
    return "\n".join(kea.request("GET", f"/logs/{name}").json()["logEntries"])


def check(details: dict[str, Any], framework: str, engine: str) -> None:
    assert (details["framework"], details["engine"]) == (framework, engine), details
    assert all(step["state"] == "done" for step in details["steps"]), details["steps"]


# ONNX


def test_an_onnx_graph_runs_within_the_model_server(kea: Kea, models: ModelShelf) -> None:
    details = kea.deploy("graph", models.iris_onnx())
    check(details, "ONNX", "onnx")
    iris = load_iris()
    expected = LogisticRegression(max_iter=1000).fit(iris.data, iris.target).predict_proba(iris.data)

    predictions = kea.predictions("graph", {"X": iris.data.tolist()})
    assert all(list(prediction) == ["label", "probabilities"] for prediction in predictions)
    assert [prediction["label"] for prediction in predictions] == expected.argmax(axis=1).tolist()
    served = np.array([prediction["probabilities"] for prediction in predictions])
    assert np.allclose(served, expected, atol=1e-5)

    (one,) = kea.predictions("graph", {"X": iris.data[3].tolist()})
    assert one["probabilities"] == pytest.approx(expected[3].tolist(), abs=1e-5)
    (field,) = methods(kea, "graph")["predict"]["inputs"]
    assert (field["name"], field["type"]) == ("X", {"tensor": {"datatype": "FP32", "shape": [-1, 4]}})


# scikit-learn, XGBoost, LightGBM


@pytest.fixture(scope="module")
def boosters(models: ModelShelf) -> Trained:
    return models.boosters()


def named_by(method: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Rows as the function takes them: a column for each feature, or one tensor."""
    names = [field["name"] for field in method["inputs"]]
    return {names[0]: rows.tolist()} if len(names) == 1 else dict(zip(names, rows.T.tolist(), strict=True))


@pytest.mark.parametrize(
    ("file", "framework", "package"),
    [
        ("xgboost.json", "XGBoost", "xgboost-cpu==3.2.0"),
        ("lightgbm.txt", "LightGBM", "lightgbm"),
        ("forest.pkl", "ScikitLearn", "scikit-learn==1.9.1"),
        ("tree.skops", "ScikitLearn", "scikit-learn==1.9.1"),
    ],
)
def test_a_classifier_answers_with_its_own_probabilities(
    kea: Kea, boosters: Trained, file: str, framework: str, package: str
) -> None:
    name = file.replace(".", "-")
    details = kea.deploy(name, boosters.folder / file)
    check(details, framework, "python")
    assert package in environment(details)

    rows, expected = np.array(boosters.rows), np.array(boosters.answers[file])
    predictions = kea.predictions(name, named_by(methods(kea, name)["predict"], rows))
    assert all(list(prediction["probabilities"]) == CLASSES for prediction in predictions)
    served = np.array([list(prediction["probabilities"].values()) for prediction in predictions])
    assert np.abs(served - expected).max() <= 1e-6
    assert [prediction["label"] for prediction in predictions] == expected.argmax(axis=1).tolist()


def test_a_regressor_of_skops_answers_with_its_value(kea: Kea, boosters: Trained) -> None:
    details = kea.deploy("neighbors", boosters.folder / "neighbors.skops")
    check(details, "ScikitLearn", "python")
    predictions = kea.predictions("neighbors", {"input": np.array(boosters.rows)[:, :3].tolist()})
    values = [prediction["value"] for prediction in predictions]
    assert values == pytest.approx(boosters.answers["neighbors.skops"], abs=1e-9)


def test_models_of_one_environment_share_it(kea: Kea, boosters: Trained) -> None:
    kea.deploy("forest-before", boosters.folder / "forest.pkl")
    details = kea.deploy("forest-again", boosters.folder / "forest.pkl")
    assert "reused" in environment(details) or "new" not in environment(details)


def test_an_environment_is_made_with_its_bytecode(kea: Kea, boosters: Trained) -> None:
    # Workers write none, so without it each of their starts compiles the whole framework again.
    (replica,) = kea.deploy("forest-compiled", boosters.folder / "forest.pkl")["replicaStatuses"]
    arguments = Path(f"/proc/{replica['pid']}/cmdline").read_text().split("\0")
    python = Path(arguments[arguments.index("--python") + 1])
    assert list(python.parents[1].glob("lib/python*/site-packages/sklearn/__pycache__/__init__.*.pyc"))


# Keras, TensorFlow, PyTorch


def check_digits(kea: Kea, name: str, trained: Trained) -> None:
    """All rows at once, and the first alone, have the scores that the model gave where it was trained."""
    method = methods(kea, name)["predict"]
    (field,), (output,) = method["inputs"], method["outputs"]
    assert field["type"] == {"tensor": {"datatype": "FP32", "shape": [-1, 64]}}
    predictions = kea.predictions(name, {field["name"]: trained.rows})
    served = np.array([prediction[output["name"]] for prediction in predictions])
    assert np.allclose(served, trained.answers, atol=1e-5)
    (one,) = kea.predictions(name, {field["name"]: trained.rows[0]})
    assert one[output["name"]] == pytest.approx(trained.answers[0], abs=1e-5)
    assert kea.predict(name, {field["name"]: [0.5] * 63}).status_code == 400


def test_a_keras_archive_answers_as_where_it_was_trained(kea: Kea, models: ModelShelf) -> None:
    trained = models.keras()
    details = kea.deploy("keras", trained.folder / "digits.keras")
    check(details, "Keras", "python")
    assert "tensorflow-cpu" in environment(details)
    check_digits(kea, "keras", trained)


def test_a_tensorflow_saved_model_answers_as_where_it_was_trained(kea: Kea, models: ModelShelf) -> None:
    trained = models.keras()
    details = kea.deploy("tensorflow", trained.folder / "saved")
    check(details, "TensorFlow", "python")
    check_digits(kea, "tensorflow", trained)


@pytest.mark.parametrize("file", ["script.pt", "exported.pt2"])
def test_a_pytorch_program_answers_as_where_it_was_trained(kea: Kea, models: ModelShelf, file: str) -> None:
    trained = models.torch()
    name = "torch-" + file.split(".")[0]
    details = kea.deploy(name, trained.folder / file)
    check(details, "PyTorch", "python")
    assert "torch" in environment(details)
    check_digits(kea, name, trained)


# Custom classes

GREETER = '''
"""Greets."""

import sys


class Greeter:
    """A model in one file."""

    def load(self):
        print("loading the greeter")
        self.greeting = "hello"

    def predict(self, name: str, times: int = 1) -> dict:
        """Greets somebody.

        Args:
            name: Who is greeted.
            times: How often.
        """
        print("greeting", name, file=sys.stderr)
        return {"text": " ".join([f"{self.greeting} {name}"] * times)}
'''

INVOICE = '''
"""Reads invoices."""

from dataclasses import dataclass

import inflect

from words import CURRENCY


@dataclass
class Line:
    article: str
    price: float


@dataclass
class Total:
    amount: float
    in_words: str
    lines: int


class Invoice:
    """Adds up invoices."""

    def load(self) -> None:
        self.engine = inflect.engine()

    def predict(self, lines: list[Line]) -> Total:
        """Adds up the lines of an invoice."""
        amount = sum(line.price for line in lines)
        words = self.engine.number_to_words(int(amount))
        return Total(amount=amount, in_words=f"{words} {CURRENCY}", lines=len(lines))

    def plural(self, word: str) -> str:
        """Tells the plural of a word."""
        return self.engine.plural(word)

    def _hidden(self, word: str) -> str:
        return word
'''


def test_a_class_in_one_file_is_served(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(GREETER)
    details = kea.deploy("greeter", tmp_path / "greeter.py")
    check(details, "Custom", "python")
    assert kea.predictions("greeter", {"name": "kea"}) == [{"text": "hello kea"}]
    assert kea.predictions("greeter", {"name": "kea", "times": 2}) == [{"text": "hello kea hello kea"}]
    assert kea.predict("greeter", {"name": 3}).status_code == 400

    method = methods(kea, "greeter")["predict"]
    assert method["description"].startswith("Greets somebody.")
    name, times = method["inputs"]
    assert (name["name"], name["description"], name["required"]) == ("name", "Who is greeted.", True)
    assert (times["name"], times["required"], times["default"]) == ("times", False, 1)
    assert "load" not in methods(kea, "greeter")

    def logged() -> bool:
        lines = log(kea, "greeter")
        return "loading the greeter" in lines and "greeting kea" in lines

    kea.wait_for(logged, "what the class prints in the log", 10)


def test_a_folder_with_requirements_functions_and_dataclasses_is_served(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(INVOICE)
    (tmp_path / "words.py").write_text('CURRENCY = "euro"\n')
    (tmp_path / "requirements.txt").write_text("inflect==7.5.0\n")
    details = kea.deploy("invoice", tmp_path)
    check(details, "Custom", "python")
    assert "inflect==7.5.0" in environment(details)

    lines = [{"article": "tea", "price": 4.5}, {"article": "cup", "price": 7.5}]
    expected = {"amount": 12.0, "in_words": "twelve euro", "lines": 2}
    assert kea.predictions("invoice", {"lines": lines}) == [expected]
    assert kea.predictions("invoice", {"word": "cherry"}, "plural") == [{"result": "cherries"}]
    assert set(methods(kea, "invoice")) == {"predict", "plural"}
    answer = kea.predict("invoice", {"lines": [{"article": "tea"}]})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"].startswith("/inputs/lines/0")

    document = kea.request("GET", "/openapi/invoice").json()
    assert f"{API}/services/invoice/plural" in document["paths"]
    assert "Adds up the lines of an invoice." in str(document)


# Existing web services

APP = '''
"""A web service of somebody's own."""

import asyncio

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/")
def root():
    return {"hello": "world"}


@app.get("/items/{item}")
def item(item: int, q: str = ""):
    if item > 9:
        raise HTTPException(404, "no such item")
    return {"item": item, "q": q}


@app.post("/predict")
async def predict(request: Request):
    body = await request.json()
    return {"sum": sum(body["numbers"]), "token": request.headers.get("authorization")}


@app.put("/items/{item}")
def put(item: int):
    return {"put": item}


@app.get("/slow")
def slow():
    async def parts():
        yield "first\\n"
        await asyncio.sleep(1.5)
        yield "last\\n"

    return StreamingResponse(parts(), media_type="text/plain")
'''


@pytest.fixture(scope="module")
def app(kea: Kea, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP)
    (folder / "requirements.txt").write_text("fastapi==0.118.0\nuvicorn==0.38.0\n")
    command = ["python", "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "{port}"]
    details = kea.deploy("app", folder, framework="Custom", command=command)
    check(details, "Custom", "external")
    return "/services/app"


def test_a_web_service_answers_on_its_own_paths(kea: Kea, app: str) -> None:
    answer = kea.request("POST", f"{app}/predict", json={"numbers": [1, 2, 3]})
    assert answer.json() == {"sum": 6, "token": None}
    assert (answer.headers["kea-service"], answer.headers["kea-version"]) == ("app", "1")
    assert kea.request("GET", f"{app}/").json() == {"hello": "world"}
    assert kea.request("GET", f"{app}/items/5", params={"q": "a b"}).json() == {"item": 5, "q": "a b"}
    assert kea.request("PUT", f"{app}/items/5").json() == {"put": 5}


def test_a_web_service_s_own_errors_pass_through(kea: Kea, app: str) -> None:
    missing = kea.request("GET", f"{app}/items/10")
    assert (missing.status_code, missing.json()) == (404, {"detail": "no such item"})
    unknown = kea.request("GET", f"{app}/nowhere")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Not Found"})
    invalid = kea.request("GET", f"{app}/items/five")
    assert invalid.status_code == 422 and invalid.json()["detail"][0]["loc"] == ["path", "item"]


def test_a_web_service_s_answer_is_streamed(kea: Kea, app: str) -> None:
    started = time.monotonic()
    with kea.request("GET", f"{app}/slow", stream=True) as answer:
        parts = answer.iter_lines()
        assert next(parts) == b"first"
        first = time.monotonic() - started
        assert next(parts) == b"last"
        assert time.monotonic() - started - first > 1, "the first part came only with the last"


def test_a_web_service_is_behind_the_gateway_s_authentication(kea: Kea, app: str) -> None:
    answer = requests.get(f"{kea.url}{API}{app}/items/5", timeout=30)
    assert answer.status_code == 401


def test_what_a_web_service_prints_is_logged(kea: Kea, app: str) -> None:
    kea.request("GET", f"{app}/items/7")
    kea.wait_for(lambda: "GET /items/7" in log(kea, "app"), "the access log of the app", 10)


def test_any_command_that_listens_is_served(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "greeting.txt").write_text("hello from a file\n")
    command = ["sh", "-c", 'exec python3 -u -m http.server --bind 127.0.0.1 "$PORT"']
    details = kea.deploy("files", tmp_path, command=command)
    check(details, "Custom", "external")
    answer = kea.request("GET", "/services/files/greeting.txt")
    assert (answer.status_code, answer.text) == (200, "hello from a file\n")
    missing = kea.request("GET", "/services/files/nothing.txt")
    assert missing.status_code == 404 and "File not found" in missing.text
    assert kea.request("POST", "/services/files/predict", json={}).status_code == 501


def test_a_command_needs_no_files(kea: Kea) -> None:
    kea.deploy("bare", command=["python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"])
    answer = kea.request("GET", "/services/bare/nothing")
    assert answer.status_code == 404 and "File not found" in answer.text


def test_a_command_that_ends_is_told_with_its_last_lines(kea: Kea) -> None:
    kea.deploy("ends", command=["sh", "-c", "echo the config is missing >&2; exit 3"], wait=False)
    details = kea.wait_failed("ends")
    assert "3" in details["reason"]
    kea.wait_for(lambda: "the config is missing" in log(kea, "ends"), "the command's own words in the log", 10)
    kea.request("DELETE", "/services/ends")
