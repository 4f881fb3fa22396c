"""The OpenAPI documents are valid, and the server does what they promise, whatever it is sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import Kea
from models import ModelShelf
from openapi_spec_validator import OpenAPIV30SpecValidator

HERE = Path(__file__).parent
CUSTOM = '''"""Sums up shopping."""

from typing import Literal, TypedDict


class Item(TypedDict):
    name: str
    price: float


class Total(TypedDict):
    total: float
    currency: str


class Shop:
    """Knows what shopping costs."""

    def predict(self, items: list[Item], currency: Literal["EUR", "USD"] = "EUR", note: str | None = None) -> Total:
        """Adds up the prices.

        Args:
            items: What was bought.
            currency: What it was paid in.
        """
        return {"total": float(sum(min(max(item["price"], -1e9), 1e9) for item in items)), "currency": currency}

    def count(self, items: list[Item]) -> int:
        """Counts the items."""
        return len(items)
'''

# Requests that fit the document may be refused with 400 by these, as more than the shape of the request decides.
DECIDED_BY_MEANING = {
    "deployService": "names a model, which is there or not, or does not name one at all",
    "updateService": "names a model or an image, as deploying does",
    "configureLoadBalancer": "names replicas, which the service has or not",
    "predict": "takes what the service's own document says of `inputs`",
    "callFunction": "takes what the service's own document says of `inputs`",
    "validateRequest": "takes what the service's own document says of `requestPayload`",
    "setLoggingRules": "keeps records for a minute at least, in whichever unit that is written",
    "clearCache": "names a service, with or without a function, or a key alone",
    "canI": "asks of a service where the verb is about one, and of none where it is not",
    "createKey": "names an owner and a time to come",
    "changePassword": "proves the old password",
}

# The same for a service's own document, where its inputs are rows: JSON Schema cannot say more of them.
ROWS_DECIDED_BY_MEANING = {
    "predict": "takes columns that are equally long, however long they are",
    "v2-infer": "takes tensors of the model's names, with as many numbers as their shapes say",
}


@pytest.fixture(scope="module")
def served(shared_kea: Kea, models: ModelShelf) -> Kea:
    """Services of several kinds of models, and two that tests may change and delete."""
    shared_kea.deploy("iris", models.iris(), wait=False)
    shared_kea.deploy("diabetes", models.diabetes(), wait=False)
    shared_kea.deploy("shop", models.custom("shop", CUSTOM), wait=False, access={"public": True})
    shared_kea.deploy("iris-onnx", models.iris_onnx(), wait=False)
    for name in ("spare", "doomed"):
        shared_kea.deploy(name, models.iris(), wait=False, replicas=0)
    for name in ("iris", "diabetes", "shop", "iris-onnx"):
        shared_kea.wait_deployed(name)
    return shared_kea


def test_the_document_of_the_api_is_valid(served: Kea) -> None:
    document = requests.get(f"{served.url}/openapi.json", timeout=30).json()
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


@pytest.mark.parametrize("name", ["iris", "diabetes", "shop", "iris-onnx", "spare"])
def test_the_document_of_a_service_is_valid(served: Kea, name: str) -> None:
    document = served.request("GET", f"/openapi/{name}").json()
    assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []
    assert f"/api/v1/k8c/services/{name}/predict" in document["paths"]


@pytest.mark.parametrize("name", ["iris", "diabetes", "shop", "iris-onnx"])
def test_each_example_of_a_document_is_answered_as_the_document_shows(served: Kea, name: str) -> None:
    document = served.request("GET", f"/openapi/{name}").json()
    tried = 0
    for path, methods in document["paths"].items():
        examples = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for word, example in examples.get("examples", {}).items():
            answer = served.request("POST", f"!{path}", json=example["value"])
            assert answer.status_code == 200, f"{path} {word}: {answer.text}"
            tried += 1
    assert tried > 0


# Random requests.


def fuzz(kea: Kea, document: str, settings: str, folder: Path, *options: str) -> None:
    """Runs schemathesis against the server, and fails with what it says."""
    config = folder / "schemathesis.toml"
    # Nobody signs up by themselves: POST /users is for admins.
    config.write_text("[auth]\nauto-signup = false\n\n" + settings)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", kea.url + document]
    command += ["--url", kea.url, "--phases", "examples,coverage,fuzzing", "--seed", "20240229", "--no-color"]
    # The limits of a run: nobody waits longer for an answer, or for the whole.
    command += ["--request-timeout", "20", "--suppress-health-check", "all", "--generation-database", "none"]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "fuzzing_hooks.py")}
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=folder, env=env, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-4000:]
    assert re.search(r"\d+ generated", done.stdout), done.stdout


def any_shape_may_be_refused(operations: list[str]) -> str:
    """Settings that leave out whether what fits the document is accepted, for these operations alone."""
    rules = [
        f'[[operations]]\ninclude-operation-id = "{name}"\nchecks.positive_data_acceptance.enabled = false'
        for name in operations
    ]
    return "\n\n".join(rules)


def settings() -> str:
    """Settings for the management API: which services operations are tried with, and which checks are left out."""
    lines = ["[parameters]", 'serviceId = "iris"']
    operations: dict[str, list[str]] = {name: [] for name in DECIDED_BY_MEANING}
    for name in DECIDED_BY_MEANING:
        operations[name].append("checks.positive_data_acceptance.enabled = false")
    for name in ("updateService", "rollbackService", "resetLoadBalancer"):
        operations.setdefault(name, []).append('parameters.serviceId = "spare"')
    operations.setdefault("deleteService", []).append('parameters.serviceId = "doomed"')
    # With `follow`, the answer has no end.
    operations["getLogs"] = ['parameters.follow = "false"']
    for name, rules in operations.items():
        lines += ["", "[[operations]]", f'include-operation-id = "{name}"', *rules]
    return "\n".join(lines)


def names(kea: Kea) -> set[str]:
    return {service["serviceId"] for service in kea.request("GET", "/services").json()}


def test_whatever_is_sent_with_a_token_is_answered_as_documented(served: Kea, tmp_path: Path) -> None:
    before = names(served)
    # Sessions are ended by what is sent, one's own too; a key is not.
    made = served.request("POST", "/auth/keys", json={"name": "fuzz", "roles": ["admin"]})
    header = f"Authorization: Bearer {made.json()['key']}"
    try:
        fuzz(served, "/openapi.json", settings(), tmp_path, "--header", header, "--max-examples", "10")
    finally:
        served.login()
        for name in names(served) - before:
            served.request("DELETE", f"/services/{name}")
    assert requests.get(f"{served.url}/readyz", timeout=5).status_code == 200
    assert served.details("iris")["readyReplicas"] == 1


def test_whatever_is_sent_without_a_token_is_answered_as_documented(served: Kea, tmp_path: Path) -> None:
    before = names(served)
    fuzz(served, "/openapi.json", settings(), tmp_path, "--max-examples", "3")
    assert names(served) == before, "nobody without a token changes anything"


@pytest.mark.parametrize("name", ["iris", "shop", "iris-onnx"])
def test_a_service_takes_what_its_document_allows_and_nothing_else(served: Kea, tmp_path: Path, name: str) -> None:
    header = f"Authorization: Bearer {served.token}"
    document = f"/api/v1/k8c/openapi/{name}"
    settings = "" if name == "shop" else any_shape_may_be_refused(list(ROWS_DECIDED_BY_MEANING))
    fuzz(served, document, settings, tmp_path, "--header", header, "--max-examples", "20")


# The pages' files.

FILES = ["kea.css", "kea.svg", "session.js", "services.js", "service.js", "swagger-ui.css", "swagger-ui-bundle.js"]


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_the_pages_is_kept_by_browsers_and_asked_for_again(shared_kea: Kea, file: str) -> None:
    url = f"{shared_kea.url}/docs/assets/{file}"
    first = requests.get(url, timeout=30)
    assert first.status_code == 200
    # A new KEA has new files under the same names: a browser must ask, and is told that nothing has changed.
    assert first.headers["cache-control"] == "no-cache"
    again = requests.get(url, headers={"If-None-Match": first.headers["etag"]}, timeout=30)
    assert (again.status_code, again.content) == (304, b"")


def test_no_file_of_the_pages_loads_anything_from_elsewhere(shared_kea: Kea) -> None:
    for path in ["/docs", "/docs/api", *(f"/docs/assets/{file}" for file in FILES)]:
        text = requests.get(shared_kea.url + path, timeout=30).text
        assert loads(text) == [], path


def loads(text: str) -> list[str]:
    """Addresses of other servers where a browser would load them: in attributes of markup, imports and styles."""
    places: list[Any] = [
        r"""<(?:script|link|img|iframe|source|object|embed)\b[^>]*?(?:src|href|data)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)""",
        r"""url\(\s*["']?((?:https?:)?//[^"')\s]+)""",
        r"""@import\s+["']((?:https?:)?//[^"']+)""",
        r"""\bimport\s*\(?\s*["']((?:https?:)?//[^"']+)""",
        r"""\b(?:fetch|importScripts|new (?:Worker|WebSocket|EventSource))\(\s*["']((?:https?|wss?):[^"']+)""",
    ]
    return [found for place in places for found in re.findall(place, text)]
