"""`kea model-server` by itself, as a pod runs it: what it tells over HTTP, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import API, descendants
from models import SETOSA, ModelShelf
from replicas import Replica

PREDICT = f"{API}/services/iris/predict"

Start = Callable[..., Replica]


@pytest.fixture
def replica(binary: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts replicas with these variables that end with the test."""
    with ExitStack() as started:
        yield lambda **variables: started.enter_context(Replica(binary, tmp_path, **variables))


@pytest.fixture
def iris(replica: Start, models: ModelShelf) -> Start:
    """Starts a replica of the iris classifier."""
    return lambda **variables: replica(KEA_MODEL=models.iris(), KEA_FRAMEWORK="ScikitLearn", **variables)


def predict(url: str, session: Any = requests) -> requests.Response:
    return session.post(url + PREDICT, json={"inputs": SETOSA}, timeout=30)


SLOW = """
import time

class Model:
    def __init__(self):
        time.sleep(3)

    def predict(self, x: int) -> int:
        return x + 1
"""


def test_a_replica_tells_how_it_is_while_it_loads_and_after(replica: Start, models: ModelShelf) -> None:
    slow = replica(KEA_MODEL=models.custom("slow-start", SLOW), KEA_FRAMEWORK="Custom", KEA_SERVICE_VERSION="7")
    loading = slow.until(slow.report)
    reason = loading.pop("reason")
    assert loading == {"service": "iris", "version": "7", "engine": "python", "ready": False, "contract": None}
    assert reason == "the model is loading"
    assert (slow.status("/healthz"), slow.status("/readyz"), slow.status("/v2/health/ready")) == (200, 503, 503)

    ready = slow.until_ready()
    assert ready["reason"] is None
    assert [function["name"] for function in ready["contract"]["functions"]] == ["predict"]
    assert (slow.status("/healthz"), slow.status("/readyz"), slow.status("/v2/health/ready")) == (200, 200, 200)


def test_the_contract_of_a_model_is_told(iris: Start) -> None:
    report = iris().until_ready()
    (function,) = report["contract"]["functions"]
    assert [field["name"] for field in function["inputs"]] == list(SETOSA)
    assert report["contract"]["platform"] == "scikit-learn Pipeline"


def test_a_model_that_cannot_be_loaded_says_why_everywhere(replica: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.joblib").write_bytes(b"no model at all")
    broken = replica(KEA_MODEL=tmp_path / "broken.joblib", KEA_FRAMEWORK="ScikitLearn")
    report = broken.until(lambda: (report := broken.report())["reason"] != "the model is loading" and report)
    reason = report["reason"]
    assert not report["ready"] and "broken.joblib" in reason
    assert (broken.status("/healthz"), broken.status("/readyz")) == (503, 503)
    assert reason in broken.get("/readyz").json()["detail"]
    assert broken.running.wait(30) == 1
    assert broken.termination_log.read_text() == reason
    assert f"error: {reason}" in broken.log


def test_a_replica_that_cannot_begin_says_why(replica: Start, models: ModelShelf) -> None:
    missing = replica(KEA_MODEL=models.iris(), KEA_FRAMEWORK="ONNX")
    assert missing.running.wait(30) == 1
    assert missing.termination_log.read_text().startswith("--onnxruntime is missing")


def test_a_worker_that_dies_comes_back_within_the_replica(iris: Start) -> None:
    replica = iris()
    replica.until_ready()
    (worker,) = descendants(replica.running.pid)
    os.kill(worker, signal.SIGKILL)
    answer = predict(replica.url)
    assert answer.status_code == 200, answer.text
    assert replica.until_ready()["reason"] is None
    assert replica.status("/healthz") == 200


def test_no_request_is_lost_while_routers_learn_of_the_end(iris: Start) -> None:
    replica = iris(KEA_LINGER="4s")
    replica.until_ready()
    answers: list[int | str] = []
    done = threading.Event()

    def call(kept: bool) -> None:
        session = requests.Session()
        while not done.is_set():
            try:
                answers.append(predict(replica.url, session if kept else requests).status_code)
            except requests.RequestException as error:
                answers.append(repr(error))

    callers = [threading.Thread(target=call, args=(number % 2 == 0,)) for number in range(6)]
    for caller in callers:
        caller.start()
    replica.until(lambda: len(answers) > 50)
    replica.running.terminate()
    replica.until(lambda: replica.status("/readyz") == 503, 1)
    before = len(answers)
    assert (replica.status("/healthz"), replica.status("/v2/health/ready")) == (200, 503)
    assert replica.report()["reason"] == "the replica is about to end"
    time.sleep(2)
    done.set()
    for caller in callers:
        caller.join(30)
    assert len(answers) - before > 50 and set(answers) == {200}, answers[-5:]
    assert replica.running.wait(30) == 0, replica.log


SLEEPER = """
import time

class Model:
    def predict(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds
"""


def test_what_is_under_way_when_the_linger_is_over_is_finished(replica: Start, models: ModelShelf) -> None:
    sleeper = replica(KEA_MODEL=models.custom("sleeper", SLEEPER), KEA_FRAMEWORK="Custom", KEA_LINGER="1s")
    sleeper.until_ready()
    sleeper.running.terminate()
    sleeper.until(lambda: sleeper.status("/readyz") == 503, 1)
    answer = requests.post(sleeper.url + PREDICT, json={"inputs": {"seconds": 3}}, timeout=30)
    assert answer.status_code == 200 and answer.headers["connection"] == "close"
    assert sleeper.running.wait(30) == 0
    with pytest.raises(requests.ConnectionError):
        sleeper.get("/healthz")


def test_a_replica_ends_at_once_where_nothing_is_under_way(iris: Start) -> None:
    replica = iris()
    replica.until_ready()
    began = time.monotonic()
    replica.running.terminate()
    assert replica.running.wait(30) == 0
    assert time.monotonic() - began < 3
