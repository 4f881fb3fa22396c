"""The management API and the CLI against routers of a cluster: as on one machine, with pods in place of processes."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cluster import NAMESPACE, Cluster, Gateway, Space, wait_for
from harness import API

ROOT = Path(__file__).parents[2]
SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def remover(cluster: Cluster) -> Iterator[list[str]]:
    """Services of KEA's own namespace that go with the test."""
    names: list[str] = []
    yield names
    for name in names:
        cluster.kubectl("-n", NAMESPACE, "delete", "--ignore-not-found", "--wait=false", f"mld/{name}", f"mlm/{name}")


@pytest.fixture(scope="module")
def iris(shared: Space, kea: Gateway) -> str:
    shared.run("listed", "iris", replicas=2)
    shared.run("web-logs", "web")
    shared.deployed("listed")
    shared.deployed("web-logs")
    kea.answers("listed")
    return "listed"


def test_the_document_of_the_api_is_that_of_one_machine(kea: Gateway) -> None:
    def operations(document: Any) -> set[tuple[str, str]]:
        return {(path, verb) for path, verbs in document["paths"].items() for verb in verbs}

    served = kea.request("GET", "/openapi.json")
    served = served if served.status_code == 200 else kea.request("GET", "!/openapi.json")
    assert operations(served.json()) == operations(json.loads((ROOT / "docs" / "openapi.json").read_text()))


def test_every_path_of_the_api_answers(kea: Gateway, shared: Space, iris: str) -> None:
    payload = {"serviceId": iris, "requestPayload": {"inputs": SETOSA}, "schemaVersion": "1"}
    rule = {"serviceId": iris, "algorithm": "least_connections", "replicas": []}
    calls: list[tuple[str, str, Any, int]] = [
        ("GET", "/services", None, 200),
        ("GET", f"/services/{iris}", None, 200),
        ("PUT", f"/services/{iris}", {"timeout": "4s"}, 200),
        ("GET", f"/services/{iris}/methods", None, 200),
        ("GET", f"/services/{iris}/versions", None, 200),
        ("POST", f"/services/{iris}/rollback", None, 409),
        ("POST", f"/services/{iris}/predict", {"inputs": SETOSA}, 200),
        ("POST", f"/services/{iris}/no-such-function", {"inputs": SETOSA}, 404),
        ("GET", f"/openapi/{iris}", None, 200),
        ("GET", f"/logs/{iris}", None, 200),
        ("POST", "/router/loadbalancer", rule, 201),
        ("GET", "/router/loadbalancer", None, 200),
        ("GET", f"/router/loadbalancer/{iris}", None, 200),
        ("DELETE", f"/router/loadbalancer/{iris}", None, 204),
        ("POST", "/router/validate", payload, 200),
        ("GET", "/router/cache?cacheKey=none", None, 404),
        ("GET", "!/healthz", None, 200),
        ("GET", "!/readyz", None, 200),
        ("GET", "!/metrics", None, 200),
        ("GET", "!/docs", None, 200),
        ("GET", f"!/v2/models/{iris}", None, 200),
        ("GET", "/services/nobody", None, 404),
        ("PUT", "/services/nobody", {"replicas": 2}, 404),
        ("DELETE", "/services/nobody", None, 404),
        ("POST", "/services", {"modelName": "x", "sauce": "y"}, 400),
        ("PUT", f"/services/{iris}", {"replicas": 1001}, 400),
        ("PUT", f"/services/{iris}", {"version": "77"}, 404),
    ]
    wrong = []
    for verb, path, body, status in calls:
        answer = kea.request(verb, path, json=body)
        if answer.status_code != status:
            wrong.append(f"{verb} {path}: {answer.status_code} in place of {status}: {answer.text[:300]}")
    assert wrong == []
    assert shared.status(iris)["state"] == "deployed"


def test_the_details_name_the_service_of_kubernetes(kea: Gateway, shared: Space, iris: str) -> None:
    service = shared.find("services", iris)
    assert service is not None
    details = kea.details(iris)
    assert details["kubernetesService"] == {"name": iris, "clusterIP": service["spec"]["clusterIP"], "ports": [80]}
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in shared.pods(iris)}
    shown = {one["name"]: one["address"].split(":")[0] for one in details["replicaStatuses"]}
    assert shown == pods and all(one["state"] == "ready" for one in details["replicaStatuses"])
    assert details["image"] == shared.status(iris)["image"]
    assert [(step["name"], step["state"]) for step in details["steps"]] == [
        ("have the image", "done"), ("start the replicas", "done"), ("know what it offers", "done"),
    ]  # fmt: skip


def test_what_the_api_changes_is_in_the_documents(
    kea: Gateway, cluster: Cluster, prepared: Any, remover: list[str]
) -> None:
    remover.append("by-api")
    body = {"modelName": "by-api", "containerImage": prepared.images["iris"], "replicas": 1}
    answer = kea.request("POST", "/services", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"].endswith("/services/by-api")
    assert answer.json()["kubernetesService"]["name"] == "by-api"
    kea.wait_deployed("by-api", 90)
    assert kea.predictions("by-api", SETOSA)[0]["label"] == 0, "who reads `deployed` is answered"
    document = cluster.find("mlmodels", NAMESPACE, "by-api")
    assert document and document["spec"]["image"] == prepared.images["iris"]
    changed = kea.request("PUT", "/services/by-api", json={"containerImage": prepared.images["iris-2"]})
    assert changed.status_code == 200 and changed.json()["version"] == "2", changed.text
    wait_for(lambda: kea.details("by-api")["liveVersion"] == "2", "version 2", 90)
    back = kea.request("POST", "/services/by-api/rollback")
    assert back.status_code == 200 and back.json()["version"] == "1", back.text
    wait_for(lambda: kea.details("by-api")["liveVersion"] == "1", "version 1", 90)
    assert kea.request("DELETE", "/services/by-api").status_code == 204
    assert kea.request("GET", "/services/by-api").status_code == 404
    assert cluster.find("mlmodels", NAMESPACE, "by-api") is None


def test_what_a_cluster_cannot_have_is_refused_with_what_to_do(kea: Gateway) -> None:
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"modelName": "path", "sourceCode": "./iris.joblib"}, "/sourceCode", "is a path, which a cluster cannot read"),
        ({"modelName": "nothing"}, "/sourceCode", "nothing to run is named"),
        ({"modelName": "both", "sourceCode": "s3://m/x", "containerImage": "x"}, "/containerImage", "keep one"),
        ({"modelName": "9iris", "containerImage": "x"}, "/modelName", "begins with a letter"),
        ({"modelName": "version", "containerImage": "x", "version": "2."}, "/version", "for example `2`"),
        ({"modelName": "env", "containerImage": "x", "env": {"a b": "c"}}, "/env", "`a b`"),
    ]
    for request, pointer, words in refused:
        answer = kea.request("POST", "/services", json=request)
        assert answer.status_code == 400, answer.text
        (error,) = answer.json()["errors"]
        assert error["pointer"] == pointer and words in error["detail"], answer.text
        assert kea.request("GET", f"/services/{request['modelName']}").status_code == 404


def test_the_commands_do_in_a_cluster_what_they_do_on_one_machine(
    kea: Gateway, prepared: Any, password: str, tmp_path: Path, remover: list[str]
) -> None:
    remover.append("flowers")
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    def cli(*arguments: str) -> str:
        return kea.cli(*arguments, env=home).stdout

    kea.cli("login", kea.url, "--username", "admin", env={**home, "KEA_PASSWORD": password})
    file = tmp_path / "kea.yaml"
    image = prepared.images["iris"]
    file.write_text(f"""
apiVersion: ml.kea-project.io/v1alpha1
kind: MLModel
metadata: {{name: flowers}}
spec: {{image: "{image}"}}
---
apiVersion: ml.kea-project.io/v1alpha1
kind: MLDeployment
metadata: {{name: flowers}}
spec: {{replicas: 1, timeout: 3s}}
""")
    cli("deploy", "-f", str(file))
    assert "flowers" in cli("list")
    assert kea.details("flowers")["status"] == "deployed", "it returns once it is deployed"
    shown = json.loads(kea.cli("--output", "json", "get", "flowers", env=home).stdout)
    assert (shown["serviceId"], shown["replicas"], shown["settings"]["timeout"]) == ("flowers", 1, "3s")
    assert "deployed" in cli("status", "flowers")
    assert "predict" in cli("methods", "flowers")
    assert json.loads(cli("docs", "flowers"))["openapi"]
    assert "PROBABILITIES" in cli("predict", "flowers", json.dumps(SETOSA))
    cli("scale", "flowers", "2")
    assert kea.details("flowers")["readyReplicas"] == 2
    cli("update", "flowers", "--env", "A=b")
    assert cli("versions", "flowers").count("kea-tests/iris") >= 1
    nothing = kea.cli("rollback", "flowers", check=False, env=home)
    assert nothing.returncode == 1 and "no version of `flowers` was live before" in nothing.stderr
    file.write_text(file.read_text().replace(image, prepared.images["iris-2"]))
    cli("deploy", "-f", str(file))
    assert kea.predictions("flowers", SETOSA)[0]["label"] == 2
    cli("rollback", "flowers")
    assert kea.details("flowers")["liveVersion"] == "1"
    assert "ready" in cli("logs", "flowers").lower()
    cli("delete", "flowers")
    assert "flowers" not in cli("list")


def logs(kea: Gateway, name: str, **query: Any) -> list[str]:
    answer = kea.request("GET", f"/logs/{name}", params=query)
    assert answer.status_code == 200, answer.text
    return [str(line) for line in answer.json()["logEntries"]]


def test_logs_are_those_of_all_replicas_or_of_one(kea: Gateway, shared: Space, iris: str) -> None:
    names = {pod["metadata"]["name"] for pod in shared.pods(iris)}
    found = logs(kea, iris, tail=1000)
    assert {line.split()[1] for line in found} == names
    assert found == sorted(found, key=lambda line: line.split()[0]), "in the order of their times"
    one = min(names)
    assert {line.split()[1] for line in logs(kea, iris, replica=one)} == {one}
    assert len(logs(kea, iris, tail=3)) == 3
    assert logs(kea, iris, replica="nobody") == []
    assert logs(kea, iris, since="2099-01-01T00:00:00Z") == []


def test_what_a_container_said_before_it_was_started_again_is_there(kea: Gateway, shared: Space, iris: str) -> None:
    kea.request("GET", "/services/web-logs/end")
    (pod,) = shared.pods("web-logs")
    wait_for(lambda: kea.details("web-logs")["replicaStatuses"][0]["restarts"] > 0, "a restart", 60)
    wait_for(lambda: kea.request("GET", "/services/web-logs/again").status_code == 200, "an answer", 60)
    found = logs(kea, "web-logs", tail=1000, replica=pod["metadata"]["name"])
    assert any(line.endswith("told to end") for line in found), found
    assert any("asked for" in line and "/again" in line for line in found), found


def test_logs_are_followed(kea: Gateway, shared: Space, iris: str, tmp_path: Path) -> None:
    command = [kea.binary, "logs", "web-logs", "--follow", "--tail", "0"]
    env = {"KEA_SERVER": kea.url, "KEA_TOKEN": kea.token, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout is not None
        # It begins to follow at some moment: calls go on until one is seen.
        seen: list[str] = []

        def called() -> bool:
            kea.request("GET", "/services/web-logs/followed")
            return bool(seen)

        reader = threading.Thread(target=lambda: seen.append(process.stdout.readline()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        wait_for(called, "a line that is followed", 30, pause=0.5)
        assert "/followed" in seen[0] or "asked for" in seen[0]
    finally:
        process.terminate()
        process.wait(30)


def test_pages_and_health_need_no_login(kea: Gateway) -> None:
    for path in ("/docs", "/healthz", "/readyz"):
        assert requests.get(kea.url + path, timeout=10).status_code == 200, path
    assert requests.get(f"{kea.url}{API}/services", timeout=10).status_code == 401
    assert requests.get(f"{kea.url}{API}/logs/listed", timeout=10).status_code == 401


def test_a_login_holds_at_every_router(kea: Gateway, routers: Any) -> None:
    for router in routers():
        assert router.request("GET", "/services").status_code == 200
        router.login()
        assert kea.session.get(f"{kea.url}{API}/services", headers=dict(router.session.headers)).status_code == 200
