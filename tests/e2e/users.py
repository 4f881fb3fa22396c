"""Users of a test, made by the API, with the password of its admin."""

from __future__ import annotations

import requests
from harness import API, PASSWORD, Kea


def add_users(kea: Kea, users: dict[str, list[str]]) -> None:
    """Makes users with these roles of their own."""
    for name, roles in users.items():
        answer = kea.request("POST", "/users", json={"username": name, "password": PASSWORD, "roles": roles})
        assert answer.status_code == 201, answer.text


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
