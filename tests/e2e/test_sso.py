"""Single sign-on with a certified provider: by a browser, by the command line, by a device, and by its own tokens."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from browser import Browser
from containers import ROOT
from harness import API, Kea
from models import ModelShelf
from providers import SECRET, Person, free_port, provider
from selenium import webdriver

GROUPS = {"ada": ["ml"], "eve": ["sales"], "admin": ["ml"]}
ECHO = """
class Model:
    def predict(self, x: int) -> int:
        return x
"""


def settings(port: int) -> str:
    """The example, with a provider that there is, and one that there is not."""
    example = (ROOT / "examples" / "sso" / "kea.toml").read_text()
    return f"""
{example.replace("https://login.example", f"http://127.0.0.1:{port}")}
[[sso]]
name = "gone"
issuer = "http://127.0.0.1:{free_port()}"
client-id = "kea"
groups-prefix = "gone:"
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def kea(
    port: int, binary: Path, environments: Path, models: ModelShelf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kea]:
    """A KEA that starts before its provider does."""
    folder = tmp_path_factory.mktemp("sso")
    config = folder / "kea.toml"
    config.write_text(settings(port))
    kea = Kea(binary, folder, environments, env={"CORP_SECRET": SECRET})
    kea.start("--config", str(config))
    try:
        kea.deploy("echo", models.custom("echo", ECHO))
        yield kea
    finally:
        kea.stop()


@pytest.fixture(scope="module")
def issuer(port: int, kea: Kea) -> Iterator[str]:
    """The provider, once KEA has noticed that it is there: that it was not is remembered for some seconds."""

    def begins() -> bool:
        begun = requests.get(f"{kea.url}/auth/sso/corp", allow_redirects=False, timeout=30)
        return begun.status_code == 303

    with provider(port, kea.url, GROUPS, kea.folder / "provider.log") as issuer:
        kea.wait_for(begins, "the provider to be noticed", 30)
        yield issuer


@pytest.fixture
def browser(driver: webdriver.Chrome, kea: Kea) -> Iterator[Browser]:
    """A fresh tab, which has nothing to complain of on KEA's own pages."""
    browser = Browser(driver, kea.url)
    yield browser
    assert [complaint for complaint in browser.complaints() if kea.url in complaint] == []


def is_at(browser: Browser, page: str) -> None:
    """Waits for a page of KEA; what its script puts behind a `#` does not count."""
    browser.wait(lambda: browser.driver.current_url.split("#")[0] == browser.url + page, f"not at {page}")


def log_in_at_the_provider(browser: Browser, name: str) -> None:
    browser.write("input[name=login]", name)
    browser.write("input[name=password]", "any")
    browser.click("button[type=submit]")


def test_a_browser_logs_in_by_a_button_and_is_back_at_its_page(issuer: str, browser: Browser) -> None:
    browser.open("/docs/echo?from=a%20link")
    browser.wait(lambda: "/login" in browser.driver.current_url, "no login page")
    browser.press("Log in with The Corp", "a.choice")
    log_in_at_the_provider(browser, "ada")
    browser.press("Continue")
    is_at(browser, "/docs/echo?from=a%20link")
    browser.shows("ada", "#session")
    browser.shows("Log out", "#session")
    cookies = {cookie["name"]: cookie for cookie in browser.driver.get_cookies()}
    assert cookies["kea_access"]["httpOnly"] and cookies["kea_access"]["sameSite"] == "Lax"
    assert "kea_sso" not in cookies

    browser.press("Log out")
    browser.press("Yes, sign me out")
    is_at(browser, "/login")
    browser.press("Log in with The Corp", "a.choice")
    browser.find("input[name=login]")  # the provider's session has ended as well


def test_a_provider_that_is_down_gives_a_page_and_the_password_still_works(browser: Browser) -> None:
    browser.open("/login?next=/docs/echo")
    browser.press("Log in with gone", "a.choice")
    browser.shows("provider gone cannot be reached", "[role=alert]")
    browser.press("Log in with a password, or by another provider", "a.choice")
    browser.log_in()
    is_at(browser, "/docs/echo")


def test_a_path_with_dots_leads_to_no_other_server(kea: Kea, browser: Browser) -> None:
    path = "/.//evil.example/x"
    browser.open(f"/login?next={path}")
    browser.log_in()
    is_at(browser, "//evil.example/x")
    refused = requests.get(f"{kea.url}/auth/sso/corp", params={"next": path}, allow_redirects=False, timeout=30)
    assert refused.status_code == 400 and "is no page of this server" in refused.text


def test_a_login_of_another_browser_is_not_taken(kea: Kea, issuer: str) -> None:
    """An attacker who logs in as themselves, and sends the answer to somebody else."""
    attacker = requests.Session()
    sent = attacker.get(f"{kea.url}/auth/sso/corp", allow_redirects=False, timeout=30)
    state = parse_qs(urlsplit(sent.headers["location"]).query)["state"][0]
    victim = requests.Session()
    assert victim.get(f"{kea.url}/auth/sso/corp", allow_redirects=False, timeout=30).cookies["kea_sso"]
    for session in (requests.Session(), victim):
        query = {"code": "c", "state": state}
        back = session.get(f"{kea.url}/auth/sso/corp/callback", params=query, timeout=30)
        assert back.status_code == 400 and "not begun in this browser" in back.text
        assert "kea_access" not in session.cookies


def test_a_name_of_a_local_user_is_not_taken_over(kea: Kea, issuer: str) -> None:
    admin = Person("admin", issuer)
    refused = admin.go(f"{kea.url}/auth/sso/corp")
    assert refused.status_code == 409 and "another user here" in refused.text
    assert not {"kea_access", "kea_refresh"} & set(admin.browser.cookies.keys())
    (user,) = [user for user in kea.request("GET", "/users").json() if user["username"] == "admin"]
    assert (user["provider"], user["groups"]) == (None, [])


@contextmanager
def command(kea: Kea, folder: Path, *options: str, browser: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """`kea login --sso`, whose browser is somebody else's matter."""
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder), "BROWSER": browser, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    arguments = [kea.binary, "login", kea.url, "--sso", *options]
    process = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield process, process.stderr
    finally:
        process.kill()
        process.wait()


def whoami(kea: Kea, folder: Path) -> dict[str, object]:
    return json.loads(kea.cli("--output", "json", "auth", "whoami", env={"XDG_CONFIG_HOME": str(folder)}).stdout)


def address(line: str) -> str:
    found = re.search(r"https?://\S+", line)
    assert found, line
    return found.group()


def test_a_command_logs_in_by_the_browser(kea: Kea, issuer: str, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" >{opened}\n')
    script.chmod(0o755)
    with command(kea, tmp_path, "corp", browser=str(script)) as (process, told):
        url = address(told.readline())
        kea.wait_for(lambda: opened.exists() and opened.read_text().strip() == url, "the browser to be opened")
        page = Person("ada", issuer).go(url)
        assert page.status_code == 200 and "You are logged in" in page.text
        assert process.wait(30) == 0, told.read()
    me = whoami(kea, tmp_path)
    assert (me["username"], me["groups"], me["roles"]) == ("ada", ["ml"], ["consumer", "engineer"])
    assert kea.cli("predict", "echo", '{"x": 1}', env={"XDG_CONFIG_HOME": str(tmp_path)}).returncode == 0
    assert re.search(r"ada +│? *corp", kea.cli("--token", kea.token, "user", "list").stdout)


def test_a_command_is_told_why_it_gets_no_session(kea: Kea, issuer: str, tmp_path: Path) -> None:
    with command(kea, tmp_path, "corp", browser="true") as (process, told):
        page = Person("admin", issuer).go(address(told.readline()))
        assert "the command line says why" in page.text
        assert process.wait(30) == 1
        assert "the name `admin` is that of another user" in told.read()


def test_a_device_logs_in_by_a_code_that_is_typed_elsewhere(kea: Kea, issuer: str, tmp_path: Path) -> None:
    with command(kea, tmp_path, "corp", browser="") as (process, told):
        told.readline()
        page = Person("eve", issuer).go(address(told.readline()))
        assert page.status_code == 200, page.text
        assert process.wait(30) == 0, told.read()
    me = whoami(kea, tmp_path)
    assert (me["username"], me["groups"], me["roles"]) == ("eve", ["sales"], [])


def test_a_device_logs_in_only_where_that_is_configured(kea: Kea, tmp_path: Path) -> None:
    with command(kea, tmp_path, "gone", "--device", browser="true") as (process, told):
        assert process.wait(30) == 1
        assert "`device = true`" in told.read()


def test_one_of_several_providers_is_named(kea: Kea, tmp_path: Path) -> None:
    with command(kea, tmp_path, browser="true") as (process, told):
        assert process.wait(30) == 2
        assert "`--sso corp` or `--sso gone`" in told.read()


def as_bearer(kea: Kea, token: str, path: str, **options: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(str(options.pop("method", "GET")), kea.url + path, headers=headers, timeout=30, **options)


def test_tokens_of_the_provider_are_taken_where_they_are_for_kea(kea: Kea, issuer: str) -> None:
    callback = f"{kea.url}/auth/sso/corp/callback"
    path = f"{API}/services/echo/predict"
    call = {"method": "POST", "json": {"inputs": {"x": 3}}}
    ada = Person("ada", issuer)
    token = ada.token(callback, "https://kea-api")["access_token"]
    answer = as_bearer(kea, token, path, **call)
    assert answer.status_code == 200 and answer.json()["predictions"], answer.text
    me = as_bearer(kea, token, f"{API}/auth/me").json()
    assert (me["username"], me["groups"], me["sessionId"]) == ("ada", ["ml"], None)
    assert as_bearer(kea, token, "/v2/models/echo").status_code == 200

    id_token = ada.token(callback, "https://kea-api")["id_token"]
    assert as_bearer(kea, id_token, path, **call).status_code == 401

    elsewhere = ada.token(callback, "https://other")["access_token"]
    assert [as_bearer(kea, elsewhere, to, **call).status_code for to in (path, "/v2/models/echo/infer")] == [401, 401]
    signed, _, signature = token.rpartition(".")
    assert as_bearer(kea, f"{signed}.{signature[::-1]}", path, **call).status_code == 401
    # Without a role of any group: known, and allowed nothing, until a binding of the group says otherwise.
    eve = Person("eve", issuer).token(callback, "https://kea-api")["access_token"]
    assert as_bearer(kea, eve, path, **call).status_code == 403
    kea.cli("--token", kea.token, "auth", "grant", "consumer", "--group", "sales")
    assert as_bearer(kea, eve, path, **call).status_code == 200


def test_who_is_disabled_here_is_out_whatever_the_provider_says(kea: Kea, issuer: str) -> None:
    mallory = Person("mallory", issuer)
    assert mallory.go(f"{kea.url}/auth/sso/corp?next=/docs").status_code == 200
    session = {"Authorization": f"Bearer {mallory.browser.cookies['kea_access']}"}
    me = lambda: requests.get(f"{kea.url}{API}/auth/me", headers=session, timeout=30).status_code  # noqa: E731
    assert me() == 200
    kea.cli("--token", kea.token, "user", "disable", "mallory")
    assert me() == 401
    refused = mallory.go(f"{kea.url}/auth/sso/corp")
    assert refused.status_code == 403 and "is disabled here" in refused.text
    local = {"username": "mallory", "password": ""}
    assert requests.post(f"{kea.url}{API}/auth/login", json=local, timeout=30).status_code == 401


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('name = "corp"', "missing field"),
        ('name = "corp"\nissuer = "https://x.example"\nclient-id = "kea"\ncolour = 1', "unknown field `colour`"),
        ('name = "corp"\nissuer = "https://x.example"\nclient-id = "kea"\nclient-secret-file = "none"', "`none`"),
        ('name = "corp"\nissuer = "http://x.example"\nclient-id = "kea"', "`https://` alone"),
        (
            'name = "corp"\nissuer = "https://x.example"\nclient-id = "kea"\naudiences = ["kea"]',
            "`kea` is the `client-id`",
        ),
    ],
)
def test_nonsense_is_told_before_anything_starts(binary: Path, tmp_path: Path, table: str, told: str) -> None:
    (tmp_path / "kea.toml").write_text(f"[[sso]]\n{table}\n")
    refused = subprocess.run([binary, "serve"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1 and told in refused.stderr, refused.stderr
    assert not (tmp_path / "kea-data").exists()
