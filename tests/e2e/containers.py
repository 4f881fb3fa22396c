"""Other people's tools judge KEA's images: Debian's registry keeps them, skopeo copies them, umoci unpacks them, and
runc runs them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(*command: str | Path, **options: Any) -> str:
    """Runs a tool to its end, and returns what it wrote; its own words are shown where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class Registry:
    """Debian's docker-registry on loopback; what it holds survives `kill()` and `start()`."""

    def __init__(self, folder: Path, login: tuple[str, str] | None = None, auth: dict[str, Any] | None = None) -> None:
        """`login` is the only one that it knows; `auth` is another way to ask for logins, in its own words."""
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.login = login
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if login is not None:
            password_file = folder / "htpasswd"
            run("htpasswd", "-Bbc", password_file, *login)
            auth = {"htpasswd": {"realm": "kea-tests", "path": str(password_file)}}
        if auth is not None:
            config["auth"] = auth
        (folder / "config.yml").write_text(json.dumps(config))

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", self.folder / "config.yml"],
            stdout=log,
            stderr=log,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                requests.get(f"http://{self.host}/v2/", timeout=2)
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError("the registry does not answer")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def get(self, path: str, accept: str = "*/*") -> requests.Response:
        return requests.get(f"http://{self.host}/v2/{path}", headers={"Accept": accept}, auth=self.login, timeout=30)

    def manifest(self, name: str, reference: str) -> dict[str, Any]:
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        answer = self.get(f"{name}/manifests/{reference}", accept)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def config(self, name: str, reference: str) -> dict[str, Any]:
        answer = self.get(f"{name}/blobs/{self.manifest(name, reference)['config']['digest']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tags(self, name: str) -> list[str]:
        answer = self.get(f"{name}/tags/list")
        return answer.json()["tags"] or [] if answer.status_code == 200 else []

    def digest(self, name: str, reference: str) -> str | None:
        """What a tag means; nothing where there is none."""
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        return self.get(f"{name}/manifests/{reference}", accept).headers.get("Docker-Content-Digest")

    def blob(self, name: str, digest: str) -> bytes:
        answer = self.get(f"{name}/blobs/{digest}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def uploads(self) -> list[Path]:
        """Uploads that were begun and not ended."""
        return [path for path in self.folder.glob("data/**/_uploads/*") if path.is_dir()]


def unpack(image: str, folder: Path, tag: str = "x") -> Path:
    """Unpacks an image, as skopeo names it, into a bundle for runc, and returns the bundle."""
    layout = folder / "layout"
    run("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", image, f"oci:{layout}:{tag}")
    return bundle(layout, folder, tag)


def bundle(layout: Path, folder: Path, tag: str) -> Path:
    """Unpacks an image of a layout into a bundle for runc."""
    run("umoci", "unpack", "--image", f"{layout}:{tag}", folder / "bundle")
    return folder / "bundle"


class Container:
    """A bundle that runc runs: with a read-only root, as the image's own user, in the network of this machine."""

    def __init__(self, bundle: Path, port: int, env: dict[str, str] | None = None) -> None:
        self.bundle = bundle
        self.name = f"kea-test-{os.getpid()}-{port}"
        self.url = f"http://127.0.0.1:{port}"
        self.log = bundle / "log"
        spec = json.loads((bundle / "config.json").read_text())
        spec["root"]["readonly"] = True
        spec["process"]["terminal"] = False
        spec["process"]["env"] += [f"{name}={value}" for name, value in (env or {}).items()]
        linux = spec["linux"]
        linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] not in ("network", "cgroup")]
        self.user = spec["process"]["user"]
        (bundle / "config.json").write_text(json.dumps(spec))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Container:
        command = ["runc", "--root", self.bundle / "state", "run", "--bundle", self.bundle, self.name]
        self.process = subprocess.Popen(command, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_: object) -> None:
        runc = ["runc", "--root", self.bundle / "state"]
        subprocess.run([*runc, "kill", self.name, "KILL"], capture_output=True)
        subprocess.run([*runc, "delete", "--force", self.name], capture_output=True)
        assert self.process is not None
        self.process.wait(timeout=30)

    def wait_for(self, path: str, seconds: float = 60) -> requests.Response:
        """Asks until it answers with 200."""
        deadline = time.monotonic() + seconds
        answer: requests.Response | None = None
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, f"the container ended:\n{self.log.read_text()}"
            try:
                answer = requests.get(self.url + path, timeout=5)
                if answer.status_code == 200:
                    return answer
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path}: {answer and answer.text}\n{self.log.read_text()}")
