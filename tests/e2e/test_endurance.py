"""Load with faults: whatever replicas do, each request is answered once, rightly, and recorded as it was answered.

Twenty seconds as a part of all tests; `make endurance` takes ten minutes.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from harness import API, Kea
from models import NAMES, SETOSA, VIRGINICA, ModelShelf

SECONDS = float(os.environ.get("KEA_ENDURANCE_SECONDS", "20"))
CALLERS = 6
TIMEOUT = 2  # seconds that a service has for an answer
ROWS = [(SETOSA, "setosa"), (VIRGINICA, "virginica")]

# What a caller may be told, and why: the replica broke off or lied, there was none, or it was too slow.
EXCUSABLE = {502, 503, 504}


@dataclass
class Told:
    """What callers were told, by the id of each request."""

    statuses: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: str, status: int, complaint: str | None) -> None:
        with self.lock:
            assert request not in self.statuses
            self.statuses[request] = status
            if complaint:
                self.wrong.append(f"{request}: {complaint}")


class Callers:
    """Threads that call a service in a loop, of which each request has an id of its own."""

    def __init__(self, kea: Kea, service: str) -> None:
        self.kea, self.service, self.told = kea, service, Told()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a request was never answered"

    def run(self, caller: int) -> None:
        connection = http.client.HTTPConnection(self.kea.url.removeprefix("http://"), timeout=30)
        headers = {"Authorization": f"Bearer {self.kea.token}", "Content-Type": "application/json"}
        for number in itertools.count():
            if self.stopped.wait(0.004):
                return
            request = f"{self.service}-{caller}-{number}"
            row, label = ROWS[number % len(ROWS)]
            connection.request(
                "POST",
                f"{API}/services/{self.service}/predict",
                json.dumps({"inputs": row}),
                {**headers, "X-Request-Id": request},
            )
            try:
                response = connection.getresponse()
                text = response.read()
            except (http.client.HTTPException, ConnectionError) as error:
                # An answer that a replica broke off: whoever passes it on cannot take its head back.
                connection.close()
                self.told.add(request, 0, None if self.service == "liars" else repr(error))
                continue
            self.told.add(request, response.status, complaint(request, response, text, label))


def complaint(request: str, response: http.client.HTTPResponse, text: bytes, label: str) -> str | None:
    """What is wrong with an answer, whatever its status."""
    if response.headers["X-Request-Id"] != request:
        return f"has the id {response.headers['X-Request-Id']}"
    if response.status == 200:
        told = json.loads(text)["predictions"][0]["label"]
        return None if told == label else f"{told} where it is {label}"
    problem = json.loads(text)
    if response.status not in EXCUSABLE or not problem["detail"] or problem["instance"] != request:
        return f"{response.status} {problem}"
    return None


def victim(kea: Kea) -> int | None:
    """A replica, where the others are ready: one that was killed often waits longer and longer to start again."""
    is_whole = kea.details("steady")["readyReplicas"] == 3
    return random.choice(kea.replica_pids("steady")) if is_whole else None


def kill(kea: Kea) -> None:
    if pid := victim(kea):
        os.kill(pid, signal.SIGKILL)


def hang(kea: Kea) -> None:
    """A replica that does nothing for three seconds, and then goes on as if nothing had been."""
    if pid := victim(kea):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(pid, signal.SIGCONT)


def scale(kea: Kea) -> None:
    for replicas in (2, 3):
        assert kea.request("PUT", "/services/steady", json={"replicas": replicas}).status_code == 200


def configure(kea: Kea) -> None:
    """A change of what every request passes through."""
    limit = [{"requests": random.randint(1_000_000, 2_000_000), "per": "1s", "by": "caller"}]
    assert kea.request("PUT", "/services/steady", json={"rateLimit": limit}).status_code == 200


def balance(kea: Kea) -> None:
    rule = {"serviceId": "steady", "algorithm": random.choice(["round_robin", "least_connections", "ip_hash"])}
    assert kea.request("POST", "/router/loadbalancer", json={**rule, "replicas": []}).status_code == 201


FAULTS: list[Callable[[Kea], None]] = [kill, hang, scale, configure, balance]

HEAD = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


def lie(connection: socket.socket, asked: bytes) -> None:
    """One of the ways in which a server does not answer as it ought to, or the right answer."""
    is_setosa = b'"sepal_length": %s' % str(SETOSA[NAMES[0]]).encode() in asked
    body = json.dumps({"predictions": [{"label": "setosa" if is_setosa else "virginica"}]}).encode()
    match random.randrange(8):
        case 0:
            connection.sendall(HEAD % (b"200 OK", len(body) + 50, body))  # too little
            connection.shutdown(socket.SHUT_RDWR)
        case 1:
            connection.sendall(HEAD % (b"200 OK", len(body), body + HEAD % (b"200 OK", 4, b"evil")))  # too much
        case 2:
            connection.shutdown(socket.SHUT_RDWR)
        case 3:
            connection.sendall(b"SMTP is spoken here\r\n\r\n")
        case 4:
            time.sleep(TIMEOUT + 1)
        case _:
            connection.sendall(HEAD % (b"200 OK", len(body), body))


@contextmanager
def liar() -> Iterator[str]:
    """The address of a server that answers as `lie` does."""

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            try:
                while asked := whole_request(connection):
                    lie(connection, asked)
            except OSError:
                pass  # the gateway has closed it

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def whole_request(connection: socket.socket) -> bytes:
    """A request with its body; nothing where there is no further one."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += (more := connection.recv(65536))
        if not more:
            return b""
    head, _, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(lines[b"content-length"]):
        body += connection.recv(65536)
    return body


def recorded(kea: Kea, service: str) -> dict[str, int]:
    """What the audit trail says of a service's calls, by the id of each."""
    found: dict[str, int] = {}
    for file in sorted((kea.data_dir / "audit").glob("audit-*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if (record.get("service.name"), record.get("event.action")) == (service, "call"):
                request = record["http.request.id"]
                assert request not in found, f"{request} is recorded twice"
                found[request] = record["http.response.status_code"]
    return found


@pytest.mark.timeout(SECONDS + 240)
def test_each_request_is_accounted_for_whatever_happens_to_replicas(
    start: Callable[..., Kea], models: ModelShelf
) -> None:
    kea = start()
    kea.deploy("steady", models.iris(), replicas=3, timeout=f"{TIMEOUT}s")
    kea.deploy("liars", models.iris(), replicas=1, timeout=f"{TIMEOUT}s")
    with liar() as address:
        rule = {"serviceId": "liars", "algorithm": "round_robin", "replicas": [address]}
        assert kea.request("POST", "/router/loadbalancer", json=rule).status_code == 201
        ends = time.monotonic() + SECONDS
        with Callers(kea, "steady") as steady, Callers(kea, "liars") as liars:
            for fault in itertools.cycle(FAULTS):
                fault(kea)
                if time.monotonic() >= ends:
                    break
                time.sleep(1)
        kea.wait_for(lambda: kea.details("steady")["readyReplicas"] == 3, "all replicas to be back", 120)
    for callers in (steady, liars):
        told = callers.told
        counted = Counter(told.statuses.values())
        print(callers.service, len(told.statuses), dict(counted))
        assert not told.wrong, (len(told.wrong), told.wrong[:5])
        # Few where the machine is busy, but some between any two faults.
        assert counted[200] > SECONDS, counted
        kea.wait_for(lambda c=callers: len(recorded(kea, c.service)) >= len(c.told.statuses), "the last records", 30)
        trail = recorded(kea, callers.service)
        assert trail.keys() == told.statuses.keys()
        # Where an answer was broken off, its head said 200.
        differing = {id: (status, trail[id]) for id, status in told.statuses.items() if status not in (0, trail[id])}
        assert not differing, list(differing.items())[:5]
    # `predict` may be called twice, and two of three replicas were there all the time.
    assert set(Counter(steady.told.statuses.values())) == {200}, Counter(steady.told.statuses.values())
    kea.cli("audit", "verify", str(kea.data_dir / "audit"))
