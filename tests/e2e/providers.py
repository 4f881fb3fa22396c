"""A certified OpenID Connect provider, and people who log in at it."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

FOLDER = Path(__file__).parents[2] / ".cache" / "oidc-provider"
SECRET = "a secret of the tests"


def free_port() -> int:
    """A port for a server whose address others have to know before it starts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def provider(port: int, kea: str, groups: dict[str, list[str]], log: Path) -> Iterator[str]:
    """Runs one for the KEA at that address; gives its issuer."""
    with log.open("w") as errors:
        command = ["node", "provider.mjs", str(port), kea, json.dumps(groups)]
        process = subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready"), log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = said.get("action") or ""
        elif tag == "input" and said.get("name"):
            self.fields[str(said["name"])] = said.get("value") or ""


class Person:
    """Somebody with a browser of their own that runs no scripts, who agrees to all that the provider asks."""

    def __init__(self, name: str, issuer: str) -> None:
        self.name = name
        self.issuer = issuer
        self.browser = requests.Session()

    def go(self, url: str) -> requests.Response:
        """Goes there, and through all pages of the provider; gives the answer that comes after them."""
        answer = self.browser.get(url, timeout=30)
        while answer.url.startswith(self.issuer):
            form = Form(answer.text)
            if form.action is None:
                return answer
            typed = {"login": self.name, "password": "any"}
            fields = {name: typed.get(name, value) for name, value in form.fields.items()}
            answer = self.browser.post(urljoin(answer.url, form.action), data=fields, timeout=30)
        return answer

    def token(self, callback: str, resource: str) -> dict[str, Any]:
        """Tokens for that resource, as a program of theirs gets them that is registered as KEA."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": "kea",
            "response_type": "code",
            "redirect_uri": callback,
            "scope": "openid read",
            "state": "s",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": resource,
        }
        back = self.go(requests.Request("GET", f"{self.issuer}/auth", params=asked).prepare().url or "")
        code = parse_qs(urlsplit(back.url).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback, "code_verifier": verifier}
        answer = requests.post(f"{self.issuer}/token", data=form, auth=("kea", SECRET), timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()
