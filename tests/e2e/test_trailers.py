"""Fields that follow a body: both ways between a caller in HTTP/1.1 and a web service, through the gateway."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from harness import API, Kea

APP = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        trailers = {}
        while line := self.rfile.readline().strip().decode():
            name, _, value = line.partition(": ")
            trailers[name.lower()] = value
        self.send_response(200)
        for name, value in [("transfer-encoding", "chunked"), ("trailer", "x-seen, x-size")]:
            self.send_header(name, value)
        self.end_headers()
        seen = ",".join(f"{name}={value}" for name, value in sorted(trailers.items()))
        te = self.headers.get("te", "").encode()
        end = b"x-seen: %s\\r\\nx-size: %d\\r\\nset-cookie: a=b\\r\\n\\r\\n" % (seen.encode(), len(body))
        self.wfile.write(b"%x\\r\\n%s\\r\\n0\\r\\n%s" % (len(te), te, end) if te else b"0\\r\\n" + end)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
"""


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, tmp_path_factory: pytest.TempPathFactory) -> Kea:
    folder: Path = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP)
    shared_kea.deploy("app", folder, framework="Custom", command=["python3", "app.py", "{port}"])
    return shared_kea


def ask(kea: Kea, *headers: str, trailers: str) -> str:
    """Sends a body with trailers, and gives the whole answer, as it comes."""
    address = urlsplit(kea.url)
    head = [f"POST {API}/services/app/x HTTP/1.1", f"Host: {address.netloc}", f"Authorization: Bearer {kea.token}"]
    head += ["Transfer-Encoding: chunked", *headers]
    request = "\r\n".join(head) + f"\r\n\r\n3\r\nabc\r\n0\r\n{trailers}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode().lower()


def test_trailers_go_both_ways(kea: Kea) -> None:
    trailers = "checksum: 7\r\nx-forwarded-for: 192.0.2.1"
    answer = ask(kea, "Trailer: checksum, x-forwarded-for", "TE: trailers", "Connection: te, close", trailers=trailers)
    assert answer.startswith("http/1.1 200")
    assert "\r\ntrailer: x-seen, x-size\r\n" in answer
    # What only a head may say is not passed on, in either direction.
    assert answer.endswith("\r\n0\r\nx-seen: checksum=7\r\nx-size: 3\r\n\r\n"), answer
    assert "\r\ntrailers\r\n" in answer


def test_who_takes_no_trailers_gets_none(kea: Kea) -> None:
    answer = ask(kea, "Connection: close", trailers="checksum: 7")
    assert answer.startswith("http/1.1 200")
    assert answer.endswith("\r\n\r\n0\r\n\r\n")
    assert "trailer:" not in answer


def test_trailers_are_bounded(kea: Kea) -> None:
    answer = ask(kea, "Trailer: checksum", "Connection: close", trailers="checksum: " + "7" * 100_000)
    assert answer.startswith("http/1.1 413")
    assert "the body broke off" in answer
