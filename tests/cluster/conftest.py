"""Fixtures: KEA installed in a real cluster, and namespaces for its services.

`make cluster` runs these with a cluster and the images that `prepare.py` makes.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from cluster import NAMESPACE, Cluster, Files, Gateway, Registry, Space, wait_for  # noqa: E402


@dataclass
class Prepared:
    """What `prepare.py` has made."""

    registry: str
    images: dict[str, str]
    expected: dict[str, list[dict[str, Any]]]
    files: Path
    program: Path


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    folder = Path(os.environ.get("KEA_TEST_CLUSTER_FOLDER") or ROOT / ".cache" / "cluster")
    if not (folder / "prepared.json").exists():
        pytest.fail("nothing is prepared: run `make cluster`")
    told = json.loads((folder / "prepared.json").read_text())
    return Prepared(**told | {"files": Path(told["files"]), "program": Path(told["program"])})


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def registry(
    cluster: Cluster, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry | None]:
    """The registry as pods reach it; `None` where they reach it by its name."""
    if "KEA_TEST_REGISTRY_ENDPOINT" in os.environ or not prepared.registry.startswith("127."):
        yield None
        return
    storage = Path(os.environ["KEA_CLUSTER_DIR"]) / "run" / "registry"
    registry = Registry(cluster.node_address(), tmp_path_factory.mktemp("registry"), storage)
    yield registry
    registry.stop()


@pytest.fixture(scope="session")
def endpoint(registry: Registry | None, prepared: Prepared) -> str:
    """Where pods reach the registry that images are named by."""
    return registry.url if registry else os.environ.get("KEA_TEST_REGISTRY_ENDPOINT", prepared.registry)


@pytest.fixture(scope="session")
def files(cluster: Cluster, prepared: Prepared) -> Iterator[Files]:
    files = Files(prepared.files, cluster.node_address())
    yield files
    files.stop()


@pytest.fixture(scope="session")
def print_manifests(prepared: Prepared, endpoint: str) -> Callable[..., str]:
    """What installs KEA, with further options."""
    command = [prepared.program, "manifests", "--image", prepared.images["kea"]]
    command += ["--registry", f"{prepared.registry}/models", "--builder-image", f"{prepared.registry}/python:3.11-slim"]
    command += ["--env", f"KEA_REGISTRY_ENDPOINTS={prepared.registry}={endpoint}"]
    # One login serves all tests.
    command += ["--env", "KEA_TOKEN_TTL=12h"]

    def print_manifests(*options: str) -> str:
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return print_manifests


@pytest.fixture(scope="session")
def manifests(print_manifests: Callable[..., str]) -> str:
    """What installs KEA."""
    return print_manifests()


@pytest.fixture(scope="session")
def installed(cluster: Cluster, manifests: str) -> Iterator[str]:
    """Installs KEA, and returns what was applied. At the end all of it is removed."""
    cluster.kubectl("apply", "-f", "-", stdin=manifests)
    try:
        for component in ("operator", "router"):
            try:
                cluster.wait_ready(component)
            except AssertionError as error:
                shown = cluster.kubectl("-n", NAMESPACE, "describe", "pods", check=False).stdout
                raise AssertionError(f"{error}\n{cluster.said_by(component)}\n{shown[-6000:]}") from error
        yield manifests
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=manifests, check=False)
        gone = ["wait", "--for=delete", "--timeout=120s", f"namespace/{NAMESPACE}"]
        cluster.kubectl(*gone, check=False, seconds=150)


@pytest.fixture(scope="session")
def password(cluster: Cluster, installed: str) -> str:
    secret = wait_for(lambda: cluster.find("secrets", NAMESPACE, "kea-admin"), "the Secret of the first admin")
    return base64.b64decode(secret["data"]["password"]).decode()


@pytest.fixture(scope="session")
def kea(
    cluster: Cluster, installed: str, prepared: Prepared, password: str, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """The routers by their Service, logged in as admin."""
    service = cluster.find("services", NAMESPACE, "kea")
    assert service is not None
    address = f"http://{service['spec']['clusterIP']}"
    gateway = Gateway(prepared.program, tmp_path_factory.mktemp("gateway"), address, password)
    gateway.login()
    return gateway


@pytest.fixture
def routers(cluster: Cluster, kea: Gateway, tmp_path: Path) -> Callable[[], list[Gateway]]:
    """Each router by its own address, as they are now."""

    def routers() -> list[Gateway]:
        found = []
        for pod in cluster.of_kea("router"):
            url = f"http://{pod['status']['podIP']}:8080"
            router = Gateway(kea.binary, tmp_path / pod["metadata"]["name"], url, kea.password)
            router.session.headers.update(kea.session.headers)
            found.append(router)
        return found

    return routers


COUNT = itertools.count(1)


def space_of(cluster: Cluster, prepared: Prepared) -> Iterator[Space]:
    space = Space(cluster, f"kea-test-{os.getpid()}-{next(COUNT)}", prepared.images)
    yield space
    space.delete()


@pytest.fixture
def space(cluster: Cluster, kea: Gateway, prepared: Prepared) -> Iterator[Space]:
    """A namespace of this test alone."""
    yield from space_of(cluster, prepared)


@pytest.fixture(scope="module")
def shared(cluster: Cluster, kea: Gateway, prepared: Prepared) -> Iterator[Space]:
    """A namespace of this file's tests."""
    yield from space_of(cluster, prepared)


@pytest.fixture(scope="module")
def steady(shared: Space, kea: Gateway) -> str:
    """Two replicas, for faults that are to change nothing."""
    shared.run("steady", "iris", replicas=2)
    shared.deployed("steady")
    kea.answers("steady")
    return "steady"
