"""Requests that are malformed, huge, slow or garbage, and services by the thousand."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from harness import API, Kea
from load import Load
from models import NAMES, SETOSA, ModelShelf

BODY_LIMIT = 1 << 20
PREDICT = f"{API}/services/iris/predict"


@pytest.fixture(scope="module")
def limited(
    binary: Path, environments: Path, tmp_path_factory: pytest.TempPathFactory, models: ModelShelf
) -> Iterator[Kea]:
    """A KEA that takes bodies of up to 1 MiB, with the service `iris`."""
    folder = tmp_path_factory.mktemp("limited")
    config = folder / "kea.toml"
    config.write_text('body-limit = "1Mi"\n')
    kea = Kea(binary, folder, environments, env={"KEA_CONFIG": str(config)})
    kea.start()
    kea.deploy("iris", models.iris())
    yield kea
    kea.stop()


def connect(kea: Kea) -> socket.socket:
    host, _, port = kea.listen.partition(":")
    return socket.create_connection((host, int(port)), timeout=40)


def head(kea: Kea, *more: str) -> bytes:
    """A predict request's head."""
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: kea", f"Authorization: Bearer {kea.token}"]
    return "\r\n".join([*lines, "Content-Type: application/json", *more, "", ""]).encode()


def read_until_closed(connection: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            part = connection.recv(1 << 16)
        except ConnectionResetError:
            return received
        if not part:
            return received
        received += part


def answers_still(kea: Kea) -> bool:
    return kea.predictions("iris", SETOSA)[0]["label"] == "setosa"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "said"),
    [
        (b"", "application/json", 400, "JSON"),
        (b"{", "application/json", 400, "line 1"),
        (b'{"inputs": {"sepal_length": NaN}}', "application/json", 400, "JSON"),
        (b"\xff\xfe\x00", "application/json", 400, "JSON"),
        (b"[" * 100_000, "application/json", 400, ""),
        (b'{"inputs": ' + b'{"a":' * 100_000, "application/json", 400, ""),
        (b"null", "application/json", 400, "inputs"),
        (b"{}", "application/json", 400, "inputs"),
        (json.dumps({"inputs": SETOSA}).encode(), "text/plain", 415, "application/json"),
        (json.dumps({"inputs": SETOSA}).encode(), "application/x-www-form-urlencoded", 415, "application/json"),
    ],
    ids=["empty", "cut", "NaN", "no-text", "deep-arrays", "deep-objects", "null", "no-inputs", "text", "form"],
)
def test_a_malformed_request_is_refused_with_what_is_wrong(
    limited: Kea, body: bytes, content_type: str, status: int, said: str
) -> None:
    for path in (f"!{PREDICT}", "/services"):
        answer = limited.request("POST", path, data=body, headers={"Content-Type": content_type})
        if path == "/services" and status == 400:
            assert answer.status_code == 400, answer.text
        else:
            assert answer.status_code == status and said in answer.text, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["instance"] == answer.headers["x-request-id"]
    assert answers_still(limited)


def test_a_huge_body_is_refused_and_the_next_request_answered(limited: Kea) -> None:
    rows = {name: [1.5] * 100_000 for name in NAMES}
    refused = limited.predict("iris", rows)
    assert refused.status_code == 413 and str(BODY_LIMIT) in refused.json()["detail"], refused.text
    assert answers_still(limited)
    # Neither is a body taken whose length is not told.
    huge = (b" " * 65536 for _ in range(64))
    try:
        status = limited.request(
            "POST", f"!{PREDICT}", data=huge, headers={"Content-Type": "application/json"}
        ).status_code
    except OSError:
        status = 413  # the connection was closed while the body was still sent
    assert status == 413
    assert answers_still(limited)
    # A caller who waits to be asked for its body is refused before it sends it.
    with closing(connect(limited)) as connection:
        connection.sendall(head(limited, f"Content-Length: {10 << 30}", "Expect: 100-continue"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
    # As large as allowed is taken.
    few = {name: [1.5] * 20_000 for name in NAMES}
    assert len(limited.predictions("iris", few)) == 20_000


def test_silent_callers_are_not_waited_for_and_keep_nobody_waiting(limited: Kea) -> None:
    """One stops in the middle of its body, one in the middle of its head, one sends a byte a second of its head."""
    with (
        closing(connect(limited)) as slow_body,
        closing(connect(limited)) as slow_head,
        closing(connect(limited)) as dripping,
        ThreadPoolExecutor(3) as readers,
        Load(limited, "iris", SETOSA, {"label": "setosa"}, threads=2) as load,
    ):
        began = time.monotonic()

        def wait_for_end(connection: socket.socket) -> tuple[bytes, float]:
            return read_until_closed(connection), time.monotonic() - began

        def drip() -> float:
            dripping.settimeout(1)
            for byte in head(limited, "X-Slow: " + "x" * 60):
                try:
                    dripping.sendall(bytes([byte]))
                    if dripping.recv(4096) in (b"", None):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            return time.monotonic() - began

        slow_body.sendall(head(limited, "Content-Length: 100") + b'{"inputs": ')
        slow_head.sendall(head(limited)[:60])
        body, headers, drips = (
            readers.submit(wait_for_end, slow_body),
            readers.submit(wait_for_end, slow_head),
            readers.submit(drip),
        )
        answer, seconds = body.result()
        assert answer.startswith(b"HTTP/1.1 408 ") and b"problem+json" in answer, answer
        assert seconds < 25
        assert headers.result()[1] < 18
        assert drips.result() < 18
        load.more(20)
    load.assert_all_answered()
    assert load.slowest < 5


def test_garbage_behind_a_request_harms_that_connection_alone(limited: Kea) -> None:
    body = json.dumps({"inputs": SETOSA}).encode()
    request = head(limited, f"Content-Length: {len(body)}") + body
    with closing(connect(limited)) as connection:
        connection.sendall(request + request + b"\x00\xff GARBAGE\r\n\r\n\r\n")
        received = read_until_closed(connection)
    assert received.count(b"HTTP/1.1 200 OK") == 2 and received.count(b'"setosa"') >= 2, received
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET\r\n\r\n",
        b"\r\n" * 50 + b"x" * 200_000,
    ):
        with closing(connect(limited)) as connection:
            try:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was closed before all of it was sent
            assert b" 200 " not in read_until_closed(connection)
    # Two lengths, or a length beside chunks, are how requests are smuggled past a proxy.
    for smuggled in ("Content-Length: 5", "Transfer-Encoding: chunked"):
        with closing(connect(limited)) as connection:
            connection.sendall(head(limited, f"Content-Length: {len(body)}", smuggled, "Connection: close") + body)
            assert not read_until_closed(connection).startswith(b"HTTP/1.1 200"), smuggled
    assert answers_still(limited)


def test_many_idle_connections_keep_nobody_out(limited: Kea) -> None:
    idle = [connect(limited) for _ in range(300)]
    try:
        assert answers_still(limited)
    finally:
        for connection in idle:
            connection.close()


def test_thousands_of_services_start_and_are_listed_quickly(start: Callable[..., Kea], models: ModelShelf) -> None:
    count = 2000
    kea = start()
    kea.deploy("live", models.iris())
    kea.deploy("asleep-0", models.iris(), replicas=0)
    assert kea.stop() == 0
    multiply(kea.data_dir / "kea.db", "asleep-0", count)
    began = time.monotonic()
    kea.start()
    assert time.monotonic() - began < 30
    kea.wait_deployed("live")
    assert answered_within(kea, lambda: len(kea.request("GET", "/services").json()) == count + 1) < 1
    assert answered_within(kea, lambda: kea.details("asleep-1999")["replicas"] == 0) < 1
    assert answered_within(kea, lambda: kea.predictions("live", SETOSA)[0]["label"] == "setosa") < 0.2


def multiply(store: Path, service: str, count: int) -> None:
    """Fills the store with further services like the one that is there: as many deploys would take minutes."""
    stem = service.removesuffix("0")
    with closing(sqlite3.connect(store)) as database, database:
        (body,) = database.execute("SELECT body FROM services WHERE id = ?", (service,)).fetchone()
        (version,) = database.execute("SELECT body FROM versions WHERE service_id = ?", (service,)).fetchone()
        for number in range(1, count):
            name = f"{stem}{number}"
            database.execute("INSERT INTO services (id, body) VALUES (?, ?)", (name, body.replace(service, name)))
            row = (name, "1", 1, version)
            database.execute("INSERT INTO versions (service_id, id, position, body) VALUES (?, ?, ?, ?)", row)


def answered_within(kea: Kea, call: Callable[[], bool]) -> float:
    """Seconds of the best of five calls: the machine may be busy with other things."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        assert call()
        times.append(time.monotonic() - began)
    return min(times)
