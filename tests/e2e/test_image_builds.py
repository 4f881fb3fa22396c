"""How `kea build` makes images: the same twice, only what changed, for any platform, or clearly refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import tarfile
from pathlib import Path

import pytest
from builds import RUN_SERVICE, Build, Builder, adder, service
from containers import Container, Registry, bundle, free_port, run, unpack
from registries import INDEX, MANIFEST, Image, PackageIndex, layer, push, push_manifest, source_archive, wheel

NUMPY = "numpy==2.3.5\n"
COMMAND = ["--command", RUN_SERVICE]


def names_in(blob: bytes) -> list[str]:
    """What a layer has in it."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        return archive.getnames()


# The same twice


@pytest.fixture(scope="module")
def first(builder: Builder, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A model's image, as built by somebody."""
    source = adder(tmp_path_factory.mktemp("first") / "model", requirements=NUMPY)
    (source / "data.txt").write_text("a")
    return builder.push(source, f"{registry.host}/same:1")


def test_the_same_model_is_the_same_image_wherever_and_whenever_it_is_built(
    first: Build, builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        source = tmp_path / "elsewhere" / "copy"
        source.mkdir(parents=True)
        (source / "data.txt").write_text("a")
        adder(source, requirements=NUMPY)
        os.utime(source / "model.py", (1, 1))
        elsewhere = builder.with_cache(tmp_path / "cache").with_env(
            UV_CACHE_DIR=str(tmp_path / "uv"), TZ="Asia/Tokyo", LANG="C", TMPDIR=str(tmp_path)
        )
        again = elsewhere.push(source, f"{registry.host}/same:2")
    finally:
        os.umask(before)
    assert again.says("packages", "new"), "its cache has nothing of the first"
    assert again.digest == first.digest
    assert again.sent == 0, "the registry has all of it"
    assert registry.digest("same", "2") == first.digest


def test_only_the_changed_model_is_built_and_sent(
    first: Build, builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    source = adder(tmp_path / "model", requirements=NUMPY)
    (source / "data.txt").write_text("b")
    changed = builder.push(source, f"{registry.host}/same:changed")
    assert changed.digest != first.digest
    for part in ("base", "packages", "server"):
        assert changed.part(part) == first.part(part), part
    assert changed.part("model") != first.part("model")
    assert changed.says("packages", "made before")
    assert 0 < changed.sent < 20_000
    assert registry.digest("same", "1") == first.digest, "the one before stays"


def test_an_image_that_the_registry_has_is_not_sent_again(
    first: Build, builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    source = adder(tmp_path / "model", requirements=NUMPY)
    (source / "data.txt").write_text("a")
    again = builder.push(source, f"{registry.host}/same:1")
    assert (again.digest, again.sent) == (first.digest, 0)


def test_two_builds_of_the_same_at_once_make_its_packages_once(
    builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    wheel(tmp_path / "index", "kea_test_twins", "1.0", {"kea_test_twins.py": "X = 1\n"})
    source = service(tmp_path / "model", requirements="./kea_test_twins-1.0-py3-none-any.whl\n")
    shutil.copy(tmp_path / "index" / "kea_test_twins-1.0-py3-none-any.whl", source)
    fresh = builder.with_cache(tmp_path / "cache")
    running = [fresh.start(source, f"{registry.host}/twins:{n}", "--push", *COMMAND) for n in range(3)]
    ended = [build.end() for build in running]
    assert len({build.digest for build in ended}) == 1
    assert sorted(build.says("packages", "new") for build in ended) == [False, False, True]
    assert not fresh.left_over()


# What cannot be installed


def check_packages_fail(builder: Builder, source: Path, image: str, *words: str) -> None:
    build = builder.push(source, image, *COMMAND, check=False)
    assert build.error.startswith("error: install the image's packages failed: `uv pip compile` failed")
    for word in words:
        assert word in build.error
    assert "\n  error: No solution found" in build.error, "the tool's own last lines are told"
    assert build.says("packages", "failed")
    assert not builder.left_over() and not builder.tools()


def test_a_version_that_does_not_exist_is_told_in_the_tool_s_words(
    builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", requirements="six==99.0\n")
    check_packages_fail(builder, source, f"{registry.host}/wrong:1", "no version of six==99.0")
    assert registry.tags("wrong") == []


def test_a_package_without_a_wheel_is_refused(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    source_archive(tmp_path / "index", "kea_test_source", "1.0")
    with PackageIndex(tmp_path / "index") as index:
        lines = f"--index-url {index.url}\nkea-test-source==1.0\n"
        source = service(tmp_path / "model", requirements=lines)
        check_packages_fail(builder, source, f"{registry.host}/wrong:1", "kea-test-source", "Wheels are required")


SETUP = """
from pathlib import Path
from setuptools import setup

Path({ran!r}).write_text("somebody's code was run")
setup(name="kea_test_source", version="1.0")
"""


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_source_archive_in_the_model_s_folder_is_not_run(
    tool: str, builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", requirements="./kea_test_source-1.0.tar.gz\n")
    source_archive(source, "kea_test_source", "1.0", SETUP.format(ran=str(tmp_path / "ran")))
    build = (builder.without_uv() if tool == "pip" else builder).push(
        source, f"{registry.host}/wrong:1", *COMMAND, check=False
    )
    assert not (tmp_path / "ran").exists()
    assert build.error.startswith("error: install the image's packages failed")
    assert "kea_test_source" in build.error or "kea-test-source" in build.error
    assert not builder.left_over()


def test_a_wheel_in_the_model_s_folder_is_installed(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    source = service(tmp_path / "model", requirements="./wheels/kea_test_own-1.0-py3-none-any.whl\n")
    wheel(source / "wheels", "kea_test_own", "1.0", {"kea_test_own.py": "X = 1\n"})
    build = builder.push(source, f"{registry.host}/own:1", *COMMAND)
    (packages,) = build.part("packages")
    layer = gzip.decompress(registry.blob("own", packages))
    assert "opt/kea/python/kea_test_own.py" in names_in(gzip.compress(layer, 1))
    assert str(tmp_path).encode() not in layer and str(builder.cache).encode() not in layer


def test_pip_makes_images_where_there_is_no_uv(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    source = service(tmp_path / "model", requirements="markupsafe==3.0.3\n")
    program = (source / "service.py").read_text()
    (source / "service.py").write_text(f"import markupsafe._speedups\n{program}")
    without = builder.without_uv()
    build = without.push(source, f"{registry.host}/pip:1", *COMMAND)
    assert build.says("packages", "1 package(s)")
    failed = service(tmp_path / "failed", requirements="six==99.0\n")
    refused = without.push(failed, f"{registry.host}/pip:2", *COMMAND, check=False)
    assert "`pip install --dry-run` failed" in refused.error and "six==99.0" in refused.error
    port = free_port()
    unpacked = unpack(f"docker://{registry.host}/pip:1", tmp_path)
    assert "--hash=sha256:" in (unpacked / "rootfs/opt/kea/requirements.lock").read_text()
    with Container(unpacked, port, {"HOST": "127.0.0.1", "PORT": str(port)}) as container:
        assert container.wait_for("/").text == "hello"


# Folders


def test_an_image_is_written_into_a_folder_that_others_read(
    builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "layout"
    base = f"{registry.host}/debian:slim"
    digests = []
    for text in ("one", "two"):
        source = service(tmp_path / text, text)
        options = ["--output", str(folder), "--base", base, *COMMAND]
        build = builder.with_env(KEA_OUTPUT="table").run(source, f"anywhere.example/team/app:{text}", *options)
        digests.append(build.stdout.strip().splitlines()[-1])
        inspected = json.loads(run("skopeo", "inspect", f"oci:{folder}:{text}"))
        assert inspected["Digest"] == digests[-1]
    assert digests[0] != digests[1]
    run("skopeo", "copy", "--quiet", "--insecure-policy", f"oci:{folder}:two", f"dir:{tmp_path / 'copied'}")
    root = bundle(folder, tmp_path, "two") / "rootfs"
    assert '"two"' in (root / "models/service.py").read_text()
    assert not list(folder.rglob("*.part"))


def test_a_folder_with_other_files_is_left_alone(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_text("sun")
    source = service(tmp_path / "model")
    base = f"{registry.host}/small:x"
    build = builder.run(source, "a.example/b:1", "--output", str(folder), "--base", base, *COMMAND, check=False)
    assert f"`{folder}` exists and is no image layout: give a new folder" in build.error
    assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]


# Platforms and Pythons


@pytest.fixture(scope="module")
def both(registry: Registry) -> str:
    """A base image for two platforms."""
    arm = Image([layer({"lib/ld-linux-aarch64.so.1": b"", "usr/bin/python3.11": b""})], "arm64")
    push(registry, "python", "arm", arm)
    entries = []
    for tag, architecture in (("slim", "amd64"), ("arm", "arm64")):
        digest = registry.digest("python", tag)
        size = len(registry.get(f"python/manifests/{tag}", MANIFEST).content)
        platform = {"os": "linux", "architecture": architecture}
        entries.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    push_manifest(registry, "python", "both", json.dumps(index).encode(), INDEX)
    return f"{registry.host}/python:both"


BOTH = ["--platform", "linux/amd64", "--platform", "linux/arm64"]


def test_an_image_of_two_platforms_has_the_wheels_of_each(
    builder: Builder, registry: Registry, both: str, tmp_path: Path
) -> None:
    program = tmp_path / "kea-arm64"
    program.write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", 183) + bytes(100))
    source = adder(tmp_path / "model", requirements=NUMPY)
    options = [*BOTH, "--program", f"linux/arm64={program}", "--base", both]
    build = builder.push(source, f"{registry.host}/both:1", *options)
    index = registry.manifest("both", "1")
    assert index["mediaType"] == INDEX and registry.digest("both", "1") == build.digest
    platforms = {entry["platform"]["architecture"]: entry["digest"] for entry in index["manifests"]}
    assert set(platforms) == {"amd64", "arm64"}
    for architecture, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        inspect = ["skopeo", "inspect", "--tls-verify=false", "--override-arch", architecture, "--config"]
        assert json.loads(run(*inspect, f"docker://{registry.host}/both:1"))["architecture"] == architecture
        manifest = registry.manifest("both", platforms[architecture])
        packages, server, _model = [one["digest"] for one in manifest["layers"][1:]]
        libraries = [name for name in names_in(registry.blob("both", packages)) if name.endswith("-linux-gnu.so")]
        assert libraries and all(name.endswith(f"-{machine}-linux-gnu.so") for name in libraries)
        assert "usr/local/bin/kea" in names_in(registry.blob("both", server))
        (bill,) = registry.manifest("both", platforms[architecture].replace(":", "-"))["manifests"]
        assert registry.manifest("both", bill["digest"])["subject"]["digest"] == platforms[architecture]


def test_another_platform_needs_kea_s_program_for_it(
    builder: Builder, registry: Registry, both: str, binary: Path, tmp_path: Path
) -> None:
    source = adder(tmp_path / "model", requirements=NUMPY)
    image = f"{registry.host}/both:2"
    none = builder.push(source, image, *BOTH, "--base", both, check=False)
    assert "there is no KEA program for linux/arm64" in none.error and "--program linux/arm64=PATH" in none.error
    wrong = builder.push(source, image, *BOTH, "--base", both, "--program", f"linux/arm64={binary}", check=False)
    assert f"`{binary}` is no program for linux/arm64" in wrong.error
    assert "2" not in registry.tags("both")


def test_a_base_of_other_platforms_is_refused(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    digest, size = registry.digest("python", "slim"), len(registry.get("python/manifests/slim", MANIFEST).content)
    platform = {"os": "linux", "architecture": "s390x"}
    entry = {"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}
    document = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    push_manifest(registry, "python", "mainframe", document, INDEX)
    base = f"{registry.host}/python:mainframe"
    build = builder.push(adder(tmp_path / "m"), f"{registry.host}/no:1", "--base", base, check=False)
    assert f"`{base}` does not exist for linux/amd64; it exists for linux/s390x" in build.error


def test_a_base_that_is_older_than_keas_program_is_refused(
    builder: Builder, registry: Registry, tmp_path: Path
) -> None:
    library = b"GNU C Library (Old GLIBC 2.12-1) stable release version 2.12.\n"
    files = {"lib64/ld-linux-x86-64.so.2": b"", "lib64/libc.so.6": library, "usr/bin/python3.11": b""}
    push(registry, "old", "x", Image([layer(files)]))
    source = adder(tmp_path / "m")
    build = builder.push(source, f"{registry.host}/no:1", "--base", f"{registry.host}/old:x", check=False)
    assert "has the GNU C library 2.12" in build.error and "choose a newer base" in build.error


def test_a_base_with_another_python_is_refused(builder: Builder, registry: Registry, tmp_path: Path) -> None:
    source = adder(tmp_path / "m")
    build = builder.push(source, f"{registry.host}/no:1", "--python", "3.12", check=False)
    assert "has Python 3.11, but the request asks for 3.12" in build.error and "--base" in build.error
    (source / ".python-version").write_text("3.10\n")
    asked = builder.push(source, f"{registry.host}/no:1", check=False)
    assert "has Python 3.11, but the model asks for 3.10" in asked.error
    without = builder.push(
        adder(tmp_path / "n"), f"{registry.host}/no:1", "--base", f"{registry.host}/debian:slim", check=False
    )
    assert "has no Python on its search path" in without.error
    assert registry.tags("no") == []
