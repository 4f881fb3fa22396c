"""Predictions: the model's own numbers, and refusals that point at the field."""

from __future__ import annotations

import json
from typing import Any

import joblib
import numpy as np
import pandas
import pytest
import requests
import tritonclient.http as triton
from harness import Kea
from models import NAMES, SETOSA, VIRGINICA, ModelShelf
from sklearn.datasets import load_diabetes, load_iris
from tritonclient.utils import InferenceServerException

ROUNDING = 1e-9
MOODS = '''
from dataclasses import dataclass


class TooSad(Exception):
    """A model's own kind of error."""


@dataclass
class Mood:
    mood: str
    score: float


class Moods:
    """Tells moods."""

    def predict(self, text: str, scale: float = 1.0) -> Mood:
        """Tells the mood of a text."""
        if text == "sad":
            raise TooSad("no mood for “sad” texts: 42 is too sad")
        if text == "quit":
            raise SystemExit("the model wants to leave")
        return Mood("good", scale * len(text))

    def many(self, count: int) -> list[dict]:
        return [{"number": number} for number in range(count)]

    def total(self, numbers: list[int]) -> int:
        return sum(numbers)

    def broken(self) -> dict:
        return {"ratio": float("nan")}
'''


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, models: ModelShelf) -> Kea:
    moods = models.custom("moods", MOODS)
    shared_kea.deploy("iris", models.iris(), wait=False)
    shared_kea.deploy("diabetes", models.diabetes(), wait=False)
    shared_kea.deploy("moods", moods, wait=False)
    for name in ("iris", "diabetes", "moods"):
        shared_kea.wait_deployed(name)
    return shared_kea


@pytest.fixture(scope="module")
def iris(models: ModelShelf) -> Any:
    return joblib.load(models.iris())


@pytest.fixture(scope="module")
def diabetes(models: ModelShelf) -> Any:
    return joblib.load(models.diabetes())


def frame(rows: Any) -> pandas.DataFrame:
    return pandas.DataFrame(rows, columns=NAMES)


def send(kea: Kea, service: str, body: str, **headers: str) -> requests.Response:
    headers = {"content-type": "application/json"} | headers
    return kea.request("POST", f"/services/{service}/predict", data=body.encode(), headers=headers)


def violations(answer: requests.Response) -> dict[str, dict[str, str]]:
    """What is wrong, by pointer; each tells what was expected, what came, and what to do."""
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400 and problem["instance"] == answer.headers["x-request-id"]
    assert all(error["expected"] and error["received"] for error in problem["errors"]), problem
    return {error["pointer"]: error for error in problem["errors"]}


# Rows and numbers


def test_one_row_of_named_features_gives_one_prediction(kea: Kea, iris: Any) -> None:
    (prediction,) = kea.predictions("iris", VIRGINICA)
    assert prediction.keys() == {"label", "probabilities"}
    assert prediction["label"] == "virginica"
    assert list(prediction["probabilities"]) == list(iris.classes_)


def test_every_row_has_scikit_learns_own_label_and_probabilities(kea: Kea, iris: Any) -> None:
    rows = load_iris(as_frame=True).data.set_axis(NAMES, axis="columns")
    predictions = kea.predictions("iris", {name: rows[name].tolist() for name in NAMES})
    assert [prediction["label"] for prediction in predictions] == iris.predict(rows).tolist()
    served = np.array([[prediction["probabilities"][c] for c in iris.classes_] for prediction in predictions])
    assert np.abs(served - iris.predict_proba(rows)).max() <= ROUNDING


def test_the_order_of_features_in_a_request_does_not_matter(kea: Kea) -> None:
    backwards = dict(reversed(VIRGINICA.items()))
    assert kea.predictions("iris", backwards) == kea.predictions("iris", VIRGINICA)


def test_whole_numbers_and_exponents_are_numbers(kea: Kea, iris: Any) -> None:
    body = '{"inputs": {"sepal_length": 5, "sepal_width": 3.5e0, "petal_length": 14E-1, "petal_width": -0.0}}'
    (prediction,) = send(kea, "iris", body).json()["predictions"]
    expected = iris.predict_proba(frame([[5, 3.5, 1.4, 0]]))[0]
    assert np.abs(np.array(list(prediction["probabilities"].values())) - expected).max() <= ROUNDING


def test_every_row_of_a_tensor_has_scikit_learns_own_value(kea: Kea, diabetes: Any) -> None:
    rows = load_diabetes().data
    predictions = kea.predictions("diabetes", {"input": rows.tolist()})
    assert all(prediction.keys() == {"value"} for prediction in predictions)
    served = np.array([prediction["value"] for prediction in predictions])
    assert served == pytest.approx(diabetes.predict(rows), abs=ROUNDING, rel=ROUNDING)


def test_one_row_of_a_tensor_needs_no_second_bracket(kea: Kea, diabetes: Any) -> None:
    row = load_diabetes().data[7]
    (prediction,) = kea.predictions("diabetes", {"input": row.tolist()})
    assert prediction["value"] == pytest.approx(diabetes.predict([row])[0], rel=ROUNDING)


def test_ten_thousand_rows_are_answered_at_once_and_in_order(kea: Kea, diabetes: Any) -> None:
    rows = np.tile(load_diabetes().data, (23, 1))[:10_000]
    predictions = kea.predictions("diabetes", {"input": rows.tolist()})
    served = np.array([prediction["value"] for prediction in predictions])
    assert served == pytest.approx(diabetes.predict(rows), rel=ROUNDING)


# Refusals

IRIS_REFUSALS = {
    "missing": ({**SETOSA, "sepal_width": ...}, ["/inputs/sepal_width"]),
    "all missing": ({}, [f"/inputs/{name}" for name in NAMES]),
    "unknown": ({**SETOSA, "color": "red"}, ["/inputs/color"]),
    "text": ({**SETOSA, "petal_width": "wide"}, ["/inputs/petal_width"]),
    "numeric text": ({**SETOSA, "petal_width": "0.2"}, ["/inputs/petal_width"]),
    "boolean": ({**SETOSA, "petal_width": True}, ["/inputs/petal_width"]),
    "null": ({**SETOSA, "petal_width": None}, ["/inputs/petal_width"]),
    "object": ({**SETOSA, "petal_width": {"cm": 1}}, ["/inputs/petal_width"]),
    "null in a row": ({name: [1.0, None, 2.0] for name in NAMES}, [f"/inputs/{name}/1" for name in NAMES]),
    "nested rows": ({name: [[1.0]] for name in NAMES}, [f"/inputs/{name}/0" for name in NAMES]),
    "columns of different lengths": (
        {**{name: [1, 2] for name in NAMES}, "petal_width": [1, 2, 3]},
        ["/inputs/petal_width"],
    ),
    "one value beside columns": ({**{name: [1, 2] for name in NAMES}, "petal_width": 1}, ["/inputs/petal_width"]),
    "no rows": ({name: [] for name in NAMES}, [f"/inputs/{name}" for name in NAMES]),
    "several things at once": (
        {**SETOSA, "sepal_width": ..., "petal_width": "x", "color": 1},
        ["/inputs/color", "/inputs/petal_width", "/inputs/sepal_width"],
    ),
}


@pytest.mark.parametrize("case", IRIS_REFUSALS)
def test_what_does_not_fit_named_features_is_pointed_at(kea: Kea, case: str) -> None:
    inputs, pointers = IRIS_REFUSALS[case]
    answer = kea.predict("iris", {name: value for name, value in inputs.items() if value is not ...})
    assert sorted(violations(answer)) == sorted(pointers)


DIABETES_REFUSALS = {
    "too few values": ([1] * 9, "/inputs/input"),
    "too many values": ([1] * 11, "/inputs/input"),
    "a ragged row": ([[1] * 10, [1] * 9], "/inputs/input/1"),
    "too deep": ([[[1] * 10]], "/inputs/input"),
    "no array": (1, "/inputs/input"),
    "no row": ([], "/inputs/input"),
    "an empty row": ([[]], "/inputs/input/0"),
    "text in a row": ([[1] * 9 + ["x"]], "/inputs/input/0/9"),
    "null in a row": ([[1] * 10, [None] + [1] * 9], "/inputs/input/1/0"),
}


@pytest.mark.parametrize("case", DIABETES_REFUSALS)
def test_what_does_not_fit_a_tensor_is_pointed_at(kea: Kea, case: str) -> None:
    value, pointer = DIABETES_REFUSALS[case]
    (found,) = violations(kea.predict("diabetes", {"input": value}))
    assert found.startswith("/inputs/input") and pointer.startswith(found.removesuffix("/0")), (found, pointer)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_that_no_double_holds_is_pointed_at(kea: Kea, number: str) -> None:
    body = json.dumps({"inputs": SETOSA}).replace("5.1", number)
    wrong = violations(send(kea, "iris", body))
    assert wrong.keys() == {"/inputs/sepal_length"} and number in wrong["/inputs/sepal_length"]["received"]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_python_s_words_for_no_number_are_not_json(kea: Kea, word: str) -> None:
    answer = send(kea, "iris", json.dumps({"inputs": SETOSA}).replace("5.1", word))
    assert answer.status_code == 400
    detail = answer.json()["detail"]
    assert "line 1 column" in detail and ("JSON has no NaN" in detail or "JSON has no infinity" in detail), detail


@pytest.mark.parametrize("word", ["NaN", "Infinity", "1e5"])
def test_numbers_as_text_are_not_numbers(kea: Kea, word: str) -> None:
    wrong = violations(kea.predict("iris", {**SETOSA, "sepal_length": word}))
    assert wrong.keys() == {"/inputs/sepal_length"}


def test_a_refusal_shows_an_example_that_works(kea: Kea) -> None:
    wrong = violations(kea.predict("iris", {**SETOSA, "petal_width": "wide"}))["/inputs/petal_width"]
    assert "number" in wrong["expected"] and "wide" in wrong["received"]
    example = float(wrong["detail"].rsplit(" ", 1)[-1])
    assert kea.predict("iris", {**SETOSA, "petal_width": example}).status_code == 200


BODIES = {
    "no inputs": ("{}", "/inputs"),
    "inputs are an array": ('{"inputs": [1]}', "/inputs"),
    "another field": (json.dumps({"inputs": SETOSA, "instances": []}), "/instances"),
    "an array": ("[]", ""),
    "a feature twice": (json.dumps({"inputs": SETOSA}).replace("sepal_width", "sepal_length"), "/inputs/sepal_"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_of_another_form_is_pointed_at(kea: Kea, case: str) -> None:
    body, pointer = BODIES[case]
    assert any(found.startswith(pointer) for found in violations(send(kea, "iris", body)))


def test_malformed_json_is_told_with_line_and_column(kea: Kea) -> None:
    answer = send(kea, "iris", '{"inputs":\n  {"sepal_length": 5.1,, }}')
    assert answer.status_code == 400
    assert "line 2 column 24" in answer.json()["detail"]


def test_another_content_type_is_refused(kea: Kea) -> None:
    answer = send(kea, "iris", json.dumps({"inputs": SETOSA}), **{"content-type": "text/csv"})
    assert answer.status_code == 415 and "application/json" in answer.json()["detail"]


# Functions, versions, headers


def test_an_answer_names_its_service_and_version(kea: Kea) -> None:
    answer = kea.predict("iris", SETOSA)
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["kea-service"], answer.headers["kea-version"]) == ("iris", "1")
    assert answer.headers["kea-cache"] == "bypass"
    assert "kea-cache-key" not in answer.headers


def test_the_live_version_can_be_asked_for_by_name(kea: Kea) -> None:
    expected = kea.predictions("iris", SETOSA)
    for options in ({"params": {"version": "1"}}, {"headers": {"kea-version": "1"}}):
        answer = kea.predict("iris", SETOSA, **options)
        assert answer.status_code == 200 and answer.json()["predictions"] == expected


@pytest.mark.parametrize("options", [{"params": {"version": "9"}}, {"headers": {"kea-version": "9"}}])
def test_a_version_that_does_not_run_is_not_found(kea: Kea, options: dict[str, Any]) -> None:
    answer = kea.predict("iris", SETOSA, **options)
    assert answer.status_code == 404
    assert "`9`" in answer.json()["detail"] and "running: 1" in answer.json()["detail"]


def test_an_unknown_query_parameter_is_refused(kea: Kea) -> None:
    answer = kea.predict("iris", SETOSA, params={"verison": "1"})
    assert answer.status_code == 400 and "verison" in answer.json()["detail"]


def test_a_function_that_is_not_there_is_told_with_those_that_are(kea: Kea) -> None:
    answer = kea.predict("moods", {}, "forecast")
    assert answer.status_code == 404
    assert all(name in answer.json()["detail"] for name in ("forecast", "predict", "many", "total"))


def test_functions_give_objects_lists_and_plain_values(kea: Kea) -> None:
    assert kea.predictions("moods", {"text": "kea"}) == [{"mood": "good", "score": 3.0}]
    assert kea.predictions("moods", {"text": "kea", "scale": 2}) == [{"mood": "good", "score": 6.0}]
    assert kea.predictions("moods", {"count": 3}, "many") == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert kea.predictions("moods", {"count": 0}, "many") == []
    assert kea.predictions("moods", {"numbers": [1, 2, 3]}, "total") == [{"result": 6}]


def test_arguments_are_checked_by_their_annotations(kea: Kea) -> None:
    assert violations(kea.predict("moods", {"text": 3})).keys() == {"/inputs/text"}
    assert violations(kea.predict("moods", {})).keys() == {"/inputs/text"}
    assert violations(kea.predict("moods", {"text": "a", "tone": 1})).keys() == {"/inputs/tone"}
    assert violations(kea.predict("moods", {"numbers": [1, "x"]}, "total")).keys() == {"/inputs/numbers/1"}


# A model's own errors


def test_a_model_s_exception_reaches_the_caller_with_its_text(kea: Kea) -> None:
    answer = kea.predict("moods", {"text": "sad"})
    assert answer.status_code == 500
    problem = answer.json()
    assert "TooSad" in problem["detail"] and "no mood for “sad” texts: 42 is too sad" in problem["detail"]
    assert problem["type"].endswith("/model-error") and problem["instance"]


def test_a_model_that_asks_to_exit_is_an_error_and_goes_on(kea: Kea) -> None:
    answer = kea.predict("moods", {"text": "quit"})
    assert answer.status_code == 500 and "the model wants to leave" in answer.json()["detail"]
    assert kea.predictions("moods", {"text": "kea"})[0]["score"] == 3


def test_a_result_that_json_cannot_hold_is_an_error_that_says_where(kea: Kea) -> None:
    answer = kea.predict("moods", {}, "broken")
    assert answer.status_code == 500
    assert "ratio" in answer.json()["detail"] and "nan" in answer.json()["detail"]


def test_the_traceback_is_in_the_log_and_not_in_the_answer(kea: Kea) -> None:
    answer = kea.predict("moods", {"text": "sad"})
    assert "Traceback" not in answer.text

    def logged() -> bool:
        entries = kea.request("GET", "/logs/moods").json()["logEntries"]
        return any("line 21, in predict" in entry for entry in entries) and any("TooSad: no" in e for e in entries)

    kea.wait_for(logged, "the exception in the log", 10)


# Open Inference Protocol V2 in JSON


def v2_inputs(row: dict[str, float]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": "FP64", "shape": [1], "data": [value]} for name, value in row.items()]


@pytest.fixture(params=["gateway", "replica"])
def v2(request: pytest.FixtureRequest, kea: Kea) -> Any:
    """Calls V2 paths through the gateway, or of a replica itself, which knows no tokens."""

    def call(method: str, service: str, path: str, **options: Any) -> requests.Response:
        if request.param == "gateway":
            return kea.request(method, f"!/v2{path}", **options)
        address = kea.details(service)["replicaStatuses"][0]["address"]
        return requests.request(method, f"http://{address}/v2{path}", timeout=30, **options)

    return call


def test_v2_infer_gives_the_models_own_outputs(v2: Any, iris: Any) -> None:
    answer = v2("POST", "iris", "/models/iris/infer", json={"id": "7", "inputs": v2_inputs(SETOSA)})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("iris", "1", "7")
    outputs = {output["name"]: output for output in body["outputs"]}
    assert outputs["label"] == {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["setosa"]}
    assert (outputs["probabilities"]["datatype"], outputs["probabilities"]["shape"]) == ("FP64", [1, 3])
    expected = iris.predict_proba(frame([list(SETOSA.values())]))[0]
    assert outputs["probabilities"]["data"] == pytest.approx(expected, abs=ROUNDING)


def test_v2_takes_flat_and_nested_data_of_many_rows(v2: Any, diabetes: Any) -> None:
    rows = load_diabetes().data[:3]
    expected = diabetes.predict(rows)
    for data in (rows.tolist(), rows.ravel().tolist()):
        tensor = {"name": "input", "datatype": "FP64", "shape": [3, 10], "data": data}
        answer = v2("POST", "diabetes", "/models/diabetes/versions/1/infer", json={"inputs": [tensor]})
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [3] and output["data"] == pytest.approx(expected, rel=ROUNDING)


def test_v2_gives_only_the_outputs_asked_for(v2: Any) -> None:
    body = {"inputs": v2_inputs(SETOSA), "outputs": [{"name": "label"}]}
    answer = v2("POST", "iris", "/models/iris/infer", json=body)
    assert [output["name"] for output in answer.json()["outputs"]] == ["label"]


def test_v2_metadata_tells_inputs_and_outputs(v2: Any) -> None:
    metadata = v2("GET", "iris", "/models/iris").json()
    assert (metadata["name"], metadata["versions"]) == ("iris", ["1"])
    assert metadata["platform"]
    assert metadata["inputs"] == [{"name": name, "datatype": "FP64", "shape": [-1]} for name in NAMES]
    assert metadata["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]},
    ]
    assert v2("GET", "iris", "/models/iris/versions/1").json() == metadata
    (tensor,) = v2("GET", "diabetes", "/models/diabetes").json()["inputs"]
    assert tensor == {"name": "input", "datatype": "FP64", "shape": [-1, 10]}


def test_v2_health_is_told(v2: Any) -> None:
    assert v2("GET", "iris", "/health/live").json() == {"live": True}
    assert v2("GET", "iris", "/health/ready").json() == {"ready": True}
    assert v2("GET", "iris", "/models/iris/ready").json() == {"name": "iris", "ready": True}
    server = v2("GET", "iris", "").json()
    assert server["name"] and server["version"] and isinstance(server["extensions"], list)
    assert "iris" in v2("GET", "iris", "/models").json()["models"]


V2_REFUSALS = {
    "unknown model": ("/models/nope/infer", {"inputs": v2_inputs(SETOSA)}, 404, "nope"),
    "unknown version": ("/models/iris/versions/9/infer", {"inputs": v2_inputs(SETOSA)}, 404, "version"),
    "missing input": ("/models/iris/infer", {"inputs": v2_inputs(SETOSA)[:3]}, 400, "petal_width"),
    "no inputs": ("/models/iris/infer", {}, 400, "inputs"),
    "unknown output": (
        "/models/iris/infer",
        {"inputs": v2_inputs(SETOSA), "outputs": [{"name": "colour"}]},
        400,
        "colour",
    ),
    "wrong shape": (
        "/models/diabetes/infer",
        {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 9], "data": [1] * 9}]},
        400,
        "/inputs/0",
    ),
    "data of another size": (
        "/models/diabetes/infer",
        {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 10], "data": [1] * 9}]},
        400,
        "/inputs/0/data",
    ),
    "wrong datatype": (
        "/models/diabetes/infer",
        {"inputs": [{"name": "input", "datatype": "BYTES", "shape": [1, 10], "data": ["a"] * 10}]},
        400,
        "/inputs/0/datatype",
    ),
}


@pytest.mark.parametrize("case", V2_REFUSALS)
def test_v2_errors_are_one_text(v2: Any, case: str) -> None:
    path, body, status, part = V2_REFUSALS[case]
    answer = v2("POST", path.split("/")[2].replace("nope", "iris"), path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"} and part in answer.json()["error"], answer.text


def test_v2_needs_a_token_at_the_gateway(kea: Kea) -> None:
    for method, path in (("POST", "/v2/models/iris/infer"), ("GET", "/v2/models/iris"), ("GET", "/v2/models")):
        answer = requests.request(method, kea.url + path, json={"inputs": []}, timeout=30)
        assert answer.status_code == 401 and answer.headers["content-type"] == "application/json"
        assert "token" in answer.json()["error"]


@pytest.fixture(params=["gateway", "replica"])
def triton_client(request: pytest.FixtureRequest, kea: Kea) -> Any:
    address = kea.url.removeprefix("http://")
    headers = {"Authorization": f"Bearer {kea.token}"}
    if request.param == "replica":
        address, headers = kea.details("iris")["replicaStatuses"][0]["address"], {}
    client = triton.InferenceServerClient(address)
    yield client, headers
    client.close()


def triton_inputs(rows: np.ndarray) -> list[triton.InferInput]:
    inputs = []
    for name, column in zip(NAMES, rows.T, strict=True):
        tensor = triton.InferInput(name, [len(column)], "FP64")
        tensor.set_data_from_numpy(np.ascontiguousarray(column), binary_data=False)
        inputs.append(tensor)
    return inputs


def test_tritonclient_is_served_in_json(triton_client: Any, iris: Any) -> None:
    client, headers = triton_client
    rows = load_iris().data[::10]
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in ("label", "probabilities")]
    result = client.infer("iris", triton_inputs(rows), outputs=outputs, request_id="9", headers=headers)
    assert result.as_numpy("label").tolist() == iris.predict(frame(rows)).tolist()
    assert np.abs(result.as_numpy("probabilities") - iris.predict_proba(frame(rows))).max() <= ROUNDING
    assert result.get_response()["id"] == "9"


def test_tritonclient_finds_health_and_metadata(triton_client: Any) -> None:
    client, headers = triton_client
    assert client.is_server_live(headers=headers) and client.is_server_ready(headers=headers)
    assert client.is_model_ready("iris", headers=headers)
    assert client.get_model_metadata("iris", headers=headers)["inputs"][0]["name"] == NAMES[0]


def test_tritonclient_reads_the_text_of_an_error(triton_client: Any) -> None:
    client, headers = triton_client
    outputs = [triton.InferRequestedOutput("label", binary_data=False)]
    with pytest.raises(InferenceServerException, match="petal_width"):
        client.infer("iris", triton_inputs(load_iris().data[:1])[:3], outputs=outputs, headers=headers)
