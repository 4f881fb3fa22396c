"""`kea model-server` by itself, as a pod runs it: what it tells over HTTP, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from containers import free_port
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


def predict(url: str, session: Any = requests, **headers: str) -> requests.Response:
    return session.post(url + PREDICT, json={"inputs": SETOSA}, headers=headers, timeout=30)


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
    # A busy machine takes longer to import scikit-learn than a gateway waits where nothing is said.
    answer = predict(replica.url, **{"kea-timeout-ms": "30000"})
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


APP = """
import asyncio

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/items/{item}")
def item(item: int, q: str = ""):
    if item > 9:
        raise HTTPException(404, "no such item")
    return {"item": item, "q": q}


@app.api_route("/echo", methods=["POST", "PUT", "PATCH", "DELETE"])
async def echo(request: Request):
    size = 0
    async for part in request.stream():
        size += len(part)
    return {"method": request.method, "size": size, "headers": dict(request.headers)}


@app.get("/slow")
def slow():
    async def parts():
        yield "first\\n"
        await asyncio.sleep(1.5)
        yield "last\\n"

    return StreamingResponse(parts(), media_type="text/plain")
"""


class App:
    """A web service of somebody's own, which uvicorn runs."""

    def __init__(self, folder: Path) -> None:
        (folder / "app.py").write_text(APP)
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, cwd=self.folder)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(tmp_path)
    yield app
    app.kill()


@pytest.fixture
def sidecar(replica: Start, app: App) -> Start:
    """Starts a sidecar of the app."""
    return lambda **variables: replica(KEA_SERVICE="app", KEA_UPSTREAM=f"127.0.0.1:{app.port}", **variables)


def test_a_sidecar_tells_how_its_web_service_is(sidecar: Start, app: App) -> None:
    replica = sidecar()
    waiting = replica.until(replica.report)
    assert (waiting["service"], waiting["engine"], waiting["ready"]) == ("app", "external", False)
    assert waiting["reason"] == "the web service has not answered yet"
    assert (replica.status("/healthz"), replica.status("/readyz"), replica.status("/items/1")) == (200, 503, 503)

    app.start()
    ready = replica.until_ready()
    assert ready["contract"]["platform"] == "external" and ready["reason"] is None
    assert (replica.status("/healthz"), replica.status("/readyz")) == (200, 200)

    app.kill()
    gone = replica.get("/items/1")
    assert (gone.status_code, gone.headers["content-type"]) == (502, "application/problem+json")
    assert f"the web service at 127.0.0.1:{app.port} cannot be reached" in gone.json()["detail"]
    replica.until(lambda: replica.status("/readyz") == 503, 15)
    assert "the web service does not answer" in replica.report()["reason"]
    assert (replica.status("/items/1"), replica.status("/healthz")) == (503, 200)

    app.start()
    replica.until_ready()
    assert replica.get("/items/1").json() == {"item": 1, "q": ""}


def test_a_web_service_that_does_not_come_is_waited_for_and_named(sidecar: Start, app: App) -> None:
    replica = sidecar()
    address = f"127.0.0.1:{app.port}"
    report = replica.until(lambda: address in (report := replica.report())["reason"] and report, 15)
    assert report["reason"].startswith(f"the web service at {address} has not answered yet: ")
    assert replica.status("/healthz") == 200


def test_a_sidecar_passes_requests_on_as_they_are(sidecar: Start, app: App) -> None:
    app.start()
    replica = sidecar()
    replica.until_ready()
    assert replica.get("/items/5", params={"q": "a b"}).json() == {"item": 5, "q": "a b"}
    missing = replica.get("/items/10")
    assert (missing.status_code, missing.json()) == (404, {"detail": "no such item"})
    invalid = replica.get("/items/five")
    assert invalid.status_code == 422 and invalid.json()["detail"][0]["loc"] == ["path", "item"]

    body = os.urandom(20 << 20)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        headers = {"X-Mine": "1", "X-Request-Id": "mine", "TE": "gzip, trailers"}
        answer = requests.request(method, f"{replica.url}/echo", data=body, headers=headers, timeout=60)
        echo = answer.json()
        assert (echo["method"], echo["size"]) == (method, len(body))
        assert (echo["headers"]["host"], echo["headers"]["x-mine"]) == (f"127.0.0.1:{app.port}", "1")
        assert echo["headers"]["x-request-id"] == answer.headers["x-request-id"] == "mine"
        assert echo["headers"]["te"] == "trailers"
    parts = requests.post(f"{replica.url}/echo", data=iter([b"12", b"345"]), timeout=30).json()
    assert parts["size"] == 5


def test_a_sidecar_streams_answers(sidecar: Start, app: App) -> None:
    app.start()
    replica = sidecar()
    replica.until_ready()
    began = time.monotonic()
    with replica.get("/slow", stream=True) as answer:
        parts = answer.iter_lines()
        assert next(parts) == b"first"
        first = time.monotonic() - began
        assert next(parts) == b"last"
        assert time.monotonic() - began - first > 1, "the first part came only with the last"


def test_a_sidecar_passes_on_what_comes_while_routers_learn_of_the_end(sidecar: Start, app: App) -> None:
    app.start()
    replica = sidecar(KEA_LINGER="2s")
    replica.until_ready()
    replica.running.terminate()
    replica.until(lambda: replica.status("/readyz") == 503, 1)
    for item in range(9):
        assert replica.get(f"/items/{item}").json() == {"item": item, "q": ""}
    with replica.get("/slow", stream=True) as answer:
        assert answer.text == "first\nlast\n"
    assert replica.running.wait(30) == 0


def test_a_server_without_kept_connections_is_passed_on_to(replica: Start, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "greeting.txt").write_text("hello from a file\n")
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as server:
        try:
            sidecar = replica(KEA_UPSTREAM=f"localhost:{port}")
            sidecar.until_ready()
            for _ in range(3):
                assert sidecar.get("/greeting.txt").text == "hello from a file\n"
            assert requests.head(f"{sidecar.url}/greeting.txt", timeout=30).headers["content-length"] == "18"
            assert requests.post(f"{sidecar.url}/greeting.txt", timeout=30).status_code == 501
        finally:
            server.kill()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--upstream", "127.0.0.1"], "a host and a port"),
        (["--upstream", "127.0.0.1:1", "--model", "x"], "cannot be used with"),
        (["--upstream", "127.0.0.1:1", "--", "true"], "cannot be used with"),
    ],
)
def test_an_upstream_is_an_address_and_stands_alone(binary: Path, options: list[str], reason: str) -> None:
    command = [binary, "model-server", "--service", "app", *options]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 2 and reason in refused.stderr
