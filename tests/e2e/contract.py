"""The management API's contract: each path with its statuses and fields, and what holds of every answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import requests
from harness import PASSWORD
from models import SETOSA

TEXT, NUMBER, FLAG, LIST, OBJECT = str, int, bool, list, dict
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
STATUSES = {"deploying", "deployed", "updating", "failed", "terminating"}

SERVICE_ADDRESS = {"name": TEXT, "clusterIP": TEXT, "ports": LIST}
INFO = {"serviceId": TEXT, "modelName": TEXT, "status": STATUSES}
DETAILS = INFO | {
    "kubernetesService": SERVICE_ADDRESS,
    "version": TEXT,
    "framework": TEXT,
    "engine": {"python", "onnx", "external"},
    "replicas": NUMBER,
    "readyReplicas": NUMBER,
    "url": TEXT,
    "createdAt": TIME,
    "updatedAt": TIME,
}
COMPARISON = {"serviceId": TEXT, "breaking": FLAG, "changes": LIST}
DOCUMENT = {"openapi": re.compile(r"3\.0\.\d"), "info": OBJECT, "paths": OBJECT}
BALANCER = {
    "serviceId": TEXT,
    "algorithm": {"round_robin", "least_connections", "ip_hash", "peak_ewma"},
    "replicas": LIST,
}
METHOD = {"name": TEXT, "description": TEXT, "path": TEXT, "inputs": LIST, "outputs": LIST}
ROLE = {"name": TEXT, "builtIn": FLAG, "description": TEXT, "rules": LIST}
BINDING = {"name": TEXT, "role": TEXT, "subjects": LIST}
ANY = object()
SESSION = {"token": TEXT, "expiresAt": TIME, "refreshToken": TEXT, "sessionExpiresAt": TIME, "username": TEXT,
    "roles": LIST}  # fmt: skip
USER = {"username": TEXT, "provider": ANY, "roles": LIST, "groups": LIST, "disabled": FLAG, "createdAt": TIME}
VERSION = {"version": TEXT, "live": FLAG, "framework": TEXT, "source": TEXT, "createdAt": TIME}


@dataclass
class Row:
    """One line of the contract. `iris` is deployed; `nope` is not there."""

    method: str
    path: str
    status: int
    fields: dict[str, Any] | list[dict[str, Any]] = field(default_factory=dict)
    body: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


CONTRACT = [
    Row("POST", "/router/loadbalancer", 201, {"serviceId": TEXT, "status": {"created", "updated"}, "message": TEXT},
        {"serviceId": "iris", "algorithm": "least_connections", "replicas": []}),
    Row("POST", "/router/loadbalancer", 404, body={"serviceId": "nope", "algorithm": "ip_hash", "replicas": []}),
    Row("POST", "/router/loadbalancer", 400, body={"serviceId": "iris", "algorithm": "random", "replicas": []}),
    Row("GET", "/router/loadbalancer", 200, [BALANCER]),
    Row("GET", "/router/loadbalancer/iris", 200, BALANCER | {"activeReplicaCount": NUMBER}),
    Row("GET", "/router/loadbalancer/nope", 404),
    Row("DELETE", "/router/loadbalancer/iris", 204),
    Row("DELETE", "/router/loadbalancer/nope", 404),
    Row("POST", "/router/validate", 200, {"valid": FLAG, "schemaVersion": TEXT},
        {"serviceId": "iris", "requestPayload": {"inputs": SETOSA}, "schemaVersion": "1"}),
    Row("POST", "/router/validate", 400, body={"serviceId": "iris", "requestPayload": {}, "schemaVersion": "1"}),
    Row("POST", "/router/validate", 400,
        body={"serviceId": "iris", "requestPayload": {"inputs": SETOSA}, "schemaVersion": "9"}),
    Row("POST", "/router/validate", 404, body={"serviceId": "nope", "requestPayload": {}, "schemaVersion": "1"}),
    Row("GET", "/router/cache?cacheKey=nothing", 404),
    Row("GET", "/router/cache", 400),
    Row("DELETE", "/router/cache?serviceId=iris", 204),
    Row("DELETE", "/router/cache?serviceId=nope", 404),
    Row("DELETE", "/router/cache", 400),
    Row("GET", "/services", 200, [INFO]),
    Row("GET", "/services/iris", 200, DETAILS),
    Row("GET", "/services/nope", 404),
    Row("PUT", "/services/iris", 200, {"serviceId": TEXT, "status": STATUSES}, {"replicas": 1}),
    Row("PUT", "/services/nope", 404, body={"replicas": 1}),
    Row("DELETE", "/services/nope", 404),
    Row("POST", "/services/iris/predict", 200, {"predictions": [{"label": TEXT, "probabilities": OBJECT}]},
        {"inputs": SETOSA}),
    Row("POST", "/services/iris/predict", 400, body={"inputs": {}}),
    Row("POST", "/services/iris/nope", 404, body={"inputs": {}}),
    Row("POST", "/services/nope/predict", 404, body={"inputs": SETOSA}),
    Row("GET", "/services/iris/methods", 200, [METHOD]),
    Row("GET", "/services/nope/methods", 404),
    Row("GET", "/services/iris/versions", 200, [VERSION]),
    Row("GET", "/services/nope/versions", 404),
    Row("POST", "/services/iris/rollback", 409),
    Row("POST", "/services/nope/rollback", 404),
    Row("POST", "/auth/login", 200, SESSION, {"username": "admin", "password": PASSWORD}),
    Row("POST", "/auth/login", 401, body={"username": "admin", "password": "wrong"}),
    Row("POST", "/auth/login", 401, body={"username": "nobody", "password": PASSWORD}),
    Row("POST", "/auth/login", 400, body={"username": "admin"}),
    Row("POST", "/auth/refresh", 401, body={"refreshToken": "nonsense"}),
    Row("POST", "/auth/refresh", 401, body={}),
    Row("GET", "/auth/me", 200, {"username": TEXT, "roles": LIST, "groups": LIST, "sessionId": TEXT, "keyId": ANY,
        "scopes": ANY}),
    Row("GET", "/auth/sessions", 200, [{"id": TEXT, "username": TEXT, "createdAt": TIME, "usedAt": TIME,
        "expiresAt": TIME, "address": TEXT, "userAgent": ANY, "isCurrent": FLAG}]),
    Row("DELETE", "/auth/sessions/nope", 404),
    Row("DELETE", "/auth/sessions?username=nobody", 404),
    Row("DELETE", "/auth/sessions", 400),
    Row("GET", "/users", 200, [USER]),
    Row("GET", "/users/admin", 200, USER),
    Row("GET", "/users/nobody", 404),
    Row("PUT", "/users/nobody", 404, body={"disabled": True}),
    Row("PUT", "/users/admin", 409, body={"disabled": True}),
    Row("DELETE", "/users/nobody", 404),
    Row("DELETE", "/users/admin", 409),
    Row("POST", "/users", 409, body={"username": "admin", "password": "a password"}),
    Row("POST", "/users", 400, body={"username": "ada", "password": "short"}),
    Row("POST", "/users", 400, body={"username": "a b", "password": "a password"}),
    Row("GET", "/auth/keys", 200, ANY),
    Row("DELETE", "/auth/keys/nope", 404),
    Row("POST", "/auth/keys", 400, body={"name": "x", "expiresAt": "1999-01-01T00:00:00Z"}),
    Row("POST", "/auth/password", 400, body={"oldPassword": "wrong", "newPassword": "another password"}),
    Row("POST", "/auth/signing-keys/rotate", 200, {"id": TEXT}),
    Row("GET", "!/.well-known/jwks.json", 200, {"keys": LIST}),
    Row("GET", "/openapi/iris", 200, DOCUMENT),
    Row("GET", "/openapi/iris?version=1", 200, DOCUMENT),
    Row("GET", "/openapi/iris?version=9", 404),
    Row("GET", "/openapi/iris/changes", 200, COMPARISON),
    Row("GET", "/openapi/nope/changes", 404),
    Row("POST", "/openapi/iris/changes", 200, COMPARISON, {"functions": []}),
    Row("POST", "/openapi/iris/changes", 400, body={"functionen": []}),
    Row("GET", "/openapi/nope", 404),
    Row("GET", "/logs/iris", 200, {"logEntries": LIST}),
    Row("GET", "/logs/iris?tail=1", 200, {"logEntries": LIST}),
    Row("GET", "/logs/nope", 404),
    Row("GET", "/logs/audit?limit=1", 200, ANY),
    Row("GET", "/logs/audit?outcome=odd", 400),
    Row("GET", "/logs/rules/iris", 200, {"payload": OBJECT}),
    Row("GET", "/logs/rules/nope", 404),
    Row("PUT", "/logs/rules/iris", 200, {"payload": OBJECT}, {"payload": {"sample": 0}}),
    Row("PUT", "/logs/rules/iris", 400, body={"payload": {"sample": 2}}),
    Row("PUT", "/logs/rules/nope", 404, body={}),
    Row("PUT", "/auth/roles/r", 200, ROLE, {"rules": [{"verbs": ["read"], "labels": {"team": "risk"}}]}),
    Row("PUT", "/auth/roles/r", 400, body={"rules": [{"verbs": ["read"]}]}),
    Row("GET", "/auth/roles", 200, [ROLE]),
    Row("GET", "/auth/roles/r", 200, ROLE),
    Row("PUT", "/auth/bindings/b", 200, BINDING, {"role": "r", "subjects": [{"kind": "Group", "name": "g"}]}),
    Row("GET", "/auth/bindings", 200, [BINDING]),
    Row("GET", "/auth/bindings/b", 200, BINDING),
    Row("POST", "/auth/can-i", 200, {"allowed": FLAG, "reason": TEXT, "by": OBJECT},
        {"verb": "predict", "service": "iris"}),
    Row("DELETE", "/auth/bindings/b", 204),
    Row("DELETE", "/auth/bindings/b", 404),
    Row("DELETE", "/auth/roles/r", 204),
    Row("DELETE", "/auth/roles/admin", 409),
    Row("GET", "!/healthz", 200, {"status": TEXT}),
    Row("GET", "!/readyz", 200, {"status": TEXT}),
    Row("GET", "!/openapi.json", 200, DOCUMENT),
    Row("GET", "/nothing/here", 404),
    Row("PATCH", "/services/iris", 405, body={}),
    Row("DELETE", "/services", 405),
]  # fmt: skip


def check_fields(value: Any, expected: Any, path: str = "") -> None:
    """Every field is there, and of its type."""
    if isinstance(expected, dict):
        assert isinstance(value, dict), f"{path}: {value!r}"
        for name, inner in expected.items():
            assert name in value, f"`{path}/{name}` is missing in {value}"
            check_fields(value[name], inner, f"{path}/{name}")
    elif isinstance(expected, list):
        assert isinstance(value, list) and value, f"{path}: {value!r}"
        for index, element in enumerate(value):
            check_fields(element, expected[0], f"{path}/{index}")
    elif isinstance(expected, set):
        assert value in expected, f"{path}: {value!r}"
    elif isinstance(expected, re.Pattern):
        assert expected.fullmatch(value), f"{path}: {value!r}"
    elif expected is not ANY:
        assert type(value) is expected, f"{path}: {value!r}"


def check_problem(answer: requests.Response, status: int) -> dict[str, Any]:
    """An error as RFC 9457 has it, with the request id, and a sentence for the reader."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    check_fields(problem, {"type": TEXT, "title": TEXT, "status": NUMBER, "detail": TEXT, "instance": TEXT})
    assert problem["status"] == status and problem["detail"]
    assert problem["instance"] == answer.headers["x-request-id"]
    for error in problem.get("errors", []):
        check_fields(error, {"pointer": TEXT, "expected": TEXT, "received": TEXT, "detail": TEXT})
    return problem


def pointers(answer: requests.Response) -> list[str]:
    return [error["pointer"] for error in check_problem(answer, 400)["errors"]]
