"""Shares, replicas elsewhere, replicas that hang, limits, and who calls: under real requests, changed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import API, PASSWORD, Kea
from models import ModelShelf
from requests.adapters import HTTPAdapter
from users import User, add_users

# Each replica has a home that has its name.
NAMES_ITSELF = """
import os
import time

class Model:
    def predict(self, seconds: float = 0.0) -> str:
        time.sleep(seconds)
        return os.path.basename(os.environ["HOME"])
"""

NAMES = ["shared-1-0", "shared-1-1", "shared-1-2"]

# Of the addresses of this machine the one whose word on callers is believed, and one whose word is not.
PROXY = "127.0.0.2"
STRANGER = "127.0.0.3"


@pytest.fixture(scope="module")
def kea(
    binary: Path, environments: Path, models: ModelShelf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kea]:
    """A KEA that believes one proxy, with the service `shared` of three replicas."""
    kea = Kea(binary, tmp_path_factory.mktemp("resilience"), environments, {"KEA_TRUSTED_PROXIES": PROXY})
    kea.start()
    try:
        kea.deploy("shared", models.custom("names-itself", NAMES_ITSELF), replicas=3)
        yield kea
    finally:
        kea.stop()
        shutil.rmtree(kea.data_dir, ignore_errors=True)


@pytest.fixture
def change(kea: Kea) -> Iterator[Callable[..., None]]:
    """Changes settings of `shared`, and takes that back after the test."""

    def change(**settings: Any) -> None:
        answer = kea.request("PUT", "/services/shared", json=settings)
        assert answer.status_code == 200, answer.text

    yield change
    change(health={}, limits={}, rateLimit=[], timeout="5s")
    kea.request("DELETE", "/router/loadbalancer/shared")
    kea.wait_for(lambda: active(kea, "shared") == 3, "all replicas to be in use again")


def balance(kea: Kea, algorithm: str, replicas: list[str] | None = None, **more: Any) -> None:
    config = {"serviceId": "shared", "algorithm": algorithm, "replicas": replicas or [], **more}
    answer = kea.request("POST", "/router/loadbalancer", json=config)
    assert answer.status_code == 201, answer.text


def who(kea: Kea) -> str:
    return kea.predictions("shared", {"seconds": 0.0})[0]["result"]


def active(kea: Kea, service: str) -> int:
    return kea.request("GET", f"/router/loadbalancer/{service}").json()["activeReplicaCount"]


def metric(kea: Kea, name: str, service: str) -> int:
    lines = kea.request("GET", "!/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(name + "{") and f'service="{service}"' in line]
    return sum(int(line.rpartition(" ")[2]) for line in found)


def test_shares_are_exact_over_each_hundred_and_change_live(kea: Kea, change: Callable[..., None]) -> None:
    shares = [
        dict(zip(NAMES, weights, strict=True)) for weights in [(50, 30, 20), (98, 1, 1), (0, 0, 100), (34, 33, 33)]
    ]
    stop = threading.Event()
    statuses: list[int] = []
    somebody = User(kea, "admin")

    def call_on() -> None:
        while not stop.is_set():
            statuses.append(somebody.call("shared", "predict").status_code)

    for weights in shares:
        balance(kea, "round_robin", weights=weights)
        expected = {name: weight for name, weight in weights.items() if weight}
        assert Counter(who(kea) for _ in range(100)) == expected
    caller = threading.Thread(target=call_on)
    caller.start()
    try:
        for weights in [*shares, *shares]:
            balance(kea, "round_robin", weights=weights)
    finally:
        stop.set()
        caller.join()
    assert statuses and set(statuses) == {200}
    expected = {name: weight for name, weight in shares[-1].items() if weight}
    assert Counter(who(kea) for _ in range(100)) == expected
    for weights, pointer in [({NAMES[0]: 60}, "/weights"), ({NAMES[0]: 60, "x": 40}, "/weights/x")]:
        config = {"serviceId": "shared", "algorithm": "round_robin", "replicas": [], "weights": weights}
        refused = kea.request("POST", "/router/loadbalancer", json=config)
        assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == pointer, refused.text


class Elsewhere(BaseHTTPRequestHandler):
    """A service that is no replica of KEA's, and answers as one does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen: list[dict[str, str]] = []
    connections: list[socket.socket] = []

    def setup(self) -> None:
        super().setup()
        self.connections.append(self.connection)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        body = json.dumps({"predictions": [{"result": "elsewhere"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def elsewhere() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for connection in Elsewhere.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def test_services_elsewhere_are_replicas_too(kea: Kea, change: Callable[..., None]) -> None:
    with elsewhere() as address:
        balance(kea, "round_robin", [NAMES[0], f"http://{address}"])
        assert Counter(who(kea) for _ in range(20)) == {NAMES[0]: 10, "elsewhere": 10}
        assert active(kea, "shared") == 2
        balance(kea, "round_robin", [NAMES[0], address], weights={NAMES[0]: 90, address: 10})
        assert Counter(who(kea) for _ in range(100)) == {NAMES[0]: 90, "elsewhere": 10}
        balance(kea, "peak_ewma", [address])
        assert {who(kea) for _ in range(10)} == {"elsewhere"}
        # What a replica gets: what is left of the time, and nothing of who calls.
        for headers in Elsewhere.seen:
            assert "authorization" not in headers and "cookie" not in headers
            assert 0 < int(headers["kea-timeout-ms"]) <= 5000 and headers["traceparent"]
        balance(kea, "round_robin", [*NAMES, address])
    # It is gone: refused connections cost no call, and it is left alone after five of them.
    assert {who(kea) for _ in range(40)} == set(NAMES)
    assert active(kea, "shared") == 3
    config = {"serviceId": "shared", "algorithm": "round_robin", "replicas": ["https://127.0.0.1:1/x"]}
    refused = kea.request("POST", "/router/loadbalancer", json=config)
    assert refused.status_code == 400 and "host:port" in refused.text.lower(), refused.text


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_replica_that_hangs_is_left_alone_until_it_is_back(kea: Kea, change: Callable[..., None]) -> None:
    change(timeout="1s", health={"interval": "500ms", "timeout": "500ms", "ejectionTime": "1s"})
    balance(kea, "round_robin")
    before = metric(kea, "kea_ejections_total", "shared")

    somebody = User(kea, "admin")

    def timed() -> tuple[int, float]:
        began = time.monotonic()
        status = somebody.call("shared", "predict").status_code
        return status, time.monotonic() - began

    with stopped(kea.replica_pids("shared")[0]), ThreadPoolExecutor(18) as pool:
        calls = [future.result() for future in [pool.submit(timed) for _ in range(18)]]
        statuses = Counter(status for status, _ in calls)
        # A function that is not idempotent is not sent twice: what was at that replica is lost, but nobody waits.
        assert statuses == {200: 12, 504: 6}, statuses
        assert max(seconds for _, seconds in calls) < 4, "the timeout of 1 s holds, also on a loaded machine"
        kea.wait_for(lambda: active(kea, "shared") == 2, "the count without the one that hangs", 10)
        assert metric(kea, "kea_ejections_total", "shared") > before
        assert {who(kea) for _ in range(30)} == set(NAMES[1:])
    kea.wait_for(lambda: active(kea, "shared") == 3, "the count with the one that is back", 20)
    assert {who(kea) for _ in range(30)} == set(NAMES)


def test_a_replica_that_hangs_costs_no_idempotent_call(kea: Kea, models: ModelShelf) -> None:
    kea.deploy("steady", models.iris_onnx(), replicas=2, timeout="2s")
    inputs = {"X": [[5.1, 3.5, 1.4, 0.2]]}
    with stopped(kea.replica_pids("steady")[0]):
        statuses = [kea.predict("steady", inputs).status_code for _ in range(30)]
    assert set(statuses) == {200}
    assert metric(kea, "kea_retries_total", "steady") > 0


def test_more_requests_than_a_rule_allows_are_told_when_to_come_back(kea: Kea, change: Callable[..., None]) -> None:
    add_users(kea, {"ada": ["consumer"]})
    change(rateLimit=[{"requests": 3, "per": "1m", "by": "caller"}])
    ada = User(kea, "ada")
    answers = [ada.call("shared", "predict") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit"].startswith('"caller";r=2;')
    assert 1 <= int(answers[4].headers["retry-after"]) <= 20
    assert answers[4].headers["ratelimit-policy"] == '"caller";q=3;w=60'
    assert answers[4].json()["type"].endswith("rate-limited"), answers[4].text
    assert kea.predict("shared", {"seconds": 0.0}).status_code == 200, "others have their own count"
    change(rateLimit=[])
    assert ada.call("shared", "predict").status_code == 200


def test_what_would_not_get_its_turn_in_time_is_refused_at_once(kea: Kea, change: Callable[..., None]) -> None:
    change(limits={"concurrency": 1, "queue": 1})

    url, headers = f"{kea.url}{API}/services/shared/predict", {"Authorization": f"Bearer {kea.token}"}

    def call(_: int) -> requests.Response:
        return requests.post(url, json={"inputs": {"seconds": 1.0}}, headers=headers, timeout=30)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 503} and statuses[200] >= 2, statuses
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.json()["type"].endswith("overloaded") for answer in refused)
    assert all(1 <= int(answer.headers["retry-after"]) <= 30 for answer in refused)
    assert metric(kea, "kea_shed_total", "shared") >= len(refused)
    change(limits={})
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(call, range(3))} == {200}


class From(HTTPAdapter):
    """Connects from an address of this machine."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, source_address=(self.address, 0), **options)


def session(kea: Kea, address: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", From(address))
    session.headers["Authorization"] = f"Bearer {kea.token}"
    return session


def test_only_a_trusted_proxy_is_believed_who_calls(kea: Kea, change: Callable[..., None]) -> None:
    balance(kea, "ip_hash")
    url = f"{kea.url}{API}/services/shared/predict"
    proxy, stranger = session(kea, PROXY), session(kea, STRANGER)

    def call(via: requests.Session, client: str, request_id: str) -> str:
        headers = {"X-Forwarded-For": f"192.0.2.66, {client}", "x-request-id": request_id}
        answer = via.post(url, json={"inputs": {"seconds": 0.0}}, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"][0]["result"]

    used = {client: call(proxy, client, client) for client in [f"198.51.100.{n}" for n in range(30)]}
    assert set(used.values()) == set(NAMES)
    assert all(call(proxy, client, "again") == name for client, name in used.items()), "each keeps its replica"
    assert len({call(stranger, client, f"strange-{client}") for client in used}) == 1

    def recorded(request_id: str) -> str | None:
        found = kea.request("GET", "/logs/audit", params={"limit": 1000}).json()["records"]
        return next((one["client.ip"] for one in found if one.get("http.request.id") == request_id), None)

    assert kea.wait_for(lambda: recorded("198.51.100.7"), "its record", 10) == "198.51.100.7"
    assert kea.wait_for(lambda: recorded("strange-198.51.100.7"), "its record", 10) == STRANGER

    # Logins are counted by the same address, and sessions say it.
    for via, expected in [(proxy, "198.51.100.200"), (stranger, STRANGER)]:
        credentials = {"username": "admin", "password": PASSWORD}
        headers = {"X-Forwarded-For": "198.51.100.200", "Authorization": None}
        answer = via.post(f"{kea.url}{API}/auth/login", json=credentials, headers=headers, timeout=30)
        own = {"Authorization": f"Bearer {answer.json()['token']}"}
        sessions = requests.get(f"{kea.url}{API}/auth/sessions", headers=own, timeout=30).json()
        assert [one["address"] for one in sessions if one["isCurrent"]] == [expected], sessions
