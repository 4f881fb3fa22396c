"""Fixtures: the real binary on a port of its own, and real models trained on data sets that scikit-learn ships."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import chromium
from builds import Builder
from containers import ROOT, Registry, run
from harness import Kea
from models import ModelShelf
from selenium import webdriver


@pytest.fixture(scope="session")
def binary() -> Path:
    path = os.environ.get("KEA_BIN")
    if not path or not Path(path).exists():
        pytest.fail("KEA_BIN does not name the binary: run `make e2e`")
    return Path(path)


@pytest.fixture(scope="session")
def environments() -> Path:
    """Python environments that the KEAs of all tests share, as one user's KEA keeps them from one day to the next."""
    folder = Path(os.environ.get("KEA_TEST_ENVIRONMENTS") or Path(__file__).parents[2] / ".cache" / "environments")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelShelf:
    return ModelShelf(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for all tests, with the base images `debian:slim`, `python:slim` and the almost empty `small:x`."""
    from registries import push

    registry = Registry(tmp_path_factory.mktemp("registry"))
    registry.start()
    try:
        run(ROOT / "scripts" / "test-base-images", registry.host, ROOT / ".cache" / "base-images")
        push(registry, "small", "x")
        yield registry
    finally:
        registry.kill()


@pytest.fixture(scope="session")
def builder(binary: Path, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds with the base images of the registry, and with a cache that all tests share."""
    assert shutil.which("uv"), "uv is not on the PATH: run `make e2e`, which puts it there"
    folder = tmp_path_factory.mktemp("builds")
    env = {
        "KEA_BASE_IMAGE_PYTHON": f"{registry.host}/python:slim",
        "KEA_BASE_IMAGE_ONNX": f"{registry.host}/debian:slim",
        # Nobody is logged in anywhere.
        "DOCKER_CONFIG": str(folder / "docker"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    return Builder(binary, folder / "cache", env)


@pytest.fixture
def start(binary: Path, environments: Path, tmp_path: Path) -> Iterator[Callable[..., Kea]]:
    """Starts KEAs that end with the test, also when it fails."""
    started: list[Kea] = []

    def start(name: str = "kea", **options: object) -> Kea:
        kea = Kea(binary, tmp_path / name, environments, **options)
        started.append(kea)
        kea.start()
        return kea

    yield start
    for kea in started:
        kea.stop()
        shutil.rmtree(kea.data_dir, ignore_errors=True)


@pytest.fixture
def kea(start: Callable[..., Kea]) -> Kea:
    """A KEA of this test alone, logged in as admin."""
    return start()


@pytest.fixture(scope="module")
def shared_kea(binary: Path, environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kea]:
    """A KEA for all tests of a module that only read, or use services of their own."""
    kea = Kea(binary, tmp_path_factory.mktemp("shared"), environments)
    kea.start()
    yield kea
    kea.stop()


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver
