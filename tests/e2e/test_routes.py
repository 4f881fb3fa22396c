"""Paths and hosts of its own that a service has beside the standard ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from harness import Kea
from models import ModelShelf

ROW = {"inputs": {"X": [[5.1, 3.5, 1.4, 0.2]]}}

APP = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
"""


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, models: ModelShelf, tmp_path_factory: pytest.TempPathFactory) -> Kea:
    routes = [{"path": "/flowers"}, {"host": "Iris.Example", "path": "/v"}]
    shared_kea.deploy("iris", models.iris_onnx(), routes=routes)
    folder: Path = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP)
    command = ["python3", "app.py", "{port}"]
    shared_kea.deploy("app", folder, framework="Custom", command=command, routes=[{"host": "app.example"}])
    return shared_kea


def send(kea: Kea, method: str, path: str, host: str | None = None, token: bool = True, **options: Any) -> Any:
    headers = {"Authorization": f"Bearer {kea.token}"} if token else {}
    headers |= {"Host": host} if host else {}
    return requests.request(method, kea.url + path, headers=headers, timeout=30, allow_redirects=False, **options)


def test_a_model_answers_below_its_path_and_at_it(kea: Kea) -> None:
    standard = kea.request("POST", "/services/iris/predict", json=ROW).json()["predictions"]
    for path, host in [
        ("/flowers", None),
        ("/flowers/", None),
        ("/flowers/predict", None),
        ("/v/predict", "iris.example"),
        ("/v", "IRIS.example:8443"),
    ]:
        answer = send(kea, "POST", path, host, json=ROW)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json()["predictions"] == standard
        assert answer.headers["kea-service"] == "iris"
    for path, host in [
        ("/flowers/nope", None),
        ("/flowersandmore", None),
        ("/v/predict", None),
        ("/flowers/../v", None),
    ]:
        assert send(kea, "POST", path, host, json=ROW).status_code == 404, path
    assert send(kea, "POST", "/flowers", json={"inputs": {"X": "no"}}).status_code == 400


def test_a_web_service_has_all_of_its_host_but_what_is_kea_s(kea: Kea) -> None:
    assert send(kea, "GET", "/", "app.example").text == "/"
    assert send(kea, "GET", "/a/b?c=d%20e", "app.example").text == "/a/b?c=d%20e"
    assert send(kea, "GET", "/api/v1/k8c/services", "app.example").json()
    assert send(kea, "GET", "/healthz", "app.example").status_code == 200


def test_permissions_and_the_audit_trail_know_the_service(kea: Kea) -> None:
    refused = send(kea, "POST", "/flowers", token=False, json=ROW)
    assert (refused.status_code, "Bearer" in refused.headers["www-authenticate"]) == (401, True)
    assert send(kea, "POST", "/flowers/predict", json=ROW).status_code == 200

    def record() -> dict[str, Any] | None:
        records = kea.request("GET", "/logs/audit", params={"service": "iris"}).json()["records"]
        return next((one for one in records if one["url.path"] == "/flowers/predict"), None)

    found = kea.wait_for(record, "the record", 10)
    assert (found["kea.function"], found["kea.outcome"]) == ("predict", "success")


def test_a_route_is_one_service_s(kea: Kea, models: ModelShelf) -> None:
    body = {"modelName": "other", "sourceCode": str(models.iris_onnx()), "routes": [{"path": "/flowers/"}]}
    conflict = kea.request("POST", "/services", json=body)
    assert conflict.status_code == 409
    assert "`/flowers`" in conflict.text and "`iris`" in conflict.text
    kea.deploy("other", models.iris_onnx())
    assert kea.request("PUT", "/services/other", json={"routes": [{"path": "/flowers"}]}).status_code == 409
    # A longer path below it may be another's.
    assert kea.request("PUT", "/services/other", json={"routes": [{"path": "/flowers/other"}]}).status_code == 200

    def answers(service: str) -> bool:
        return send(kea, "POST", "/flowers/other", json=ROW).headers.get("kea-service") == service

    kea.wait_for(lambda: answers("other"), "the longer route", 10)
    assert kea.request("PUT", "/services/other", json={"routes": []}).status_code == 200
    kea.wait_for(lambda: not answers("other"), "the route to end", 10)


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ({"path": "/api/v2"}, "KEA's own"),
        ({"path": "flowers"}, "`flowers` is not a path"),
        ({"path": "/a/../b"}, "is not a path"),
        ({"host": "http://a.example"}, "is not the name of a host"),
        ({}, "all paths of all hosts"),
        ({"paths": "/a"}, "there is no field `paths`"),
    ],
)
def test_a_route_that_cannot_be_is_told(kea: Kea, route: dict[str, str], told: str) -> None:
    answer = kea.request("PUT", "/services/iris", json={"routes": [route]})
    assert answer.status_code == 400
    assert told in answer.text
