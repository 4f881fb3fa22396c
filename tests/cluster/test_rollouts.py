"""A new version that takes over step by step, or goes back by itself, by what all routers counted of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from cluster import GROUP, NAMESPACE, Cluster, Gateway, Space, wait_for
from load import Load

# Version 1 calls it 0, version 2 counts the other way round.
SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}
LABEL = {"label": 0}

RULES = {"steps": [{"weight": 20, "pause": "2s"}, {"weight": 60, "pause": "2s"}], "minRequests": 30, "maxP99": "10s"}

Routers = Callable[[], list[Gateway]]


def started(space: Space, routers: Routers, name: str) -> str:
    """A service whose version 1 is live, and whose next ones take over by steps."""
    space.run(name, "iris", version="1", replicas=2, rollout=RULES)
    space.deployed(name)
    for router in routers():
        router.answers(name)
    return name


def rollout(space: Space, name: str) -> dict[str, Any]:
    return space.status(name).get("rollout", {})


def events(space: Space) -> dict[str, str]:
    found = json.loads(space.kubectl("get", "events", "-o", "json").stdout)["items"]
    return {one["reason"]: one["message"] for one in found if one["reason"].startswith("Rollout")}


def test_a_version_takes_over_by_all_routers_numbers_though_the_operator_is_replaced(
    space: Space, cluster: Cluster, routers: Routers, kea: Gateway, password: str, tmp_path: Path
) -> None:
    name = started(space, routers, "by-steps")
    first, second = routers()
    with Load(first, name, SETOSA, {}, threads=1) as one, Load(second, name, SETOSA, {}, threads=1) as other:
        space.patch("mlm", name, {"image": space.images["iris-2"], "version": "2"})
        wait_for(lambda: rollout(space, name).get("weight") == 20, lambda: f"a share; {space.told(name)}", 60)
        before = rollout(space, name)
        leader = cluster.leader()
        assert leader
        cluster.kubectl("-n", NAMESPACE, "delete", "pod", leader, "--wait=false")
        details = first.details(name)
        assert (details["liveVersion"], details["version"], details["canary"]["version"]) == ("1", "2", "2")
        assert details["rollout"]["phase"] == "progressing" and details["rollout"]["from"] == "1"
        home = {"XDG_CONFIG_HOME": str(tmp_path)}
        kea.cli("login", kea.url, "--username", "admin", env={**home, "KEA_PASSWORD": password})
        told = kea.cli("status", name, env=home).stdout
        assert "version 2 has 20 % of the requests at step 1 of 2" in told, told
        status = space.deployed(name, "2")
        for router in (first, second):
            router.answers(name, "2")
        one.more(50)
        other.more(50)
    one.assert_all_answered()
    other.assert_all_answered()
    assert cluster.leader() != leader
    ended = status["rollout"]
    assert (ended["phase"], ended["startedAt"], ended["step"]) == ("promoted", before["startedAt"], 2)
    assert "version 2 took over from version 1 after 2 steps" in kea.cli("status", name, env=home).stdout
    assert {"RolloutProgressing", "RolloutPromoted"} <= set(events(space))
    wait_for(lambda: not space.pods(name, "1"), "the replicas of version 1 to end")


def test_a_version_that_takes_other_inputs_goes_back(space: Space, routers: Routers, kea: Gateway) -> None:
    name = started(space, routers, "goes-back")
    first, second = routers()
    with Load(first, name, SETOSA, {}, threads=1) as one, Load(second, name, SETOSA, {}, threads=1) as other:
        space.kubectl("annotate", "mld", name, f"{GROUP}/allow-breaking=2")
        space.patch("mlm", name, {"image": space.images["adder"], "version": "2"})
        status = space.failed(name, "version 2 went back at step 1 of 2: ", "did not fit its contract")
        assert status["liveVersion"] == "1" and status["reason"].endswith("version 1 keeps serving")
        one.more(50)
        other.more(50)
    for load in (one, other):
        assert set(load.statuses) <= {200, 400} and not load.connection_errors, load.summary()
    assert space.condition(name, "Degraded")["reason"] == "RolloutReturned"
    assert events(space)["RolloutReturned"].startswith("version 2 goes back to version 1 at step 1 of 2: ")
    wait_for(lambda: not space.pods(name, "2"), "its replicas to end")
    # A rollback puts up with it.
    assert kea.request("POST", f"/services/{name}/rollback").status_code == 200
    assert "rollout" not in space.deployed(name, "1")


def test_a_version_that_answers_copies_differently_goes_back_before_it_answers_anybody(
    space: Space, routers: Routers
) -> None:
    name = started(space, routers, "in-shadow")
    steps = [{"shadow": True, "pause": "2s"}, {"weight": 50, "pause": "2s"}]
    space.patch("mld", name, {"rollout": {"steps": steps, "minRequests": 30, "maxDifferenceRate": 0.1}})
    first, second = routers()
    with Load(first, name, SETOSA, LABEL, threads=1) as one, Load(second, name, SETOSA, LABEL, threads=1) as other:
        space.patch("mlm", name, {"image": space.images["iris-2"], "version": "2"})
        why = space.failed(name, "version 2 went back at step 1 of 2: ", "answered differently")["reason"]
        one.more(20)
        other.more(20)
    assert why.startswith("version 2 went back at step 1 of 2: 100 % of its "), why
    for load in (one, other):
        load.assert_all_answered()
        load.assert_versions("1")
    wait_for(lambda: not space.pods(name, "2"), "its replicas to end")


def test_nobody_but_the_operator_is_told_what_routers_count(cluster: Cluster, kea: Gateway) -> None:
    service = cluster.find("services", NAMESPACE, "kea")
    assert service and [port["port"] for port in service["spec"]["ports"]] == [80]
    for pod in cluster.of_kea("router"):
        url = f"http://{pod['status']['podIP']}:8082/kea/trials/any"
        for headers in ({}, {"Authorization": kea.session.headers["Authorization"]}):
            answer = requests.get(url, headers=headers, timeout=10)
            assert answer.status_code == 401, answer.text
