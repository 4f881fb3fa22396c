"""Servers of other people that models come from: Azurite, OpenSSH's, and stand-ins for Google's and Git LFS's by what
their documentation says. They listen on this machine alone and end with the test."""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from containers import ROOT, free_port, run
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from harness import descendants
from places import git, reply, repositories

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AZURITE = ROOT / ".cache" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


class Server:
    """A process that tells in its log that it is ready, and that ends with all that it started."""

    def __init__(self, folder: Path, command: list[Any], ready: str, env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "log"
        log = self.log_file.open("wb")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **(env or {})},
        )
        deadline = time.monotonic() + 60
        while ready not in self.log_file.read_text(errors="replace"):
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{command[0]} is not ready:\n{self.log_file.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Azurite(Server):
    """Azure's blobs in memory. Both accounts have keys: one of the test, and the one that every emulator has."""

    EMULATED = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, folder: Path, account: str, key: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.account, self.key = account, key
        options = ["--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence", "--disableTelemetry"]
        command = ["node", AZURITE, *options, "--skipApiVersionCheck"]
        env = {"AZURITE_ACCOUNTS": f"{account}:{key};devstoreaccount1:{self.EMULATED}"}
        assert AZURITE.exists(), "Azurite is not installed: run `make e2e`, which does that"
        super().__init__(folder, command, "successfully listens", env)

    def upload(self, container: str, files: dict[str, bytes], account: str = "", key: str = "") -> None:
        from azure.core.exceptions import ResourceExistsError
        from azure.storage.blob import BlobServiceClient

        account, key = account or self.account, key or self.key
        with BlobServiceClient(f"{self.url}/{account}", credential=key) as service:
            try:
                client = service.create_container(container)
            except ResourceExistsError:
                client = service.get_container_client(container)
            for name, content in files.items():
                client.upload_blob(name, content, overwrite=True)

    def signature(self) -> str:
        """A token that lets whoever has it read for an hour."""
        from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

        below = ResourceTypes(service=True, container=True, object=True)
        permission = AccountSasPermissions(read=True, list=True)
        end = datetime.now(UTC) + timedelta(hours=1)
        return generate_account_sas(self.account, self.key, below, permission, end)


class Key:
    """A key of a service account, in a file as Google gives it."""

    def __init__(self, file: Path) -> None:
        self.file, self.email = file, "kea@project.iam.gserviceaccount.com"
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.pem = self.private.private_bytes(*encoding).decode()
        account = {"type": "service_account", "private_key_id": "1", "client_email": self.email}
        file.write_text(json.dumps({**account, "private_key": self.pem}))

    def signed(self, token: str) -> bool:
        """Whether this key signed a token, which is not yet too old and may read."""
        content, _, signature = token.rpartition(".")
        claims = json.loads(unpadded(content.partition(".")[2]))
        try:
            self.private.public_key().verify(unpadded(signature), content.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return claims["iss"] == self.email and claims["exp"] > time.time() and claims["scope"] == SCOPE


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def google(bucket: str, objects: dict[str, bytes], key: Key | None) -> Callable[[BaseHTTPRequestHandler], None]:
    """Google's XML API of one bucket, which lists two objects at a time; for those alone whose tokens `key` signed."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if key and (kind != "Bearer" or not key.signed(token)):
            return error(request, 401, "AuthenticationRequired")
        found, _, name = unquote(url.path).removeprefix("/").partition("/")
        if found != bucket:
            return error(request, 404, "NoSuchBucket")
        if not name:
            return reply(request, 200, listed(query).encode(), Content_Type="application/xml")
        if name not in objects:
            return error(request, 404, "NoSuchKey")
        notes = {"ETag": tag(name), "Last-Modified": "Tue, 24 Nov 2026 12:00:00 GMT", "x-goog-generation": "1"}
        return reply(request, 200, objects[name], **notes)

    def error(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
        reply(request, status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    def tag(name: str) -> str:
        return f'"{hashlib.md5(objects[name]).hexdigest()}"'

    def listed(query: dict[str, str]) -> str:
        after = query.get("continuation-token", "")
        names = sorted(name for name in objects if name.startswith(query.get("prefix", "")) and name > after)
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(objects[name])}</Size><ETag>{escape(tag(name))}</ETag>"
            "<LastModified>2026-11-24T12:00:00.000Z</LastModified></Contents>"
            for name in names[:2]
        )
        more = f"<NextContinuationToken>{escape(names[1])}</NextContinuationToken>" if len(names) > 2 else ""
        return f"<?xml version='1.0'?><ListBucketResult>{more}{contents}</ListBucketResult>"

    return answer


def ssh_key(path: Path, passphrase: str = "") -> Path:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "kea-tests", "-f", path)
    return path


class Sshd(Server):
    """OpenSSH's server for the user of the tests, with keys of its own. `key` is let in; `known` tells who it is."""

    separation = Path("/run/sshd")

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.host = f"{getpass.getuser()}@127.0.0.1:{self.port}"
        host_key, self.key = ssh_key(folder / "host"), ssh_key(folder / "key")
        allowed = folder / "authorized_keys"
        allowed.write_text(self.key.with_suffix(".pub").read_text())
        self.known = self.knows(folder / "known", host_key)
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": host_key,
            "AuthorizedKeysFile": allowed,
            "AuthenticationMethods": "publickey",
            "PermitRootLogin": "prohibit-password",
            "PidFile": "none",
            # The folder of a test may be below one that others may write to.
            "StrictModes": "no",
            "UsePAM": "no",
        }
        config = folder / "config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        if os.getuid() == 0:
            # Where the service's own unit would make it.
            self.separation.mkdir(mode=0o755, exist_ok=True)
        super().__init__(folder, ["/usr/sbin/sshd", "-D", "-e", "-f", config], "Server listening")

    def knows(self, file: Path, key: Path) -> Path:
        """A file of known hosts in which this server has that key."""
        file.write_text(f"[127.0.0.1]:{self.port} {key.with_suffix('.pub').read_text()}")
        return file

    def command(self, *options: object, known: Path | None = None) -> str:
        """A value of `GIT_SSH_COMMAND` that uses neither the settings nor the keys of who runs the tests."""
        fixed = f"ssh -F none -o IdentityFile=none -o UserKnownHostsFile='{known or self.known}'"
        return " ".join([fixed, *map(str, options)])


class Agent(Server):
    """An ssh-agent that holds one key."""

    def __init__(self, folder: Path, key: Path) -> None:
        self.socket = folder / "agent"
        super().__init__(folder, ["ssh-agent", "-D", "-a", self.socket], "SSH_AUTH_SOCK")
        run("ssh-add", "-q", key, env={**os.environ, "SSH_AUTH_SOCK": str(self.socket)})


def lfs_repository(folder: Path, files: dict[str, bytes]) -> str:
    """A repository whose files are all in Git LFS; returns its commit."""
    git("init", folder)
    (folder / ".gitattributes").write_text("*.joblib filter=lfs diff=lfs merge=lfs -text\n")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    git("-c", "filter.lfs.clean=git-lfs clean -- %f", "-c", "filter.lfs.required=true", "add", ".", folder=folder)
    git("commit", "-m", "Add the model", folder=folder)
    for name in files:
        assert git("show", f"HEAD:{name}", folder=folder).startswith("version https://git-lfs")
    return git("rev-parse", "HEAD", folder=folder)


def lfs(folder: Path, user: str | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    """Repositories over HTTP together with their files in LFS, by the batch API."""
    plain = repositories(folder, user)

    def answer(request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        repository, _, rest = path.partition("/info/lfs/objects/")
        if not rest:
            return plain(request)
        if user and request.headers.get("Authorization") != user:
            return reply(request, 401, WWW_Authenticate='Basic realm="git"')
        stored = folder / repository.removeprefix("/") / "lfs" / "objects"
        if rest != "batch":
            return reply(request, 200, (stored / rest[:2] / rest[2:4] / rest).read_bytes())
        asked = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        href = f"http://{request.headers['Host']}{repository}/info/lfs/objects/"
        objects = [
            {**item, "actions": {"download": {"href": href + item["oid"]}}}
            if (stored / item["oid"][:2] / item["oid"][2:4] / item["oid"]).exists()
            else {**item, "error": {"code": 404, "message": "Object does not exist"}}
            for item in asked["objects"]
        ]
        body = json.dumps({"transfer": "basic", "objects": objects}).encode()
        return reply(request, 200, body, Content_Type="application/vnd.git-lfs+json")

    return answer
