"""Builds that are killed, interrupted, lied to, or run out of disk; what they leave, and what comes after them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builds import RUN_SERVICE, STEPS, Builder, Running, service, wait_until
from containers import Registry
from registries import (
    DROPPED,
    INDEX,
    SMALL,
    Answer,
    Call,
    Front,
    Gate,
    PackageIndex,
    digest,
    serving,
    wheel,
)

COMMAND = ["--command", RUN_SERVICE]
# Enough for its compilation to be met while it runs.
MODULES = {f"kea_test_large/m{n}.py": f"x = {list(range(n, n + 4000))}\n" * 4 for n in range(120)}


@pytest.fixture
def small(builder: Builder, registry: Registry, tmp_path: Path) -> Builder:
    """Builds upon a base that is almost empty, with a cache of the test alone."""
    return builder.with_cache(tmp_path / "cache").with_env(KEA_BASE_IMAGE_PYTHON=f"{registry.host}/small:x")


class Stalled:
    """A build that stands still in one of its steps, until the gate is opened."""

    def __init__(self, step: str, builder: Builder, registry: Registry, folder: Path) -> None:
        self.gate = Gate()
        self.index = PackageIndex(folder / "index")
        wheel(folder / "index", "kea_test_stalled", "1.0", {"kea_test_stalled.py": "X = 1\n"})
        wheel(folder / "index", "kea_test_large", "1.0", MODULES)
        self.front = Front(self.rule, registry.host)
        self.step = step
        self.builder = builder.with_env(
            KEA_BASE_IMAGE_PYTHON=f"{self.front.host}/small:x", UV_DEFAULT_INDEX=self.index.url
        )
        package = "kea-test-large" if step == "compile" else "kea-test-stalled"
        self.name = f"{folder.name.strip('_0123456789').replace('_', '-')}-{step}"
        self.image = f"{self.front.host}/{self.name}:1"
        self.model = service(
            folder / "model", requirements=f"{package}==1.0\n", size=24 << 20 if step in ("image", "push") else 0
        )

    def rule(self, call: Call) -> Answer | None:
        if call.path == "/service.py":
            self.gate.wait()
            return Answer(200, (self.model / "service.py").read_bytes())
        stalls = {"base": ("GET", "/small/manifests/"), "push": ("PATCH", "/blobs/"), "tag": ("PUT", "/manifests/1")}
        method, part = stalls.get(self.step, ("none", ""))
        if call.method == method and part in call.path:
            self.gate.wait()
        return None

    def start(self) -> Running:
        source: Path | str = self.model
        if self.step == "fetch":
            source = f"http://{self.front.host}/service.py"
        return self.builder.start(source, self.image, "--push", *COMMAND)

    def wait_for(self, running: Running) -> None:
        """Returns when the build is in the midst of the step."""
        if self.step in ("recognise", "image"):
            running.wait_for(f"{STEPS[self.step]}: running")
        elif self.step == "compile":
            wait_until(lambda: any("py_compile" in line for line in self.builder.tools()), "the compilation")
        else:
            assert self.gate.reached.wait(60), "it never came to that step"

    def __enter__(self) -> Stalled:
        if self.step == "packages":
            self.index.gate = self.gate
        self.index.__enter__()
        self.front.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.opened.set()
        self.front.__exit__()
        self.index.__exit__()


@pytest.mark.parametrize("step", ["fetch", "recognise", "base", "packages", "compile", "image", "push", "tag"])
def test_a_build_that_was_killed_is_made_by_the_next_one(
    step: str, small: Builder, registry: Registry, tmp_path: Path
) -> None:
    with Stalled(step, small, registry, tmp_path) as stalled:
        running = stalled.start()
        stalled.wait_for(running)
        running.kill()
        wait_until(lambda: not small.tools(), "the tools to end")
        assert registry.digest(stalled.name, "1") is None
        stalled.gate.opened.set()
        done = stalled.start().end()
        assert done.code == 0, done.stderr
        assert registry.digest(stalled.name, "1") == done.digest
        assert not [path for path in small.left_over() if path.is_dir()]
        assert not small.tools()


@pytest.mark.parametrize("step", ["fetch", "base", "packages", "compile", "push"])
def test_ctrl_c_ends_a_build_and_leaves_nothing(step: str, small: Builder, registry: Registry, tmp_path: Path) -> None:
    with Stalled(step, small, registry, tmp_path) as stalled:
        running = stalled.start()
        stalled.wait_for(running)
        running.process.send_signal(signal.SIGINT)
        done = running.end(20)
        assert done.code in (1, 130), done.stderr
        assert "interrupted" in done.stderr
        wait_until(lambda: not small.tools(), "the tools to end", 5)
        assert not small.left_over()
        assert registry.digest(stalled.name, "1") is None


# A registry that goes away


class Leaving:
    """Kills the registry when the second chunk of a blob comes, and starts it again if it is to come back."""

    def __init__(self, registry: Registry, comes_back: bool) -> None:
        self.registry = registry
        self.comes_back = comes_back
        self.chunks = 0
        self.lock = threading.Lock()

    def rule(self, call: Call) -> Answer | None:
        with self.lock:
            if call.method != "PATCH" or len(call.body) < 4 << 20:
                return None
            self.chunks += 1
            if self.chunks != 2:
                return None
            self.registry.kill()
            if self.comes_back:
                threading.Timer(1, self.registry.start).start()
            return DROPPED


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry for a test that kills it."""
    registry = Registry(tmp_path / "own-registry")
    registry.start()
    yield registry
    registry.kill()


@pytest.mark.parametrize("comes_back", [True, False], ids=["comes back", "stays away"])
def test_a_registry_that_dies_between_two_chunks(
    comes_back: bool, small: Builder, own_registry: Registry, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", size=24 << 20)
    leaving = Leaving(own_registry, comes_back)
    with Front(leaving.rule, own_registry.host) as front:
        image = f"{front.host}/large:1"
        build = small.push(source, image, *COMMAND, check=False)
        assert leaving.chunks >= 2
        if not comes_back:
            assert f"{front.host} cannot be reached" in build.error and build.says("push", "failed")
            own_registry.start()
            assert own_registry.tags("large") == []
            build = small.push(source, image, *COMMAND)
    assert build.code == 0, build.stderr
    assert own_registry.digest("large", "1") == build.digest
    (model,) = build.part("model")
    assert digest(own_registry.blob("large", model)) == model
    assert not small.left_over()


# Registries that lie


@pytest.mark.parametrize("lie", ["truncated", "corrupted", "longer", "broken off"])
def test_a_base_layer_that_is_not_what_its_digest_says_is_refused(
    lie: str, small: Builder, registry: Registry, tmp_path: Path
) -> None:
    (content,) = SMALL.layers
    lies = {
        "truncated": Answer(200, content[:-20]),
        "corrupted": Answer(200, content[:-1] + bytes([content[-1] ^ 1])),
        "longer": Answer(200, content + bytes(1 << 20)),
        "broken off": Answer(200, content[:-20], {"Content-Length": str(len(content))}),
    }
    with Front(lambda call: lies[lie] if digest(content) in call.path else None, registry.host) as front:
        base = f"{front.host}/small:x"
        build = small.push(service(tmp_path / "m"), f"{registry.host}/lied:1", "--base", base, *COMMAND, check=False)
    assert f"layer {digest(content)} did not come whole from {front.host}" in build.error
    assert build.says("base", "failed")
    assert not small.has_blob(digest(content)) and not small.left_over()
    assert registry.tags("lied") == []


def test_a_base_layer_that_comes_whole_the_second_time_is_taken(
    small: Builder, registry: Registry, tmp_path: Path
) -> None:
    (content,) = SMALL.layers
    answers = iter([Answer(200, content[:-20]), DROPPED])
    with Front(lambda call: next(answers, None) if digest(content) in call.path else None, registry.host) as front:
        small.push(service(tmp_path / "m"), f"{registry.host}/mended:1", "--base", f"{front.host}/small:x", *COMMAND)
    assert small.has_blob(digest(content))


def changed(**changes: Any) -> bytes:
    return json.dumps(SMALL.described() | changes).encode()


def described(**changes: Any) -> list[dict[str, Any]]:
    return [SMALL.described()["layers"][0] | changes]


def index_of(*manifests: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()


HUGE = json.dumps({"padding": "x" * (5 << 20), "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}).encode()
ESCAPE = "sha256:../../../../escape"
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a configuration of no digest": (changed(config={"digest": ESCAPE, "size": 2}), "names no configuration"),
    "no configuration": (changed(config=None), "names no configuration"),
    "a configuration of another digest": (
        changed(config={"digest": digest(b"other"), "size": 5}),
        digest(b"other"),
    ),
    "a huge configuration": (changed(config={"digest": digest(HUGE), "size": len(HUGE)}), "configuration is too large"),
    "a longer configuration": (changed(config={"digest": digest(HUGE), "size": 10}), "more than its 10 bytes came"),
    "a layer of no digest": (changed(layers=described(digest=ESCAPE)), "a layer of its manifest is of no known kind"),
    "a layer of no known kind": (changed(layers=described(mediaType="text/html")), "of no known kind"),
    "a layer of a wrong size": (changed(layers=described(size=3)), "did not come whole"),
    "a layer of a negative size": (changed(layers=described(size=-1)), "of no known kind"),
    "no layers": (changed(layers=None), "names no layers"),
    "an index of other platforms": (
        index_of({"digest": digest(b""), "size": 1, "platform": {"os": "windows", "architecture": "amd64"}}),
        "does not exist for linux/amd64; it exists for windows/amd64",
    ),
    "an index that leads elsewhere": (
        index_of({"digest": ESCAPE, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}),
        "does not exist for linux/amd64",
    ),
    "an empty index": (index_of(), "does not exist for linux/amd64"),
    "a text": (b"hello", "asked for the image"),
    "a list": (b"[]", "asked for the image"),
    "deep brackets": (b"[" * 100_000, "asked for the image"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_manifest_is_refused(what: str, small: Builder, registry: Registry, tmp_path: Path) -> None:
    manifest, reason = HOSTILE[what]
    kind = INDEX if b"manifests" in manifest else SMALL.described()["mediaType"]
    blobs = SMALL.blobs() | {digest(HUGE): HUGE, digest(b"other"): b"wrong"}
    with Front(serving(manifest, blobs, kind)) as front:
        base = f"{front.host}/hostile:x"
        build = small.push(service(tmp_path / "m"), f"{registry.host}/hostile:1", "--base", base, *COMMAND, check=False)
    assert reason in build.error and front.host in build.error
    assert build.says("base", "failed")
    assert not small.left_over() and not list(tmp_path.rglob("escape*"))
    assert registry.tags("hostile") == []


def test_a_base_layer_that_is_no_archive_is_refused(small: Builder, registry: Registry, tmp_path: Path) -> None:
    text = b"this is no archive"
    manifest = changed(layers=described(digest=digest(text), size=len(text)))
    with Front(serving(manifest, SMALL.blobs() | {digest(text): text})) as front:
        base = f"{front.host}/hostile:x"
        build = small.push(service(tmp_path / "m"), f"{registry.host}/hostile:1", "--base", base, *COMMAND, check=False)
    assert build.says("base", "failed") and "cannot be read" in build.error
    assert not small.left_over()


# A full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts disks of some MiB."""
    mounted: list[Path] = []

    def disk(size: int) -> Path:
        folder = tmp_path / f"disk-{size}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", folder], capture_output=True)
        if done.returncode != 0:
            pytest.skip(f"a small disk needs the right to mount: {done.stderr.decode()}")
        mounted.append(folder)
        return folder

    yield disk
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize(("size", "step"), [(4, "fetch"), (9, "image")])
def test_a_full_disk_is_told(
    size: int, step: str, disk: Callable[[int], Path], small: Builder, registry: Registry, tmp_path: Path
) -> None:
    full = small.with_cache(disk(size))
    source = service(tmp_path / "model", size=6 << 20)
    build = full.push(source, f"{registry.host}/full:1", *COMMAND, check=False)
    assert "no space is left on the disk" in build.error and build.says(step, "failed")
    assert not full.left_over()
    (source / "weights.bin").write_bytes(os.urandom(1 << 20))
    assert full.push(source, f"{registry.host}/full:1", *COMMAND).code == 0


def test_a_disk_that_packages_fill_is_told(
    disk: Callable[[int], Path], small: Builder, registry: Registry, tmp_path: Path
) -> None:
    full = small.with_cache(disk(16))
    source = service(tmp_path / "model", requirements="numpy==2.3.5\n")
    build = full.push(source, f"{registry.host}/full:2", *COMMAND, check=False)
    assert build.says("packages", "failed") and "space" in build.error.lower()
    assert not full.left_over()
