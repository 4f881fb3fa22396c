"""The commands of a Markdown file, run as a reader would: block after block, in one shell."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    language: str
    text: str

    def __str__(self) -> str:
        return self.text.strip()


def blocks_of(path: Path) -> list[Block]:
    found = [Block(*match.groups()) for match in BLOCK.finditer(path.read_text())]
    assert found, f"{path} has no commands"
    return found


class Shell:
    """One bash in which each command must succeed. `! command` stands for one that is to fail."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            cwd=folder,
            env={**os.environ, **env},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, block: Block, seconds: float = 420) -> str:
        """Runs a block and returns what it printed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        mark = secrets.token_hex(8)
        text = f"python - <<'{mark}'\n{block.text}{mark}\n" if block.language == "python" else must_fail(block.text)
        self.process.stdin.write(f"{text}\nprintf '\\n%s\\n' {mark}\n")
        self.process.stdin.flush()
        printed: list[str] = []
        # A command that hangs is ended with the shell, and reading ends with both.
        alarm = threading.Timer(seconds, self.process.kill)
        alarm.start()
        for line in self.process.stdout:
            if line.strip() == mark:
                alarm.cancel()
                return "".join(printed)
            printed.append(line)
        alarm.cancel()
        raise AssertionError(f"ended with {self.process.wait()}:\n{block}\n--- printed:\n{''.join(printed)}")

    def close(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(30)


def must_fail(text: str) -> str:
    """bash lets `! command` pass whatever its status: here a success counts as a failure."""
    return re.sub(r"^! (.+)$", r"if \1; then echo 'this should have failed'; exit 1; fi", text, flags=re.MULTILINE)
