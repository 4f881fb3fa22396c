"""Images that a cluster builds itself: a Job fetches the model, installs its packages, and pushes what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import GROUP, NAMESPACE, Cluster, Files, Gateway, Object, Space, deployment, model, squeezed, wait_for
from models import SETOSA


def settings(prepared: Any, files: Files, endpoint: str) -> Object:
    """What builds of a namespace are told: there is no network but the node's."""
    data = {
        "KEA_REGISTRY_ENDPOINTS": f"{prepared.registry}={endpoint}",
        "KEA_BASE_IMAGE_ONNX": f"{prepared.registry}/debian:bookworm-slim",
        "KEA_BASE_IMAGE_PYTHON": f"{prepared.registry}/python:{{python}}-slim",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"{files.url}/wheels/",
        "PIP_TRUSTED_HOST": files.host.split(":")[0],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kea-build"}, "data": data}


@pytest.fixture(scope="module")
def building(shared: Space, prepared: Any, files: Files, endpoint: str) -> Space:
    """All builds at once: they wait for each other's packages no longer than need be."""
    shared.apply(settings(prepared, files, endpoint))
    shared.apply(
        model("built-onnx", source=f"{files.url}/iris.onnx"),
        deployment("built-onnx"),
        model("built-frame", source=f"{files.url}/iris.joblib", modelFramework="ScikitLearn"),
        deployment("built-frame", timeout="20s"),
        model("built-class", source=f"{files.url}/adder.py", modelFramework="Custom"),
        deployment("built-class"),
        model("built-not", source=f"{files.url}/nowhere.onnx"),
        deployment("built-not"),
        model("built-git", source=f"git+{files.url}/iris.git"),
        deployment("built-git"),
    )
    return shared


def check_built(space: Space, prepared: Any, name: str) -> Object:
    status = space.deployed(name, seconds=280)
    assert status["image"].startswith(f"{prepared.registry}/models/") and "@sha256:" in status["image"]
    (pod,) = space.pods(name)
    assert pod["spec"]["containers"][0]["image"] == status["image"]
    conditions = {one["type"]: one for one in status["conditions"]}
    assert conditions["Built"]["status"] == "True"
    return status


def test_a_failed_build_says_which_step_failed_and_why(building: Space, kea: Gateway) -> None:
    name = "built-not"
    status = building.failed(name, "the build failed", "404", f"kea logs {name} --build", seconds=200)
    assert "fetch the model" in status["reason"], "which step it was"
    assert building.condition(name, "Built")["reason"] == "BuildFailed"
    told = kea.cli("logs", name, "--build", env={"KEA_TOKEN": kea.token}).stdout
    assert "fetch the model" in told and "404" in told
    shown = kea.cli("status", name, check=False, env={"KEA_TOKEN": kea.token})
    assert squeezed("the build failed") in squeezed(shown.stdout + shown.stderr)
    assert building.pods(name) == []


def test_a_build_that_lacks_git_says_which_image_has_it(building: Space) -> None:
    building.failed("built-git", "git sources need `git`", "--builder-image", seconds=200)


def test_an_onnx_model_is_built(building: Space, kea: Gateway, prepared: Any) -> None:
    status = check_built(building, prepared, "built-onnx")
    assert (status["engine"], status["framework"]) == ("onnx", "ONNX")
    kea.answers("built-onnx")
    expected = prepared.expected["iris"]
    served = kea.predictions("built-onnx", {"X": [one["row"] for one in expected]})
    assert [one["label"] for one in served] == [one["label"] for one in expected]


def test_a_scikit_learn_model_is_built_with_its_packages(building: Space, kea: Gateway, prepared: Any) -> None:
    check_built(building, prepared, "built-frame")
    kea.answers("built-frame")
    assert kea.predictions("built-frame", SETOSA)[0]["label"] == "setosa"


def test_a_custom_class_is_built(building: Space, kea: Gateway, prepared: Any) -> None:
    check_built(building, prepared, "built-class")
    kea.answers("built-class")
    assert kea.predictions("built-class", {"x": 1}) == [{"result": 2}]


def test_a_build_s_pod_is_confined(building: Space) -> None:
    jobs = building.list("jobs", **{f"{GROUP}/service": "built-not"})
    assert len(jobs) == 1
    spec = jobs[0]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"] is True
    for container in spec["initContainers"] + spec["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
    (reference,) = jobs[0]["metadata"]["ownerReferences"]
    assert reference["kind"] == "MLDeployment"


@pytest.fixture
def own_settings(cluster: Cluster, prepared: Any, files: Files, endpoint: str) -> Iterator[Callable[[str], None]]:
    """Builds of services that the API makes, in KEA's own namespace."""
    made: list[str] = []
    document = settings(prepared, files, endpoint) | {"metadata": {"name": "kea-build", "namespace": NAMESPACE}}
    cluster.apply(document)
    yield made.append
    for name in made:
        cluster.kubectl("-n", NAMESPACE, "delete", "--ignore-not-found", "--wait=false", f"mld/{name}", f"mlm/{name}")
    cluster.kubectl("-n", NAMESPACE, "delete", "configmap", "kea-build")


def test_kea_deploy_of_a_url_builds_in_the_cluster(
    building: Space, kea: Gateway, files: Files, own_settings: Callable[[str], None]
) -> None:
    name = "from-url"
    own_settings(name)
    kea.cli("deploy", name, "--source", f"{files.url}/iris-2.onnx", env={"KEA_TOKEN": kea.token})
    assert kea.predictions(name, {"X": [5.1, 3.5, 1.4, 0.2]})[0]["label"] == 2
    assert "push the image" in kea.cli("logs", name, "--build", env={"KEA_TOKEN": kea.token}).stdout
    kea.cli("delete", name, env={"KEA_TOKEN": kea.token})
    wait_for(lambda: kea.request("GET", f"/services/{name}").status_code == 404, "it to be gone")
