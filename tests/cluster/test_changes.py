"""Changes of a service while it is called: nobody is refused, and what cannot be leaves what runs alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from cluster import GROUP, NAMESPACE, Cluster, Gateway, Space, wait_for
from load import Load

# The first species: version 1 calls it 0, version 2 counts the other way round.
SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


def started(space: Space, kea: Gateway, name: str, image: str = "iris", **spec: Any) -> str:
    space.run(name, image, **spec)
    space.deployed(name)
    kea.answers(name)
    return name


def label(kea: Gateway, name: str) -> int:
    return int(kea.predictions(name, SETOSA)[0]["label"])


def test_kubectl_scale_changes_the_replicas_without_a_failed_request(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "scaled")
    with Load(kea, name, SETOSA, {"label": 0}, threads=2) as load:
        space.kubectl("scale", "mld/scaled", "--replicas=3")
        status = space.deployed(name)
        assert (status["ready"], status["replicas"]) == ("3/3", 3)
        wait_for(lambda: len(kea.details(name)["replicaStatuses"]) == 3, "three replicas in the API", 15)
        load.more(100)
        space.kubectl("scale", "mld/scaled", "--replicas=1")
        wait_for(lambda: len(space.pods(name)) == 1, "one pod")
        load.more(100)
        # Those that were told to end have done so.
        wait_for(lambda: len(space.list("pods", **{f"{GROUP}/service": name})) == 1, "the others to be gone")
    load.assert_all_answered()
    assert space.deployed(name)["ready"] == "1/1"
    selected = space.kubectl("get", "pods", "-l", space.status(name)["selector"], "-o", "name").stdout.split()
    assert len(selected) == 1, "an autoscaler finds the pods"


def test_no_replicas_at_all_can_be_asked_for(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "asleep")
    space.kubectl("scale", "mld/asleep", "--replicas=0")
    assert space.deployed(name)["ready"] == "0/0"
    wait_for(lambda: kea.predict(name, SETOSA).status_code == 503, "nobody to answer", 15)
    space.kubectl("scale", "mld/asleep", "--replicas=1")
    space.deployed(name)
    wait_for(lambda: kea.predict(name, SETOSA).status_code == 200, "an answer", 15)


def test_changed_environment_and_resources_reach_new_pods_without_a_failed_request(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "changed", replicas=2)
    before = {pod["metadata"]["name"] for pod in space.pods(name)}
    with Load(kea, name, SETOSA, {"label": 0}, threads=2) as load:
        change = {"env": {"STAGE": "test"}, "resources": {"limits": {"memory": "300Mi"}}}
        space.patch("mld", name, change)
        wait_for(lambda: _has_env(space, name), "the Deployment to be changed")
        space.rolled_out(name)
        load.more(100)
    load.assert_all_answered()
    pods = space.pods(name)
    assert len(pods) == 2 and not before & {pod["metadata"]["name"] for pod in pods}
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        assert {"name": "STAGE", "value": "test"} in container["env"]
        assert container["resources"]["limits"]["memory"] == "300Mi"
    assert space.deployed(name)["liveVersion"] == "1", "it is still the same version"


def _has_env(space: Space, name: str) -> bool:
    found = space.find("deployments", f"{name}-1")
    return bool(found) and "STAGE" in str(found["spec"]["template"])


def test_a_new_model_takes_over_and_the_old_one_can_be_returned_to(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "updated", replicas=2)
    with Load(kea, name, SETOSA, {}, threads=3) as load:
        load.more(50)
        space.patch("mlm", name, {"image": space.images["iris-2"]})
        space.deployed(name, "2")
        kea.answers(name, "2")
        load.more(200)
        assert label(kea, name) == 2
        # The old version goes without a replica, and stays to return to.
        wait_for(lambda: not space.pods(name, "1"), "the replicas of version 1 to end")
        assert space.find("deployments", f"{name}-1")
        load.more(100)
        # A version that is named is one that has run.
        space.patch("mlm", name, {"version": "2"})
        space.patch("mld", name, {"version": "1"})
        space.deployed(name, "1")
        kea.answers(name, "1")
        load.more(200)
        assert label(kea, name) == 0
    load.assert_all_answered()
    load.assert_versions("1", "2", "1")
    assert space.status(name)["liveHistory"] == ["1", "2", "1"]
    versions = kea.request("GET", f"/services/{name}/versions").json()
    assert [(one["version"], one["live"]) for one in versions] == [("1", True), ("2", False)]


def test_a_tag_that_moved_is_no_change_of_a_version(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "pinned")
    image = space.status(name)["image"]
    by_digest = (space.find("deployments", f"{name}-1") or {})["spec"]["template"]["spec"]["containers"][0]["image"]
    assert by_digest == image and "@sha256:" in image


def test_nothing_is_changed_while_it_is_paused(
    cluster: Cluster, space: Space, kea: Gateway, routers: Callable[[], list[Gateway]]
) -> None:
    name = started(space, kea, "paused", access={"public": True})
    before = (space.find("deployments", f"{name}-1") or {})["metadata"]["generation"]
    space.patch("mld", name, {"paused": True, "replicas": 3})
    wait_for(lambda: space.condition(name, "Progressing").get("reason") == "Paused", "it to be paused")
    space.patch("mld", name, {"env": {"A": "b"}, "access": {"public": False}})
    generation = (space.find("mldeployments", name) or {})["metadata"]["generation"]
    wait_for(lambda: space.status(name)["observedGeneration"] == generation, "the operator to have seen it")
    found = space.find("deployments", f"{name}-1")
    assert found and found["spec"]["replicas"] == 1 and found["metadata"]["generation"] == before
    assert label(kea, name) == 0
    # A router that begins now has not seen what it was before.
    victim = cluster.of_kea("router")[0]["metadata"]["name"]
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", victim, "--wait=false")
    cluster.wait_ready("router")
    assert [unauthenticated(router, name) for router in routers()] == [200, 200]
    space.patch("mld", name, {"paused": False})
    assert space.deployed(name)["ready"] == "3/3"
    for router in routers():
        wait_for(lambda router=router: unauthenticated(router, name) == 401, "the changed access", 15)


def unauthenticated(router: Gateway, name: str) -> int:
    url = f"{router.url}/api/v1/k8c/services/{name}/predict"
    return requests.post(url, json={"inputs": SETOSA}, timeout=10).status_code


def test_another_model_under_the_same_version_stops_before_a_pod_starts(space: Space, kea: Gateway) -> None:
    name = "conflict"
    space.run(name, "iris", version="7")
    space.deployed(name, "7")
    kea.answers(name, "7")
    before = space.find("deployments", f"{name}-7")
    space.patch("mlm", name, {"image": space.images["iris-2"]})
    status = space.failed(name, "version `7` exists with another model", "another `version`")
    assert status["liveVersion"] == "7" and space.condition(name, "Ready")["status"] == "True"
    assert space.condition(name, "Degraded")["reason"] == "VersionConflict"
    after = space.find("deployments", f"{name}-7")
    assert before and after and after["metadata"]["generation"] == before["metadata"]["generation"]
    assert len(space.pods(name)) == 1
    assert label(kea, name) == 0
    space.patch("mlm", name, {"version": "8"})
    space.deployed(name, "8")
    kea.answers(name, "8")
    assert label(kea, name) == 2


def test_a_version_that_never_becomes_ready_leaves_the_old_one_serving(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "broken-update")
    with Load(kea, name, SETOSA, {"label": 0}, threads=2) as load:
        space.patch("mlm", name, {"image": space.images["broken"]})
        status = space.failed(name, "version 2: ", "the weights are not there", "version 1 keeps serving")
        assert status["liveVersion"] == "1" and status["readyReplicas"] == 1
        assert space.condition(name, "Ready")["status"] == "True"
        load.more(100)
        details = kea.details(name)
        assert (details["status"], details["liveVersion"], details["version"]) == ("failed", "1", "2")
        # What was overtaken before it answered goes.
        space.patch("mlm", name, {"image": space.images["iris"]})
        space.deployed(name, "1")
        wait_for(lambda: not space.pods(name, "2"), "the pods of version 2 to end")
    load.assert_all_answered()
    load.assert_versions("1")


def test_the_settings_of_the_gateway_change_no_pod(space: Space, kea: Gateway) -> None:
    name = started(space, kea, "settings", "iris-2")
    before = [pod["metadata"]["name"] for pod in space.pods(name)]
    space.patch("mld", name, {"cache": {"enabled": True, "ttl": "60s"}, "access": {"public": True}})
    wait_for(lambda: kea.predict(name, SETOSA).headers.get("kea-cache") == "hit", "an answer from the cache", 15)
    assert [pod["metadata"]["name"] for pod in space.pods(name)] == before
