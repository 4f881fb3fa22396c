"""Models from other places than the server's disk, with real servers of each kind; only the hub is a stand-in."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from containers import Registry
from harness import Kea
from models import SETOSA, ModelShelf
from moto.server import ThreadedMotoServer
from places import Place, dropping, git, hub, reply, repositories

SECRET = "hunter2"
S3 = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def kea(shared_kea: Kea) -> Kea:
    return shared_kea


def check(kea: Kea, name: str, details: dict[str, Any]) -> str:
    """The model answers as iris does; returns what was told of its fetch."""
    assert details["framework"] == "ScikitLearn", details
    (prediction,) = kea.predictions(name, SETOSA)
    assert prediction["label"] == "setosa"
    return fetched(details)


def fetched(details: dict[str, Any]) -> str:
    return next(step["detail"] for step in details["steps"] if step["name"] == "fetch the model")


def fails(kea: Kea, name: str, source: object, expected: str) -> None:
    """The deployment fails with that reason, which holds no secret."""
    kea.deploy(name, str(source), wait=False)
    reason = kea.wait_failed(name)["reason"]
    assert expected in reason and SECRET not in reason, reason
    assert SECRET not in kea.log_file.read_text()


def shelf(kea: Kea) -> list[str]:
    models = kea.data_dir / "models"
    return sorted(path.name for path in models.iterdir() if not path.name.startswith("."))


# Archives


def archive(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    path = folder / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as file:
            for entry, content in files.items():
                file.writestr(entry, content)
        return path
    with tarfile.open(path, "w:" + name.rpartition(".")[2].replace("tar", "")) as file:
        for entry, content in files.items():
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["iris.zip", "iris.tar.gz", "iris.tar.bz2", "iris.tar.xz"])
def test_an_archive_is_unpacked(kea: Kea, models: ModelShelf, tmp_path: Path, name: str) -> None:
    path = archive(tmp_path, name, {"iris/iris.joblib": models.iris().read_bytes(), "iris/.env": b"TOKEN=1"})
    service = "archive-" + name.rpartition(".")[2]
    told = check(kea, service, kea.deploy(service, path))
    assert "`.env` left out" in told


def test_a_hostile_archive_is_refused_and_leaves_nothing(kea: Kea, tmp_path: Path) -> None:
    before = shelf(kea)
    fails(kea, "hostile", archive(tmp_path, "evil.tar.gz", {"../evil": b"x"}), "`../evil` has `..` in its name")
    fails(kea, "absolute", archive(tmp_path, "evil.zip", {"/tmp/evil": b"x"}), "has an absolute name")
    assert shelf(kea) == before and not list((kea.data_dir / "models").glob(".incoming-*"))


# HTTP


def test_a_download_that_drops_is_resumed_and_not_done_twice(kea: Kea, models: ModelShelf) -> None:
    content = models.iris().read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with Place(dropping(content, 1000)) as place:
        check(kea, "resumed", kea.deploy("resumed", f"{place.url}/iris.joblib?token={SECRET}"))
        ranges = [headers.get("range") for _, _, headers in place.asked]
        assert ranges[0] is None and ranges[1].startswith("bytes=") and len(ranges) == 2

        told = check(kea, "again", kea.deploy("again", f"{place.url}/iris.joblib?token={SECRET}"))
        assert "unchanged" in told and "if-none-match" in place.asked[2][2]
        check(kea, "pinned", kea.deploy("pinned", f"{place.url}/iris.joblib#sha256={digest}"))
        fails(kea, "altered", f"{place.url}/iris.joblib#sha256={'0' * 64}", f"has the SHA-256 {digest}")


def test_a_server_that_always_cuts_a_file_short_is_given_up(kea: Kea) -> None:
    def cut(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"x" * 500)
        request.close_connection = True

    before = shelf(kea)
    with Place(cut) as place:
        kea.deploy("short", f"{place.url}/iris.joblib?token={SECRET}", wait=False)

        def told() -> bool:
            return "ended after 500 of 1000 bytes" in json.dumps(kea.details("short"))

        kea.wait_for(told, "the reason", 60)
        assert SECRET not in json.dumps(kea.details("short")) and shelf(kea) == before
        kea.request("DELETE", "/services/short")


def test_what_is_not_there_is_told(kea: Kea) -> None:
    with Place(lambda request: reply(request, 404)) as place:
        fails(kea, "absent", f"{place.url}/iris.joblib?token={SECRET}", "answered 404")


# S3


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def upload(endpoint: str, files: dict[str, bytes], bucket: str = "models") -> None:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)
    client.create_bucket(Bucket=bucket)
    for key, content in files.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)


def test_objects_of_s3_are_a_file_or_a_folder(start: Callable[..., Kea], models: ModelShelf, s3: str) -> None:
    content = models.iris().read_bytes()
    upload(s3, {"iris/v1.joblib": content, "bundle/README.md": b"iris", "bundle/model/iris.joblib": content})
    kea = start(env={**S3, "AWS_ENDPOINT_URL": s3})
    check(kea, "object", kea.deploy("object", "s3://models/iris/v1.joblib"))
    check(kea, "prefix", kea.deploy("prefix", "s3://models/bundle"))
    assert "unchanged" in check(kea, "prefix-again", kea.deploy("prefix-again", "s3://models/bundle"))
    upload(s3, {"bundle/README.md": b"changed"})
    assert "unchanged" not in check(kea, "prefix-new", kea.deploy("prefix-new", "s3://models/bundle"))
    fails(kea, "no-object", "s3://models/none", "there is neither `s3://models/none` nor anything below it")
    fails(kea, "no-bucket", "s3://elsewhere/iris", "elsewhere")


def test_a_profile_of_the_aws_tools_is_enough(
    start: Callable[..., Kea], models: ModelShelf, s3: str, tmp_path: Path
) -> None:
    upload(s3, {"iris.joblib": models.iris().read_bytes()}, "profiled")
    file = tmp_path / "credentials"
    file.write_text(f"[work]\naws_access_key_id = testing\naws_secret_access_key = {SECRET}\nregion = us-east-1\n")
    given = {"AWS_PROFILE": "work", "AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_ENDPOINT_URL_S3": s3}
    kea = start(env=given)
    check(kea, "profiled", kea.deploy("profiled", "s3://profiled/iris.joblib"))


# git


@pytest.fixture
def repository(tmp_path: Path, models: ModelShelf) -> tuple[Path, str]:
    """A repository with a model in a folder, tagged; after that commit the model is gone from its branch."""
    folder = tmp_path / "repositories" / "iris"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "iris.joblib").write_bytes(models.iris().read_bytes())
    (folder / ".gitmodules").write_text("")
    hook = tmp_path / "ran"
    (folder / "post-checkout").write_text(f"#!/bin/sh\ntouch {hook}\n")
    git("init", folder)
    git("add", ".", folder=folder)
    git("commit", "-m", "Add the model", folder=folder)
    git("tag", "-a", "v1", "-m", "First", folder=folder)
    commit = git("rev-parse", "HEAD", folder=folder)
    git("rm", "-q", "models/iris.joblib", folder=folder)
    git("commit", "-m", "Remove it", folder=folder)
    return folder, commit


def test_a_revision_of_a_repository_is_fetched_by_every_name(kea: Kea, repository: tuple[Path, str]) -> None:
    folder, commit = repository
    for name, revision in [("tag", "v1"), ("commit", commit), ("beginning", commit[:10])]:
        told = check(kea, f"git-{name}", kea.deploy(f"git-{name}", f"git+file://{folder}@{revision}#models"))
        assert f"commit {commit}" in told, told
    details = kea.deploy("git-again", f"git+file://{folder}@v1#models")
    assert "unchanged" in fetched(details)
    assert "submodules were not fetched" in fetched(kea.deploy("git-whole", f"git+file://{folder}@v1"))
    fails(kea, "git-none", f"git+file://{folder}@v2", "has no branch, tag or commit `v2`")
    fails(kea, "git-folder", f"git+file://{folder}@v1#absent", "holds no `absent`")
    fails(kea, "git-gone", f"git+file://{folder}@main", "post-checkout")
    for model in (kea.data_dir / "models").iterdir():
        assert not (model / ".git").exists()


def test_a_private_repository_over_http_shows_no_password(
    kea: Kea, repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, commit = repository
    user = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    with Place(repositories(folder.parent, user)) as place:
        host = place.url.removeprefix("http://")
        source = f"git+http://me:{SECRET}@{host}/iris/.git@v1#subdirectory=models"
        assert commit in check(kea, "git-http", kea.deploy("git-http", source))
        fails(kea, "git-anonymous", f"git+{place.url}/iris/.git@v1#models", "git fetch")
        fails(kea, "git-wrong", f"git+http://me:{SECRET}x@{host}/iris/.git@v1", "git fetch")
    assert SECRET not in kea.log_file.read_text()


def test_a_pointer_of_git_lfs_is_told_where_git_lfs_is_not_installed(start: Callable[..., Kea], tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            link = programs / program.name
            if program.name != "git-lfs" and not link.is_symlink():
                link.symlink_to(program)
    kea = start(env={"PATH": str(programs)})
    folder = tmp_path / "pointers"
    git("init", folder)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    (folder / "iris.joblib").write_text(pointer)
    git("add", ".", folder=folder)
    git("commit", "-m", "Add a pointer", folder=folder)
    fails(kea, "pointer", f"git+file://{folder}", "install git-lfs beside KEA")


# The hub


def test_a_model_of_a_hub_is_fetched_and_checked(start: Callable[..., Kea], models: ModelShelf) -> None:
    files = {"model/iris.joblib": models.iris().read_bytes(), "README.md": b"iris", ".gitattributes": b""}
    with Place(hub(files, "c0ffee", SECRET)) as place:
        kea = start(env={"HF_ENDPOINT": place.url, "HF_TOKEN": SECRET})
        assert "commit c0ffee" in check(kea, "whole", kea.deploy("whole", "hf://org/iris"))
        check(kea, "one", kea.deploy("one", "hf://org/iris@main/model/iris.joblib"))
        before = place.gets("/resolve/")
        assert "unchanged" in check(kea, "again", kea.deploy("again", "hf://org/iris"))
        assert place.gets("/resolve/") == before
        fails(kea, "no-part", "hf://org/iris/absent", "holds no `absent`")
        fails(kea, "no-model", "hf://org/none", "HF_TOKEN")


# Registries


def push(host: str, tag: str, layers: list[tuple[bytes, str, dict[str, str]]], login: tuple[str, str]) -> None:
    """An artifact as ORAS writes it."""
    url = f"http://{host}/v2/iris"

    def blob(content: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        started = requests.post(f"{url}/blobs/uploads/", auth=login, timeout=30)
        place = started.headers["Location"]
        done = requests.put(f"{place}&digest={digest}", data=content, auth=login, timeout=30)
        assert done.status_code == 201, done.text
        return {"digest": digest, "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **blob(b"{}")},
        "layers": [{"mediaType": kind, "annotations": notes, **blob(content)} for content, kind, notes in layers],
    }
    kind = {"Content-Type": manifest["mediaType"]}
    done = requests.put(f"{url}/manifests/{tag}", json=manifest, headers=kind, auth=login, timeout=30)
    assert done.status_code == 201, done.text


def test_an_artifact_of_a_registry_is_its_files(start: Callable[..., Kea], models: ModelShelf, tmp_path: Path) -> None:
    content, title = models.iris().read_bytes(), "org.opencontainers.image.title"
    login = ("me", SECRET)
    registry = Registry(tmp_path / "registry", login)
    registry.start()
    try:
        layer = "application/vnd.oci.image.layer.v1.tar"
        push(registry.host, "file", [(content, layer, {title: "iris.joblib"})], login)
        packed = archive(tmp_path, "iris.tar.gz", {"iris/iris.joblib": content, "iris/README.md": b""}).read_bytes()
        unpack = {title: "iris", "io.deis.oras.content.unpack": "true"}
        push(registry.host, "folder", [(packed, f"{layer}+gzip", unpack)], login)
        hostile = archive(tmp_path, "evil.tar.gz", {"../evil": b"x"}).read_bytes()
        push(registry.host, "hostile", [(hostile, f"{layer}+gzip", unpack)], login)

        auth = base64.b64encode(":".join(login).encode()).decode()
        kea = start(env={"DOCKER_AUTH_CONFIG": json.dumps({"auths": {registry.host: {"auth": auth}}})})
        source = f"oci://{registry.host}/iris"
        assert "manifest sha256:" in check(kea, "file", kea.deploy("file", f"{source}:file"))
        check(kea, "folder", kea.deploy("folder", f"{source}:folder"))
        assert "unchanged" in check(kea, "again", kea.deploy("again", f"{source}:folder"))
        fails(kea, "hostile", f"{source}:hostile", "`../evil` has `..` in its name")
        fails(kea, "absent", f"{source}:absent", "does not exist")
    finally:
        registry.kill()


# MLflow


MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.11.7
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.9.1
mlflow_version: 3.1.0
model_uuid: 5b6e9b1a3a6c4e6f8f1d2c3b4a596877
utc_time_created: '2026-01-01 00:00:00.000000'
"""


def test_a_model_of_mlflow_is_served_by_its_own_library(kea: Kea, models: ModelShelf, tmp_path: Path) -> None:
    import joblib

    folder = tmp_path / "mlflow"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(joblib.load(models.iris())))
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "requirements.txt").write_text("mlflow==3.1.0\n")
    details = kea.deploy("mlflow", folder)
    check(kea, "mlflow", details)
    made = next(step["detail"] for step in details["steps"] if step["name"] == "make the environment")
    assert "scikit-learn==1.9.1" in made and "mlflow" not in made


def test_a_python_function_of_mlflow_alone_says_what_to_do(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  python_function:\n    python_model: python_model.pkl\n")
    (tmp_path / "python_model.pkl").write_bytes(b"x")
    fails(kea, "pyfunc", tmp_path, "mlflow.pyfunc.load_model")
