"""Servers of gRPC as web services: reached by gRPC's own clients through the gateway."""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from harness import API, Kea
from replicas import Replica
from users import User, add_users

APP = Path(__file__).parent / "grpc_app.py"
ROUTE = "/greet.Greeter"
SERVER = {"protocol": "http2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("greeter")
    shutil.copy(APP, folder / "grpc_app.py")
    (folder / "requirements.txt").write_text("grpcio==1.85.3\n")
    return folder


def deploy(kea: Kea, folder: Path, **fields: Any) -> None:
    command = ["python", "grpc_app.py", "{port}"]
    kea.deploy("greeter", folder, framework="Custom", command=command, server=SERVER, **fields)


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, folder: Path) -> Kea:
    health = {"path": "/grpc.health.v1.Health/Check", "interval": "1s"}
    deploy(shared_kea, folder, routes=[{"path": ROUTE}], health=health)
    return shared_kea


@pytest.fixture
def channel(kea: Kea) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(kea.url.removeprefix("http://")) as channel:
        yield channel


def metadata(kea: Kea, **more: str) -> list[tuple[str, str]]:
    given = [(name.replace("_", "-"), value) for name, value in more.items()]
    return [("authorization", f"Bearer {kea.token}"), *given]


def lines(answer: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in answer.decode().split("\n")[1:])


def test_a_call_carries_metadata_and_a_deadline_and_no_token(kea: Kea, channel: grpc.Channel) -> None:
    say = channel.unary_unary(f"{ROUTE}/Say")
    answer, call = say.with_call(b"hello", metadata=metadata(kea, x_mine="1", kea_service="greeter"), timeout=20)
    assert answer.startswith(b"hello\n")
    seen = lines(answer)
    assert (seen["x-mine"], seen["authorization"], seen["kea-service"]) == ("1", "", "")
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert 10 < float(seen["left"]) < 20
    assert dict(call.trailing_metadata())["checksum"] == "5"
    assert dict(call.initial_metadata())["kea-service"] == "greeter"


def test_messages_stream_in_both_directions(kea: Kea, channel: grpc.Channel) -> None:
    told = metadata(kea)
    count = channel.unary_stream(f"{ROUTE}/Count")
    assert list(count(b"1000", metadata=told)) == [str(number).encode() for number in range(1000)]
    total = channel.stream_unary(f"{ROUTE}/Total")
    assert total(iter([b"x" * 100_000] * 50), metadata=told) == b"5000000"

    # Each message is answered before the next one is sent.
    words: queue.Queue[bytes] = queue.Queue()
    chat = channel.stream_stream(f"{ROUTE}/Chat")
    answers = chat(iter(words.get, b"end"), metadata=told, timeout=30)
    assert next(answers) == b"ready"
    for word in [b"one", b"two"]:
        words.put(word)
        assert next(answers) == word
    words.put(b"end")
    assert list(answers) == []


def test_a_status_comes_as_the_service_said_it(kea: Kea, channel: grpc.Channel) -> None:
    fail = channel.unary_unary(f"{ROUTE}/Fail")
    for code in ["NOT_FOUND", "INTERNAL", "RESOURCE_EXHAUSTED", "DATA_LOSS"]:
        with pytest.raises(grpc.RpcError) as failed:
            fail(code.encode(), metadata=metadata(kea))
        assert (failed.value.code().name, failed.value.details()) == (code, "as asked: 100 % `é`")
    with pytest.raises(grpc.RpcError) as unknown:
        channel.unary_unary(f"{ROUTE}/Nothing")(b"", metadata=metadata(kea))
    assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED


def refusal(call: Callable[..., Any], message: bytes, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        answer = call(message, **options)
        list(answer if hasattr(answer, "__iter__") else [])
    return refused.value.code(), refused.value.details()


def test_refusals_are_statuses(kea: Kea, channel: grpc.Channel) -> None:
    say = channel.unary_unary(f"{ROUTE}/Say")
    code, details = refusal(say, b"")
    assert (code, "log in" in details) == (grpc.StatusCode.UNAUTHENTICATED, True)
    code, _ = refusal(say, b"", metadata=[("authorization", "Bearer nonsense")])
    assert code == grpc.StatusCode.UNAUTHENTICATED
    other = channel.unary_unary("/other.Thing/Do")
    assert refusal(other, b"", metadata=metadata(kea))[0] == grpc.StatusCode.UNIMPLEMENTED
    code, details = refusal(other, b"", metadata=metadata(kea, kea_service="nobody"))
    assert (code, "`nobody`" in details) == (grpc.StatusCode.UNIMPLEMENTED, True)

    add_users(kea, {"gina": ["security"]})
    gina = [("authorization", User(kea, "gina").session.headers["Authorization"])]
    code, details = refusal(say, b"", metadata=gina)
    assert (code, "greeter" in details) == (grpc.StatusCode.PERMISSION_DENIED, True)

    limit = {"rateLimit": [{"requests": 1, "per": "1h", "by": "service"}]}
    assert kea.request("PUT", "/services/greeter", json=limit).ok
    try:
        assert say(b"x", metadata=metadata(kea))
        code, _ = refusal(say, b"", metadata=metadata(kea))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        assert kea.request("PUT", "/services/greeter", json={"rateLimit": []}).ok


def test_a_deadline_ends_a_call_and_what_it_asked_for(kea: Kea, channel: grpc.Channel) -> None:
    wait = channel.unary_unary(f"{ROUTE}/Wait")
    started = time.monotonic()
    code, _ = refusal(wait, b"", metadata=metadata(kea), timeout=0.5)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    forever = channel.unary_stream(f"{ROUTE}/Forever")
    code, _ = refusal(forever, b"", metadata=metadata(kea), timeout=0.5)
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 10
    # The service's own time holds for who gives none.
    assert kea.request("PUT", "/services/greeter", json={"timeout": "500ms"}).ok
    try:
        code, details = refusal(wait, b"", metadata=metadata(kea))
        assert (code, "500 ms" in details) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
    finally:
        assert kea.request("PUT", "/services/greeter", json={"timeout": "5s"}).ok


def test_a_caller_that_leaves_ends_its_call(kea: Kea, channel: grpc.Channel) -> None:
    answers = channel.unary_stream(f"{ROUTE}/Forever")(b"", metadata=metadata(kea))
    assert next(answers) == b"more"
    answers.cancel()
    assert channel.unary_unary(f"{ROUTE}/Say")(b"x", metadata=metadata(kea), timeout=10)


def test_the_audit_trail_has_the_method_and_how_it_ended(kea: Kea, channel: grpc.Channel) -> None:
    fail = channel.unary_unary(f"{ROUTE}/Fail")
    assert refusal(fail, b"PERMISSION_DENIED", metadata=metadata(kea, x_request_id="grpc-denied"))
    assert channel.unary_unary(f"{ROUTE}/Say")(b"x", metadata=metadata(kea, x_request_id="grpc-well"))
    assert refusal(channel.unary_unary(f"{ROUTE}/Say"), b"x", metadata=[("x-request-id", "grpc-nobody")])

    def found() -> dict[str, Any] | None:
        records = kea.request("GET", "/logs/audit", params={"service": "greeter"}).json()["records"]
        by_id = {record["http.request.id"]: record for record in records}
        names = ["grpc-denied", "grpc-well", "grpc-nobody"]
        return {name: by_id[name] for name in names} if all(name in by_id for name in names) else None

    records = kea.wait_for(found, "the records", 10)
    told = {
        name: (one["kea.function"], one["kea.protocol"], one.get("kea.grpc_status"), one["kea.outcome"])
        for name, one in records.items()
    }
    assert told == {
        "grpc-denied": ("greet.Greeter/Fail", "grpc", 7, "denied"),
        "grpc-well": ("greet.Greeter/Say", "grpc", 0, "success"),
        "grpc-nobody": ("greet.Greeter/Say", "grpc", 16, "denied"),
    }
    assert records["grpc-nobody"]["event.reason"] == "unauthenticated"


def test_the_standard_path_and_the_metadata_name_the_service_too(kea: Kea, channel: grpc.Channel) -> None:
    standard = channel.unary_unary(f"{API}/services/greeter{ROUTE}/Say")
    assert standard(b"a", metadata=metadata(kea)).startswith(b"a")
    health = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert health(b"", metadata=metadata(kea, kea_service="greeter")) == b"\x08\x01"
    assert kea.details("greeter")["status"] == "deployed"
    active = kea.request("GET", "/router/loadbalancer/greeter").json()
    assert active["activeReplicaCount"] == 1


@contextmanager
def server_elsewhere(max_age_ms: int = 0) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, APP, str(port), str(max_age_ms)])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=20)
        yield f"h2c://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_a_server_elsewhere_is_called_and_its_death_is_a_status(kea: Kea, channel: grpc.Channel) -> None:
    say = channel.unary_unary(f"{ROUTE}/Say")
    with server_elsewhere() as address:
        rule = {"serviceId": "greeter", "algorithm": "round_robin", "replicas": [address]}
        assert kea.request("POST", "/router/loadbalancer", json=rule).status_code == 201
        assert kea.request("GET", "/router/loadbalancer/greeter").json()["replicas"] == [address]
        assert say(b"x", metadata=metadata(kea))
        forever = channel.unary_stream(f"{ROUTE}/Forever")(b"", metadata=metadata(kea))
        assert next(forever) == b"more"
    with pytest.raises(grpc.RpcError) as broken:
        list(forever)
    assert broken.value.code() == grpc.StatusCode.UNAVAILABLE
    code, details = refusal(say, b"x", metadata=metadata(kea))
    assert (code, "no replica of `greeter` could answer" in details) == (grpc.StatusCode.UNAVAILABLE, True)
    assert kea.request("DELETE", "/router/loadbalancer/greeter").status_code == 204
    assert say(b"x", metadata=metadata(kea))


def test_no_call_is_lost_where_connections_are_closed_all_the_time(kea: Kea, channel: grpc.Channel) -> None:
    say = channel.unary_unary(f"{ROUTE}/Say")
    with server_elsewhere(max_age_ms=50) as address:
        rule = {"serviceId": "greeter", "algorithm": "round_robin", "replicas": [address]}
        assert kea.request("POST", "/router/loadbalancer", json=rule).status_code == 201
        try:
            told = metadata(kea)
            for _ in range(20):
                calls = [say.future(b"x" * 1000, metadata=told, timeout=20) for _ in range(50)]
                assert all(call.result().startswith(b"x") for call in calls)
        finally:
            assert kea.request("DELETE", "/router/loadbalancer/greeter").status_code == 204


def test_calls_come_through_what_stands_beside_the_server(binary: Path, tmp_path: Path) -> None:
    with server_elsewhere() as address:
        upstream = address.removeprefix("h2c://")
        with Replica(binary, tmp_path, KEA_SERVICE="app", KEA_UPSTREAM=upstream, KEA_PROTOCOL="http2") as sidecar:
            assert sidecar.until_ready()["contract"]["protocol"] == "http2"
            with grpc.insecure_channel(sidecar.url.removeprefix("http://")) as channel:
                answer, call = channel.unary_unary(f"{ROUTE}/Say").with_call(b"hello", timeout=20)
                assert answer.startswith(b"hello")
                assert dict(call.trailing_metadata())["checksum"] == "5"
                assert len(list(channel.unary_stream(f"{ROUTE}/Count")(b"100", timeout=20))) == 100


def test_calls_come_through_an_edge_with_tls(binary: Path, environments: Path, folder: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    authority.server(certificate, key)
    kea = Kea(binary, tmp_path, environments)
    kea.scheme, kea.session.verify = "https", str(authority.ca)
    kea.start("--tls-certificate", str(certificate), "--tls-key", str(key))
    try:
        deploy(kea, folder, routes=[{"host": "localhost"}])
        trusted = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        target = "localhost:" + kea.url.rpartition(":")[2]
        with grpc.secure_channel(target, trusted) as channel:
            assert channel.unary_unary(f"{ROUTE}/Say")(b"x", metadata=metadata(kea)).startswith(b"x")
    finally:
        kea.stop()
