"""What must not be in an image, nor in what is told of it."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import RUN_SERVICE, Build, Builder, service
from containers import Registry
from registries import PackageIndex, wheel

COMMAND = ["--command", RUN_SERVICE]
PASSWORD = "hunter2-is-secret"


def everything(registry: Registry, name: str, build: Build) -> dict[str, bytes]:
    """All that was pushed of an image, uncompressed, by what it is."""
    manifest = registry.manifest(name, build.digest)
    found = {"manifest": json.dumps(manifest).encode()}
    for described in [manifest["config"], *manifest["layers"][1:]]:
        blob = registry.blob(name, described["digest"])
        is_layer = described["mediaType"].endswith("gzip")
        found[described["digest"]] = gzip.decompress(blob) if is_layer else blob
    (bill,) = registry.manifest(name, build.digest.replace(":", "-"))["manifests"]
    attached = registry.manifest(name, bill["digest"])
    found["bill"] = json.dumps(attached).encode() + registry.blob(name, attached["layers"][0]["digest"])
    return found


def check_secret(secret: str, registry: Registry, name: str, build: Build, builder: Builder) -> None:
    """The secret is nowhere in the image, what was told, and what is kept of it here."""
    assert secret not in build.stdout + build.stderr
    holders = [part for part, content in everything(registry, name, build).items() if secret.encode() in content]
    assert holders == []
    for path in (builder.cache / "images").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if content.startswith(b"\x1f\x8b"):
                content = gzip.decompress(content)
            assert secret.encode() not in content, path


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """An index for who knows the password, of a package that is nowhere else."""
    wheel(tmp_path / "index", "kea_test_private", "1.0", {"kea_test_private.py": "X = 1\n"})
    with PackageIndex(tmp_path / "index", ("user", PASSWORD)) as index:
        yield index


@pytest.fixture
def small(builder: Builder, registry: Registry, tmp_path: Path) -> Builder:
    fresh = builder.with_cache(tmp_path / "cache")
    return fresh.with_env(KEA_BASE_IMAGE_PYTHON=f"{registry.host}/small:x", UV_CACHE_DIR=str(tmp_path / "uv"))


def test_the_login_of_an_index_in_a_variable_is_used_and_written_nowhere(
    small: Builder, registry: Registry, index: PackageIndex, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", requirements="kea-test-private==1.0\n")
    builder = small.with_env(UV_DEFAULT_INDEX=index.url, PIP_INDEX_URL=index.url)
    build = builder.push(source, f"{registry.host}/private-variable:1", *COMMAND)
    check_secret(PASSWORD, registry, "private-variable", build, builder)


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_the_login_of_an_index_in_the_requirements_is_used_and_written_nowhere(
    tool: str, small: Builder, registry: Registry, index: PackageIndex, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", requirements=f"--index-url {index.url}\nkea-test-private==1.0\n")
    builder = small.without_uv() if tool == "pip" else small
    build = builder.push(source, f"{registry.host}/private-{tool}:1", *COMMAND)
    check_secret(PASSWORD, registry, f"private-{tool}", build, builder)


def test_requirements_with_a_login_are_not_laid_open_with_the_model(
    small: Builder, registry: Registry, index: PackageIndex, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", requirements=f"--extra-index-url {index.url}\nkea-test-private==1.0\n")
    builder = small.with_env(UV_DEFAULT_INDEX=index.url)
    build = builder.push(source, f"{registry.host}/private-both:1", *COMMAND)
    check_secret(PASSWORD, registry, "private-both", build, builder)


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_login_that_an_index_refuses_is_not_shown(
    tool: str, small: Builder, registry: Registry, index: PackageIndex, tmp_path: Path
) -> None:
    wrong = index.url.replace(PASSWORD, "wrong-secret")
    source = service(tmp_path / "model", requirements=f"--index-url {wrong}\nkea-test-private==1.0\n")
    small = small.without_uv() if tool == "pip" else small
    build = small.push(source, f"{registry.host}/private-wrong:1", *COMMAND, check=False)
    assert build.error and "wrong-secret" not in build.stderr
    assert index.host in build.error or "kea-test-private" in build.error


def test_the_login_in_the_url_of_a_model_is_not_shown(small: Builder, registry: Registry, tmp_path: Path) -> None:
    url = f"http://user:{PASSWORD}@{registry.host}/nothing.onnx"
    build = small.push(url, f"{registry.host}/private-url:1", check=False)
    assert build.error and PASSWORD not in build.stderr


def test_what_looks_like_a_secret_stays_out_of_the_image(small: Builder, registry: Registry, tmp_path: Path) -> None:
    source = service(tmp_path / "model")
    secrets = [
        ".env",
        ".env.production",
        "id_rsa",
        "server.pem",
        "deploy/id_ed25519",
        ".git/config",
        ".aws/credentials",
    ]
    for name in [*secrets, "notes/private.txt", ".netrc"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"{PASSWORD} of {name}")
    (source / "environment.txt").write_text("this is wanted")
    (source / ".keaignore").write_text("notes/\n")
    build = small.push(source, f"{registry.host}/private-folder:1", *COMMAND)
    check_secret(PASSWORD, registry, "private-folder", build, small)
    content = b"".join(everything(registry, "private-folder", build).values())
    assert b"this is wanted" in content
    (source / ".keaignore").write_text("!server.pem\nnotes/\n")
    for name in secrets[:3] + secrets[4:]:
        shutil.copyfile(source / "environment.txt", source / name)
    kept = small.push(source, f"{registry.host}/private-folder:2", *COMMAND)
    assert f"{PASSWORD} of server.pem".encode() in b"".join(everything(registry, "private-folder", kept).values())
