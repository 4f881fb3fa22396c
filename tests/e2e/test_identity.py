"""Who a caller is: sessions, users and keys, by the API and by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from harness import API, PASSWORD, Kea

CSRF = {"x-kea-csrf": "1"}


def post(kea: Kea, path: str, body: Any, **headers: str) -> requests.Response:
    return requests.post(f"{kea.url}{API}{path}", json=body, headers=headers, timeout=30)


def log_in(kea: Kea, username: str = "admin", password: str = PASSWORD) -> dict[str, Any]:
    answer = post(kea, "/auth/login", {"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return answer.json()


def status(kea: Kea, token: str, path: str = "/auth/me") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{kea.url}{API}{path}", headers=headers, timeout=30).status_code


def make_user(kea: Kea, username: str, *roles: str) -> None:
    body = {"username": username, "password": "a password", "roles": list(roles)}
    answer = kea.request("POST", "/users", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{API}/users/{username}"


def test_a_session_is_carried_on_and_ends_at_once(shared_kea: Kea) -> None:
    first = log_in(shared_kea)
    second = post(shared_kea, "/auth/refresh", {"refreshToken": first["refreshToken"]}).json()
    assert status(shared_kea, second["token"]) == 200
    third = post(shared_kea, "/auth/refresh", {"refreshToken": second["refreshToken"]}).json()
    replayed = post(shared_kea, "/auth/refresh", {"refreshToken": first["refreshToken"]})
    assert replayed.status_code == 401 and "ended" in replayed.json()["detail"]
    assert [status(shared_kea, session["token"]) for session in (first, second, third)] == [401] * 3


def test_users_are_administered_and_only_by_admins(shared_kea: Kea) -> None:
    kea = shared_kea
    make_user(kea, "ada", "engineer")
    ada = log_in(kea, "ada", "a password")
    assert (ada["username"], ada["roles"]) == ("ada", ["engineer"])
    for path in ("/users", "/auth/sessions?all=true", "/auth/sessions?username=admin", "/auth/keys?all=true"):
        assert status(kea, ada["token"], path) == 403, path
    assert status(kea, ada["token"], "/users/ada") == 200
    assert kea.request("PUT", "/users/ada", json={"roles": ["security"]}).status_code == 200
    assert status(kea, ada["token"], "/users") == 200, "roles hold at once"
    listed = kea.request("GET", "/auth/sessions?username=ada").json()
    assert [session["username"] for session in listed] == ["ada"]
    assert kea.request("DELETE", f"/auth/sessions/{listed[0]['id']}").status_code == 204
    assert status(kea, ada["token"]) == 401
    again = log_in(kea, "ada", "a password")["token"]
    assert kea.request("PUT", "/users/ada", json={"disabled": True}).status_code == 200
    assert status(kea, again) == 401
    assert kea.request("DELETE", "/users/ada").status_code == 204
    assert kea.request("GET", "/users/ada").status_code == 404


def test_an_api_key_works_until_it_is_revoked(shared_kea: Kea) -> None:
    kea = shared_kea
    made = kea.request("POST", "/auth/keys", json={"name": "ci", "roles": ["consumer"], "scopes": ["predict:a/b"]})
    assert made.status_code == 201, made.text
    key = made.json()["key"]
    for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
        me = requests.get(f"{kea.url}{API}/auth/me", headers=headers, timeout=30).json()
        assert (me["username"], me["roles"], me["scopes"]) == ("admin", ["consumer"], ["predict:a/b"])
        assert me["keyId"] == made.json()["id"] and me["sessionId"] is None
    assert post(kea, "/auth/keys", {"name": "another"}, **{"x-api-key": key}).status_code == 409, "keys make no keys"
    assert post(kea, "/auth/logout", None, **{"x-api-key": key}).status_code == 409
    (listed,) = kea.request("GET", "/auth/keys").json()
    assert listed["lastUsedAt"] and key not in json.dumps(listed)
    assert kea.request("DELETE", f"/auth/keys/{listed['id']}").status_code == 204
    assert status(kea, key) == 401


def test_signing_keys_rotate_without_logging_anyone_out(shared_kea: Kea) -> None:
    kea = shared_kea
    url = f"{kea.url}/.well-known/jwks.json"
    before = requests.get(url, timeout=30).json()["keys"]
    new = kea.request("POST", "/auth/signing-keys/rotate").json()["id"]
    after = requests.get(url, timeout=30).json()["keys"]
    assert [key["kid"] for key in after] == [new, *[key["kid"] for key in before]]
    assert all(set(key) == {"kid", "kty", "crv", "x", "alg", "use"} for key in after)
    assert kea.request("GET", "/auth/me").status_code == 200


def test_a_page_gets_cookies_that_other_sites_cannot_use(shared_kea: Kea) -> None:
    kea = shared_kea
    browser = requests.Session()
    body = {"username": "admin", "password": PASSWORD}
    here = {**CSRF, "Origin": kea.url}
    answer = browser.post(f"{kea.url}{API}/auth/login", json=body, headers=here, timeout=30)
    assert answer.status_code == 200 and answer.json()["token"] == "" == answer.json()["refreshToken"]
    cookies = answer.headers["set-cookie"]
    assert cookies.count("HttpOnly") == 2 == cookies.count("SameSite=Lax") and "Secure" not in cookies
    me = f"{kea.url}{API}/auth/me"
    assert browser.get(me, headers=here, timeout=30).status_code == 200
    assert browser.get(me, timeout=30).status_code == 401, "a cookie alone does not do"
    assert browser.get(me, headers={**CSRF, "Origin": "https://evil.example"}, timeout=30).status_code == 401
    refreshed = browser.post(f"{kea.url}{API}/auth/refresh", json={}, headers=here, timeout=30)
    assert refreshed.status_code == 200, refreshed.text
    assert browser.post(f"{kea.url}{API}/auth/refresh", json={}, timeout=30).status_code == 401
    behind_tls = {**CSRF, "Origin": kea.url.replace("http:", "https:")}
    over_tls = requests.post(f"{kea.url}{API}/auth/login", json=body, headers=behind_tls, timeout=30)
    assert over_tls.headers["set-cookie"].count("; Secure") == 2
    assert browser.post(f"{kea.url}{API}/auth/logout", headers=here, timeout=30).status_code == 204
    assert browser.get(me, headers=here, timeout=30).status_code == 401 and not browser.cookies


def test_a_browser_without_a_session_is_sent_to_the_login(shared_kea: Kea) -> None:
    html = {"Accept": "text/html,application/xhtml+xml"}
    asked = requests.get(f"{shared_kea.url}/docs/iris?x=1", headers=html, timeout=30, allow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/docs/iris%3Fx%3D1")
    program = requests.get(f"{shared_kea.url}{API}/services", timeout=30)
    assert program.status_code == 401 and program.headers["www-authenticate"] == "Bearer"


def test_commands_renew_their_token_also_at_once(start: Callable[..., Kea], tmp_path: Path) -> None:
    kea = start(env={"KEA_TOKEN_TTL": "2s"})
    env = {"KEA_PASSWORD": PASSWORD}
    kea.cli("login", kea.url, "--username", "admin", env=env)
    kept = next((kea.folder / "config").rglob("credentials.json"))
    first = json.loads(kept.read_text())["servers"]

    def token_ended() -> bool:
        (login,) = first.values()
        return status(kea, login["token"]) == 401

    for _ in range(2):
        kea.wait_for(token_ended, "the token to end", 20)
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: kea.cli("--output", "json", "auth", "whoami").stdout, range(4)))
        assert all(json.loads(told)["username"] == "admin" for told in done)
        assert json.loads(kept.read_text())["servers"] != first
        first = json.loads(kept.read_text())["servers"]
    (login,) = first.values()
    kea.cli("logout")
    refreshed = post(kea, "/auth/refresh", {"refreshToken": login["refreshToken"]})
    assert refreshed.status_code == 401, "the session has ended at the server"


def test_the_command_line_administers_users_and_keys(shared_kea: Kea) -> None:
    kea = shared_kea
    kea.cli("login", kea.url, env={"KEA_PASSWORD": PASSWORD})
    kea.cli("user", "create", "bob", "--role", "consumer", env={"KEA_NEW_PASSWORD": "a password"})
    assert "bob" in kea.cli("user", "list").stdout
    assert "engineer, security" in kea.cli("user", "roles", "bob", "engineer", "security").stdout
    kea.cli("user", "disable", "bob")
    assert "disabled" in kea.cli("user", "list").stdout
    kea.cli("user", "enable", "bob")
    kea.cli("user", "password", "bob", "--password-stdin", input="another password\n")
    bob = log_in(kea, "bob", "another password")
    key = kea.cli("key", "create", "nightly", "--role", "consumer", "--expires", "1h").stdout.strip()
    assert key.startswith("kea_") and "admin" in kea.cli("auth", "whoami", env={"KEA_TOKEN": key}).stdout
    (listed,) = kea.cli_json("key", "list")
    kea.cli("key", "revoke", listed["id"])
    assert kea.cli("auth", "whoami", env={"KEA_TOKEN": key}, check=False).returncode == 1
    assert "bob" in kea.cli("auth", "sessions", "--all").stdout
    kea.cli("auth", "end-session", "--username", "bob")
    assert status(kea, bob["token"]) == 401
    kea.cli("auth", "rotate-keys")
    kea.cli("user", "delete", "bob")
    last = kea.cli("user", "delete", "admin", check=False)
    assert last.returncode == 1 and "last enabled user" in last.stderr
