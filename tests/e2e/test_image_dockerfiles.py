"""Folders with a Dockerfile: built by buildah where that is configured, and never run by KEA itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from builds import Builder
from containers import Container, Registry, free_port, unpack

APP = """
import http.server, os

class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("/app/said", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), _Answer).serve_forever()
"""


@pytest.fixture
def folder(registry: Registry, tmp_path: Path) -> Path:
    """A web service whose own Dockerfile runs a command."""
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "Dockerfile").write_text(
        f"FROM {registry.host}/python:slim\n"
        "COPY app.py /app/app.py\n"
        "RUN printf 'built by its Dockerfile' > /app/said\n"
        "USER 65532:65532\n"
        'CMD ["python3", "/app/app.py"]\n'
    )
    return folder


def test_a_folder_with_nothing_but_a_dockerfile_is_refused_with_what_to_configure(
    builder: Builder, registry: Registry, folder: Path
) -> None:
    build = builder.push(folder, f"{registry.host}/dockerfile:1", check=False)
    assert "KEA_DOCKERFILE_BUILDER" in build.error
    assert "buildah" in build.error
    refused = builder.with_env(KEA_DOCKERFILE_BUILDER="docker").push(
        folder, f"{registry.host}/dockerfile:1", check=False
    )
    assert "`docker` is no builder" in refused.error


def test_buildah_builds_a_dockerfile_where_it_is_configured(
    builder: Builder, registry: Registry, folder: Path, tmp_path: Path
) -> None:
    builder = builder.with_env(KEA_DOCKERFILE_BUILDER="buildah")
    build = builder.push(folder, f"{registry.host}/dockerfile:2")
    assert "which buildah built" in build.stderr
    port = free_port()
    bundle = unpack(f"docker://{registry.host}/dockerfile@{build.digest}", tmp_path)
    with Container(bundle, port, {"PORT": str(port)}) as container:
        assert container.wait_for("/").text == "built by its Dockerfile"


def test_a_dockerfile_that_fails_is_told_with_its_own_words(builder: Builder, registry: Registry, folder: Path) -> None:
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN echo no such thing as luck && exit 3\n")
    builder = builder.with_env(KEA_DOCKERFILE_BUILDER="buildah")
    build = builder.push(folder, f"{registry.host}/dockerfile:3", check=False)
    assert "write the image failed" in build.error
    assert "no such thing as luck" in build.stderr
    assert not list((builder.cache / "images" / "builds").iterdir())


def test_what_a_dockerfile_says_itself_cannot_be_said_beside_it(
    builder: Builder, registry: Registry, folder: Path
) -> None:
    builder = builder.with_env(KEA_DOCKERFILE_BUILDER="buildah")
    build = builder.push(folder, f"{registry.host}/dockerfile:4", "--python", "3.12", check=False)
    assert "leave --python out" in build.error
