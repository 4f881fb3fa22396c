"""A second version beside the live one: its share of the requests, its end, and how it takes over."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster import Gateway, Space, wait_for
from load import Load

# Version 1 calls it 0, version 2 counts the other way round.
SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def canary(space: Space, kea: Gateway) -> str:
    """A service whose version 2 has 20 percent of the requests."""
    name = "canary"
    space.run(name, "iris", version="1", replicas=2)
    space.deployed(name)
    space.patch("mld", name, {"canary": {"version": "2", "weight": 20}})
    space.patch("mlm", name, {"image": space.images["iris-2"], "version": "2"})
    status = wait_for(lambda: has_canary(space, name), lambda: f"the canary; {space.told(name)}", 90)
    assert (status["liveVersion"], status["version"]) == ("1", "1")
    kea.answers(name)
    wait_for(lambda: answering(kea, name, "2"), "the router to know the canary", 15)
    return name


def has_canary(space: Space, name: str) -> dict[str, Any] | None:
    status = space.status(name)
    there = status.get("canary", {}).get("readyReplicas") and status["state"] == "deployed"
    return status if there else None


def answering(kea: Gateway, name: str, version: str) -> bool:
    return kea.predict(name, SETOSA, headers={"kea-version": version}).status_code == 200


def shares(kea: Gateway, name: str, requests: int) -> Counter[str]:
    """How many of the next requests each version answered; each is checked to be that version's."""
    counted: Counter[str] = Counter()
    for _ in range(requests):
        answer = kea.predict(name, SETOSA)
        assert answer.status_code == 200, answer.text
        version = answer.headers["kea-version"]
        assert answer.json()["predictions"][0]["label"] == {"1": 0, "2": 2}[version]
        counted[version] += 1
    return counted


def test_each_router_gives_the_canary_exactly_its_share(canary: str, routers: Any, space: Space) -> None:
    for router in routers():
        wait_for(lambda router=router: answering(router, canary, "2"), "this router to know the canary", 15)
        assert shares(router, canary, 100) == {"1": 80, "2": 20}
    assert {len(space.pods(canary, "1")), len(space.pods(canary, "2"))} == {2, 1}
    details = routers()[0].details(canary)
    assert details["canary"] == {"version": "2", "weight": 20} and details["liveVersion"] == "1"


def test_a_changed_weight_acts_without_a_failed_request(canary: str, routers: Any, space: Space) -> None:
    router = routers()[0]
    with Load(router, canary, SETOSA, {}, threads=2) as load:
        for weight in (0, 100, 50):
            space.patch("mld", canary, {"canary": {"version": "2", "weight": weight}})
            wait_for(lambda weight=weight: router.details(canary)["canary"]["weight"] == weight, "the weight", 15)
            load.more(50)
    load.assert_all_answered()
    assert shares(router, canary, 100) == {"1": 50, "2": 50}


def test_without_the_canary_its_version_takes_over(canary: str, kea: Gateway, space: Space) -> None:
    with Load(kea, canary, SETOSA, {}, threads=2) as load:
        load.more(20)
        space.kubectl("patch", "mld", canary, "--type=json", "-p", '[{"op": "remove", "path": "/spec/canary"}]')
        assert space.deployed(canary, "2")["ready"] == "2/2"
        kea.answers(canary, "2")
        load.more(100)
    load.assert_all_answered()
    assert "canary" not in space.status(canary)
    wait_for(lambda: not space.pods(canary, "1"), "the replicas of version 1 to end")


def test_the_commands_set_a_canary_and_end_it(space: Space, kea: Gateway, password: str, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    kea.cli("login", kea.url, "--username", "admin", env={**home, "KEA_PASSWORD": password})
    name = "canary-api"
    space.run(name, "iris", version="1")
    space.deployed(name)
    kea.answers(name)
    changes = {"containerImage": space.images["iris-2"], "version": "2", "canary": {"version": "2", "weight": 10}}
    answer = kea.request("PUT", f"/services/{name}", json=changes)
    assert answer.status_code == 200, answer.text
    kea.cli("update", name, "--canary", "2=30", env=home)
    unknown = kea.cli("update", name, "--canary", "9=30", env=home, check=False)
    assert unknown.returncode == 1 and "9" in unknown.stderr, unknown.stderr
    wait_for(lambda: has_canary(space, name), lambda: f"the canary; {space.told(name)}", 90)
    told = kea.cli("status", name, env=home).stdout
    assert "canary 2" in told and "30 %" in told, told
    kea.cli("rollback", name, env=home)
    status = space.deployed(name, "1")
    assert "canary" not in status
    wait_for(lambda: not space.pods(name, "2"), "the canary to end")
    assert shares(kea, name, 20) == {"1": 20}


def test_a_canary_that_never_becomes_ready_gets_nothing(space: Space, kea: Gateway) -> None:
    name = "canary-broken"
    space.run(name, "iris", version="1")
    space.deployed(name)
    kea.answers(name)
    space.patch("mld", name, {"canary": {"version": "2", "weight": 50}})
    space.patch("mlm", name, {"image": space.images["iris"] + "-is-not-there", "version": "2"})
    status = space.failed(name, "canary 2: ")
    assert status["liveVersion"] == "1"
    assert shares(kea, name, 20) == {"1": 20}
    assert space.condition(name, "Ready")["status"] == "True"


def test_a_canary_beside_nothing_is_refused(space: Space) -> None:
    space.run("first", "iris", version="2", canary={"version": "2", "weight": 10})
    space.failed("first", "beside the version that is live", "remove `canary`")
    assert not space.pods("first")


def test_an_autoscaler_sets_the_replicas(space: Space, kea: Gateway) -> None:
    name = "autoscaled"
    requests = {"requests": {"cpu": "50m"}}
    space.run(name, "iris", autoscaling={"minReplicas": 2, "maxReplicas": 3}, resources=requests)
    assert space.deployed(name)["ready"] == "2/2"
    scaler = space.find("horizontalpodautoscalers", name)
    assert scaler is not None
    spec = scaler["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"], spec["targetCPUUtilizationPercentage"]) == (2, 3, 80)
    assert spec["scaleTargetRef"]["kind"] == "MLDeployment"
    # Kubernetes' own controller found what it is to scale, and how many there are.
    wait_for(lambda: scaler_sees(space, name) == 2, "the autoscaler to see the replicas", 60)
    # It asks by the scale subresource, as this does.
    space.kubectl("scale", f"mld/{name}", "--replicas=3")
    assert space.deployed(name)["ready"] == "3/3"
    space.kubectl("patch", "mld", name, "--type=json", "-p", '[{"op": "remove", "path": "/spec/autoscaling"}]')
    wait_for(lambda: space.find("horizontalpodautoscalers", name) is None, "the autoscaler to be gone", 30)
    assert space.deployed(name)["ready"] == "3/3"


def scaler_sees(space: Space, name: str) -> int:
    scaler = space.find("horizontalpodautoscalers", name)
    return int(scaler["status"].get("currentReplicas", 0)) if scaler else 0


def test_an_autoscaler_without_a_measure_is_refused(space: Space) -> None:
    space.run("unmeasured", "iris", autoscaling={"maxReplicas": 3})
    space.failed("unmeasured", "`resources.requests.cpu`")
