"""KEA's own image: small, the same wherever it is made, and run by a container runtime as a cluster runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from builds import Build, Builder
from containers import Registry, run, unpack
from registries import Image, layer, push

SELF = "--self"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
# What KEA promises of its image, as it is sent, and what debian:bookworm-slim has of that.
MOST, MOST_OF_BASE = 60_000_000, 29_000_000
# What the tests' binary has more than the one that users get: it is hardly optimised, and has the names of functions.
UNOPTIMISED = 5_000_000


@pytest.fixture(scope="module")
def program(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary under test without its debug information, as the released one is."""
    stripped = tmp_path_factory.mktemp("program") / "kea"
    run("strip", "-o", stripped, binary)
    return stripped


@pytest.fixture(scope="module")
def own(program: Path, builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds with the stripped program itself."""
    return Builder(program, tmp_path_factory.mktemp("cache"), builder.env)


@pytest.fixture(scope="module")
def built(own: Builder, registry: Registry) -> Build:
    return own.push(SELF, f"{registry.host}/judged/kea:1")


def test_the_image_runs_what_it_is_told(built: Build, registry: Registry, tmp_path: Path) -> None:
    bundle = unpack(f"docker://{registry.host}/judged/kea@{built.digest}", tmp_path)
    spec = json.loads((bundle / "config.json").read_text())
    assert spec["process"]["args"] == ["/usr/local/bin/kea"]
    assert spec["process"]["user"]["uid"] == spec["process"]["user"]["gid"] == 65532
    spec["process"] |= {"terminal": False, "args": ["/usr/local/bin/kea", "--version"]}
    spec["root"]["readonly"] = True
    spec["linux"]["namespaces"] = [space for space in spec["linux"]["namespaces"] if space["type"] != "cgroup"]
    (bundle / "config.json").write_text(json.dumps(spec))
    told = run("runc", "--root", tmp_path / "state", "run", "--bundle", bundle, f"kea-test-own-{os.getpid()}")
    assert told.startswith("kea ")


def test_the_image_says_what_it_is(built: Build, registry: Registry) -> None:
    config = registry.config("judged/kea", "1")["config"]
    assert config["Entrypoint"] == ["/usr/local/bin/kea"] and not config["Cmd"]
    assert config["User"] == "65532:65532"
    assert {line.split("=")[0] for line in config["Env"]} == {"PATH", "HOME"}
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "kea"
    assert labels["org.opencontainers.image.base.name"] == f"{registry.host}/debian:slim"
    assert registry.manifest("judged/kea", "1")["annotations"] == labels
    assert [layer["part"] for layer in built.data["layers"]][-2:] == ["certificates", "server"]


def test_a_bill_of_materials_is_attached(built: Build, registry: Registry) -> None:
    listed = registry.manifest("judged/kea", built.digest.replace(":", "-"))["manifests"]
    attached = registry.manifest("judged/kea", listed[0]["digest"])
    bill = json.loads(registry.blob("judged/kea", attached["layers"][0]["digest"]))
    assert [component["name"] for component in bill["components"]] == [f"{registry.host}/debian", "kea"]


def test_it_is_the_same_image_wherever_and_under_whatever_name_it_is_made(
    own: Builder, built: Build, registry: Registry, tmp_path: Path
) -> None:
    other = own.with_cache(tmp_path / "cache").push(SELF, f"{registry.host}/team/gateway:2")
    assert other.digest == built.digest


def test_the_server_of_a_models_image_is_the_same_layer(
    own: Builder, built: Build, registry: Registry, tmp_path: Path
) -> None:
    from builds import adder

    model = own.run(adder(tmp_path / "adder"), f"{registry.host}/judged/adder:1")
    assert model.part("server") == built.part("server")


def test_the_certificates_of_a_base_are_left_as_they_are(own: Builder, registry: Registry) -> None:
    base = Image([layer({BUNDLE: b"authorities of our own", "lib64/ld-linux-x86-64.so.2": b""})])
    push(registry, "trusting", "x", base)
    build = own.push(SELF, f"{registry.host}/judged/kea:trusting", "--base", f"{registry.host}/trusting:x")
    assert build.part("certificates") == []
    assert "certificates of authorities are those of the base" in build.stderr


def test_a_base_that_cannot_run_kea_is_refused(own: Builder, registry: Registry) -> None:
    refused = own.push(SELF, f"{registry.host}/judged/kea:x", "--base", f"{registry.host}/small:x", check=False)
    assert "has no GNU C library, which KEA needs" in refused.error


def test_the_image_is_small(own: Builder, built: Build, registry: Registry) -> None:
    bytes_of = {layer["part"]: layer["bytes"] for layer in built.data["layers"]}
    assert bytes_of["certificates"] + bytes_of["server"] < MOST - MOST_OF_BASE + UNOPTIMISED
    # Its real base, where there is a registry that has it.
    if real := os.environ.get("KEA_TEST_BASE_IMAGE"):
        whole = own.push(SELF, f"{registry.host}/judged/kea:real", "--base", real)
        assert sum(layer["bytes"] for layer in whole.data["layers"]) < MOST + UNOPTIMISED
