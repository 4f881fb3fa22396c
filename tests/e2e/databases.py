"""A real PostgreSQL in the hands of a test: started, stopped and started again with what it has kept."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from containers import ROOT


class Postgres:
    """One server. `folder` has to be where the system's user `postgres` may go; what it keeps survives `stop()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.holder: subprocess.Popen[str] | None = None

    def start(self) -> None:
        # The server runs for as long as `cat` has something to wait for.
        told = 'echo "$KEA_TEST_POSTGRES"; exec cat'
        command = [ROOT / "scripts" / "with-postgres", "--folder", self.folder, "sh", "-c", told]
        self.holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout
        self.url = self.holder.stdout.readline().strip()
        assert self.url, "PostgreSQL did not start: its words are above"

    def stop(self) -> None:
        if self.holder is not None:
            self.holder.communicate(timeout=60)
            self.holder = None

    @property
    def password(self) -> str:
        password = urlsplit(self.url).password
        assert password
        return password

    def url_with_password(self, password: str) -> str:
        return self.url.replace(self.password, password)
