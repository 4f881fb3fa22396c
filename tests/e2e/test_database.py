"""`kea serve --database`: what is wanted on PostgreSQL, beside a data folder that can be lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from databases import Postgres
from harness import API, PASSWORD, Kea
from models import SETOSA, ModelShelf


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="kea-postgres-"))
    server = Postgres(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_services_and_users_outlive_the_data_folder(
    start: Callable[..., Kea], models: ModelShelf, postgres: Postgres
) -> None:
    first = start("first", env={"KEA_DATABASE": postgres.url})
    first.deploy("iris", models.iris())
    first.deploy("other", models.iris(), replicas=0)
    assert not (first.data_dir / "kea.db").exists()
    assert first.stop() == 0
    shutil.rmtree(first.data_dir)
    # The harness logs in with the first password: that of the database holds, and not what this start is given.
    second = start("second", env={"KEA_DATABASE": postgres.url, "KEA_ADMIN_PASSWORD": "another one"})
    assert second.wait_deployed("iris")["replicas"] == 1
    assert second.predictions("iris", SETOSA)[0]["label"] == "setosa"
    assert second.details("other")["replicas"] == 0
    assert list((second.data_dir / "models").iterdir()), "the model was fetched anew"
    kept = {"Authorization": f"Bearer {first.token}"}
    assert requests.get(f"{second.url}{API}/services", headers=kept, timeout=30).status_code == 200
    second.deploy("iris", models.iris())
    assert [version["version"] for version in second.request("GET", "/services/iris/versions").json()] == ["1", "2"]
    for kea in (first, second):
        assert postgres.password not in kea.log_file.read_text()


def test_a_database_that_goes_and_comes_back_stops_no_predictions(
    start: Callable[..., Kea], models: ModelShelf, postgres: Postgres
) -> None:
    kea = start(env={"KEA_DATABASE": postgres.url})
    kea.deploy("iris", models.iris())
    postgres.stop()
    began = time.monotonic()
    answer = kea.request("POST", "/services", json={"modelName": "late", "sourceCode": str(models.iris())})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (503, "store-unavailable"), answer.text
    assert time.monotonic() - began < 15
    assert kea.predictions("iris", SETOSA)[0]["label"] == "setosa"
    (pid,) = kea.replica_pids("iris")
    os.kill(pid, signal.SIGKILL)
    kea.wait_for(lambda: kea.replica_pids("iris") not in ([], [pid]), "another replica")
    kea.wait_for(lambda: kea.predict("iris", SETOSA).status_code == 200, "an answer of it")
    assert postgres.password not in answer.text + kea.log_file.read_text()
    postgres.start()
    kea.deploy("late", models.iris())
    kea.login()


def test_two_that_start_on_an_empty_database_at_once_share_users_and_key(
    binary: Path, environments: Path, tmp_path: Path, postgres: Postgres
) -> None:
    env = {"KEA_DATABASE": postgres.url}
    keas = [Kea(binary, tmp_path / name, environments, env) for name in ("one", "two")]
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Kea.start, keas))
        one, two = keas
        headers = {"Authorization": f"Bearer {one.token}"}
        assert requests.get(f"{two.url}{API}/services", headers=headers, timeout=30).status_code == 200
    finally:
        for kea in keas:
            kea.stop()


@pytest.mark.parametrize("by", ["flag", "variable", "file"])
def test_a_database_that_refuses_is_told_without_the_password(
    binary: Path, tmp_path: Path, postgres: Postgres, by: str
) -> None:
    url = postgres.url_with_password("hunter2")
    options = ["--database", url] if by == "flag" else []
    env = {**os.environ, **({"KEA_DATABASE": url} if by == "variable" else {}), "KEA_ADMIN_PASSWORD": PASSWORD}
    if by == "file":
        (tmp_path / "kea.toml").write_text(f'database = "{url}"\n')
    command = [binary, "serve", "--listen", "127.0.0.1:0", *options]
    ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "password authentication failed" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr
    shown = subprocess.run([binary, "serve", "--help"], env=env, capture_output=True, text=True, check=True)
    assert "KEA_DATABASE" in shown.stdout
    assert "hunter2" not in shown.stdout


def log_in(kea: Kea) -> str:
    body = {"username": "admin", "password": PASSWORD}
    return str(requests.post(f"{kea.url}{API}/auth/login", json=body, timeout=30).json()["token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(kea: Kea, token: str) -> int:
    return requests.get(f"{kea.url}{API}/auth/me", headers=bearer(token), timeout=30).status_code


def test_servers_on_one_database_hear_of_each_others_changes(start: Callable[..., Kea], postgres: Postgres) -> None:
    one, two = (start(name, env={"KEA_DATABASE": postgres.url}) for name in ("one", "two"))
    session = log_in(one)
    assert status(two, session) == 200
    one.request("POST", "/auth/signing-keys/rotate")
    assert requests.post(f"{one.url}{API}/auth/logout", headers=bearer(session), timeout=30).status_code == 204
    assert status(one, session) == 401
    two.wait_for(lambda: status(two, session) == 401, "the other server to hear of it", 10)

    def signs_with_the_new_key() -> bool:
        new = log_in(one)
        assert status(two, new) == 200, "a key that signs is known everywhere"
        return new.partition(".")[0] != session.partition(".")[0]

    one.wait_for(signs_with_the_new_key, "the new key to sign", 20)
