"""What goes wrong in a cluster, while every request is counted: pods, routers, operators and the API server go away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cluster import NAMESPACE, Cluster, FreshLoad, Gateway, Object, Space, is_ready, wait_for
from load import Load

SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def whole(cluster: Cluster, kea: Gateway) -> Iterator[None]:
    """KEA is whole again after the test, too."""
    yield
    for component in ("operator", "router"):
        cluster.wait_ready(component)
    wait_for(cluster.leader, "an operator that leads")


def name_of(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def test_a_replica_that_is_deleted_costs_no_request(shared: Space, kea: Gateway, steady: str) -> None:
    with Load(kea, steady, SETOSA, {"label": 0}, threads=3) as load:
        load.more(50)
        victim = name_of(shared.pods(steady)[0])
        shared.kubectl("delete", "pod", victim, "--wait=false")
        wait_for(lambda: shared.find("pods", victim) is None, "the pod to be gone")
        wait_for(lambda: sum(map(is_ready, shared.pods(steady))) == 2, "another replica")
        load.more(100)
    load.assert_all_answered()


def test_a_replica_that_crashes_costs_no_request_but_those_it_had(shared: Space, kea: Gateway, steady: str) -> None:
    """Its container is killed without a word; `predict` of a framework may be asked again elsewhere."""
    with Load(kea, steady, SETOSA, {"label": 0}, threads=3) as load:
        load.more(50)
        victim = name_of(shared.pods(steady)[0])
        shared.kubectl("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")
        wait_for(lambda: shared.find("pods", victim) is None, "the pod to be gone")
        wait_for(lambda: sum(map(is_ready, shared.pods(steady))) == 2, "another replica")
        load.more(100)
    load.assert_all_answered()


@pytest.mark.usefixtures("whole")
def test_a_router_that_is_deleted_costs_no_request(cluster: Cluster, kea: Gateway, steady: str) -> None:
    """Callers of the Service that make a new connection for each call see nothing of it."""
    with FreshLoad(kea, steady, SETOSA, {"label": 0}, threads=3) as load:
        load.more(50)
        victim = name_of(cluster.of_kea("router")[0])
        cluster.kubectl("-n", NAMESPACE, "delete", "pod", victim, "--wait=false")
        wait_for(lambda: cluster.find("pods", NAMESPACE, victim) is None, "the router to be gone", 90)
        wait_for(lambda: sum(map(is_ready, cluster.of_kea("router"))) == 2, "another router")
        load.more(100)
    load.assert_all_answered()


@pytest.mark.usefixtures("whole")
def test_the_operator_that_leads_is_killed_during_an_update(cluster: Cluster, space: Space, kea: Gateway) -> None:
    name = "killed-during"
    space.run(name, "iris", replicas=2)
    space.deployed(name)
    kea.answers(name)
    with Load(kea, name, SETOSA, {}, threads=3) as load:
        load.more(50)
        leader = cluster.leader()
        space.patch("mlm", name, {"image": space.images["iris-2"]})
        wait_for(lambda: space.pods(name, "2"), "the new version to begin")
        assert leader is not None
        cluster.kubectl("-n", NAMESPACE, "delete", "pod", leader, "--grace-period=0", "--force", "--wait=false")
        space.deployed(name, "2")
        kea.answers(name, "2")
        load.more(100)
    load.assert_all_answered()
    load.assert_versions("1", "2")
    assert cluster.leader() not in (None, leader)
    wait_for(lambda: not space.pods(name, "1"), "the replicas of version 1 to end")


@pytest.mark.usefixtures("whole")
def test_exactly_one_operator_leads_and_gives_way_at_once(cluster: Cluster, kea: Gateway) -> None:
    def leading() -> list[str]:
        found = []
        for pod in cluster.of_kea("operator"):
            metrics = requests.get(f"http://{pod['status']['podIP']}:8081/metrics", timeout=5).text
            lines = [line for line in metrics.splitlines() if "lead" in line and not line.startswith("#")]
            assert lines, metrics
            found += [name_of(pod)] * sum(line.split()[-1] in ("1", "1.0") for line in lines)
        return found

    leader = wait_for(cluster.leader, "a leader")
    assert leading() == [leader]
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", leader, "--wait=false")
    began = time.monotonic()
    wait_for(lambda: cluster.leader() not in (None, leader), "another operator to lead", 20)
    assert time.monotonic() - began < 6, "it gives the lease away, and nobody waits for its end"
    cluster.wait_ready("operator")
    wait_for(lambda: leading() == [cluster.leader()], "one operator that says it leads", 20)


@pytest.mark.usefixtures("whole")
def test_an_operator_that_vanishes_is_followed_within_twenty_seconds(
    cluster: Cluster, shared: Space, kea: Gateway, steady: str
) -> None:
    leader = wait_for(cluster.leader, "a leader")
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", leader, "--grace-period=0", "--force", "--wait=false")
    wait_for(lambda: cluster.leader() not in (None, leader), "another operator to lead", 20)
    # It does the work.
    shared.kubectl("delete", "service", steady)
    wait_for(lambda: shared.find("services", steady), "the Service to come back", 20)


def api_server() -> int:
    """The process of the API server, where this machine runs it."""
    file = Path(os.environ.get("KEA_CLUSTER_DIR", "/nowhere")) / "run" / "kube-apiserver.pid"
    if not file.exists():
        pytest.skip("the API server does not run on this machine")
    return int(file.read_text())


@pytest.mark.usefixtures("whole")
def test_predictions_go_on_while_the_api_server_is_away(
    cluster: Cluster, shared: Space, kea: Gateway, steady: str
) -> None:
    pid = api_server()
    with FreshLoad(kea, steady, SETOSA, {"label": 0}, threads=2) as load:
        load.more(50)
        os.kill(pid, signal.SIGSTOP)
        try:
            # Kubernetes' own controllers end after ten seconds without it, and nothing starts them again here.
            ends = time.monotonic() + 8
            while time.monotonic() < ends:
                load.more(20)
        finally:
            os.kill(pid, signal.SIGCONT)
        load.more(100)
    load.assert_all_answered()
    # And then a change works as ever.
    wait_for(lambda: cluster.session.get(f"{cluster.url}/readyz", timeout=10).ok, "the API server", 60)
    shared.kubectl("scale", f"mld/{steady}", "--replicas=3")
    assert shared.deployed(steady)["ready"] == "3/3"
    shared.kubectl("scale", f"mld/{steady}", "--replicas=2")
    shared.deployed(steady)


@pytest.mark.usefixtures("whole")
def test_an_update_of_kea_costs_no_request(cluster: Cluster, kea: Gateway, steady: str) -> None:
    with FreshLoad(kea, steady, SETOSA, {"label": 0}, threads=2) as load:
        load.more(50)
        cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/kea-operator", "deployment/kea-router")
        for component in ("operator", "router"):
            cluster.wait_ready(component)
        load.more(100)
    load.assert_all_answered()


def test_models_run_on_without_kea(cluster: Cluster, shared: Space, kea: Gateway, installed: str, steady: str) -> None:
    before = {name_of(pod): pod["metadata"]["uid"] for pod in shared.pods(steady)}
    cluster.kubectl("-n", NAMESPACE, "delete", "deployment", "kea-operator", "kea-router", "--wait=false")
    try:
        wait_for(lambda: not cluster.of_kea("router") and not cluster.of_kea("operator"), "KEA to be gone", 90)
        service = shared.find("services", steady)
        assert service is not None
        url = f"http://{service['spec']['clusterIP']}/v2/models/{steady}"
        assert requests.get(url, timeout=10).status_code == 200
        assert {name_of(pod): pod["metadata"]["uid"] for pod in shared.pods(steady)} == before
        assert all(is_ready(pod) for pod in shared.pods(steady))
    finally:
        cluster.kubectl("apply", "-f", "-", stdin=installed)
        for component in ("operator", "router"):
            cluster.wait_ready(component)
    # Whoever is there again takes over what runs.
    kea.answers(steady, seconds=30)
    assert kea.predictions(steady, SETOSA)[0]["label"] == 0
    assert {name_of(pod): pod["metadata"]["uid"] for pod in shared.pods(steady)} == before
