"""Runs `kea build` as a user does, and tells what came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from containers import ROOT
from harness import is_running

STEPS = {
    "fetch": "fetch the model",
    "recognise": "recognise the framework",
    "base": "find the base image",
    "packages": "install the image's packages",
    "image": "write the image",
    "push": "push the image",
}


@dataclass
class Build:
    """A build that has ended."""

    code: int
    stdout: str
    stderr: str

    @cached_property
    def data(self) -> dict[str, Any]:
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)

    @property
    def digest(self) -> str:
        return str(self.data["digest"])

    @property
    def sent(self) -> int:
        return int(self.data["sentBytes"])

    @property
    def reference(self) -> str:
        return str(self.data["reference"])

    def part(self, name: str) -> list[str]:
        """Digests of the layers of one part: `base`, `packages`, `server` or `model`."""
        return [layer["digest"] for layer in self.data["layers"] if layer["part"] == name]

    def says(self, step: str, word: str) -> bool:
        """Whether a line of this step has the word."""
        return any(line.startswith(STEPS[step]) and word in line for line in self.stderr.splitlines())

    @property
    def error(self) -> str:
        """What was told of the failure: the line that begins with `error:`, and all after it."""
        assert self.code == 1, f"exit {self.code}:\n{self.stderr}"
        assert "panicked" not in self.stderr, self.stderr
        begins = re.search("^error:", self.stderr, re.MULTILINE)
        assert begins, self.stderr
        return self.stderr[begins.start() :]


class Running:
    """A build under way."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.lines: list[str] = []

    def wait_for(self, text: str) -> None:
        """Reads what it tells until a line has the text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"it never told `{text}`:\n{''.join(self.lines)}")

    def end(self, seconds: float = 120) -> Build:
        stdout, stderr = self.process.communicate(timeout=seconds)
        return Build(self.process.returncode, stdout, "".join(self.lines) + stderr)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


class Builder:
    """`kea build` with a cache folder. Copies of it with another one share all else."""

    def __init__(self, binary: Path, cache: Path, env: dict[str, str]) -> None:
        self.binary = binary
        self.cache = cache
        self.env = env

    def with_cache(self, cache: Path) -> Builder:
        return Builder(self.binary, cache, self.env)

    def with_env(self, **env: str) -> Builder:
        return Builder(self.binary, self.cache, self.env | env)

    def without_uv(self) -> Builder:
        """As where only pip is there."""
        folders = [part for part in os.environ["PATH"].split(":") if not (Path(part) / "uv").exists()]
        return self.with_env(PATH=":".join(folders))

    def start(self, source: Path | str, image: str, *options: str) -> Running:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("KEA_", "DOCKER_"))}
        env = ours | {"KEA_CACHE_DIR": str(self.cache), "KEA_OUTPUT": "json"} | self.env
        return Running([str(self.binary), "build", str(source), "--image", image, *options], env)

    def run(self, source: Path | str, image: str, *options: str, check: bool = True, seconds: float = 120) -> Build:
        done = self.start(source, image, *options).end(seconds)
        assert not check or done.code == 0, f"exit {done.code}:\n{done.stdout}{done.stderr}"
        return done

    def push(self, source: Path | str, image: str, *options: str, **how: Any) -> Build:
        return self.run(source, image, "--push", *options, **how)

    def left_over(self) -> list[Path]:
        """What is in the cache and should be there only while something is built."""
        images = self.cache / "images"
        return [
            *images.glob("builds/*"),
            *images.glob("builds/.*"),
            *images.glob("*/.incoming*"),
            *images.glob("*/*/.incoming*"),
        ]

    def has_blob(self, digest: str) -> bool:
        return (self.cache / "images" / "blobs" / "sha256" / digest.removeprefix("sha256:")).exists()

    def tools(self) -> list[str]:
        """Command lines of the processes that work for builds with this cache."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or not is_running(int(process.name)):
                continue
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = str((process / "cwd").resolve())
            except OSError:
                continue
            if str(self.cache) in line or str(self.cache) in place:
                found.append(line)
        return found


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Asks until the answer is true, and returns that."""
    from harness import Kea

    return Kea._wait_for(condition, seconds, what)


# Models

CLASS = '''
class Model:
    """Adds."""

    def predict(self, x: int) -> int:
        """Adds {plus}."""
        return x + {plus}
'''

SERVICE = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"{text}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""

RUN_SERVICE = "exec python3 service.py"


def adder(folder: Path, plus: int = 1, requirements: str = "") -> Path:
    """A custom class that needs numpy alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(CLASS.format(plus=plus))
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    return folder


def service(folder: Path, text: str = "hello", requirements: str = "", size: int = 0) -> Path:
    """A web service without KEA's server in its image, and with as many bytes as are asked for: quickly built."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service.py").write_text(SERVICE.replace("{text}", text))
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    if size:
        (folder / "weights.bin").write_bytes(os.urandom(size))
    return folder


def example(name: str) -> Path:
    return ROOT / "examples" / name
