"""Answers held against the contract, and what web services say of themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import Kea
from models import SETOSA, ModelShelf

# Promises a whole number, and does not always give one.
LIAR = """
class Model:
    def predict(self, x: float) -> int:
        return 7 if x > 0 else "seven"
"""


def change(kea: Kea, name: str, **fields: Any) -> None:
    answer = kea.request("PUT", f"/services/{name}", json=fields)
    assert answer.status_code == 200, answer.text


def checked(kea: Kea, name: str) -> dict[str, int]:
    """Answers of a service by whether they fit."""
    lines = [line for line in kea.request("GET", "!/metrics").text.splitlines() if f'service="{name}"' in line]
    lines = [line for line in lines if line.startswith("kea_checked_answers_total{")]
    return {line.partition('outcome="')[2].partition('"')[0]: int(line.rpartition(" ")[2]) for line in lines}


def misfits(kea: Kea, name: str) -> list[str]:
    """Where answers did not fit, as the audit trail has it."""
    records = kea.request("GET", "/logs/audit", params={"service": name, "limit": 1000}).json()["records"]
    return [record["kea.misfit"] for record in records if "kea.misfit" in record]


def test_an_answer_that_breaks_the_contract_is_told_or_refused(shared_kea: Kea, models: ModelShelf) -> None:
    kea, name = shared_kea, "liar"
    kea.deploy(name, models.custom("liar", LIAR))
    pids = kea.replica_pids(name)
    assert kea.details(name)["settings"]["validation"] == {"responses": "off"}
    bad = kea.predict(name, {"x": -1})
    assert (bad.status_code, bad.json()) == (200, {"predictions": [{"result": "seven"}]})
    assert checked(kea, name) == {}

    kea.cli("update", name, "--validate-responses", "log", env={"KEA_TOKEN": kea.token})
    assert kea.predict(name, {"x": -1}).json() == bad.json()
    assert kea.predict(name, {"x": 1}).status_code == 200
    assert checked(kea, name) == {"fits": 1, "misfits": 1, "unchecked": 0}
    kea.wait_for(lambda: misfits(kea, name) == ["/predictions/0/result"], "the record of it", 10)
    told = "answers do not fit the model's contract"
    kea.wait_for(lambda: told in kea.log_file.read_text(), "the log to tell", 10)

    # What was kept before is not given where answers have to fit.
    change(kea, name, cache={"enabled": True})
    assert [kea.predict(name, {"x": -1}).headers["kea-cache"] for _ in range(2)] == ["miss", "hit"]
    change(kea, name, validation={"responses": "enforce"})
    for _ in range(2):
        refused = kea.predict(name, {"x": -1})
        problem = refused.json()
        assert (refused.status_code, refused.headers["content-type"]) == (502, "application/problem+json")
        assert problem["type"].endswith("/invalid-answer") and "the model's fault" in problem["detail"], problem
        [error] = problem["errors"]
        assert (error["pointer"], error["received"]) == ("/predictions/0/result", 'string "seven"')
    assert [kea.predict(name, {"x": 1}).headers["kea-cache"] for _ in range(2)] == ["miss", "hit"]
    assert checked(kea, name)["misfits"] == 4
    assert kea.replica_pids(name) == pids, "it holds without a restart"


@pytest.mark.parametrize("kind", ["iris", "iris_onnx"])
def test_answers_of_real_models_fit_their_contracts(shared_kea: Kea, models: ModelShelf, kind: str) -> None:
    kea, name = shared_kea, f"true-{kind.replace('_', '-')}"
    kea.deploy(name, getattr(models, kind)(), validation={"responses": "enforce"})
    row = list(SETOSA.values())
    one = {"X": row} if kind == "iris_onnx" else SETOSA
    for inputs in [one, {field: [value, value] for field, value in one.items()}]:
        answer = kea.predict(name, inputs)
        assert answer.status_code == 200, answer.text
    tensor = {"name": "X" if kind == "iris_onnx" else "input", "shape": [1, 4], "datatype": "FP32", "data": row}
    answer = kea.request("POST", f"!/v2/models/{name}/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    assert checked(kea, name) == {"fits": 3, "misfits": 0, "unchecked": 0}


def test_a_payload_is_held_against_any_version_that_is_known(shared_kea: Kea, models: ModelShelf) -> None:
    kea, name = shared_kea, "known"
    kea.deploy(name, models.iris())
    change(kea, name, sourceCode=str(models.high_from(5)), allowBreaking=True)
    kea.wait_for(lambda: kea.details(name)["liveVersion"] == "2", "version 2")

    def validate(inputs: Any, version: str | None) -> Any:
        body = {"serviceId": name, "requestPayload": {"inputs": inputs}, "schemaVersion": version}
        return kea.request("POST", "/router/validate", json={k: v for k, v in body.items() if v is not None})

    assert validate({"x": 1}, None).json() == {"valid": True, "schemaVersion": "2"}
    assert validate(SETOSA, "1").json() == {"valid": True, "schemaVersion": "1"}
    wrong = validate({**SETOSA, "petal_width": "wide"}, "1")
    assert (wrong.status_code, [error["pointer"] for error in wrong.json()["errors"]]) == (400, ["/inputs/petal_width"])
    assert wrong.json()["errors"][0]["expected"].startswith("a number")
    for version in ["9", "no name"]:
        unknown = validate(SETOSA, version)
        assert unknown.status_code == 400 and "there is one of: `1`, `2`" in unknown.json()["detail"], unknown.text


# Read and never run: what runs is in `serve.py`, which says the same.
FLASK = '''
from flask import Flask

app = Flask(__name__)


@app.get("/items/<int:number>")
def item(number: int):
    """One item."""
    return {}


@app.post("/items")
def add():
    """Adds an item."""
    return {}, 201
'''

SERVE = """
import http.server
import pathlib
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        document = pathlib.Path("document.json")
        is_asked = self.path == "/openapi.json"
        self.send_response(200 if document.exists() or not is_asked else 404)
        self.end_headers()
        self.wfile.write(document.read_bytes() if is_asked and document.exists() else b"{}")

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Items", "version": "1"},
    "paths": {
        "/items/{id}": {
            "get": {
                "summary": "One of them.",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": ["integer", "null"]}},
                ],
            }
        },
    },
}


def test_operations_of_a_web_service_are_found_and_guarded(shared_kea: Kea, tmp_path: Path) -> None:
    from openapi_spec_validator import validate

    kea, name = shared_kea, "items"
    (tmp_path / "app.py").write_text(FLASK)
    (tmp_path / "serve.py").write_text(SERVE)
    kea.deploy(name, tmp_path, framework="Custom", command=["python3", "serve.py", "{port}"])
    base = f"/api/v1/k8c/services/{name}"
    document = kea.request("GET", f"/openapi/{name}").json()
    validate(document)
    assert document["paths"][f"{base}/items/{{number}}"]["get"]["description"] == "One item."
    methods = {(method["method"], method["path"]) for method in kea.request("GET", f"/services/{name}/methods").json()}
    assert methods == {("GET", f"{base}/items/{{number}}"), ("POST", f"{base}/items")}
    shown = kea.cli("methods", name, env={"KEA_TOKEN": kea.token}).stdout
    assert "add  POST" in shown and "item  GET" in shown, shown

    # What the running service says of itself counts, and an operation that is gone breaks its callers.
    (tmp_path / "document.json").write_text(json.dumps(DOCUMENT))
    change(kea, name, sourceCode=str(tmp_path))
    details = kea.wait_failed(name)
    assert [(c["function"], c["was"], c["is"]) for c in details["breakingChanges"]] == [
        ("POST /items", "an operation", "gone")
    ]
    change(kea, name, version="2", allowBreaking=True)
    kea.wait_for(lambda: kea.details(name)["liveVersion"] == "2", "version 2")
    document = kea.request("GET", f"/openapi/{name}").json()
    validate(document)
    assert document["paths"][f"{base}/items/{{id}}"]["get"]["description"] == "One of them."
    assert "does not list: POST /items" in document["info"]["x-kea-incomplete"][0], document["info"]
    itself = kea.request("POST", "/router/validate", json={"serviceId": name, "requestPayload": {}})
    assert itself.status_code == 400 and "checks its requests by itself" in itself.json()["detail"], itself.text
