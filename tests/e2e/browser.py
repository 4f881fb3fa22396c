"""A real Chromium without a window, and what it said and fetched while it looked at KEA's pages."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from harness import PASSWORD
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
]
# What the browser itself calls a failed request; whether one is right is for the test to say.
FAILED_REQUEST = "Failed to load resource"


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A Chromium with a profile of its own, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="kea-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        driver.set_page_load_timeout(60)
        try:
            yield driver
        finally:
            driver.quit()


class Browser:
    """One tab that knows nothing of the tabs before it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url
        self.console: list[dict[str, Any]] = []
        self.requests: list[str] = []
        before = driver.window_handles
        driver.switch_to.new_window("tab")
        own = driver.current_window_handle
        for handle in before:
            driver.switch_to.window(handle)
            driver.close()
        driver.switch_to.window(own)
        driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "local_storage"})
        self.colours("light")
        for log in ("browser", "performance"):
            driver.get_log(log)

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def colours(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def wait(self, condition: Any, what: str, seconds: float = 30) -> Any:
        """Waits until `condition` gives something. Elements that a script replaces or moves are looked for again."""
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            NoSuchElementException,
            StaleElementReferenceException,
            TimeoutException,
        )

        waiting = WebDriverWait(
            self.driver,
            seconds,
            poll_frequency=0.1,
            ignored_exceptions=[
                ElementClickInterceptedException,
                NoSuchElementException,
                StaleElementReferenceException,
            ],
        )
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            page = self.driver.execute_script("return document.body.innerText")
            raise AssertionError(f"{what}; the page says: {page[:2000]!r}") from None

    def find(self, css: str) -> WebElement:
        """The visible element of that selector, once there is one."""
        return self.wait(lambda: next(iter(self.all(css)), None), f"no {css}")

    def all(self, css: str) -> list[WebElement]:
        return [one for one in self.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()]

    def text(self, css: str = "body") -> str:
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return "\n".join(one.text for one in found)

    def shows(self, text: str, css: str = "body") -> None:
        self.wait(lambda: text in self.text(css), f"`{text}` does not appear in {css}")

    def click(self, css: str) -> None:
        self.wait(lambda: self.find(css).click() is None, f"{css} cannot be clicked")

    def press(self, name: str, css: str = "button") -> None:
        """Clicks the button of that name."""

        def pressed() -> bool:
            for button in self.all(css):
                if button.text.strip() == name and button.is_enabled():
                    self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
                    button.click()
                    return True
            return False

        self.wait(pressed, f"no button {name}")

    def write(self, css: str, text: str) -> None:
        """Puts `text` in place of what a field holds, at once, as pasting does."""
        from selenium.webdriver.common.keys import Keys

        field = self.find(css)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.send_keys(Keys.CONTROL, "a")
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def log_in(self, password: str = PASSWORD) -> None:
        self.write("#username", "admin")
        self.write("#password", password)
        self.click(".login button[type=submit]")

    def take_token(self, token: str) -> None:
        """Has logged in, without the form: by the cookie that the browser sends, and the tab's own token."""
        self.driver.add_cookie({"name": "kea_access", "value": token, "path": "/", "httpOnly": True})
        script = "sessionStorage.setItem('kea-token', arguments[0]); sessionStorage.setItem('kea-user', 'admin')"
        self.driver.execute_script(script, token)

    def note(self) -> None:
        """Takes over what the browser logged since; it forgets what it has told."""
        self.console += self.driver.get_log("browser")
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])

    def complaints(self) -> list[str]:
        """Warnings and errors of the console that are no refused requests."""
        self.note()
        loud = [entry for entry in self.console if entry["level"] in ("WARNING", "SEVERE")]
        return [entry["message"] for entry in loud if FAILED_REQUEST not in entry["message"]]

    def refused(self) -> list[str]:
        """What the console says of requests that were refused."""
        self.note()
        return [entry["message"] for entry in self.console if FAILED_REQUEST in entry["message"]]

    def other_hosts(self) -> set[str]:
        """Hosts other than KEA's that were asked for anything."""
        self.note()
        own = urlsplit(self.url).netloc
        parts = [urlsplit(url) for url in self.requests]
        return {part.netloc for part in parts if part.scheme not in ("data", "blob", "about")} - {own}
