"""Replicas elsewhere that are reached by TLS: whom KEA believes, what it shows, and what it says of failures."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from grpc_app import say
from harness import Kea

# The process of the service itself: replicas elsewhere are in its place.
APP = ["python3", "-m", "http.server", "{port}"]


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        certificate = self.connection.getpeercert()  # type: ignore[attr-defined]
        told = {"host": self.headers["host"], "caller": certificate and certificate["subject"]}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def replica(certificate: Path, key: Path, client_ca: Path | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """A server with that certificate, which asks for one of `client_ca`; its host and port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer((host, 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Trusting:
    """A KEA that believes an authority of replicas, and has a certificate of its own."""

    def __init__(self, kea: Kea, folder: Path, authority: Authority) -> None:
        self.kea = kea
        self.folder = folder
        self.authority = authority
        self.ca = folder / "replicas.pem"

    def send_to(self, address: str) -> None:
        rule = {"serviceId": "app", "algorithm": "round_robin", "replicas": [address]}
        answer = self.kea.request("POST", "/router/loadbalancer", json=rule)
        assert answer.status_code == 201, answer.text

    def refusal(self, address: str, logged: str) -> None:
        """The log says what is wrong, and the caller hears of TLS alone."""
        before = self.kea.log_file.stat().st_size
        self.send_to(address)
        answer = self.kea.request("GET", "/services/app/")
        assert answer.status_code == 502, answer.text
        assert "TLS" in answer.json()["detail"]
        assert logged not in answer.json()["detail"]
        log = self.kea.log_file.read_bytes()[before:].decode()
        assert logged in log, log


@pytest.fixture(scope="module")
def trusting(binary: Path, environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trusting]:
    folder = tmp_path_factory.mktemp("trusting")
    authority = Authority(folder, "replicas")
    own = authority.client("kea")
    kea = Kea(binary, folder, environments)
    trusting = Trusting(kea, folder, authority)
    trusting.ca.write_bytes(authority.ca.read_bytes())
    options = {"--replica-ca": trusting.ca, "--replica-certificate": own, "--replica-key": own}
    kea.start(*[str(part) for pair in options.items() for part in pair])
    try:
        kea.deploy("app", framework="Custom", command=APP)
        yield trusting
    finally:
        kea.stop()


@pytest.fixture(scope="module")
def files(trusting: Trusting) -> tuple[Path, Path]:
    certificate, key = trusting.folder / "replica.crt", trusting.folder / "replica.key"
    trusting.authority.server(certificate, key)
    return certificate, key


def test_a_replica_hears_who_calls(trusting: Trusting, files: tuple[Path, Path]) -> None:
    with replica(*files, client_ca=trusting.authority.ca) as address:
        trusting.send_to(f"https://{address}")
        told = trusting.kea.request("GET", "/services/app/").json()
    assert told["host"] == address
    assert told["caller"] == [[["commonName", "kea"]]]


def test_what_is_wrong_is_in_the_log_alone(trusting: Trusting, files: tuple[Path, Path]) -> None:
    stranger = Authority(trusting.folder, "strangers")
    certificate, key = trusting.folder / "stranger.crt", trusting.folder / "stranger.key"
    stranger.server(certificate, key)
    with replica(certificate, key) as address:
        trusting.refusal(f"https://{address}", "an authority that is not trusted")
    with replica(*files, host="127.0.0.2") as address:
        trusting.refusal(f"https://{address}", "is for another name")
    with replica(*files, client_ca=stranger.ca) as address:
        trusting.refusal(f"https://{address}", "received fatal alert")


def test_authorities_are_taken_when_their_file_changes(trusting: Trusting) -> None:
    second = Authority(trusting.folder, "second")
    certificate, key = trusting.folder / "second.crt", trusting.folder / "second.key"
    second.server(certificate, key)
    with replica(certificate, key) as address:
        trusting.send_to(f"https://{address}")
        assert trusting.kea.request("GET", "/services/app/").status_code == 502
        trusting.ca.write_bytes(trusting.authority.ca.read_bytes() + second.ca.read_bytes())

        def answered() -> bool:
            return trusting.kea.request("GET", "/services/app/").status_code == 200

        trusting.kea.wait_for(answered, "the authority to be believed", 20)


def test_a_server_of_grpc_is_called_by_tls(trusting: Trusting, files: tuple[Path, Path]) -> None:
    certificate, key = files
    ca = trusting.authority.ca.read_bytes()
    pair = [(key.read_bytes(), certificate.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, root_certificates=ca, require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    methods = {"Say": grpc.unary_unary_rpc_method_handler(say)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("greet.Greeter", methods)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    kea = trusting.kea
    try:
        trusting.send_to(f"https://127.0.0.1:{port}")
        with grpc.insecure_channel(kea.url.removeprefix("http://")) as channel:
            told = [("authorization", f"Bearer {kea.token}"), ("kea-service", "app")]
            answer = channel.unary_unary("/greet.Greeter/Say")(b"hello", metadata=told, timeout=20)
        assert answer.startswith(b"hello\n")
    finally:
        server.stop(None).wait()


def test_files_that_are_no_use_are_told_at_the_start(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for options, told in [
        (["--replica-certificate", "c.pem"], "give the one that is missing"),
        (["--replica-ca", "none.pem"], "`none.pem` cannot be read"),
        (["--replica-ca", "empty.pem"], "`empty.pem` has no certificates"),
        (["--replica-server-name", "a b"], "is no name of a server"),
    ]:
        done = subprocess.run([binary, "serve", *options], capture_output=True, text=True, cwd=tmp_path, timeout=30)
        assert done.returncode == 1
        assert told in done.stderr
