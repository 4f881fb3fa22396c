"""The edge that callers reach: TLS, HTTP/2, compression, and certificates that change."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from certificates import Authority
from harness import API, Kea
from models import SETOSA, ModelShelf

PREDICT = f"{API}/services/iris/predict"
INPUTS = {"inputs": SETOSA}


class Secure:
    """A KEA with TLS, and who vouches for it."""

    def __init__(self, kea: Kea, authority: Authority, certificate: Path, key: Path) -> None:
        self.kea = kea
        self.authority = authority
        self.certificate = certificate
        self.key = key


@pytest.fixture(scope="module")
def secure(
    binary: Path, environments: Path, tmp_path_factory: pytest.TempPathFactory, models: ModelShelf
) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder, "first")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    authority.server(certificate, key)
    kea = Kea(binary, folder, environments)
    kea.scheme = "https"
    kea.session.verify = str(authority.ca)
    kea.start("--tls-certificate", str(certificate), "--tls-key", str(key))
    kea.deploy("iris", models.iris())
    yield Secure(kea, authority, certificate, key)
    kea.stop()


def curl(kea: Kea, *options: str) -> str:
    command = ["curl", "-sS", "--max-time", "20", "-H", f"Authorization: Bearer {kea.token}", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def wait_for_certificate(kea: Kea, authority: Authority) -> None:
    def taken() -> bool:
        try:
            return requests.get(f"{kea.url}/healthz", verify=str(authority.ca), timeout=5).ok
        except requests.exceptions.SSLError:
            return False

    kea.wait_for(taken, "the new certificate", 30)


def test_callers_choose_the_protocol(secure: Secure) -> None:
    kea, ca = secure.kea, str(secure.authority.ca)
    for option, expected in [("--http1.1", "1.1 200"), ("--http2", "2 200")]:
        told = curl(
            kea, "--cacert", ca, option, "-w", "\n%{http_version} %{http_code}", "--json", json.dumps(INPUTS),
            kea.url + PREDICT,
        )  # fmt: skip
        body, _, version = told.rpartition("\n")
        assert version == expected
        assert json.loads(body)["predictions"][0]["label"] == "setosa"
    assert kea.details("iris")["url"].startswith("https://")


def test_http2_needs_no_tls(shared_kea: Kea) -> None:
    told = curl(shared_kea, "--http2-prior-knowledge", "-w", " %{http_version}", f"{shared_kea.url}/healthz")
    assert told.endswith(" 2")


def test_a_certificate_is_replaced_while_requests_go_on(secure: Secure) -> None:
    kea, second = secure.kea, Authority(secure.authority.folder, "second")
    both = secure.authority.folder / "both.pem"
    both.write_bytes(secure.authority.ca.read_bytes() + second.ca.read_bytes())
    stop, failures, answered = threading.Event(), [], []

    def call() -> None:
        while not stop.is_set():
            # A connection of its own for each request: each is a handshake.
            answer = requests.post(
                kea.url + PREDICT, json=INPUTS, headers=kea.session.headers, verify=str(both), timeout=20
            )
            (answered if answer.status_code == 200 else failures).append(answer.status_code)

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        second.server(secure.certificate, secure.key)

        wait_for_certificate(kea, second)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
        secure.authority.server(secure.certificate, secure.key)
        wait_for_certificate(kea, secure.authority)
    assert not failures
    assert answered
    kea.wait_for(lambda: "took the changed certificate" in kea.log_file.read_text(), "the log line")


def test_callers_need_the_certificate_that_is_asked_for(
    start: Callable[..., Kea], binary: Path, environments: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "ours")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    authority.server(certificate, key)
    own = authority.client("ada")
    kea = Kea(binary, tmp_path, environments)
    kea.scheme, kea.session.verify, kea.session.cert = "https", str(authority.ca), str(own)
    kea.start("--tls-certificate", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(authority.ca))
    try:
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(f"{kea.url}/healthz", verify=str(authority.ca), timeout=5)
        trusted = {"KEA_CA_FILE": str(authority.ca), "KEA_CLIENT_CERTIFICATE": str(own), "KEA_TOKEN": kea.token}
        assert kea.cli("list", env=trusted).returncode == 0
        unknown = kea.cli("list", env={"KEA_TOKEN": kea.token}, check=False)
        assert unknown.returncode == 1
        assert "certificate" in unknown.stderr
    finally:
        kea.stop()


def test_files_of_tls_that_are_no_use_are_told_at_the_start(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for options, told in [
        (["--tls-certificate", "c.pem"], "give the one that is missing"),
        (["--tls-certificate", "c.pem", "--tls-key", "k.pem"], "`c.pem` cannot be read"),
        (["--tls-certificate", "empty.pem", "--tls-key", "empty.pem"], "`empty.pem` has no certificates"),
    ]:
        done = subprocess.run([binary, "serve", *options], capture_output=True, text=True, cwd=tmp_path, timeout=30)
        assert done.returncode == 1
        assert told in done.stderr


def test_bodies_are_compressed_both_ways(secure: Secure) -> None:
    kea = secure.kea
    page = kea.request("GET", "!/openapi.json")
    assert page.headers["content-encoding"] == "gzip"
    plain = kea.request("GET", "!/openapi.json", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == page.json()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    body = gzip.compress(json.dumps(INPUTS).encode())
    answer = kea.request("POST", "/services/iris/predict", data=body, headers=headers)
    assert answer.json()["predictions"][0]["label"] == "setosa"
    refused = kea.request("POST", "/services/iris/predict", data=body, headers={**headers, "Content-Encoding": "br"})
    assert refused.status_code == 415
    assert "gzip" in refused.json()["detail"]


def test_a_caller_that_asks_first_is_told_to_go_on(secure: Secure) -> None:
    told = curl(
        secure.kea, "-v", "--cacert", str(secure.authority.ca), "--http1.1", "-H", "Expect: 100-continue",
        "--json", json.dumps(INPUTS), secure.kea.url + PREDICT,
    )  # fmt: skip
    assert "< HTTP/1.1 100 Continue" in told
    assert "setosa" in told
