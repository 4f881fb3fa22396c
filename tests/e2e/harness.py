"""A real `kea serve` in the hands of a test: started on a free port, called, killed, started again, cleaned up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

API = "/api/v1/k8c"
PASSWORD = "correct horse battery staple"


class Kea:
    """One server. `data_dir` survives `kill()` and `start()`; `stop()` ends everything that was started."""

    def __init__(
        self, binary: Path, folder: Path, environments: Path | None, env: dict[str, str] | None = None
    ) -> None:
        self.binary = binary
        self.folder = folder
        self.data_dir = folder / "data"
        self.env = env or {}
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if environments is not None:
            (self.data_dir / "environments").symlink_to(environments)
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.session = requests.Session()
        # A variable like REQUESTS_CA_BUNDLE would come before `session.verify`.
        self.session.trust_env = False
        self.listen = "127.0.0.1:0"
        self.scheme = "http"

    @property
    def log_file(self) -> Path:
        return self.folder / "kea.log"

    def start(self, *options: str) -> None:
        """Starts the server, waits until it is ready, and logs in. After a kill it comes back on the same port."""
        log = self.log_file.open("ab")
        offset = log.tell()
        command = [self.binary, "serve", "--listen", self.listen, "--data-dir", self.data_dir, *options]
        # One login serves a whole module.
        env = {**os.environ, "KEA_ADMIN_PASSWORD": PASSWORD, "KEA_TOKEN_TTL": "12h", **self.env}
        env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            address = self._wait_for(lambda: self._address(offset), 60, "the address of KEA in its log")
            self.listen = address
            self.url = f"{self.scheme}://{address}"
            self._wait_for(self._is_ready, 60, "readiness")
            self.login()
        except BaseException:
            # Whoever waits in vain does not get to `stop()`.
            self.stop()
            raise

    def _address(self, offset: int) -> str | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"KEA ended with {self.process.returncode}:\n{self.log_file.read_text()[-4000:]}")
        text = self.log_file.read_bytes()[offset:].decode(errors="replace")
        found = re.search(r"KEA answers on https?://([\d.]+:\d+)", text)
        return found.group(1) if found else None

    def _is_ready(self) -> bool:
        try:
            return self.session.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    @staticmethod
    def _wait_for(condition: Any, seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"gave up waiting for {what}")

    def wait_for(self, condition: Any, what: str, seconds: float = 60) -> Any:
        """Asks `condition` until it answers with something true, and returns that."""
        return self._wait_for(condition, seconds, what)

    def new_token(self) -> str:
        """A token of a session of its own."""
        credentials = {"username": "admin", "password": PASSWORD}
        headers = {"Authorization": None}
        answer = self.session.post(f"{self.url}{API}/auth/login", json=credentials, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def login(self) -> None:
        self.session.headers["Authorization"] = f"Bearer {self.new_token()}"

    @property
    def token(self) -> str:
        return str(self.session.headers["Authorization"]).removeprefix("Bearer ")

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request of the management API: `path` is below its base path, unless it begins with `!`."""
        url = self.url + (path.removeprefix("!") if path.startswith("!") else API + path)
        return self.session.request(method, url, timeout=options.pop("timeout", 60), **options)

    def deploy(self, name: str, source: Path | str | None = None, wait: bool = True, **fields: Any) -> dict[str, Any]:
        """Deploys a service through the API; with `wait` until it is deployed."""
        body = {"modelName": name, **({"sourceCode": str(source)} if source else {}), **fields}
        answer = self.request("POST", "/services", json=body)
        assert answer.status_code == 201, answer.text
        return self.wait_deployed(name) if wait else answer.json()

    def details(self, name: str) -> dict[str, Any]:
        answer = self.request("GET", f"/services/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_deployed(self, name: str, seconds: float = 300) -> dict[str, Any]:
        def deployed() -> dict[str, Any] | None:
            details = self.details(name)
            assert details["status"] != "failed", details["reason"]
            done = details["status"] == "deployed" and details["readyReplicas"] == details["replicas"]
            return details if done else None

        return self._wait_for(deployed, seconds, f"{name} to be deployed")

    def wait_failed(self, name: str, seconds: float = 120) -> dict[str, Any]:
        """Waits until what was asked for has failed, and returns the details with the reason."""

        def failed() -> dict[str, Any] | None:
            details = self.details(name)
            return details if details["status"] == "failed" else None

        return self._wait_for(failed, seconds, f"{name} to fail")

    def predict(
        self, name: str, inputs: dict[str, Any], function: str = "predict", **options: Any
    ) -> requests.Response:
        return self.request("POST", f"/services/{name}/{function}", json={"inputs": inputs}, **options)

    def predictions(self, name: str, inputs: dict[str, Any], function: str = "predict") -> list[dict[str, Any]]:
        answer = self.predict(name, inputs, function)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def cli(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command of the CLI against this server, with its own config folder."""
        env = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / "config"), "KEA_SERVER": self.url}
        env |= options.pop("env", {})
        done = subprocess.run(
            [self.binary, *arguments],
            capture_output=True,
            text=True,
            env=env,
            timeout=options.pop("timeout", 300),
            **options,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @contextlib.contextmanager
    def cli_process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command of the CLI while it runs; it ends with the block."""
        env = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / "config"), "KEA_SERVER": self.url}
        with subprocess.Popen([self.binary, *arguments], stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                yield process
            finally:
                process.kill()

    def cli_json(self, *arguments: str) -> Any:
        return json.loads(self.cli("--output", "json", *arguments).stdout)

    def replica_pids(self, name: str) -> list[int]:
        return [replica["pid"] for replica in self.details(name)["replicaStatuses"] if replica["pid"]]

    def kill(self) -> None:
        """SIGKILL: nothing of the server runs on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL where that does not help within a minute."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def descendants(pid: int) -> list[int]:
    """All processes that `pid` started, and that those started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def is_running(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
