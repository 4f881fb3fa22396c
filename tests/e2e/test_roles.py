"""Who may do what: students, teachers and others as real users, against a real model and the real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import Kea
from models import ModelShelf
from users import User, add_users

EXAMPLE = Path(__file__).parents[2] / "examples" / "access"
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())

USERS = {
    "stu": ["student"],
    "tea": ["teacher"],
    "con": ["consumer"],
    "eng": ["engineer"],
    "sec": ["security"],
    "nobody": [],
    "ada": [],
}

# Everybody who is logged in may ask these about themselves.
OWN = {
    ("post", "/api/v1/k8c/auth/can-i"),
    ("get", "/api/v1/k8c/auth/me"),
    ("get", "/api/v1/k8c/auth/sessions"),
    ("get", "/api/v1/k8c/auth/keys"),
    ("post", "/api/v1/k8c/auth/keys"),
    ("post", "/api/v1/k8c/auth/password"),
    ("post", "/api/v1/k8c/auth/logout"),
}

ECHO = """
class Model:
    def predict(self, x: int) -> int:
        return x
"""


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, models: ModelShelf) -> Kea:
    add_users(shared_kea, USERS)
    shared_kea.deploy("free", models.custom("echo", ECHO), wait=False, labels={"team": "risk"})
    shared_kea.cli("login", "--username", "admin", env={"KEA_PASSWORD": "correct horse battery staple"})
    shared_kea.cli("deploy", "-f", str(EXAMPLE / "kea.yaml"))
    shared_kea.wait_deployed("free")
    return shared_kea


@pytest.fixture(scope="module")
def users(kea: Kea) -> dict[str, User]:
    return {name: User(kea, name) for name in USERS}


@pytest.fixture
def bound(kea: Kea) -> Iterator[Any]:
    """Gives a role to a user, until the test ends."""
    made: list[str] = []

    def bind(role: str, username: str) -> None:
        name = f"{role}-{username}"
        made.append(name)
        body = {"role": role, "subjects": [{"kind": "User", "name": username}]}
        kea.request("PUT", f"/auth/bindings/{name}", json=body).raise_for_status()

    yield bind
    for name in made:
        kea.request("DELETE", f"/auth/bindings/{name}")


def test_students_get_grades_and_teachers_set_them(users: dict[str, User]) -> None:
    statuses = {
        name: (
            users[name].call("grades", "get_grades").status_code,
            users[name].call("grades", "set_grades", student=name, grade=1).status_code,
            users[name].call("free", "predict", x=1).status_code,
        )
        for name in USERS
    }
    assert statuses == {
        "stu": (200, 403, 403),
        "tea": (200, 200, 403),
        "con": (403, 403, 200),
        "eng": (403, 403, 200),
        "sec": (403, 403, 403),
        "nobody": (403, 403, 403),
        "ada": (403, 403, 403),
    }


def test_a_refusal_names_the_permission_that_is_missing(users: dict[str, User]) -> None:
    answer = users["stu"].call("grades", "set_grades", student="stu", grade=1)
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["missing"] == {"verb": "predict", "service": "grades", "function": "set_grades"}
    assert "predict:grades/set_grades" in problem["detail"] and "teacher" in problem["detail"]
    assert problem["type"].endswith("/forbidden") and "errors" not in problem
    problem = users["con"].request("GET", "/logs/free").json()
    assert problem["missing"] == {"verb": "logs", "service": "free", "function": None}
    problem = users["con"].request("GET", "!/metrics").json()
    assert problem["missing"] == {"verb": "metrics", "service": None, "function": None}
    answer = users["nobody"].request("POST", "!/v2/models/free/infer", json={"inputs": []})
    assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert "predict:free/predict" in answer.json()["error"]


def test_another_way_to_write_a_function_is_not_the_function(users: dict[str, User]) -> None:
    inputs = {"inputs": {"student": "stu", "grade": 6}}
    others = ["set%5Fgrades", "./set_grades", "get_grades/../set_grades", "set_grades/", "/set_grades", "SET_GRADES"]
    for path in others:
        for version in ["", "?version=1"]:
            # As it is written, without what the library would make of it.
            url = f"{users['stu'].kea.url}/api/v1/k8c/services/grades/{path}{version}"
            request = users["stu"].session.prepare_request(requests.Request("POST", url, json=inputs))
            request.url = url
            assert users["stu"].session.send(request, timeout=30).status_code in (403, 404, 405), path
    assert users["tea"].call("grades", "get_grades").json()["predictions"][0].get("stu") != 6


def test_lists_show_what_may_be_read(kea: Kea, users: dict[str, User]) -> None:
    def seen(name: str) -> list[Any]:
        of = users[name]
        services = of.request("GET", "/services").json()
        balancers = of.request("GET", "/router/loadbalancer").json()
        models = of.request("GET", "!/v2/models").json()
        cards = of.request("GET", "!/docs/services.json").json()
        names = [service["serviceId"] for service in services]
        assert [balancer["serviceId"] for balancer in balancers] == names
        assert models["models"] == names and [card["serviceId"] for card in cards["services"]] == names
        return names

    assert seen("con") == seen("eng") == seen("sec") == ["free", "grades"]
    assert seen("stu") == seen("tea") == ["grades"]
    for path in ["/services", "/router/loadbalancer", "!/v2/models"]:
        assert users["nobody"].request("GET", path).status_code == 403, path
    assert users["stu"].request("GET", "/services/free").status_code == 403
    assert users["stu"].request("GET", "/services/no-such").status_code == 403, "what there is not is not told either"
    assert users["con"].request("GET", "/services/no-such").status_code == 404
    kea.request("PUT", "/services/free", json={"access": {"public": True}}).raise_for_status()
    assert seen("stu") == ["free", "grades"]
    assert users["nobody"].call("free", "predict", x=1).status_code == 200
    kea.request("PUT", "/services/free", json={"access": {"public": False}}).raise_for_status()
    assert users["nobody"].call("free", "predict", x=1).status_code == 403


def test_a_role_by_labels_follows_the_labels(kea: Kea, users: dict[str, User], bound: Any) -> None:
    rules = [{"verbs": ["read", "update", "deploy"], "labels": {"team": "risk"}}]
    kea.request("PUT", "/auth/roles/risk", json={"rules": rules}).raise_for_status()
    bound("risk", "ada")
    assert users["ada"].request("GET", "/services/free").json()["settings"]["labels"] == {"team": "risk"}
    assert users["ada"].request("GET", "/services/grades").status_code == 403
    answer = users["ada"].request("PUT", "/services/free", json={"labels": {"team": "other"}})
    assert answer.status_code == 403, "nobody gives away what they have, or takes what others have"
    answer = users["ada"].request("POST", "/services", json={"modelName": "new", "sourceCode": "/nowhere"})
    assert answer.status_code == 403
    kea.request("PUT", "/services/free", json={"labels": {}}).raise_for_status()
    assert users["ada"].request("GET", "/services/free").status_code == 403
    kea.request("PUT", "/services/free", json={"labels": {"team": "risk"}}).raise_for_status()
    kea.request("DELETE", "/auth/roles/risk").raise_for_status()
    assert users["ada"].request("GET", "/services/free").status_code == 403


def test_the_command_line_grants_asks_and_revokes(kea: Kea, users: dict[str, User]) -> None:
    def can_i(*words: str) -> tuple[int, str]:
        done = kea.cli("auth", "can-i", *words, check=False)
        return done.returncode, done.stdout

    assert can_i("predict", "free") == (0, "yes: the role `admin` allows it\n")
    assert can_i("ada", "predict", "grades/set_grades")[0] == 1
    kea.cli("auth", "grant", "teacher", "--user", "ada")
    code, told = can_i("ada", "predict", "grades/set_grades")
    assert code == 0 and "binding `teacher-user-ada`" in told
    assert users["ada"].call("grades", "set_grades", student="ada", grade=2).status_code == 200
    kea.cli("auth", "revoke", "teacher", "--user", "ada")
    assert can_i("ada", "predict", "grades/set_grades") == (
        1,
        "no: `predict:grades/set_grades` is for these roles alone: teacher\n",
    )
    assert users["ada"].call("grades", "set_grades", student="ada", grade=2).status_code == 403
    assert "teacher" in kea.cli("auth", "revoke", "teacher", "--user", "ada", check=False).stderr
    # What options do not say of a service's access stays as it is.
    access = kea.details("grades")["settings"]["access"]
    kea.cli("update", "grades", "--public=false", "--no-wait")
    kea.cli("deploy", "grades", "--source", str(EXAMPLE), "--version", "1", "--public=false", "--no-wait")
    assert kea.details("grades")["settings"]["access"] == access and access["roles"] == ["student", "teacher"]
    assert "consumer" in kea.cli("auth", "roles").stdout
    assert kea.cli_json("auth", "roles", "consumer")["builtIn"] is True
    assert can_i("fly")[0] == 2
    # Others are asked about by those who manage roles alone; oneself by everybody.
    asked = {"verb": "predict", "service": "free"}
    assert users["nobody"].request("POST", "/auth/can-i", json=asked).json()["allowed"] is False
    assert users["con"].request("POST", "/auth/can-i", json=asked).json()["by"] == {"role": "consumer", "binding": None}
    assert users["con"].request("POST", "/auth/can-i", json=asked | {"username": "ada"}).status_code == 403
    assert users["sec"].request("POST", "/auth/can-i", json=asked | {"username": "con"}).json()["allowed"] is True


def test_what_cannot_be_meant_is_refused(kea: Kea, tmp_path: Path) -> None:
    def put(path: str, body: Any) -> tuple[int, str]:
        answer = kea.request("PUT", path, json=body)
        return answer.status_code, (answer.json().get("errors") or [{}])[0].get("pointer", "")

    assert put("/auth/roles/admin", {"rules": []}) == (409, "")
    assert kea.request("DELETE", "/auth/roles/consumer").status_code == 409
    assert put("/auth/roles/r", {"rules": [{"verbs": ["fly"], "services": ["*"]}]}) == (400, "/rules/0/verbs/0")
    assert put("/auth/roles/r", {"rules": [{"verbs": ["read"]}]}) == (400, "/rules/0/services")
    assert put("/auth/bindings/b", {"role": "r", "subjects": []}) == (400, "/subjects")
    assert put("/services/free", {"access": {"public": True, "roles": ["student"]}}) == (400, "/access/roles")
    assert put("/services/free", {"labels": {"a b": "c"}}) == (400, "/labels")
    assert kea.request("GET", "/auth/roles/no-such").status_code == 404
    file = tmp_path / "pod.yaml"
    file.write_text("kind: Pod\n")
    assert "is no role" in kea.cli("auth", "apply", "-f", str(file), check=False).stderr
    assert "kea auth apply" in kea.cli("deploy", "-f", str(EXAMPLE / "roles.yaml"), check=False).stderr


def test_roles_change_under_load_without_a_dropped_request(kea: Kea, users: dict[str, User], bound: Any) -> None:
    stop = threading.Event()
    steady: list[int] = []
    changing: list[int] = []

    def load(name: str, statuses: list[int]) -> None:
        user = User(kea, name)
        while not stop.is_set():
            statuses.append(user.call("free", "predict", x=1).status_code)

    threads = [threading.Thread(target=load, args=args) for args in [("con", steady), ("ada", changing)]]
    for thread in threads:
        thread.start()
    try:
        started = time.monotonic()
        changes = 0
        while changes < 60 or time.monotonic() - started < 3:
            bound("consumer", "ada")
            assert users["ada"].call("free", "predict", x=1).status_code == 200
            kea.request("DELETE", "/auth/bindings/consumer-ada").raise_for_status()
            assert users["ada"].call("free", "predict", x=1).status_code == 403
            changes += 2
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(steady) > 50 and set(steady) == {200}
    assert set(changing) == {200, 403}


def test_a_policy_survives_a_restart(kea: Kea, users: dict[str, User], bound: Any) -> None:
    bound("student", "ada")
    kea.kill()
    kea.start()
    kea.wait_deployed("grades")
    assert users["ada"].call("grades", "get_grades").status_code == 200
    kea.wait_deployed("free")


def operations() -> list[tuple[str, str]]:
    """All that are not for everybody."""
    everything = ((method, path, item[method]) for path, item in DOCUMENT["paths"].items() for method in item)
    return [(method, path) for method, path, said in everything if said["security"] and (method, path) not in OWN]


@pytest.mark.parametrize(("method", "path"), operations())
def test_no_operation_lets_in_whoever_has_no_role(users: dict[str, User], method: str, path: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    for service in ["free", "grades", "no-such"]:
        names = {"serviceId": service, "function": "get_grades", "name": "admin", "username": "admin"}
        filled = path.format_map(names | {"sessionId": "x", "keyId": "x"})
        query = {
            parameter["name"]: "free:0" if parameter["name"] == "cacheKey" else "1"
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "query" and parameter["required"]
        }
        content = operation.get("requestBody", {}).get("content", {})
        bodies = [None, *(body.get("example") for body in content.values()), {}]
        for body in bodies:
            answer = users["nobody"].request(method.upper(), f"!{filled}", params=query, json=body)
            assert answer.status_code in (401, 403, 404, 405), f"{filled} {body}: {answer.status_code} {answer.text}"
