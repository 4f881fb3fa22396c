"""The documentation pages as people see them, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from browser import Browser
from harness import Kea
from models import SETOSA, ModelShelf
from selenium import webdriver
from selenium.webdriver.support.ui import Select

GREETER = '''"""Greets."""


class Greeter:
    """Greets people by name."""

    def predict(self, name, times: int = 1) -> str:
        """Greets somebody."""
        return f"Hello {name}! " * times
'''
BROKEN = """class Broken:
    def load(self):
        raise RuntimeError("the weights are missing")

    def predict(self, x: int) -> int:
        return x
"""
OPERATION = "#operations-Functions-predict"
# The document of a service as its page gets it.
DOCUMENT = """
const done = arguments[1];
const token = sessionStorage.getItem("kea-token");
fetch(`/api/v1/k8c/openapi/${arguments[0]}`, { headers: { Authorization: `Bearer ${token}` } })
  .then((answer) => answer.json()).then(done);
"""


@pytest.fixture(scope="module")
def pages(shared_kea: Kea, models: ModelShelf) -> Kea:
    """A KEA with a service of every kind that the pages treat differently."""
    shared_kea.deploy("iris", models.iris(), wait=False)
    shared_kea.deploy("open-iris", models.iris(), wait=False, access={"public": True})
    shared_kea.deploy("greeter", models.custom("greeter", GREETER), wait=False)
    for name in ("iris", "open-iris", "greeter"):
        shared_kea.wait_deployed(name)
    return shared_kea


@pytest.fixture
def browser(driver: webdriver.Chrome, pages: Kea) -> Iterator[Browser]:
    """A fresh tab. Whatever the test did: nothing was fetched from elsewhere, and the console is clean."""
    browser = Browser(driver, pages.url)
    yield browser
    assert browser.other_hosts() == set()
    assert browser.complaints() == []


@pytest.fixture
def inside(browser: Browser, pages: Kea) -> Browser:
    """A tab with a token, on the list of services."""
    browser.open("/docs")
    browser.take_token(pages.new_token())
    browser.open("/docs")
    browser.shows("Log out", "#session")
    return browser


def cards(browser: Browser) -> list[str]:
    return [title.text for title in browser.all(".card h2")]


def expand(browser: Browser, operation: str = OPERATION) -> None:
    """Opens an operation, which the page may have done by itself."""
    browser.find(operation)
    if not browser.all(f"{operation}.is-open"):
        browser.click(f"{operation} .opblock-summary-control")


def program(browser: Browser) -> str:
    """The program that the page shows, also where it is folded."""
    return browser.driver.execute_script("return document.querySelector('.samples code')?.textContent")


def execute(browser: Browser, body: dict[str, Any]) -> tuple[int, Any]:
    """Sends a body by the page's form, and reads status and answer from the page."""
    expand(browser)
    if not browser.all(f"{OPERATION} textarea.body-param__text"):
        browser.press("Try it out", f"{OPERATION} button")
    browser.write(f"{OPERATION} textarea.body-param__text", json.dumps(body))
    browser.press("Execute", f"{OPERATION} button.execute")
    answer = f"{OPERATION} .live-responses-table .response"
    browser.find(f"{answer} .response-col_status")
    status = int(browser.text(f"{answer} .response-col_status").split()[0])
    code = browser.find(f"{answer} .response-col_description .highlight-code code, {answer} .microlight")
    return status, json.loads(code.get_attribute("textContent"))


# The list.


def test_without_a_token_the_list_shows_public_services_and_asks_to_log_in(browser: Browser) -> None:
    browser.open("/docs")
    browser.wait(lambda: cards(browser) == ["open-iris"], "the public service alone is listed")
    browser.press("Log in")
    assert browser.find("#password").get_attribute("type") == "password"
    assert browser.refused() == []


def test_a_wrong_password_is_told_and_another_one_can_be_tried(browser: Browser) -> None:
    browser.open("/docs")
    browser.press("Log in")
    browser.log_in("wrong")
    browser.shows("user name or password is wrong", ".login [role=alert]")
    assert cards(browser) == ["open-iris"]
    assert [message for message in browser.refused() if "401" not in message] == []
    browser.log_in()
    browser.shows("admin", "#session")


def test_with_a_token_the_list_shows_all_services_until_one_logs_out(inside: Browser) -> None:
    inside.wait(lambda: cards(inside) == ["greeter", "iris", "open-iris"], "all services are listed")
    inside.shows("3 services", "#summary")
    assert "deployed" in inside.text(".card .status") and "ScikitLearn" in inside.text(".card")
    assert inside.all(".login") == [], "the form has gone"
    inside.press("Log out")
    inside.wait(lambda: cards(inside) == ["open-iris"], "private services have gone")


def test_the_search_finds_services_by_their_name(inside: Browser) -> None:
    inside.write("#search", "IRIS")
    inside.wait(lambda: cards(inside) == ["iris", "open-iris"], "two names have `iris` in them")
    inside.shows("2 services found", "#summary")
    inside.write("#search", "nothing like it")
    inside.wait(lambda: cards(inside) == [], "nothing fits")
    inside.shows("0 services found", "#summary")


def test_the_search_finds_services_by_what_they_take_and_are_for(inside: Browser) -> None:
    inside.write("#search", "petal_width")
    inside.wait(lambda: cards(inside) == ["iris", "open-iris"], "two services take a petal's width")
    inside.shows("Found in predict: petal_width", ".card .found")
    inside.write("#search", "people by name")
    inside.wait(lambda: cards(inside) == ["greeter"], "its description has these words")
    inside.shows("Greets people by name.", ".card .words")


def test_a_service_that_has_failed_says_why_on_its_card(pages: Kea, models: ModelShelf, inside: Browser) -> None:
    pages.deploy("broken", models.custom("broken", BROKEN), wait=False)
    try:
        pages.wait_failed("broken")
        inside.open("/docs")
        inside.wait(lambda: "broken" in cards(inside), "the failed service is listed")
        inside.shows("the weights are missing", ".card .problem")
        assert inside.find(".card .status.failed").text == "failed"
    finally:
        pages.request("DELETE", "/services/broken")


def test_names_and_texts_of_services_are_never_markup(pages: Kea, models: ModelShelf, inside: Browser) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    pages.deploy(hostile, models.iris(), wait=False, serviceId="hostile")
    try:
        inside.open("/docs")
        inside.shows(hostile, ".card")
        assert inside.all(".card img") == []
        inside.open("/docs/hostile")
        inside.shows(hostile, ".info .title")
        assert inside.all("#document img[src=x]") == []
    finally:
        pages.request("DELETE", "/services/hostile")


# The page of a service.


def test_a_service_is_called_from_its_page(inside: Browser) -> None:
    inside.wait(lambda: "iris" in cards(inside), "the list")
    inside.click(".card a[href='/docs/iris']")
    inside.shows("/api/v1/k8c/services/iris/predict", OPERATION)
    assert inside.driver.title == "iris · KEA"
    status, answer = execute(inside, {"inputs": SETOSA})
    assert status == 200
    (prediction,) = answer["predictions"]
    assert prediction["label"] == "setosa"
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)


def test_the_example_of_the_page_is_a_call_that_works(inside: Browser) -> None:
    inside.open("/docs/iris")
    expand(inside)
    example = inside.find(f"{OPERATION} textarea.body-param__text").get_attribute("value")
    assert set(json.loads(example)["inputs"]) == set(SETOSA)
    status, answer = execute(inside, json.loads(example))
    assert status == 200 and "label" in answer["predictions"][0]


def test_a_refused_call_shows_the_pointers_to_what_is_wrong(inside: Browser) -> None:
    inside.open("/docs/iris")
    wrong = {**SETOSA, "petal_width": "wide", "colour": "blue"}
    status, answer = execute(inside, {"inputs": wrong})
    assert status == 400
    assert {error["pointer"] for error in answer["errors"]} == {"/inputs/petal_width", "/inputs/colour"}
    assert [message for message in inside.refused() if "400" not in message] == []


def test_a_private_service_is_shown_after_logging_in_on_its_own_page(browser: Browser) -> None:
    browser.open("/docs/iris")
    browser.shows("for users of this server", ".login")
    assert browser.driver.current_url == f"{browser.url}/login?next=/docs/iris"
    assert browser.all(".opblock") == []
    browser.log_in()
    browser.find(OPERATION)
    assert browser.all(".login") == []
    browser.press("Log out")
    browser.find(".login")
    assert browser.all(".opblock") == [], "what needs a token is not shown without one"


def test_a_session_of_the_browser_goes_on_without_a_form_and_calls_by_its_cookie(browser: Browser) -> None:
    browser.open("/login?next=/docs/iris%3Fx%3D1")
    browser.log_in()
    asked = f"{browser.url}/docs/iris?x=1"
    browser.wait(lambda: browser.driver.current_url.startswith(asked), "the page that was asked for")
    assert browser.driver.execute_script("return sessionStorage.length") == 0
    assert "kea_" not in browser.driver.execute_script("return document.cookie"), "no script reads the tokens"
    browser.driver.delete_cookie("kea_access")
    browser.open("/docs/iris")
    browser.find(OPERATION)
    status, answer = execute(browser, {"inputs": SETOSA})
    assert (status, answer["predictions"][0]["label"]) == (200, "setosa")
    # The token has been kept for too long: the page renews it before the next call.
    browser.driver.execute_script("localStorage.setItem('kea-until', '2020-01-01T00:00:00Z')")
    browser.driver.delete_cookie("kea_access")
    browser.press("Clear", f"{OPERATION} button")
    assert execute(browser, {"inputs": SETOSA})[0] == 200


@pytest.mark.parametrize(
    "place", ["//evil.example/x", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_the_login_leads_to_pages_of_this_server_alone(browser: Browser, place: str) -> None:
    browser.open(f"/login?next={quote(place, safe='')}")
    browser.log_in()
    browser.wait(lambda: browser.driver.current_url == f"{browser.url}/docs", "the list of services")


def test_a_public_service_is_shown_and_called_without_a_token(browser: Browser) -> None:
    browser.open("/docs/open-iris")
    assert execute(browser, {"inputs": SETOSA})[0] == 200
    assert browser.refused() == []


def test_a_service_that_there_is_not_is_told_of(inside: Browser) -> None:
    inside.open("/docs/nobody")
    inside.shows("there is no service nobody", "#notice")
    assert inside.all(".opblock") == []


def test_what_could_not_be_found_out_is_said_on_the_page(pages: Kea, inside: Browser) -> None:
    document = pages.request("GET", "/openapi/greeter").json()
    (note,) = document["info"]["x-kea-incomplete"]
    assert "`name`" in note
    inside.open("/docs/greeter")
    inside.shows(note.replace("`", ""), "#incomplete")
    inside.open("/docs/iris")
    inside.find(OPERATION)
    assert inside.all("#incomplete") == []


def test_programs_of_the_page_can_be_chosen_by_language(inside: Browser) -> None:
    inside.open("/docs/iris")
    inside.click(".samples summary")
    document = inside.driver.execute_async_script(DOCUMENT, "iris")
    told = document["paths"]["/api/v1/k8c/services/iris/predict"]["post"]["x-codeSamples"]
    for sample in reversed(told):
        inside.press(sample["label"], ".samples .languages button")
        inside.wait(lambda source=sample["source"]: program(inside) == source, sample["label"])
    inside.press("Python (requests)", ".samples .languages button")
    inside.driver.refresh()
    inside.click(".samples summary")
    inside.shows("import requests", ".samples code")


def test_after_an_update_the_page_shows_the_new_version(pages: Kea, models: ModelShelf, inside: Browser) -> None:
    pages.deploy("growing", models.iris())
    try:
        inside.open("/docs/growing")
        inside.wait(lambda: inside.find(".info .version").text.strip() == "1", "version 1 is shown")
        pages.request("PUT", "/services/growing", json={"sourceCode": str(models.iris(2)), "version": "2"})
        pages.wait_for(lambda: pages.details("growing")["liveVersion"] == "2", "version 2 to be live")
        inside.driver.refresh()
        inside.wait(lambda: inside.find(".info .version").text.strip() == "2", "version 2 is shown")
        # The one before can still be looked at, by an address that can be passed on, and is the one that is asked for.
        pages.wait_for(lambda: {r["version"] for r in pages.details("growing")["replicaStatuses"]} == {"2"}, "1 to end")
        Select(inside.find("#version")).select_by_visible_text("1")
        inside.wait(lambda: "/docs/growing?version=1" in inside.driver.current_url, "its own address")
        inside.wait(lambda: inside.find(".info .version").text.strip() == "1", "version 1 is shown again")
        assert "/services/growing/predict?version=1" in program(inside)
        status, answer = execute(inside, {"inputs": SETOSA})
        assert (status, answer["detail"]) == (404, "version `1` of `growing` is not running; running: 2")
        inside.shows("predict?version=1", f"{OPERATION} .request-url")
    finally:
        pages.request("DELETE", "/services/growing")


# The page of the management API.


def test_the_management_api_has_a_page_that_needs_no_token(browser: Browser) -> None:
    browser.open("/docs/api")
    browser.find("#operations-ServiceDeployer-deployService")
    assert {"ServiceDeployer", "Authenticator", "OpenAPIGenerator", "Logger", "RequestRouter"} <= {
        tag.text.split("\n")[0] for tag in browser.all(".opblock-tag")
    }
    assert browser.refused() == []


def test_the_management_api_can_be_tried_with_the_pages_token(inside: Browser) -> None:
    inside.open("/docs/api")
    operation = "#operations-ServiceDeployer-listServices"
    expand(inside, operation)
    inside.press("Try it out", f"{operation} button")
    inside.press("Execute", f"{operation} button.execute")
    inside.find(f"{operation} .live-responses-table .response-col_status")
    assert inside.text(f"{operation} .live-responses-table .response .response-col_status").startswith("200")


# How the pages are made.


@pytest.mark.parametrize("path", ["/docs", "/docs/iris", "/docs/api"])
def test_text_stands_out_from_its_ground_by_day_and_night(inside: Browser, path: str) -> None:
    inside.open(path)
    inside.find(".card" if path == "/docs" else ".opblock")
    if path == "/docs/iris":
        execute(inside, {"inputs": SETOSA})
    for scheme in ("light", "dark"):
        inside.colours(scheme)
        # Swagger UI changes its colours by a script, a moment after the scheme has changed.
        inside.wait(lambda: inside.driver.execute_script(FAINT_TEXTS) == [], f"faint texts in {scheme} mode")


@pytest.mark.parametrize("path", ["/docs", "/docs/iris", "/docs/api"])
def test_pages_fit_a_phone(inside: Browser, path: str) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    inside.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    inside.open(path)
    inside.find(".card" if path == "/docs" else ".opblock")
    assert inside.driver.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("path", ["/docs", "/docs/iris", "/docs/api"])
def test_pages_can_only_load_what_this_server_has(pages: Kea, path: str) -> None:
    policy = requests.get(pages.url + path, timeout=30).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy and "http" not in policy


# Visible texts whose contrast with their ground is below what WCAG 2.1 AA asks for, as far as grounds are plain.
FAINT_TEXTS = """
// Colours that are changing have changed.
document.getAnimations().forEach((animation) => animation.finish());
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => {
  const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const over = (top, bottom, alpha) => top.slice(0, 3).map((v, i) => v * alpha + bottom[i] * (1 - alpha));
const ground = (node) => {
  const layers = [];
  for (let one = node; one; one = one.parentElement) {
    const style = getComputedStyle(one);
    if (style.backgroundImage !== "none" && one !== node) return null;
    layers.push(numbers(style.backgroundColor));
  }
  const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  return layers.reverse().reduce((below, layer) => over(layer, below, layer[3] ?? 1), canvas);
};
const faint = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const seen = own && node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  if (!seen || node.closest(".unseen, .skip, svg, :disabled, option")) continue;
  const style = getComputedStyle(node);
  const behind = ground(node);
  if (!behind) continue;
  const colour = numbers(style.color);
  const [a, b] = [light(over(colour, behind, colour[3] ?? 1)), light(behind)];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (contrast < (large ? 3 : 4.5)) {
    const name = `${node.tagName.toLowerCase()}.${node.getAttribute("class") ?? ""}`;
    const text = node.textContent.trim().slice(0, 30);
    faint.push(`${name} «${text}» ${style.color} on ${behind.map(Math.round)}: ${contrast.toFixed(2)}`);
  }
}
return [...new Set(faint)];
"""
