"""Users of a test: made in the database of a server that is stopped, with the password of its admin."""

from __future__ import annotations

import json
import sqlite3

import requests
from harness import API, PASSWORD, Kea


def add_users(kea: Kea, users: dict[str, list[str]]) -> None:
    """Makes users with these roles of their own; the server is stopped for it, and comes back on its port."""
    kea.stop()
    with sqlite3.connect(kea.data_dir / "kea.db") as database:
        (password_hash,) = database.execute("SELECT password_hash FROM users WHERE username = 'admin'").fetchone()
        rows = [(name, password_hash, json.dumps(roles)) for name, roles in users.items()]
        database.executemany("INSERT INTO users (username, password_hash, roles) VALUES (?, ?, ?)", rows)
    database.close()
    kea.start()


class User:
    """Somebody who is logged in."""

    def __init__(self, kea: Kea, username: str) -> None:
        self.kea = kea
        answer = requests.post(
            f"{kea.url}{API}/auth/login", json={"username": username, "password": PASSWORD}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        """A request of the management API; with `!`, of another path."""
        url = self.kea.url + (path.removeprefix("!") if path.startswith("!") else API + path)
        return self.session.request(method, url, timeout=60, **options)

    def call(self, service: str, function: str, **inputs: object) -> requests.Response:
        return self.request("POST", f"/services/{service}/{function}", json={"inputs": inputs})
