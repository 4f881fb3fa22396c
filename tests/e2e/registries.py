"""Registries and indexes of packages that misbehave, ask for logins or lie, as far as a test has them do so."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import ssl
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from containers import Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass
class Call:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


# The connection is closed without an answer.
DROPPED = Answer(0)


def error(status: int, code: str, message: str, **headers: str) -> Answer:
    """An error as registries tell it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Content-Type": "application/json", **named})


class Front:
    """A server on loopback that answers as `rule` says. Where that says nothing, `target` is asked; where there is
    none, there is nothing."""

    def __init__(
        self,
        rule: Callable[[Call], Answer | None],
        target: str | None = None,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.rule = rule
        self.target = target
        self.calls: list[Call] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_call(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                call = Call(self.command, self.path, dict(self.headers), self.rfile.read(length))
                front.calls.append(call)
                answer = front.rule(call) or front.forward(call)
                if answer is DROPPED:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                    # What is promised and does not come is not waited for.
                    self.close_connection |= int(answer.headers.get("Content-Length", 0)) > len(answer.body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server((address, 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.host = f"{address}:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def forward(self, call: Call) -> Answer:
        if self.target is None:
            return error(404, "NOT_FOUND", "there is nothing")
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            # With the host that the caller named, so that the registry names this one in its answers.
            connection.request(call.method, call.path, call.body, call.headers)
            answer = connection.getresponse()
            kept = {n: v for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "connection")}
            return Answer(answer.status, answer.read(), kept)
        except OSError:
            return DROPPED
        finally:
            connection.close()

    def count(self, method: str, part: str = "") -> int:
        return sum(call.method == method and part in call.path for call in self.calls)

    def __enter__(self) -> Front:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Gate:
    """A rule's calls wait here from when the first of them came until the gate opens."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self.opened.wait(120)


# Images made by hand


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer(files: dict[str, bytes]) -> bytes:
    """A layer of these files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            archive.addfile(entry, io.BytesIO(text))
    return gzip.compress(content.getvalue(), mtime=0)


@dataclass
class Image:
    """The documents and blobs of an image for one platform."""

    layers: list[bytes]
    architecture: str = "amd64"

    def config(self) -> bytes:
        ids = [digest(gzip.decompress(layer)) for layer in self.layers]
        document = {
            "architecture": self.architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ids},
        }
        return json.dumps(document).encode()

    def described(self) -> dict[str, Any]:
        """The manifest, for tests to change."""
        config = self.config()
        layers = [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)} for layer in self.layers]
        described = {"mediaType": CONFIG, "digest": digest(config), "size": len(config)}
        return {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}

    def manifest(self) -> bytes:
        return json.dumps(self.described()).encode()

    def blobs(self) -> dict[str, bytes]:
        return {digest(blob): blob for blob in [*self.layers, self.config()]}


SMALL = Image([layer({"etc/small": b"a base of one small file", "usr/bin/python3.11": b""})])


def push_blob(registry: Registry, name: str, blob: bytes) -> None:
    url = f"http://{registry.host}"
    begun = requests.post(f"{url}/v2/{name}/blobs/uploads/", auth=registry.login, timeout=30)
    assert begun.status_code == 202, begun.text
    place = begun.headers["Location"]
    joined = f"{place}{'&' if '?' in place else '?'}digest={digest(blob)}"
    assert requests.put(joined, data=blob, auth=registry.login, timeout=60).status_code == 201


def push_manifest(registry: Registry, name: str, reference: str, document: bytes, kind: str = MANIFEST) -> None:
    url = f"http://{registry.host}/v2/{name}/manifests/{reference}"
    done = requests.put(url, data=document, headers={"Content-Type": kind}, auth=registry.login, timeout=30)
    assert done.status_code == 201, done.text


def push(registry: Registry, name: str, tag: str, image: Image = SMALL) -> None:
    for blob in image.blobs().values():
        push_blob(registry, name, blob)
    push_manifest(registry, name, tag, image.manifest())


def serving(manifest: bytes, blobs: dict[str, bytes], kind: str = MANIFEST) -> Callable[[Call], Answer | None]:
    """The rule of a registry that has one image, and checks nothing of it."""

    def rule(call: Call) -> Answer | None:
        if call.path == "/v2/":
            return Answer(200, b"{}")
        if "/manifests/" in call.path:
            return Answer(200, manifest, {"Content-Type": kind, "Docker-Content-Digest": digest(manifest)})
        return next((Answer(200, blob) for name, blob in blobs.items() if call.path.endswith(name)), None)

    return rule


# Tokens


class TokenServer(Front):
    """Gives tokens to who knows the password, for what they ask for, signed with a certificate of its own."""

    def __init__(self, folder: Path, login: tuple[str, str], lasting: int = 300) -> None:
        super().__init__(self.answer)
        self.login = login
        self.lasting = lasting
        self.key, self.certificate = self_signed(folder, "kea-tests")

    def config(self) -> dict[str, Any]:
        """What Debian's registry is told of it."""
        token = {"realm": f"http://{self.host}/token", "service": "kea-tests", "issuer": "kea-tests"}
        return {"token": token | {"rootcertbundle": str(self.certificate)}}

    def answer(self, call: Call) -> Answer:
        import jwt

        known = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        named = {name.lower(): value for name, value in call.headers.items()}
        if named.get("authorization") != known:
            return error(401, "UNAUTHORIZED", "this is not the password")
        access = []
        for scope in parse_qs(urlsplit(call.path).query).get("scope", []):
            for one in scope.split():
                kind, name, actions = one.split(":")
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {"iss": "kea-tests", "sub": self.login[0], "aud": "kea-tests", "access": access, "jti": "1"}
        claims |= {"exp": now + self.lasting, "nbf": now - 5, "iat": now}
        text = self.certificate.read_text()
        chain = ["".join(text.split("-----")[2].split())]
        token = jwt.encode(claims, self.key.read_text(), "RS256", {"x5c": chain})
        body = json.dumps({"token": token, "access_token": token, "expires_in": self.lasting}).encode()
        return Answer(200, body, {"Content-Type": "application/json"})


def self_signed(folder: Path, name: str, address: str | None = None) -> tuple[Path, Path]:
    """A key and a certificate that nobody else has signed."""
    from containers import run

    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    more = ["-addext", f"subjectAltName=IP:{address}", "-addext", "basicConstraints=CA:FALSE"] if address else []
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", key, "-out", certificate, *more)  # fmt: skip
    return key, certificate


# Packages


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel of Python files that runs everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: kea-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            # With one time, so that it is the same wheel whenever it is made.
            archive.writestr(zipfile.ZipInfo(file), text)
    return path


def source_archive(folder: Path, name: str, version: str, setup: str = "") -> Path:
    """A package without a wheel, which `setup` would make one of."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.tar.gz"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "setup.py": setup or f"from setuptools import setup\nsetup(name='{name}', version='{version}')\n",
    }
    path.write_bytes(layer({f"{name}-{version}/{file}": text.encode() for file, text in files.items()}))
    return path


class PackageIndex(Front):
    """An index of the packages in a folder, for who knows the login where there is one."""

    def __init__(self, folder: Path, login: tuple[str, str] | None = None) -> None:
        super().__init__(self.answer)
        self.folder = folder
        self.login = login
        self.gate: Gate | None = None

    @property
    def url(self) -> str:
        user = f"{self.login[0]}:{self.login[1]}@" if self.login else ""
        return f"http://{user}{self.host}/simple"

    def answer(self, call: Call) -> Answer | None:
        if self.gate is not None:
            self.gate.wait()
        if self.login is not None:
            known = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
            if {name.lower(): value for name, value in call.headers.items()}.get("authorization") != known:
                return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="kea-tests"'})
        parts = urlsplit(call.path).path.strip("/").split("/")
        if parts[0] == "files":
            return Answer(200, (self.folder / parts[1]).read_bytes())
        wanted = [file for file in sorted(self.folder.iterdir()) if file.name.startswith(parts[-1].replace("-", "_"))]
        if not wanted:
            return None
        links = [
            f'<a href="/files/{file.name}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">{file.name}</a>'
            for file in wanted
        ]
        return Answer(200, f"<html><body>{''.join(links)}</body></html>".encode(), {"Content-Type": "text/html"})
