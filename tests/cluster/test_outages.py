"""Parts of Kubernetes go away for a while: what runs goes on, and what was asked for meanwhile is made afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, FreshLoad, Gateway, Registry, Space, is_ready, wait_for
from load import Load

SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}

# Longer than Kubernetes' own controllers bear: they end, as they do in a real outage.
OUTAGE_SECONDS = 60


class Part:
    """A process of the cluster on this machine."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = Path(os.environ.get("KEA_CLUSTER_DIR", "/nowhere")) / "run" / f"{name}.pid"
        if not self.file.exists():
            pytest.skip(f"{name} does not run on this machine")
        self.pid = int(self.file.read_text())
        self.command = Path(f"/proc/{self.pid}/cmdline").read_text().split("\0")[:-1]
        entries = Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0")
        self.env = dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)

    def runs(self) -> bool:
        status = Path(f"/proc/{self.pid}/status")
        return status.exists() and "State:\tZ" not in status.read_text()

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        self.tell(signal.SIGTERM)
        wait_for(lambda: not self.runs(), f"{self.name} to end", 30)

    def start(self) -> None:
        """Starts it as it was started, where it does not run."""
        if self.runs():
            return
        with (self.file.parent / "logs" / f"{self.name}.log").open("ab") as log:
            options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, "start_new_session": True}
            self.pid = subprocess.Popen(self.command, env=self.env, **options).pid
        self.file.write_text(str(self.pid))


@pytest.fixture
def control_plane(cluster: Cluster) -> Iterator[dict[str, Part]]:
    """It is whole again after the test."""
    parts = {name: Part(name) for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")}
    yield parts
    for part in parts.values():
        if part.runs():
            part.tell(signal.SIGCONT)
    for part in parts.values():
        part.start()
    wait_for(lambda: answers(cluster), "the API server", 90)
    for component in ("operator", "router"):
        cluster.wait_ready(component)


def answers(cluster: Cluster) -> bool:
    try:
        return bool(cluster.session.get(f"{cluster.url}/readyz", timeout=5).ok)
    except OSError:
        return False


def test_a_minute_without_api_server_and_etcd_costs_no_request(
    cluster: Cluster, shared: Space, kea: Gateway, steady: str, control_plane: dict[str, Part]
) -> None:
    away = [control_plane["kube-apiserver"], control_plane["etcd"]]
    with FreshLoad(kea, steady, SETOSA, {"label": 0}, threads=2) as load:
        load.more(50)
        for part in away:
            part.tell(signal.SIGSTOP)
        try:
            ends = time.monotonic() + OUTAGE_SECONDS
            while time.monotonic() < ends:
                load.more(20)
        finally:
            for part in reversed(away):
                part.tell(signal.SIGCONT)
        wait_for(lambda: answers(cluster), "the API server", 90)
        for part in control_plane.values():
            part.start()
        # A change works as ever, and costs nothing either.
        shared.kubectl("scale", f"mld/{steady}", "--replicas=3")
        assert shared.deployed(steady, seconds=120)["ready"] == "3/3"
        load.more(100)
    load.assert_all_answered()
    shared.kubectl("scale", f"mld/{steady}", "--replicas=2")
    shared.deployed(steady)


def test_etcd_that_begins_anew_loses_nothing(
    cluster: Cluster, shared: Space, kea: Gateway, steady: str, control_plane: dict[str, Part]
) -> None:
    before = {pod["metadata"]["uid"] for pod in shared.pods(steady)}
    with Load(kea, steady, SETOSA, {"label": 0}, threads=2) as load:
        load.more(20)
        etcd = control_plane["etcd"]
        etcd.end()
        load.more(100)
        etcd.start()
        wait_for(lambda: answers(cluster), "the API server", 60)
        load.more(100)
    load.assert_all_answered()
    for part in control_plane.values():
        part.start()
    wait_for(lambda: {pod["metadata"]["uid"] for pod in shared.pods(steady)} == before, "the same pods", 30)


def test_a_container_runtime_that_begins_anew_costs_no_request(shared: Space, kea: Gateway, steady: str) -> None:
    runtime = Part("containerd")
    before = {pod["metadata"]["uid"] for pod in shared.pods(steady)}
    with Load(kea, steady, SETOSA, {"label": 0}, threads=2) as load:
        load.more(50)
        runtime.end()
        try:
            # What is asked for meanwhile waits.
            shared.run("meanwhile", "iris")
            load.more(500)
        finally:
            runtime.start()
        shared.deployed("meanwhile", seconds=120)
        load.more(50)
    load.assert_all_answered()
    assert {pod["metadata"]["uid"] for pod in shared.pods(steady)} == before
    assert all(is_ready(pod) for pod in shared.pods(steady))


def test_a_registry_that_is_away_is_told_and_waited_for(
    space: Space, kea: Gateway, shared: Space, steady: str, registry: Registry | None
) -> None:
    if registry is None:
        pytest.skip("the registry is not one of this machine")
    registry.stop()
    try:
        # An image that the operator has not asked for just now.
        space.run("later", "iris-frame")
        space.failed("later", registry.url.removeprefix("http://"))
        assert space.condition("later", "Built")["reason"] == "ImageUnknown"
        assert kea.predictions(steady, SETOSA)[0]["label"] == 0
        # Pods of an image that the node has need no registry.
        victim = shared.pods(steady)[0]["metadata"]["name"]
        shared.kubectl("delete", "pod", victim, "--wait=false")
        wait_for(lambda: sum(map(is_ready, shared.pods(steady))) == 2, "another replica")
    finally:
        registry.start()
    space.deployed("later")
    kea.answers("later")


def test_a_secret_that_was_removed_stops_new_pods_alone(space: Space, kea: Gateway) -> None:
    name = "secretive"
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=TOKEN=1")
    space.run(name, "iris", pod={"envFrom": [{"secretRef": {"name": "keys"}}]})
    space.deployed(name)
    kea.answers(name)
    space.kubectl("delete", "secret", "keys")
    space.kubectl("scale", f"mld/{name}", "--replicas=2")
    space.failed(name, "keys")
    assert kea.predictions(name, SETOSA)[0]["label"] == 0
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=TOKEN=2")
    assert space.deployed(name, seconds=120)["ready"] == "2/2"


def test_a_finalizer_of_somebody_else_is_waited_for(space: Space, kea: Gateway) -> None:
    name = "held"
    space.run(name, "iris")
    space.deployed(name)
    kea.answers(name)
    space.kubectl("patch", "mld", name, "--type=merge", "-p", '{"metadata": {"finalizers": ["example.com/held"]}}')
    space.kubectl("delete", "mld", name, "--wait=false")
    wait_for(lambda: space.status(name)["state"] == "terminating", "the end to be told", 15)
    assert "example.com/held" in space.status(name)["reason"]
    assert kea.predictions(name, SETOSA)[0]["label"] == 0, "it answers until it goes"
    assert kea.details(name)["status"] == "terminating"
    space.kubectl("patch", "mld", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    space.gone(name)
    wait_for(lambda: kea.predict(name, SETOSA).status_code == 404, "the route to go", 15)
