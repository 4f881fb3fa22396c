"""Models that break, hang, flood and exit, full disks, servers that are stopped: what callers and users see."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import Kea, descendants, is_running
from load import Load
from models import SETOSA, ModelShelf

ANSWERS = """
class Model:
    def predict(self, x: int) -> int:
        return x + {plus}
"""

EXITS_IN_LOAD = """
import os

class Model:
    def load(self) -> None:
        os._exit(7)

    def predict(self, x: int) -> int:
        return x
"""

SEGFAULTS_IN_LOAD = """
import ctypes

class Model:
    def load(self) -> None:
        ctypes.string_at(0)

    def predict(self, x: int) -> int:
        return x
"""

HANGS = """
import time

class Model:
    def predict(self, seconds: int) -> int:
        time.sleep(seconds)
        return seconds
"""

EXITS_ON_THE_TENTH_CALL = """
import os

class Model:
    def load(self) -> None:
        self.calls = 0

    def predict(self, x: int) -> int:
        self.calls += 1
        if self.calls == 10:
            os._exit(3)
        return x
"""

FLOODS = """
class Model:
    def predict(self, megabytes: int) -> int:
        for _ in range(megabytes * 1024):
            print("x" * 1023)
        return megabytes
"""

TAKES_MEMORY = """
class Model:
    def predict(self, mebibytes: int) -> int:
        return len(bytearray(mebibytes << 20)) >> 20
"""

TAKES_MEMORY_IN_LOAD = """
class Model:
    def load(self) -> None:
        self.weights = bytearray(2 << 30)

    def predict(self, x: int) -> int:
        return x
"""

SLOW = """
import time

class Model:
    def predict(self, x: int) -> int:
        print("begun", flush=True)
        time.sleep(1)
        return x
"""

LOOKS_AROUND = """
import os
from pathlib import Path

class Model:
    def load(self) -> None:
        Path("written-in-load.txt").write_text("mine")

    def predict(self) -> dict:
        return {
            "environment": dict(os.environ),
            "cwd": os.getcwd(),
            "home": str(Path.home()),
            "files": sorted(os.listdir()),
        }
"""


def result(kea: Kea, name: str, **inputs: Any) -> Any:
    return kea.predictions(name, inputs)[0]["result"]


def corrupt_joblib(folder: Path, models: ModelShelf) -> Path:
    path = folder / "cut.joblib"
    path.write_bytes(models.iris().read_bytes()[:500])
    return path


def truncated_onnx(folder: Path, models: ModelShelf) -> Path:
    path = folder / "cut.onnx"
    path.write_bytes(models.iris_onnx().read_bytes()[:100])
    return path


def empty_file(folder: Path, _: ModelShelf) -> Path:
    path = folder / "empty.joblib"
    path.touch()
    return path


def folder_without_a_model(folder: Path, _: ModelShelf) -> Path:
    path = folder / "nothing"
    path.mkdir()
    (path / "README.md").write_text("nothing here")
    return path


@pytest.mark.parametrize("make", [corrupt_joblib, truncated_onnx, empty_file, folder_without_a_model])
def test_a_model_that_cannot_be_read_fails_with_the_reason(
    shared_kea: Kea, models: ModelShelf, tmp_path: Path, make: Callable[[Path, ModelShelf], Path]
) -> None:
    """Either at once, or when it is loaded; a good model under the same name then works."""
    kea, source = shared_kea, make(tmp_path, models)
    name = make.__name__.replace("_", "-")
    answer = kea.request("POST", "/services", json={"modelName": name, "sourceCode": str(source)})
    if answer.status_code == 400:
        assert source.name in answer.json()["detail"], answer.text
        assert kea.request("GET", f"/services/{name}").status_code == 404
    else:
        assert answer.status_code == 201, answer.text
        details = kea.wait_failed(name)
        assert details["reason"] and "internal" not in details["reason"].lower(), details
        refused = kea.predict(name, SETOSA)
        assert refused.status_code == 503 and details["reason"] in refused.json()["detail"], refused.text
    assert kea.deploy(name, models.custom("plus-1", ANSWERS.format(plus=1)))["liveVersion"]
    assert result(kea, name, x=1) == 2


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("exits-in-load", EXITS_IN_LOAD, "exit status: 7"), ("segfaults", SEGFAULTS_IN_LOAD, "SIGSEGV")],
    ids=["exits", "segfaults"],
)
def test_a_model_that_dies_while_it_loads_fails_with_how_it_ended(
    shared_kea: Kea, models: ModelShelf, name: str, code: str, said: str
) -> None:
    kea = shared_kea
    kea.deploy(name, models.custom(name, code), wait=False)
    assert said in kea.wait_failed(name)["reason"]
    assert kea.request("DELETE", f"/services/{name}").status_code == 204
    kea.wait_for(lambda: kea.request("GET", f"/services/{name}").status_code == 404, "the failed service to go")


def test_a_hanging_model_is_answered_for_in_time_and_started_again(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    # In turn, so that calls go on to find out about the one that hangs.
    rule = {"algorithm": "round_robin"}
    kea.deploy("hangs", models.custom("hangs", HANGS), replicas=2, timeout="2s", loadBalancer=rule)
    answer = kea.predict("hangs", {"seconds": 3600})
    assert answer.status_code == 504 and answer.elapsed.total_seconds() < 4, answer.text
    # By the gateway, or by the replica a moment before, which was told how much was left.
    assert re.search(r"did not answer within (19\d\d|2000) ms", answer.json()["detail"]), answer.text
    # While one replica hangs, callers who come again are answered by the other, soon by both.
    kea.wait_for(lambda: kea.predict("hangs", {"seconds": 0}).status_code == 200, "an answer of the other", 10)

    def both_answer() -> bool:
        return all(kea.predict("hangs", {"seconds": 0}).status_code == 200 for _ in range(6))

    kea.wait_for(both_answer, "the hanging worker to be started again", 30)
    logs = kea.request("GET", "/logs/hangs", params={"tail": 1000}).json()["logEntries"]
    assert any("did not answer within" in line for line in logs), logs


def test_a_model_that_exits_costs_its_call_alone(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("exits", models.custom("exits", EXITS_ON_THE_TENTH_CALL))
    answers = [kea.predict("exits", {"x": n}) for n in range(12)]
    assert [answer.status_code for answer in answers[:9]] == [200] * 9
    assert answers[9].status_code == 500
    assert answers[9].json()["type"].endswith("/model-crashed") and "exit status: 3" in answers[9].json()["detail"]
    # Those who come while it starts again wait for it, or are asked to come again.
    assert {answer.status_code for answer in answers[10:]} <= {200, 503}
    kea.wait_for(lambda: kea.predict("exits", {"x": 4}).status_code == 200, "the next worker")


def test_a_model_that_prints_megabytes_fills_neither_disk_nor_memory(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("floods", models.custom("floods", FLOODS), timeout="60s")
    assert result(kea, "floods", megabytes=48) == 48
    logs = kea.data_dir / "logs" / "floods"
    kea.request("GET", "/logs/floods").raise_for_status()
    assert sum(file.stat().st_size for file in logs.iterdir()) <= 33 << 20
    assert result(kea, "floods", megabytes=0) == 0
    assert len(kea.request("GET", "/logs/floods", params={"tail": 5}).json()["logEntries"]) == 5


def test_memory_above_the_limit_is_a_clear_failure(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    limit = {"limits": {"memory": "512Mi"}}
    kea.deploy("memory", models.custom("memory", TAKES_MEMORY), resources=limit)
    refused = kea.predict("memory", {"mebibytes": 2048})
    assert refused.status_code == 500 and "MemoryError" in refused.json()["detail"], refused.text
    assert result(kea, "memory", mebibytes=100) == 100
    kea.deploy("heavy", models.custom("heavy", TAKES_MEMORY_IN_LOAD), wait=False, resources=limit)
    assert "MemoryError" in kea.wait_failed("heavy")["reason"]
    kea.request("DELETE", "/services/heavy")


def test_a_row_that_the_model_refuses_fails_alone_in_its_batch(shared_kea: Kea, models: ModelShelf) -> None:
    """A forest refuses numbers that single precision cannot hold, and with them the whole batch."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    path = models.folder / "forest.joblib"
    iris = load_iris()
    joblib.dump(RandomForestClassifier(60, random_state=0).fit(iris.data, iris.target_names[iris.target]), path)
    kea = shared_kea
    kea.deploy("forest", path)
    flower = list(SETOSA.values())

    def call(number: int) -> tuple[int, str]:
        row = [1e300, *flower[1:]] if number % 10 == 3 else flower
        answer = kea.predict("forest", {"input": row})
        return answer.status_code, answer.text

    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(call, range(80)))
    for number, (status, text) in enumerate(answers):
        if number % 10 == 3:
            assert status in (400, 500) and ("too large" in text or "FP32" in text), text
        else:
            assert status == 200 and '"setosa"' in text, text


def test_two_deploys_of_one_name_at_once_end_in_one_service(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    sources = [models.custom(f"twin-{plus}", ANSWERS.format(plus=plus)) for plus in range(6)]

    def deploy(source: Path) -> Any:
        body = {"modelName": "twin", "sourceCode": str(source), "replicas": 2}
        return kea.request("POST", "/services", json=body)

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(deploy, sources))
    assert [answer.status_code for answer in answers] == [201] * 6
    assert sorted(answer.json()["version"] for answer in answers) == ["1", "2", "3", "4", "5", "6"]
    details = kea.wait_deployed("twin")
    assert details["liveVersion"] == "6"
    kea.wait_for(lambda: len(kea.details("twin")["replicaStatuses"]) == 2, "the replicas of other versions to go")
    last = next(n for n, answer in enumerate(answers) if answer.json()["version"] == "6")
    assert result(kea, "twin", x=10) == 10 + last
    assert len(kea.request("GET", "/services/twin/versions").json()) == 6


def test_a_service_can_go_while_it_comes_and_come_again(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    first, second = (models.custom(f"phoenix-{plus}", ANSWERS.format(plus=plus)) for plus in (1, 2))
    gone = lambda: kea.request("GET", "/services/phoenix").status_code == 404  # noqa: E731
    kea.deploy("phoenix", first, wait=False)
    assert kea.request("DELETE", "/services/phoenix").status_code == 204
    kea.wait_for(gone, "the service to go")
    kea.deploy("phoenix", first, cache={"enabled": True})
    assert [result(kea, "phoenix", x=1) for _ in range(2)] == [2, 2]
    pids = kea.replica_pids("phoenix")
    assert kea.request("DELETE", "/services/phoenix").status_code == 204
    kea.wait_for(gone, "the service to go")
    assert not any(map(is_running, pids))
    assert kea.predict("phoenix", {"x": 1}).status_code == 404
    # The same name and version, another model: nothing of the old one answers.
    assert kea.deploy("phoenix", second, cache={"enabled": True})["version"] == "1"
    assert result(kea, "phoenix", x=1) == 3


def test_replicas_see_no_secrets_and_share_no_folder(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    os.environ["KEA_TEST_SECRET"] = "not for models"
    kea.deploy("looks", models.custom("looks", LOOKS_AROUND), replicas=2, env={"MINE": "yes"})
    seen = {views["cwd"]: views for views in (kea.predictions("looks", {})[0] for _ in range(4))}
    assert len(seen) == 2, "each replica has a folder of its own"
    for cwd, view in seen.items():
        environment = view["environment"]
        assert environment["MINE"] == "yes"
        assert not [name for name in environment if "PASSWORD" in name or "SECRET" in name or "TOKEN" in name]
        assert view["home"] == cwd == environment["HOME"]
        assert environment["TMPDIR"].startswith(cwd)
        assert "written-in-load.txt" in view["files"]
    # What a model writes is not found beside the model's own files, nor in the user's.
    assert not list((kea.data_dir / "models").rglob("written-in-load.txt"))
    assert not (models.folder / "looks" / "written-in-load.txt").exists()
    (first, second) = kea.replica_pids("looks")
    for pid in [first, second, *descendants(first), *descendants(second)]:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"KEA_ADMIN_PASSWORD" not in environment and b"not for models" not in environment


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB where KEA of this test keeps its data."""
    folder = tmp_path / "kea" / "data"
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_fails_deploys_and_nothing_else(
    small_disk: Path, start: Callable[..., Kea], models: ModelShelf, tmp_path: Path
) -> None:
    kea = start()
    kea.deploy("running", models.iris())
    large = tmp_path / "large"
    large.mkdir()
    (large / "model.py").write_text(ANSWERS.format(plus=1))
    (large / "weights.bin").write_bytes(os.urandom(30 << 20))
    with Load(kea, "running", SETOSA, {"label": "setosa"}, threads=2) as load:
        kea.deploy("large", large, wait=False)
        assert "no space is left on the disk" in kea.wait_failed("large")["reason"]
        load.more(20)
        assert not [file for file in small_disk.rglob("weights.bin*")], "nothing half left"
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError:
                pass
        answer = kea.request("POST", "/services", json={"modelName": "more", "sourceCode": str(models.iris(2))})
        if answer.status_code == 201:
            assert "no space is left on the disk" in kea.wait_failed("more")["reason"]
        else:
            assert answer.status_code == 503 and "the store is not available" in answer.json()["detail"], answer.text
            assert "full" in kea.log_file.read_text(), "KEA's own log has the reason"
            assert kea.request("GET", "/services/more").status_code == 404
        load.more(20)
        filler.unlink()
        assert kea.deploy("more", models.iris(2))["status"] == "deployed"
        load.more(20)
    load.assert_all_answered()
    assert kea.predictions("more", SETOSA)[0]["label"] == "setosa"
    (large / "weights.bin").unlink()
    assert kea.deploy("large", large)["status"] == "deployed"


def test_a_stop_lets_requests_finish_and_leaves_nothing(start: Callable[..., Kea], models: ModelShelf) -> None:
    kea = start()
    kea.deploy("slow", models.custom("slow", SLOW), replicas=2)
    answers: list[Any] = []

    def call(x: int) -> None:
        answers.append(kea.predict("slow", {"x": x}))

    def begun() -> bool:
        lines = kea.request("GET", "/logs/slow").json()["logEntries"]
        return sum(line.endswith("stdout begun") for line in lines) == 2

    callers = [threading.Thread(target=call, args=(x,)) for x in range(2)]
    for caller in callers:
        caller.start()
    kea.wait_for(begun, "both requests to be under way")
    assert kea.process is not None
    below = descendants(kea.process.pid)
    assert kea.stop() == 0
    for caller in callers:
        caller.join(30)
    assert sorted(answer.json()["predictions"][0]["result"] for answer in answers) == [0, 1]
    assert not any(map(is_running, below))


def serve(kea: Kea, *options: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs another `kea serve` that is expected to end at once."""
    command = [kea.binary, "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env={**os.environ, **env})


def test_a_server_that_cannot_run_says_why(shared_kea: Kea, tmp_path: Path) -> None:
    kea = shared_kea
    second = serve(kea, "--listen", "127.0.0.1:0", "--data-dir", kea.data_dir)
    assert second.returncode == 1 and "another KEA uses" in second.stderr and "--data-dir" in second.stderr
    taken = serve(kea, "--listen", kea.listen, "--data-dir", tmp_path / "other")
    assert taken.returncode == 1 and f"cannot listen on {kea.listen}" in taken.stderr
    config = tmp_path / "kea.toml"
    config.write_text('listen = "here"\nport = 1\nbody-limit = "big"\ntoken-ttl = "1h"\n')
    wrong = serve(kea, "--config", config, "--data-dir", tmp_path / "third")
    assert wrong.returncode == 1
    for part in (str(config), "`listen`", "`port`", "`body-limit`"):
        assert part in wrong.stderr, wrong.stderr
    assert "token-ttl`:" not in wrong.stderr
    assert not (tmp_path / "third").exists(), "nothing is started with a wrong configuration"
    file = tmp_path / "file"
    file.write_text("")
    nowhere = serve(kea, "--listen", "127.0.0.1:0", "--data-dir", file / "data")
    assert nowhere.returncode == 1 and str(file) in nowhere.stderr


def test_a_program_that_is_replaced_while_it_runs_still_starts_replicas(
    binary: Path, environments: Path, models: ModelShelf, tmp_path: Path
) -> None:
    """As an upgrade of the package does."""
    program = tmp_path / "kea-program"
    shutil.copy(binary, program)
    kea = Kea(program, tmp_path / "kea", environments)
    kea.start()
    try:
        program.unlink()
        shutil.copy(binary, program)
        kea.deploy("late", models.iris())
        assert kea.predictions("late", SETOSA)[0]["label"] == "setosa"
    finally:
        kea.stop()
