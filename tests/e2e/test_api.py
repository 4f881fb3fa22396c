"""The management API's contract, against the real server: each path, its statuses, its fields, its refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from contract import (
    CONTRACT,
    DETAILS,
    SERVICE_ADDRESS,
    STATUSES,
    TEXT,
    TIME,
    Row,
    check_fields,
    check_problem,
    pointers,
)
from harness import API, Kea
from models import SETOSA, ModelShelf


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, models: ModelShelf) -> Kea:
    shared_kea.deploy("iris", models.iris())
    return shared_kea


@pytest.fixture
def fresh(kea: Kea) -> Iterator[Callable[..., requests.Response]]:
    """Sends deploy requests, and deletes what they made."""
    made: list[str] = []

    def deploy(body: dict[str, Any]) -> requests.Response:
        answer = kea.request("POST", "/services", json=body)
        if answer.status_code == 201:
            made.append(answer.json()["serviceId"])
        return answer

    yield deploy
    for name in made:
        kea.request("DELETE", f"/services/{name}")
    for name in made:
        kea.wait_for(lambda name=name: kea.request("GET", f"/services/{name}").status_code == 404, f"{name} to be gone")


# The table


@pytest.mark.parametrize("row", CONTRACT, ids=str)
def test_a_path_answers_as_the_contract_says(kea: Kea, row: Row) -> None:
    answer = kea.request(row.method, row.path, json=row.body)
    if row.status >= 400:
        check_problem(answer, row.status)
        return
    assert answer.status_code == row.status, answer.text
    if row.status == 204:
        assert answer.content == b""
        return
    assert answer.headers["content-type"] == "application/json"
    check_fields(answer.json(), row.fields)


def test_the_contract_table_has_every_operation_of_the_document(kea: Kea) -> None:
    document = requests.get(f"{kea.url}/openapi.json", timeout=30).json()
    tested = {(row.method, row.path.split("?")[0].removeprefix("!")) for row in CONTRACT}
    tested |= {("POST", "/services"), ("DELETE", "/services/iris"), ("GET", "/metrics"), ("POST", "/auth/logout")}
    names = {"{serviceId}": "iris", "{function}": "nope", "{username}": "nobody", "{sessionId}": "nope",
        "{keyId}": "nope"}  # fmt: skip
    for path, operations in document["paths"].items():
        relative = path.removeprefix(API)
        relative = relative.replace("roles/{name}", "roles/r").replace("bindings/{name}", "bindings/b")
        for name, value in names.items():
            relative = relative.replace(name, value)
        for method in operations:
            assert (method.upper(), relative) in tested, f"{method} {path}"


def test_the_document_is_openapi(kea: Kea) -> None:
    from openapi_spec_validator import validate

    validate(requests.get(f"{kea.url}/openapi.json", timeout=30).json())
    validate(kea.request("GET", "/openapi/iris").json())


PUBLIC = {
    "POST /auth/login",
    "POST /auth/refresh",
    "GET !/.well-known/jwks.json",
    "GET !/healthz",
    "GET !/readyz",
    "GET !/openapi.json",
}
NOT_THERE = {"GET /nothing/here", "PATCH /services/iris", "DELETE /services"}


@pytest.mark.parametrize("row", CONTRACT, ids=str)
def test_a_token_is_needed_for_everything_but_login_and_health(kea: Kea, row: Row) -> None:
    url = kea.url + (row.path[1:] if row.path.startswith("!") else API + row.path)
    call = f"{row.method} {row.path}"
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YWRtaW46eA=="}):
        answer = requests.request(row.method, url, json=row.body, headers=headers, timeout=30)
        if call in PUBLIC or call in NOT_THERE:
            assert answer.status_code == row.status
        else:
            problem = check_problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "log in" in problem["detail"] or "Bearer TOKEN" in problem["detail"], problem


def test_documentation_is_open_only_for_public_services(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    body = {"modelName": "open", "sourceCode": str(models.iris()), "access": {"public": True}}
    assert fresh(body).status_code == 201
    kea.wait_deployed("open")

    def status(path: str) -> int:
        return requests.get(kea.url + path, timeout=30, allow_redirects=False).status_code

    assert status(f"{API}/openapi/open") == 200 and status(f"{API}/openapi/iris") == 401
    # The page itself is the same for all: it fetches the document with the reader's token.
    pages = [requests.get(f"{kea.url}/docs/{name}", timeout=30).text for name in ("open", "iris")]
    assert pages[0] == pages[1] and "sepal" not in pages[0]
    answer = requests.post(f"{kea.url}{API}/services/open/predict", json={"inputs": SETOSA}, timeout=30)
    assert answer.status_code == 200
    assert requests.get(f"{kea.url}{API}/services/open", timeout=30).status_code == 401


# Deploying


def test_a_deployment_tells_where_the_service_will_be(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    body = {"modelName": "Iris Classifier", "framework": "ScikitLearn", "replicas": 1}
    answer = fresh(body | {"sourceCode": str(models.iris())})
    assert answer.status_code == 201
    check_fields(answer.json(), {"serviceId": TEXT, "kubernetesService": SERVICE_ADDRESS, "version": TEXT})
    assert answer.json()["serviceId"] == "iris-classifier"
    port = int(kea.url.rpartition(":")[2])
    expected = {"name": "iris-classifier", "clusterIP": "127.0.0.1", "ports": [port]}
    assert answer.json()["kubernetesService"] == expected
    assert answer.headers["location"] == f"{API}/services/iris-classifier"
    details = kea.wait_deployed("iris-classifier")
    assert details["url"] == f"{kea.url}{API}/services/iris-classifier/predict"
    assert kea.session.post(details["url"], json={"inputs": SETOSA}, timeout=30).status_code == 200
    check_fields(kea.details("iris-classifier"), DETAILS)
    assert kea.details("iris-classifier")["reason"] is None


def test_a_given_service_id_is_the_name(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    answer = fresh({"modelName": "Iris Classifier", "serviceId": "flowers-2", "sourceCode": str(models.iris())})
    assert answer.json()["serviceId"] == "flowers-2"
    assert kea.details("flowers-2")["modelName"] == "Iris Classifier"


BAD_NAMES = ["Iris", "iris_2", "-iris", "iris-", "a" * 64, "", "iris.v2", "ïris", "a/b", "a b"]
RESERVED = ["audit", "cache", "validate", "loadbalancer", "methods", "versions", "api", "openapi"]


@pytest.mark.parametrize("name", BAD_NAMES + RESERVED)
def test_a_name_that_no_service_can_have_is_refused(models: ModelShelf, fresh: Any, name: str) -> None:
    answer = fresh({"modelName": "x", "serviceId": name, "sourceCode": str(models.iris())})
    assert pointers(answer) == ["/serviceId"]


@pytest.mark.parametrize("name", ["Audit", "!!", ""])
def test_a_model_name_that_gives_no_service_name_is_refused(models: ModelShelf, fresh: Any, name: str) -> None:
    assert pointers(fresh({"modelName": name, "sourceCode": str(models.iris())})) == ["/modelName"]


def test_an_image_is_refused_with_the_reason_and_what_to_do(kea: Kea, fresh: Any) -> None:
    answer = fresh({"modelName": "x", "containerImage": "registry.example/x:1"})
    assert pointers(answer) == ["/containerImage"]
    assert "Kubernetes" in answer.json()["detail"] and "sourceCode" in answer.json()["detail"]
    answer = kea.request("PUT", "/services/iris", json={"containerImage": "registry.example/x:1"})
    assert pointers(answer) == ["/containerImage"]
    assert kea.details("iris")["version"] == "1"


def test_nothing_to_run_is_refused(fresh: Any) -> None:
    assert pointers(fresh({"modelName": "x"})) == ["/sourceCode"]


REFUSED = {
    "unknown field": ({"modelName": "x", "sourceCode": "/m", "replica": 2}, "/replica"),
    "unknown nested field": ({"modelName": "x", "sourceCode": "/m", "cache": {"size": 2}}, "/cache/size"),
    "no name": ({"sourceCode": "/m"}, "/modelName"),
    "wrong type": ({"modelName": "x", "sourceCode": "/m", "replicas": "two"}, "/replicas"),
    "negative": ({"modelName": "x", "sourceCode": "/m", "replicas": -1}, "/replicas"),
    "fraction": ({"modelName": "x", "sourceCode": "/m", "replicas": 1.5}, "/replicas"),
    "too many": ({"modelName": "x", "sourceCode": "/m", "replicas": 100000}, "/replicas"),
    "unknown framework": ({"modelName": "x", "sourceCode": "/m", "framework": "Torch"}, "/framework"),
    "bad version": ({"modelName": "x", "sourceCode": "/m", "version": "../1"}, "/version"),
    "bad timeout": ({"modelName": "x", "sourceCode": "/m", "timeout": "soon"}, "/timeout"),
    "bad memory": (
        {"modelName": "x", "sourceCode": "/m", "resources": {"limits": {"memory": "lots"}}},
        "/resources/limits/memory",
    ),
    "bad setting": ({"modelName": "x", "sourceCode": "/m", "server": {"workers": 0}}, "/server/workers"),
    "no object": ([1], ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_field_is_pointed_at(fresh: Any, case: str) -> None:
    body, pointer = REFUSED[case]
    assert pointers(fresh(body)) == [pointer]


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("PUT", "/services/iris", {"replicas": 1, "image": "x"}, "/image"),
        ("PUT", "/services/iris", {"modelName": "y"}, "/modelName"),
        ("POST", "/router/loadbalancer", {"serviceId": "iris", "algorithm": "ip_hash", "replicas": [], "x": 1}, "/x"),
        ("POST", "/router/loadbalancer", {"serviceId": "iris", "algorithm": "ip_hash"}, "/replicas"),
        ("POST", "/router/validate", {"serviceId": "iris", "requestPayload": {}, "version": "1"}, "/version"),
        ("POST", "/auth/login", {"username": "admin", "password": "x", "remember": True}, "/remember"),
        ("POST", "/services/iris/predict", {"inputs": SETOSA, "instances": []}, "/instances"),
    ],
)
def test_an_unknown_or_missing_field_is_pointed_at(
    kea: Kea, method: str, path: str, body: dict[str, Any], pointer: str
) -> None:
    assert pointers(kea.request(method, path, json=body)) == [pointer]


def test_a_query_parameter_that_would_be_ignored_is_refused(kea: Kea) -> None:
    for path in ("/services?limit=3", "/logs/iris?lines=3", "/openapi/iris?v=1", "/services/iris?verbose=1"):
        problem = check_problem(kea.request("GET", path), 400)
        assert path.partition("?")[2].partition("=")[0] in problem["detail"]


# Bodies


def post(kea: Kea, body: bytes, content_type: str | None = "application/json") -> requests.Response:
    headers = {"content-type": content_type} if content_type else {}
    return kea.request("POST", "/services", data=body, headers=headers)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None])
def test_another_content_type_is_refused(kea: Kea, content_type: str | None) -> None:
    problem = check_problem(post(kea, b'{"modelName": "x"}', content_type), 415)
    assert "application/json" in problem["detail"]


def test_json_with_a_charset_is_json(kea: Kea) -> None:
    assert pointers(post(kea, b'{"replicas": 1, "sourceCode": "/m"}', "application/json; charset=utf-8")) == [
        "/modelName"
    ]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"modelName": "x",\n "replicas": }', "line 2 column 14"),
        (b'{"modelName": "x"', "line 1 column 17"),
        (b'{"modelName": "x"} trailing', "line 1 column 20"),
        (b'{"modelName": "\xff"}', "line 1 column"),
        (b"{'modelName': 'x'}", "line 1 column 2"),
    ],
)
def test_malformed_json_is_told_with_line_and_column(kea: Kea, body: bytes, place: str) -> None:
    problem = check_problem(post(kea, body), 400)
    assert place in problem["detail"], problem["detail"]


def test_an_empty_body_is_told(kea: Kea) -> None:
    assert "empty" in check_problem(post(kea, b""), 400)["detail"]


def test_a_field_that_comes_twice_is_refused(kea: Kea) -> None:
    problem = check_problem(post(kea, b'{"modelName": "x", "modelName": "y", "sourceCode": "/m"}'), 400)
    assert "modelName" in problem["detail"]


def test_a_body_that_is_too_large_is_refused(kea: Kea) -> None:
    huge = json.dumps({"modelName": "x" * (2 << 20)}).encode()
    problem = check_problem(post(kea, huge), 413)
    assert "bytes" in problem["detail"]


def test_a_models_request_that_is_too_large_is_refused(
    start: Callable[..., Kea], models: ModelShelf, tmp_path: Path
) -> None:
    (tmp_path / "kea.toml").write_text('body-limit = "64Ki"\n')
    small = start("small", env={"KEA_CONFIG": str(tmp_path / "kea.toml")})
    small.deploy("iris", models.iris())
    many = {name: [value] * 10_000 for name, value in SETOSA.items()}
    check_problem(small.predict("iris", many), 413)
    assert small.predict("iris", SETOSA).status_code == 200


# Versions


def test_a_version_that_exists_with_another_model_is_a_conflict(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    body = {"modelName": "versioned", "sourceCode": str(models.iris()), "version": "1"}
    assert fresh(body).status_code == 201
    kea.wait_deployed("versioned")
    assert fresh(body).status_code == 201, "the same again is no conflict"
    other = check_problem(fresh(body | {"sourceCode": str(models.iris(2))}), 409)
    assert "`1`" in other["detail"] and "versioned" in other["detail"]
    change = {"sourceCode": str(models.iris(2)), "version": "1"}
    check_problem(kea.request("PUT", "/services/versioned", json=change), 409)


def test_versions_are_listed_updated_and_rolled_back(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    assert fresh({"modelName": "moving", "sourceCode": str(models.iris())}).status_code == 201
    kea.wait_deployed("moving")
    answer = kea.request("PUT", "/services/moving", json={"sourceCode": str(models.iris(2))})
    assert (answer.status_code, answer.json()["version"]) == (200, "2")
    kea.wait_for(lambda: kea.details("moving")["liveVersion"] == "2", "version 2")
    versions = kea.request("GET", "/services/moving/versions").json()
    assert [(version["version"], version["live"]) for version in versions] == [("1", False), ("2", True)]
    assert versions[1]["source"] == str(models.iris(2))

    answer = kea.request("POST", "/services/moving/rollback")
    assert answer.status_code == 200
    check_fields(answer.json(), {"serviceId": TEXT, "status": STATUSES, "version": re.compile("1")})
    kea.wait_for(lambda: kea.details("moving")["liveVersion"] == "1", "version 1")
    answer = kea.request("PUT", "/services/moving", json={"version": "2"})
    assert answer.status_code == 200
    kea.wait_for(lambda: kea.details("moving")["liveVersion"] == "2", "version 2 again")
    check_problem(kea.request("PUT", "/services/moving", json={"version": "7"}), 404)


def test_a_failed_deployment_shows_its_reason(kea: Kea, fresh: Any) -> None:
    assert fresh({"modelName": "absent", "sourceCode": "/no/such/model.joblib"}).status_code in (201, 400)
    if kea.request("GET", "/services/absent").status_code == 200:
        assert "/no/such/model.joblib" in kea.wait_failed("absent")["reason"]


def test_a_deleted_service_is_gone(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    assert fresh({"modelName": "short", "sourceCode": str(models.iris())}).status_code == 201
    kea.wait_deployed("short")
    answer = kea.request("DELETE", "/services/short")
    assert (answer.status_code, answer.content) == (204, b"")
    kea.wait_for(lambda: kea.request("GET", "/services/short").status_code == 404, "the service to be gone")
    check_problem(kea.predict("short", SETOSA), 404)
    assert "short" not in [service["serviceId"] for service in kea.request("GET", "/services").json()]
    check_problem(kea.request("DELETE", "/services/short"), 404)


# Load balancing, validation, cache, logs


def test_load_balancing_is_set_shown_and_reset(kea: Kea) -> None:
    (replica,) = kea.details("iris")["replicaStatuses"]
    config = {"serviceId": "iris", "algorithm": "ip_hash", "replicas": [replica["address"]]}
    kea.request("DELETE", "/router/loadbalancer/iris")
    first = kea.request("POST", "/router/loadbalancer", json=config)
    assert (first.status_code, first.json()["status"]) == (201, "created")
    again = kea.request("POST", "/router/loadbalancer", json=config | {"replicas": [replica["name"]]})
    assert (again.status_code, again.json()["status"]) == (201, "updated")
    shown = kea.request("GET", "/router/loadbalancer/iris").json()
    assert shown == {
        "serviceId": "iris",
        "algorithm": "ip_hash",
        "replicas": [replica["name"]],
        "activeReplicaCount": 1,
    }
    assert kea.predict("iris", SETOSA).status_code == 200
    wrong = kea.request("POST", "/router/loadbalancer", json=config | {"replicas": ["10.0.0.1:0"]})
    assert pointers(wrong) == ["/replicas/0"]
    assert kea.request("DELETE", "/router/loadbalancer/iris").status_code == 204
    assert kea.request("GET", "/router/loadbalancer/iris").json()["algorithm"] == "peak_ewma"


def test_a_payload_is_validated_without_a_call(kea: Kea) -> None:
    body = {"serviceId": "iris", "requestPayload": {"inputs": SETOSA}}
    answer = kea.request("POST", "/router/validate", json=body)
    assert (answer.status_code, answer.json()) == (200, {"valid": True, "schemaVersion": "1"})
    body["requestPayload"] = {"inputs": {**SETOSA, "petal_width": "wide", "color": 1}}
    assert sorted(pointers(kea.request("POST", "/router/validate", json=body))) == [
        "/inputs/color",
        "/inputs/petal_width",
    ]


def test_a_cached_answer_is_found_by_its_key(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    body = {"modelName": "cached", "sourceCode": str(models.iris()), "cache": {"enabled": True, "ttl": "60s"}}
    assert fresh(body).status_code == 201
    kea.wait_deployed("cached")
    first, second = kea.predict("cached", SETOSA), kea.predict("cached", SETOSA)
    assert (first.headers["kea-cache"], second.headers["kea-cache"]) == ("miss", "hit")
    key = first.headers["kea-cache-key"]
    found = kea.request("GET", "/router/cache", params={"cacheKey": key})
    assert (found.status_code, found.json()) == (200, first.json())
    check_problem(kea.request("GET", "/router/cache", params={"cacheKey": key + "x"}), 404)


def test_logs_are_cut_and_filtered(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    loud = "class Loud:\n    def predict(self, text: str) -> str:\n        print(text)\n        return text\n"
    assert fresh({"modelName": "loud", "sourceCode": str(models.custom("loud", loud))}).status_code == 201
    kea.wait_deployed("loud")
    for number in range(5):
        assert kea.predict("loud", {"text": f"line {number}"}).status_code == 200

    def entries(query: str = "") -> list[str]:
        return kea.request("GET", f"/logs/loud{query}").json()["logEntries"]

    kea.wait_for(lambda: any("line 4" in entry for entry in entries()), "the last line")
    last = entries("?tail=2")
    assert len(last) == 2 and last[0].endswith("line 3") and last[1].endswith("line 4")
    assert TIME.search(last[0]) and "loud-1-0" in last[0] and "stdout" in last[0]
    assert entries("?replica=loud-1-0&tail=1") == last[1:]
    assert entries("?replica=other") == []
    assert entries("?since=2999-01-01T00:00:00Z") == []
    assert len(entries("?since=10m")) >= 5
    for query in ("?tail=-1", "?tail=x", "?since=yesterday", "?follow=maybe"):
        check_problem(kea.request("GET", f"/logs/loud{query}"), 400)


def test_logs_are_followed_as_events(kea: Kea, models: ModelShelf, fresh: Any) -> None:
    loud = "class Loud:\n    def predict(self, text: str) -> str:\n        print(text)\n        return text\n"
    assert fresh({"modelName": "live", "sourceCode": str(models.custom("live", loud))}).status_code == 201
    kea.wait_deployed("live")
    with kea.request("GET", "/logs/live?follow=true&tail=0", stream=True) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert kea.predict("live", {"text": "here it comes"}).status_code == 200
        data = next(line for line in answer.iter_lines() if b"here it comes" in line)
        assert data.startswith(b"data:")


# Sessions


def test_a_token_expires(start: Callable[..., Kea]) -> None:
    short = start("short", env={"KEA_TOKEN_TTL": "3s"})
    assert short.request("GET", "/services").status_code == 200

    short.wait_for(lambda: short.request("GET", "/services").status_code == 401, "the token to expire", 20)
    problem = check_problem(short.request("GET", "/services"), 401)
    assert "expired" in problem["detail"]
    short.login()
    assert short.request("GET", "/services").status_code == 200


def test_a_token_of_another_server_is_refused(kea: Kea, start: Callable[..., Kea]) -> None:
    other = start("other")
    answer = requests.get(f"{kea.url}{API}/services", headers={"Authorization": f"Bearer {other.token}"}, timeout=30)
    check_problem(answer, 401)


def test_a_token_survives_a_restart(start: Callable[..., Kea]) -> None:
    kea = start("restarted")
    token = kea.token
    kea.kill()
    kea.start()
    answer = requests.get(f"{kea.url}{API}/services", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 200


def test_a_request_id_is_kept_or_made(kea: Kea) -> None:
    given = kea.request("GET", "/services/nope", headers={"x-request-id": "my-own-id"})
    assert given.headers["x-request-id"] == "my-own-id" and given.json()["instance"] == "my-own-id"
    ids = {kea.request("GET", "/services").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
