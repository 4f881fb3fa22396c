"""A Redis in the hands of a test: on a free port, killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from containers import free_port


class Redis:
    """One server, from `with` to its end. What it keeps is gone with its process."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.options = options
        self.folder = tempfile.TemporaryDirectory()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *self.options]
        self.process = subprocess.Popen([*command, "--dir", self.folder.name], stdout=subprocess.DEVNULL)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Redis:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.folder.cleanup()


class TlsRedis(Redis):
    """One that speaks TLS alone, asks for a password, and has a certificate that `authority` makes good."""

    def __init__(self, folder: Path) -> None:
        self.authority, key = folder / "certificate.pem", folder / "key.pem"
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        make += ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        make += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(self.authority)]
        subprocess.run(make, check=True, capture_output=True)
        options = ["--requirepass", "geheim", "--tls-auth-clients", "no"]
        options += ["--tls-cert-file", str(self.authority), "--tls-key-file", str(key)]
        super().__init__(*options)
        self.options += ("--tls-port", str(self.port), "--port", "0")
        self.url = f"rediss://:geheim@127.0.0.1:{self.port}"
