"""Models from Azure, Google, ssh and Git LFS, each with a server of its own, through the API and the command line."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from containers import ROOT, free_port
from harness import PASSWORD, Kea
from models import ModelShelf
from places import Place, git
from servers import Agent, Azurite, Key, Sshd, google, lfs, lfs_repository, ssh_key
from test_sources import SECRET, check, fails, shelf

# A key as Azure gives it: 64 bytes.
AZURE_KEY = base64.b64encode((SECRET * 10)[:64].encode()).decode()


@pytest.fixture(scope="module")
def kea(shared_kea: Kea) -> Kea:
    return shared_kea


def hidden(kea: Kea, *secrets: str) -> None:
    """Nothing that KEA says anywhere holds a secret."""
    names = [service["serviceId"] for service in kea.cli_json("list")]
    shown = [kea.log_file.read_text(), *(str(kea.details(name)) for name in names)]
    assert names
    for name in names:
        for command in (["status"], ["versions"], ["logs", "--build"], ["logs"]):
            for output in ("table", "json"):
                done = kea.cli("--output", output, command[0], name, *command[1:], check=False)
                shown.append(done.stdout + done.stderr)
    for text in shown:
        for secret in secrets:
            assert secret not in text, text


def logged_in(kea: Kea) -> Kea:
    kea.cli("login", kea.url, "--username", "admin", env={"KEA_PASSWORD": PASSWORD})
    return kea


# Azure


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory, models: ModelShelf) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite"), "iris", AZURE_KEY) as azurite:
        content = models.iris().read_bytes()
        files = {"iris/v1.joblib": content, "bundle/README.md": b"iris", "bundle/model/iris.joblib": content}
        azurite.upload("models", files)
        azurite.upload("models", {"iris.joblib": content}, "devstoreaccount1", Azurite.EMULATED)
        yield azurite


def account(azurite: Azurite, key: str = AZURE_KEY) -> dict[str, str]:
    endpoint = f"{azurite.url}/{azurite.account}"
    names = {"AZURE_STORAGE_ACCOUNT_NAME": azurite.account, "AZURE_STORAGE_ACCOUNT_KEY": key}
    return {**names, "AZURE_STORAGE_ENDPOINT": endpoint}


def test_blobs_of_azure_are_a_file_or_a_folder(start: Callable[..., Kea], azurite: Azurite) -> None:
    kea = start(env=account(azurite))
    check(kea, "blob", kea.deploy("blob", "az://models/iris/v1.joblib"))
    check(kea, "prefix", kea.deploy("prefix", "az://models/bundle"))
    assert "unchanged" in check(kea, "again", kea.deploy("again", "az://models/bundle"))
    azurite.upload("models", {"bundle/README.md": b"changed"})
    assert "unchanged" not in check(kea, "new", kea.deploy("new", "az://models/bundle"))
    fails(kea, "no-blob", "az://models/none", "there is neither `az://models/none` nor anything below it")
    fails(kea, "no-container", "az://elsewhere/iris", "there is neither `az://elsewhere/iris`")
    hidden(logged_in(kea), AZURE_KEY)


def test_the_emulator_of_azure_needs_no_key(start: Callable[..., Kea], azurite: Azurite) -> None:
    kea = start(env={"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": azurite.url})
    check(kea, "emulated", kea.deploy("emulated", "az://models/iris.joblib"))


def test_a_wrong_key_of_azure_is_told_but_not_shown(start: Callable[..., Kea], azurite: Azurite) -> None:
    wrong = base64.b64encode(b"x" * 64).decode()
    kea = start(env=account(azurite, wrong))
    fails(
        kea, "wrong-key", "az://models/iris/v1.joblib", "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"
    )
    assert "was refused" in kea.details("wrong-key")["reason"]
    hidden(logged_in(kea), wrong, AZURE_KEY)


def test_a_signature_of_azure_is_enough(start: Callable[..., Kea], azurite: Azurite) -> None:
    token = azurite.signature()
    kea = start(env={**account(azurite, ""), "AZURE_STORAGE_SAS_TOKEN": token})
    check(kea, "signed", kea.deploy("signed", "az://models/bundle"))
    fails(kea, "signed-none", "az://models/none", "there is neither")
    hidden(logged_in(kea), token.partition("sig=")[2].partition("&")[0])


def test_a_wrong_signature_of_azure_is_told_but_not_shown(start: Callable[..., Kea], azurite: Azurite) -> None:
    token = f"sv=2021-08-06&ss=b&srt=sco&sp=rl&se=2099-01-01T00:00:00Z&sig={SECRET}%3D"
    kea = start(env={**account(azurite, ""), "AZURE_STORAGE_SAS_TOKEN": token})
    fails(kea, "wrong-signature", "az://models/iris/v1.joblib", "was refused")
    fails(kea, "wrong-signature-below", "az://models/bundle/", "was refused")
    hidden(logged_in(kea), SECRET)


# Google


def test_objects_of_google_are_a_file_or_a_folder(
    start: Callable[..., Kea], models: ModelShelf, tmp_path: Path
) -> None:
    content, key = models.iris().read_bytes(), Key(tmp_path / "key.json")
    objects = {"iris/v 1.joblib": content, "bundle/model/iris.joblib": content}
    objects |= {f"bundle/notes/{number}.md": b"iris" for number in range(3)}
    with Place(google("models", objects, key)) as place:
        kea = start(env={"GOOGLE_BASE_URL": place.url, "GOOGLE_SERVICE_ACCOUNT": str(key.file)})
        check(kea, "object", kea.deploy("object", "gs://models/iris/v 1.joblib"))
        check(kea, "prefix", kea.deploy("prefix", "gs://models/bundle"))
        assert sum("continuation-token" in path for _, path, _ in place.asked) == 1
        before = len(place.asked)
        assert "unchanged" in check(kea, "again", kea.deploy("again", "gs://models/bundle"))
        assert not any(method == "GET" and "?" not in path for method, path, _ in place.asked[before:])
        objects["bundle/notes/1.md"] = b"changed"
        assert "unchanged" not in check(kea, "new", kea.deploy("new", "gs://models/bundle"))
        fails(kea, "no-object", "gs://models/none", "there is neither `gs://models/none` nor anything below it")
        fails(kea, "no-bucket", "gs://elsewhere/iris", "there is neither `gs://elsewhere/iris`")
        hidden(logged_in(kea), *key.pem.splitlines()[1:-1])


def test_a_wrong_key_of_google_is_told_but_not_shown(start: Callable[..., Kea], tmp_path: Path) -> None:
    key, wrong = Key(tmp_path / "key.json"), Key(tmp_path / "wrong.json")
    with Place(google("models", {"iris.joblib": b"x"}, key)) as place:
        kea = start(env={"GOOGLE_BASE_URL": place.url, "GOOGLE_APPLICATION_CREDENTIALS": str(wrong.file)})
        fails(kea, "wrong-key", "gs://models/iris.joblib", "was refused")
        assert "set GOOGLE_APPLICATION_CREDENTIALS" in kea.details("wrong-key")["reason"]
        tokens = {headers["authorization"].removeprefix("Bearer ") for _, _, headers in place.asked}
        hidden(logged_in(kea), *tokens, *wrong.pem.splitlines()[1:-1])


def test_a_public_bucket_of_google_needs_no_key(start: Callable[..., Kea], models: ModelShelf) -> None:
    with Place(google("models", {"iris.joblib": models.iris().read_bytes()}, None)) as place:
        kea = start(env={"GOOGLE_BASE_URL": place.url, "GOOGLE_SKIP_SIGNATURE": "true"})
        check(kea, "public", kea.deploy("public", "gs://models/iris.joblib"))
        assert not any("authorization" in headers for _, _, headers in place.asked)


# git over ssh


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, models: ModelShelf) -> tuple[Path, str]:
    """A repository with a model in a folder, which only the tag `v1` has."""
    folder = tmp_path_factory.mktemp("repositories") / "iris.git"
    (folder / "models").mkdir(parents=True)
    shutil.copyfile(models.iris(), folder / "models" / "iris.joblib")
    git("init", folder)
    git("add", ".", folder=folder)
    git("commit", "-m", "Add the model", folder=folder)
    git("tag", "v1", folder=folder)
    commit = git("rev-parse", "HEAD", folder=folder)
    git("rm", "-q", "-r", "models", folder=folder)
    git("commit", "-m", "Remove it", "--allow-empty", folder=folder)
    return folder, commit


def quickly_fails(kea: Kea, name: str, source: str, *expected: str) -> None:
    """It fails at once, for these reasons, instead of waiting for somebody."""
    before = time.monotonic()
    fails(kea, name, source, expected[0])
    reason = kea.details(name)["reason"]
    assert all(part in reason for part in expected), reason
    assert time.monotonic() - before < 20


def test_a_revision_is_fetched_over_ssh_with_a_key(
    start: Callable[..., Kea], sshd: Sshd, repository: tuple[Path, str]
) -> None:
    folder, commit = repository
    kea = start(env={"GIT_SSH_COMMAND": sshd.command("-i", sshd.key)})
    source = f"git+ssh://{sshd.host}{folder}@v1#models"
    assert f"commit {commit}" in check(kea, "key", kea.deploy("key", source))
    assert "unchanged" in check(kea, "again", kea.deploy("again", source))
    assert commit in check(kea, "commit", kea.deploy("commit", f"git+ssh://{sshd.host}{folder}@{commit[:10]}#models"))
    fails(kea, "no-revision", f"git+ssh://{sshd.host}{folder}@v2", "has no branch, tag or commit `v2`")
    fails(kea, "no-repository", f"git+ssh://{sshd.host}{folder}x@v1", "does not appear to be a git repository")


def test_a_revision_is_fetched_over_ssh_with_an_agent(
    start: Callable[..., Kea], sshd: Sshd, repository: tuple[Path, str], tmp_path: Path
) -> None:
    folder, commit = repository
    with Agent(tmp_path / "agent", sshd.key) as agent:
        kea = start(env={"GIT_SSH_COMMAND": sshd.command(), "SSH_AUTH_SOCK": str(agent.socket)})
        told = check(kea, "agent", kea.deploy("agent", f"git+ssh://{sshd.host}{folder}@v1#models"))
        assert f"commit {commit}" in told


def test_a_key_that_is_missing_or_wrong_is_told_at_once(
    start: Callable[..., Kea], sshd: Sshd, repository: tuple[Path, str], tmp_path: Path
) -> None:
    source = f"git+ssh://{sshd.host}{repository[0]}@v1#models"
    other, locked = ssh_key(tmp_path / "other"), ssh_key(tmp_path / "locked", SECRET)
    for name, options in [("no-key", []), ("other-key", ["-i", other]), ("locked-key", ["-i", locked])]:
        kea = start(name, env={"GIT_SSH_COMMAND": sshd.command(*options)})
        quickly_fails(kea, name, source, "Permission denied (publickey)", "SSH_AUTH_SOCK")


def test_another_host_than_expected_is_told_at_once(
    start: Callable[..., Kea], sshd: Sshd, repository: tuple[Path, str], tmp_path: Path
) -> None:
    known = sshd.knows(tmp_path / "known", ssh_key(tmp_path / "other"))
    kea = start(env={"GIT_SSH_COMMAND": sshd.command("-i", sshd.key, known=known)})
    source = f"git+ssh://{sshd.host}{repository[0]}@v1#models"
    quickly_fails(kea, "other", source, "Host key verification failed", "known_hosts")
    assert not list((kea.data_dir / "models").glob(".incoming-*")) and shelf(kea) == []


# Gives KEA a terminal, as a shell does.
WITH_TERMINAL = """\
#!/usr/bin/env python3
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(os.open(os.environ["TERMINAL"], os.O_RDWR), termios.TIOCSCTTY, 0)
os.execv({binary!r}, [{binary!r}, *sys.argv[1:]])
"""


def test_an_unknown_host_is_not_asked_for_at_the_terminal_of_the_server(
    binary: Path, environments: Path, sshd: Sshd, repository: tuple[Path, str], tmp_path: Path
) -> None:
    wrapper = tmp_path / "with-terminal"
    wrapper.write_text(WITH_TERMINAL.format(binary=str(binary)))
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    master, terminal = os.openpty()
    locked = ssh_key(tmp_path / "locked", SECRET)
    command = sshd.command("-i", locked, known=tmp_path / "none")
    kea = Kea(wrapper, tmp_path / "kea", environments, {"TERMINAL": os.ttyname(terminal), "GIT_SSH_COMMAND": command})
    try:
        kea.start()
        source = f"git+ssh://{sshd.host}{repository[0]}@v1#models"
        quickly_fails(kea, "unknown", source, "Host key verification failed", "known_hosts")
    finally:
        kea.stop()
        os.close(master)
        os.close(terminal)


def test_a_host_without_ssh_is_told(start: Callable[..., Kea], repository: tuple[Path, str]) -> None:
    kea = start()
    kea.deploy("refused", f"git+ssh://me@127.0.0.1:{free_port()}{repository[0]}", wait=False)
    kea.wait_for(lambda: "Connection refused" in str(kea.details("refused")), "the reason", 20)


# Git LFS


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, models: ModelShelf) -> tuple[Path, str]:
    """A repository whose model is in Git LFS."""
    folder = tmp_path_factory.mktemp("large") / "iris"
    return folder, lfs_repository(folder, {"iris.joblib": models.iris().read_bytes()})


def test_a_model_in_git_lfs_of_this_machine_is_fetched(kea: Kea, large: tuple[Path, str]) -> None:
    folder, commit = large
    told = check(kea, "lfs-file", kea.deploy("lfs-file", f"git+file://{folder}"))
    assert commit in told and "pointer" not in told
    size = (folder / "iris.joblib").stat().st_size
    assert [path.stat().st_size for path in (kea.data_dir / "models").glob("*/**/iris.joblib")] == [size]


def test_a_model_in_git_lfs_over_http_is_fetched_with_a_password(kea: Kea, large: tuple[Path, str]) -> None:
    folder, commit = large
    user = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    with Place(lfs(folder.parent, user)) as place:
        host = place.url.removeprefix("http://")
        told = check(kea, "lfs-http", kea.deploy("lfs-http", f"git+http://me:{SECRET}@{host}/iris/.git@{commit}"))
        assert commit in told and place.gets("/info/lfs/objects/batch") > 0
    hidden(logged_in(kea), SECRET, user.removeprefix("Basic "))


def test_a_file_that_git_lfs_has_lost_is_told(kea: Kea, tmp_path: Path) -> None:
    lfs_repository(tmp_path / "lost", {"iris.joblib": b"x"})
    shutil.rmtree(tmp_path / "lost" / ".git" / "lfs")
    with Place(lfs(tmp_path)) as place:
        fails(kea, "lfs-lost", f"git+{place.url}/lost/.git", "iris.joblib")


# MLflow


@pytest.mark.parametrize("name", ["model.xgb", "model.ubj"])
def test_a_model_of_mlflow_that_xgboost_wrote_is_served(kea: Kea, tmp_path: Path, name: str) -> None:
    shutil.copyfile(ROOT / "crates" / "containerizer" / "fixtures" / "boosted.ubj", tmp_path / name)
    flavor = f"  xgboost:\n    data: {name}\n    model_class: xgboost.core.Booster\n    xgb_version: 3.2.0\n"
    (tmp_path / "MLmodel").write_text(
        f"flavors:\n  python_function:\n    data: {name}\n{flavor}mlflow_version: 3.1.0\n"
    )
    (tmp_path / "requirements.txt").write_text("mlflow==3.1.0\nxgboost==3.2.0\n")
    service = name.replace(".", "-")
    details = kea.deploy(service, tmp_path)
    assert details["framework"] == "XGBoost"
    made = next(step["detail"] for step in details["steps"] if step["name"] == "make the environment")
    assert "xgboost" in made and "mlflow" not in made
    (prediction,) = kea.predictions(service, {"input": [5.1, 3.5, 1.4, 0.2]})
    assert prediction["label"] == 0


# The command line


def test_every_source_is_deployed_from_the_command_line_and_shown_without_secrets(
    start: Callable[..., Kea],
    models: ModelShelf,
    azurite: Azurite,
    sshd: Sshd,
    repository: tuple[Path, str],
    large: tuple[Path, str],
    tmp_path: Path,
) -> None:
    folder, _ = repository
    content, key = models.iris().read_bytes(), Key(tmp_path / "key.json")
    user = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    (tmp_path / "work" / "model").mkdir(parents=True)
    shutil.copyfile(models.iris(), tmp_path / "work" / "model" / "iris.joblib")
    with Place(google("models", {"iris.joblib": content}, key)) as bucket, Place(lfs(large[0].parent, user)) as http:
        env = {**account(azurite), "GOOGLE_BASE_URL": bucket.url, "GOOGLE_SERVICE_ACCOUNT": str(key.file)}
        kea = logged_in(start(env={**env, "GIT_SSH_COMMAND": sshd.command("-i", sshd.key)}))
        host = http.url.removeprefix("http://")
        sources = {
            "path": ("model", str(tmp_path / "work" / "model")),
            "azure": ("az://models/iris/v1.joblib",) * 2,
            "google": ("gs://models/iris.joblib",) * 2,
            "ssh": (
                f"git+ssh://{sshd.host}{folder}@v1#models",
                f"git+ssh://***@{sshd.host.partition('@')[2]}{folder}@v1#models",
            ),
            "large": (f"git+http://me:{SECRET}@{host}/iris/.git@main", f"git+http://***@{host}/iris/.git@main"),
        }
        for name, (source, shown) in sources.items():
            done = kea.cli("deploy", name, "--source", source, cwd=tmp_path / "work")
            assert SECRET not in done.stdout + done.stderr
            (version,) = kea.cli_json("versions", name)
            assert version["source"] == shown
            check(kea, name, kea.details(name))
        assert f"***@{host}" in kea.cli("versions", "large").stdout
        failed = kea.cli("deploy", "failing", "--source", f"git+http://me:{SECRET}x@{host}/iris/.git", check=False)
        assert failed.returncode != 0 and "git fetch" in failed.stderr and SECRET not in failed.stdout + failed.stderr
        hidden(kea, SECRET, AZURE_KEY, user.removeprefix("Basic "), *key.pem.splitlines()[1:-1])
