"""The README and the guide for beginners work as they are written: every command of them is run, in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import PASSWORD
from shell_blocks import Block, Shell, blocks_of

ROOT = Path(__file__).parents[2]
WRITTEN_ADDRESS = "127.0.0.1:8080"


def heed_ctrl_c() -> None:
    """As in a terminal: a shell that was started in the background ignores it, and can set no trap for it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Reader:
    """Someone who follows a document: a folder of their own, a shell, and a terminal for what does not end."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary = binary
        self.log = home / "server.log"
        tools = [Path(sys.executable).parent, binary.parent]
        path = os.pathsep.join([*map(str, tools), os.environ["PATH"]])
        config = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "KEA_DATA_DIR": str(home / "data")}
        # What was downloaded before need not be again.
        config["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        self.env = {**config, "PATH": path, "KEA_PASSWORD": PASSWORD, "KEA_LISTEN": "127.0.0.1:0"}
        self.shell = Shell(ROOT, self.env)
        self.server: subprocess.Popen[bytes] | None = None
        self.address = ""

    def follow(self, block: Block) -> str:
        text = block.text.replace("$PWD/target/release", str(self.binary.parent))
        # `make` would build a second time, for users' speed: the binary to test is there.
        text = re.sub(r"^make build$", "true", text, flags=re.MULTILINE)
        if text.strip() == "make run":
            return self.start(f"scripts/run {self.binary}", "KEA serves until you press Ctrl-C")
        if "kea serve" in text:
            return self.start(text.strip().replace("choose a password", PASSWORD), "KEA answers on ")
        if self.address:
            text = text.replace(WRITTEN_ADDRESS, self.address)
        return self.shell.run(Block(block.language, text))

    def start(self, command: str, said: str, seconds: float = 420) -> str:
        """Starts what serves until it is stopped, and waits until it has said so."""
        env = {**os.environ, **self.env}
        with self.log.open("wb") as log:
            command = f"exec env {command}"
            self.server = subprocess.Popen(
                command, shell=True, cwd=ROOT, env=env, stdout=log, stderr=log, preexec_fn=heed_ctrl_c
            )
        deadline = time.monotonic() + seconds
        while said not in (text := self.log.read_text(errors="replace")):
            assert self.server.poll() is None, f"`{command}` ended with {self.server.returncode}:\n{text}"
            assert time.monotonic() < deadline, f"`{command}` did not say {said!r}:\n{text}"
            time.sleep(0.1)
        found = re.search(r"KEA answers on http://([\d.:]+)", text)
        assert found
        self.address = found.group(1)
        return text

    def stop(self) -> int:
        """What Ctrl-C does."""
        self.shell.close()
        if self.server is None:
            return 0
        self.server.send_signal(signal.SIGINT)
        try:
            return self.server.wait(60)
        except subprocess.TimeoutExpired:
            self.server.kill()
            return self.server.wait()


@pytest.fixture
def reader(binary: Path, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(binary, tmp_path)
    yield reader
    reader.stop()


@pytest.mark.timeout(900)
def test_every_command_of_the_readme_works(reader: Reader) -> None:
    blocks = blocks_of(ROOT / "README.md")
    assert any(block.language == "python" for block in blocks)
    printed = [reader.follow(block) for block in blocks]
    assert "setosa" in printed[0] and "curl -s" in printed[0], printed[0]
    assert "virginica" in printed[2], printed[2]
    assert printed[3].strip() == "setosa"
    assert reader.stop() == 0


@pytest.mark.timeout(900)
def test_the_curl_line_that_make_run_prints_works(reader: Reader) -> None:
    printed = reader.follow(blocks_of(ROOT / "README.md")[0])
    lines = printed[printed.index("  token=") :]
    assert '"label":"setosa"' in reader.follow(Block("sh", lines))


@pytest.mark.timeout(900)
def test_every_command_of_the_guide_works(reader: Reader) -> None:
    printed = "".join(reader.follow(block) for block in blocks_of(ROOT / "docs" / "getting-started.md"))
    for part in ("setosa", "/inputs/petal_width", "no_such_package", "2 of 2", "version 1 keeps serving"):
        assert part in printed, f"{part} is not in:\n{printed}"
