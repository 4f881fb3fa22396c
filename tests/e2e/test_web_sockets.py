"""Connections that change their protocol: a web service's WebSockets, through the gateway."""

from __future__ import annotations

import json

import pytest
from harness import API, Kea
from users import User, add_users
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

APP = """
import asyncio
import json
import sys

from websockets.asyncio.server import serve


async def answer(socket):
    await socket.send(json.dumps({"path": socket.request.path, **dict(socket.request.headers.raw_items())}))
    async for message in socket:
        if message == "bye":
            await socket.close(4000, "as asked")
        await socket.send(message)


async def main():
    async with serve(answer, "127.0.0.1", int(sys.argv[1]), max_size=None):
        await asyncio.Future()


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, tmp_path_factory: pytest.TempPathFactory) -> Kea:
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP)
    (folder / "requirements.txt").write_text("websockets==17.4\n")
    command = ["python", "app.py", "{port}"]
    shared_kea.deploy("app", folder, framework="Custom", command=command, routes=[{"path": "/live"}])
    return shared_kea


def opened(kea: Kea, path: str, **headers: str) -> ClientConnection:
    url = kea.url.replace("http://", "ws://") + path
    headers = {"Authorization": f"Bearer {kea.token}", **headers}
    return connect(url, additional_headers=headers, max_size=None, open_timeout=10)


def test_messages_go_both_ways(kea: Kea) -> None:
    with opened(kea, f"{API}/services/app/chat?room=1") as socket:
        assert json.loads(socket.recv(10))["path"] == "/chat?room=1"
        for message in ["hello", b"\x00\xff", "x" * 1_000_000]:
            socket.send(message)
            assert socket.recv(10) == message
        details = kea.request("GET", "/services/app").json()
        assert details["status"] == "deployed"
        # The other end decides when it is over, and why.
        socket.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "as asked")


def test_the_service_is_told_how_its_caller_came_and_no_token(kea: Kea) -> None:
    lie = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Host": "evil.example"}
    for path, prefix in [(f"{API}/services/app/", f"{API}/services/app"), ("/live/", "/live")]:
        with opened(kea, path, **lie) as socket:
            seen = {name.lower(): value for name, value in json.loads(socket.recv(10)).items()}
        assert seen["path"] == "/"
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-host"] == kea.url.removeprefix("http://")
        assert (seen["x-forwarded-proto"], seen["x-forwarded-prefix"]) == ("http", prefix)
        assert "authorization" not in seen


def test_nobody_gets_in_without_a_permission(kea: Kea) -> None:
    for token, status in [("nonsense", 401), (None, 401)]:
        with pytest.raises(InvalidStatus) as refused:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connect(kea.url.replace("http://", "ws://") + "/live", additional_headers=headers, open_timeout=10)
        assert refused.value.response.status_code == status


def test_a_handshake_is_a_record(kea: Kea) -> None:
    with opened(kea, "/live/recorded") as socket:
        socket.recv(10)

        def record() -> bool:
            records = kea.request("GET", "/logs/audit", params={"service": "app"}).json()["records"]
            found = [one for one in records if one["url.path"] == "/live/recorded"]
            return [one["http.response.status_code"] for one in found] == [101]

        kea.wait_for(record, "the record", 10)


def test_it_ends_with_the_session_of_its_caller(kea: Kea) -> None:
    add_users(kea, {"ada": ["admin"]})
    one, other = User(kea, "ada"), User(kea, "ada")
    sockets = [opened(kea, "/live/", Authorization=user.session.headers["Authorization"]) for user in (one, other)]
    with sockets[0] as ended, sockets[1] as kept:
        for socket in (ended, kept):
            socket.recv(10)
        assert one.request("POST", "/auth/logout").status_code in (200, 204)
        with pytest.raises(ConnectionClosed):
            ended.recv(2)
        kept.send("still here")
        assert kept.recv(10) == "still here"
        # With the user go all of them.
        assert kea.request("DELETE", "/users/ada").status_code in (200, 204)
        with pytest.raises(ConnectionClosed):
            kept.recv(2)
