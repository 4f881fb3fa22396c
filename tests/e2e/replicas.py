"""A real `kea model-server` as a pod runs it: told by variables, with nobody at its control channel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from containers import free_port


class Replica:
    """A model server on a free port, from `with` to its end."""

    def __init__(self, binary: Path, folder: Path, **variables: object) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.termination_log = folder / "termination-log"
        self.log_file = folder / "log"
        self.command = [str(binary), "model-server"]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("KEA_")}
        self.env |= {
            "KEA_SERVICE": "iris",
            "KEA_LISTEN": f"127.0.0.1:{self.port}",
            "KEA_PYTHON": sys.executable,
            "KEA_TERMINATION_LOG": str(self.termination_log),
        }
        self.env |= {name: str(value) for name, value in variables.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Replica:
        log = self.log_file.open("wb")
        self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        if self.running.poll() is None:
            self.running.kill()
        self.running.wait(30)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)

    def status(self, path: str) -> int:
        return self.get(path).status_code

    def report(self) -> dict[str, Any]:
        answer = self.get("/kea/replica")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """Asks `condition` until it is true; as long as the server does not listen, it is not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.running.poll() is None, f"the replica ended with {self.running.returncode}:\n{self.log}"
            try:
                found = condition()
            except requests.ConnectionError:
                found = None
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"gave up waiting:\n{self.log}")

    def until_ready(self) -> dict[str, Any]:
        return self.until(lambda: (report := self.report())["ready"] and report)
