"""`kea serve` with a registry: each version's image is made and pushed before it runs, and a failure harms nothing."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builds import RUN_SERVICE, STEPS, Builder, adder, service, wait_until
from containers import Registry
from harness import Kea, descendants, is_running
from load import Load
from registries import Answer, Call, Front, Gate, PackageIndex, wheel

NUMPY = "numpy==2.3.5\n"
COMMAND = ["sh", "-c", RUN_SERVICE]


class Publisher:
    """A KEA with a registry of its own, to which all that it sends passes through a front."""

    def __init__(self, kea: Kea, registry: Registry, front: Front) -> None:
        self.kea = kea
        self.registry = registry
        self.front = front
        self.rule: Callable[[Call], Answer | None] = lambda _: None

    def step(self, name: str, step: str) -> dict[str, str]:
        return next(one for one in self.kea.details(name)["steps"] if one["name"] == STEPS[step])

    def build_log(self, name: str) -> list[str]:
        answer = self.kea.request("GET", f"/logs/{name}", params={"replica": "build", "tail": 1000})
        assert answer.status_code == 200, answer.text
        return answer.json()["logEntries"]

    def command(self, *arguments: str) -> str:
        return self.kea.cli(*arguments, env={"KEA_TOKEN": self.kea.token}).stdout

    def pushed(self, name: str) -> list[str]:
        """Tags of the service's images."""
        return sorted(tag for tag in self.registry.tags(f"models/{name}") if not tag.startswith("sha256-"))


@pytest.fixture(scope="module")
def publisher(
    binary: Path,
    environments: Path,
    builder: Builder,
    registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("publisher")
    own = Registry(folder / "registry")
    own.start()
    front = Front(lambda call: publisher.rule(call), own.host)
    # Parts of images that other tests have made are not made again.
    (builder.cache / "images").mkdir(parents=True, exist_ok=True)
    kea = Kea(binary, folder, environments, {**builder.env, "KEA_REGISTRY": f"{front.host}/models", "UV_NO_CACHE": "1"})
    (kea.data_dir / "images").symlink_to(builder.cache / "images")
    publisher = Publisher(kea, own, front)
    with front:
        try:
            kea.start()
            yield publisher
        finally:
            kea.stop()
            own.kill()


@pytest.fixture(scope="module")
def published(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The service `adder`, whose first version is deployed."""
    return publisher.kea.deploy("adder", adder(tmp_path_factory.mktemp("adder") / "model", requirements=NUMPY))


def test_a_version_is_pushed_and_known_by_its_digest(publisher: Publisher, published: dict[str, Any]) -> None:
    (tag,) = publisher.pushed("adder")
    digest = publisher.registry.digest("models/adder", tag)
    assert digest and tag == f"1-{digest.removeprefix('sha256:')[:12]}"
    assert published["image"] == f"{publisher.front.host}/models/adder@{digest}"
    labels = publisher.registry.config("models/adder", tag)["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "adder"
    assert json.loads(publisher.command("--output", "json", "get", "adder"))["image"] == published["image"]
    assert publisher.kea.predictions("adder", {"x": 4}) == [{"result": 5}]


def test_the_steps_of_an_image_are_steps_of_its_version(publisher: Publisher, published: dict[str, Any]) -> None:
    steps = {step["name"]: step for step in published["steps"]}
    assert list(steps)[:3] == [STEPS["fetch"], STEPS["recognise"], "make the environment"]
    assert list(steps)[3:7] == [STEPS[step] for step in ("base", "packages", "image", "push")]
    assert list(steps)[7:] == ["start the replicas", "take the requests"], "nothing runs before its image is pushed"
    assert {step["state"] for step in steps.values()} == {"done"}
    assert published["image"] in steps[STEPS["push"]]["detail"]
    assert "python:slim" in steps[STEPS["base"]]["detail"]


def test_the_log_of_a_build_is_asked_for_by_itself(publisher: Publisher, published: dict[str, Any]) -> None:
    lines = publisher.build_log("adder")
    assert any(STEPS["push"] in line and published["image"] in line for line in lines)
    assert all(" build kea " in line or " build std" in line for line in lines), lines
    by_command = publisher.command("logs", "adder", "--build")
    assert STEPS["push"] in by_command and published["image"] in by_command
    for text in (publisher.command("logs", "adder"), publisher.kea.request("GET", "/logs/adder").text):
        assert STEPS["push"] not in text and " build " not in text


def change(source: Path, text: str) -> Path:
    """Another version, which answers the same."""
    (source / "notes.txt").write_text(text)
    return source


def test_an_update_whose_image_cannot_be_sent_leaves_the_running_version_alone(
    publisher: Publisher, published: dict[str, Any], tmp_path: Path
) -> None:
    kea = publisher.kea
    source = change(adder(tmp_path / "model", requirements=NUMPY), "two")
    with Load(kea, "adder", {"x": 1}, {"result": 2}, threads=2) as load:
        publisher.registry.kill()
        try:
            kea.deploy("adder", source, wait=False)
            failed = kea.wait_failed("adder")
            load.more(20)
        finally:
            publisher.registry.start()
        assert f": {STEPS['push']} failed: {publisher.front.host} cannot be reached" in failed["reason"]
        assert failed["reason"].endswith(f"version {published['liveVersion']} keeps serving")
        assert publisher.step("adder", "push")["state"] == "failed"
        assert failed["liveVersion"] == published["liveVersion"] and failed["readyReplicas"] == 1
        assert any("failed" in line and STEPS["push"] in line for line in publisher.build_log("adder"))
        kea.deploy("adder", source)
        load.more(20)
    load.assert_all_answered()
    details = kea.details("adder")
    assert details["status"] == "deployed" and details["image"] != published["image"]
    assert details["liveVersion"] == details["version"] != published["liveVersion"]
    assert publisher.registry.digest("models/adder", details["image"].partition("@")[2])


def test_an_update_that_has_no_base_leaves_the_running_version_alone(
    publisher: Publisher, published: dict[str, Any], tmp_path: Path
) -> None:
    kea = publisher.kea
    before = kea.details("adder")["liveVersion"]
    source = adder(tmp_path / "model", requirements=NUMPY)
    (source / ".python-version").write_text("3.10\n")
    with Load(kea, "adder", {"x": 1}, {"result": 2}, threads=2) as load:
        kea.deploy("adder", source, wait=False)
        failed = kea.wait_failed("adder")
        load.more(20)
    load.assert_all_answered()
    assert f": {STEPS['base']} failed: " in failed["reason"] and "the model asks for 3.10" in failed["reason"]
    assert failed["liveVersion"] == before
    (source / ".python-version").unlink()
    assert kea.deploy("adder", change(source, "three"))["status"] == "deployed"


def test_a_restart_keeps_images_without_building_them_again(publisher: Publisher, published: dict[str, Any]) -> None:
    kea = publisher.kea
    kea.wait_for(lambda: kea.details("adder")["status"] == "deployed", "the service to be deployed")
    before, log, tags = kea.details("adder"), publisher.build_log("adder"), publisher.pushed("adder")
    kea.kill()
    calls = len(publisher.front.calls)
    kea.start()
    after = kea.wait_deployed("adder")
    assert (after["image"], after["liveVersion"]) == (before["image"], before["liveVersion"])
    assert publisher.build_log("adder") == log and publisher.pushed("adder") == tags
    assert len(publisher.front.calls) == calls, "the registry is not even asked"
    assert kea.predictions("adder", {"x": 4}) == [{"result": 5}]


def test_two_services_of_one_model_have_their_packages_made_once(publisher: Publisher, tmp_path: Path) -> None:
    source = service(tmp_path / "model", requirements="./kea_test_pair-1.0-py3-none-any.whl\n")
    wheel(source, "kea_test_pair", "1.0", {"kea_test_pair.py": f"X = {os.getpid()}\n"})
    names = ["pair-one", "pair-two"]
    for name in names:
        publisher.kea.deploy(name, source, wait=False, framework="Custom", command=COMMAND)
    details = [publisher.kea.wait_deployed(name) for name in names]
    made = [publisher.step(name, "packages")["detail"].rpartition(", ")[2] for name in names]
    assert sorted(made) == ["made before", "new"]
    layers = [publisher.registry.manifest(f"models/{name}", publisher.pushed(name)[0])["layers"] for name in names]
    assert layers[0] == layers[1] and details[0]["image"] != details[1]["image"]
    for name in names:
        publisher.kea.request("DELETE", f"/services/{name}")


class SecondTime(PackageIndex):
    """An index that stands still when it is asked for the second time: for the image, not for the environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stalled = Gate()
        self.asked = 0
        self.lock = threading.Lock()

    def answer(self, call: Call) -> Answer | None:
        if "/simple/" in call.path:
            with self.lock:
                self.asked += 1
                first = self.asked == 1
            if not first:
                self.stalled.wait()
        return super().answer(call)


def tools(kea: Kea) -> list[str]:
    """What KEA runs to install or to compile something."""
    assert kea.process is not None
    lines = []
    for pid in descendants(kea.process.pid):
        try:
            lines.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in lines if "pip compile" in line or "pip install" in line or "py_compile" in line]


@pytest.mark.parametrize("how", ["delete", "stop"])
def test_a_service_that_goes_while_its_image_is_made_takes_the_build_with_it(
    how: str, publisher: Publisher, tmp_path: Path
) -> None:
    kea = publisher.kea
    wheel(tmp_path / "index", "kea_test_gone", "1.0", {"kea_test_gone.py": f"X = {os.getpid()}, {how!r}\n"})
    with SecondTime(tmp_path / "index") as index:
        source = service(tmp_path / "model", requirements=f"--index-url {index.url}\nkea-test-gone==1.0\n")
        kea.deploy("gone", source, wait=False, framework="Custom", command=COMMAND)
        try:
            assert index.stalled.reached.wait(60), kea.details("gone")
            assert publisher.step("gone", "packages")["state"] == "running"
            assert [line for line in tools(kea) if "pip compile" in line]
            below = descendants(kea.process.pid) if kea.process else []
            if how == "delete":
                assert kea.request("DELETE", "/services/gone").status_code == 204
                wait_until(lambda: kea.request("GET", "/services/gone").status_code == 404, "the service to go")
                wait_until(lambda: not tools(kea), "the tools to end", 5)
            else:
                kea.stop()
                assert not any(map(is_running, below))
        finally:
            index.stalled.opened.set()
        if how == "stop":
            kea.start()
            kea.wait_deployed("gone")
            assert len(publisher.pushed("gone")) == 1, "the next start makes it"
            kea.request("DELETE", "/services/gone")
        else:
            assert publisher.pushed("gone") == []
        assert not [path for path in (kea.data_dir / "images" / "builds").iterdir()]


def test_the_login_of_an_index_is_in_no_answer_and_no_log(publisher: Publisher, tmp_path: Path) -> None:
    kea, password = publisher.kea, "hunter2-is-secret"
    wheel(tmp_path / "index", "kea_test_hidden", "1.0", {"kea_test_hidden.py": "X = 1\n"})
    with PackageIndex(tmp_path / "index", ("user", password)) as index:
        source = service(tmp_path / "model", requirements=f"--index-url {index.url}\nkea-test-hidden==1.0\n")
        kea.deploy("hidden", source, wait=False, framework="Custom", command=COMMAND)
        try:
            assert kea.wait_deployed("hidden")["image"]
        finally:
            shown = kea.request("GET", "/services/hidden").text + "\n".join(publisher.build_log("hidden"))
            shown += kea.request("GET", "/logs/hidden").text + kea.log_file.read_text()
            kea.request("DELETE", "/services/hidden")
        assert password not in shown
