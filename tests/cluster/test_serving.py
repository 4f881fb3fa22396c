"""Images of models become services: each kind of image, the objects that are made, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from cluster import GROUP, Gateway, Space, wait_for
from models import NAMES

Routers = Callable[[], list[Gateway]]
Expected = list[dict[str, Any]]


@pytest.fixture(scope="module")
def iris(shared: Space, kea: Gateway) -> str:
    """An ONNX model with two replicas."""
    shared.run("iris", "iris", replicas=2)
    shared.deployed("iris")
    kea.answers("iris")
    return "iris"


def check_iris(kea: Gateway, name: str, expected: Expected) -> None:
    served = kea.predictions(name, {"X": [one["row"] for one in expected]})
    assert [one["label"] for one in served] == [one["label"] for one in expected]
    np.testing.assert_allclose(
        [one["probabilities"] for one in served], [one["probabilities"] for one in expected], atol=1e-5
    )


def test_an_onnx_model_answers_through_every_router(
    shared: Space, kea: Gateway, routers: Routers, prepared: Any, iris: str
) -> None:
    check_iris(kea, iris, prepared.expected["iris"])
    both = routers()
    assert len(both) == 2
    for router in both:
        router.answers(iris)
        check_iris(router, iris, prepared.expected["iris"])
    status = shared.status(iris)
    assert (status["framework"], status["engine"], status["ready"]) == ("ONNX", "onnx", "2/2")
    assert status["image"].startswith(f"{prepared.registry}/kea-tests/iris@sha256:")
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Ready": "True", "Built": "True", "Documented": "True", "Progressing": "False", "Degraded": "False",
    }  # fmt: skip


def test_a_service_is_documented(kea: Gateway, iris: str) -> None:
    document = kea.request("GET", f"/openapi/{iris}").json()
    assert document["openapi"].startswith("3.") and any(path.endswith("/predict") for path in document["paths"])
    page = requests.get(f"{kea.url}/docs/{iris}", timeout=30)
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]
    refused = kea.predict(iris, {"X": ["a", "b", "c", "d"]})
    assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"]
    assert requests.post(f"{kea.url}/api/v1/k8c/services/{iris}/predict", json={}, timeout=30).status_code == 401


def test_a_scikit_learn_model_answers(shared: Space, kea: Gateway, prepared: Any) -> None:
    shared.run("species", "iris-frame")
    status = shared.deployed("species", seconds=150)
    assert (status["framework"], status["engine"]) == ("ScikitLearn", "python")
    kea.answers("species")
    expected = prepared.expected["iris-frame"]
    columns = {name: [one["row"][at] for one in expected] for at, name in enumerate(NAMES)}
    served = kea.predictions("species", columns)
    assert [one["label"] for one in served] == [one["label"] for one in expected]
    probabilities = [list(one["probabilities"].values()) for one in served]
    np.testing.assert_allclose(probabilities, [one["probabilities"] for one in expected], atol=1e-6)


def test_a_custom_class_answers_with_its_environment(shared: Space, kea: Gateway) -> None:
    shared.run("adder", "adder", env={"PLUS": "40"}, resources={"limits": {"cpu": 1, "memory": "512Mi"}})
    status = shared.deployed("adder")
    assert (status["framework"], status["engine"]) == ("Custom", "python")
    kea.answers("adder")
    assert kea.predictions("adder", {"x": 2}) == [{"result": 42}]
    assert kea.predictions("adder", {"text": "hello"}, "say") == [{"result": "hello"}]
    (pod,) = shared.pods("adder")
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}


def test_an_existing_web_service_answers_on_its_own_paths(shared: Space, kea: Gateway) -> None:
    shared.run("web", "web", env={"GREETING": "hello"})
    status = shared.deployed("web")
    assert status["engine"] == "external"
    wait_for(
        lambda: kea.request("GET", "/services/web/items").status_code == 200, "the web service to be routed to", 15
    )
    answer = kea.request("PUT", "/services/web/items/5?q=a", data="the body")
    told = answer.json()
    assert told["path"].endswith("/items/5?q=a") and told["body"] == "the body"
    assert told["token"] is None, "the caller's token stays with KEA"
    assert told["greeting"] == "hello"
    assert answer.headers["kea-version"] == "1"
    (pod,) = shared.pods("web")
    assert [one["name"] for one in pod["spec"]["containers"]] == ["model", "kea"]


def test_each_version_is_one_deployment_by_digest(shared: Space, iris: str) -> None:
    (found,) = shared.list("deployments", **{f"{GROUP}/service": iris})
    assert found["metadata"]["name"] == "iris-1"
    spec = found["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == shared.status(iris)["image"]
    assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == iris
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True and security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    inner = container["securityContext"]
    assert inner["allowPrivilegeEscalation"] is False and inner["readOnlyRootFilesystem"] is True
    assert inner["capabilities"] == {"drop": ["ALL"]}
    for pod in shared.pods(iris):
        mounts = [mount["mountPath"] for one in pod["spec"]["containers"] for mount in one["volumeMounts"]]
        assert mounts == ["/tmp"], "no token of the account"


def test_a_service_has_its_objects_which_belong_to_it(shared: Space, iris: str) -> None:
    owner = shared.find("mldeployments", iris)
    assert owner is not None
    for kind, name in [
        ("deployments", "iris-1"),
        ("services", iris),
        ("serviceaccounts", iris),
        ("networkpolicies", iris),
        ("poddisruptionbudgets", iris),
    ]:
        found = shared.find(kind, name)
        assert found, f"there is no {kind}/{name}"
        (reference,) = found["metadata"]["ownerReferences"]
        assert (reference["kind"], reference["uid"]) == ("MLDeployment", owner["metadata"]["uid"])
        assert reference["controller"] is True
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "kea" and labels[f"{GROUP}/service"] == iris
    account = shared.find("serviceaccounts", iris)
    assert account and account["automountServiceAccountToken"] is False
    policy = shared.find("networkpolicies", iris)
    assert policy and policy["spec"]["policyTypes"] == ["Ingress"]
    peers = policy["spec"]["ingress"][0]["from"]
    assert all(peer["namespaceSelector"]["matchLabels"] for peer in peers), "KEA's own namespace alone"
    selectors = [peer["podSelector"]["matchLabels"] for peer in peers]
    assert [one["app.kubernetes.io/component"] for one in selectors] == ["operator", "router"]
    budget = shared.find("poddisruptionbudgets", iris)
    assert budget and budget["spec"]["maxUnavailable"] == 1


def test_a_single_replica_has_no_budget_which_could_hold_it_on_its_node(shared: Space, kea: Gateway) -> None:
    name = "shrinking"
    shared.run(name, "iris", replicas=2)
    shared.deployed(name)
    assert shared.find("poddisruptionbudgets", name)
    shared.patch("mld", name, {"replicas": 1})
    wait_for(lambda: shared.find("poddisruptionbudgets", name) is None, "the budget to be gone", 30)
    shared.patch("mld", name, {"replicas": 2})
    before = wait_for(lambda: shared.find("poddisruptionbudgets", name), "the budget to be back", 30)
    shared.kubectl("delete", "poddisruptionbudgets", name)

    def is_another() -> bool:
        found = shared.find("poddisruptionbudgets", name)
        return bool(found) and found["metadata"]["uid"] != before["metadata"]["uid"]

    wait_for(is_another, "the budget to be made again", 30)


def test_the_service_of_kubernetes_leads_to_the_replicas(shared: Space, prepared: Any, iris: str) -> None:
    service = shared.find("services", iris)
    assert service is not None
    ready = requests.get(f"http://{service['spec']['clusterIP']}/v2/health/ready", timeout=10)
    assert ready.status_code == 200
    (subset,) = (shared.find("endpoints", iris) or {})["subsets"]
    assert len(subset["addresses"]) == 2


def test_what_is_deleted_takes_all_of_it_along(shared: Space, kea: Gateway) -> None:
    shared.run("leaving", "iris", replicas=2)
    shared.deployed("leaving")
    assert shared.find("poddisruptionbudgets", "leaving")
    shared.kubectl("delete", "mld/leaving", "mlm/leaving")
    shared.gone("leaving")
    wait_for(lambda: kea.request("GET", "/services/leaving").status_code == 404, "the routers to forget it", 15)
    assert kea.predict("leaving", {"X": [1, 2, 3, 4]}).status_code == 404


def test_a_name_is_one_for_the_whole_gateway(shared: Space, space: Space, kea: Gateway, iris: str) -> None:
    space.run(iris, "iris-2")
    space.failed(iris, f"an older MLDeployment in namespace `{shared.name}`")
    assert space.pods(iris) == []
    assert shared.status(iris)["state"] == "deployed"
