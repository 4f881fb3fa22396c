"""Callers that never pause: what they got, and whether all of it was right."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any

from harness import API, Kea

# Pause of a caller between two calls: the machine is to be busy, not the tests' judge.
PAUSE = 0.005


class Load:
    """Threads with a connection each that call one service in a loop, from `with` to its end."""

    def __init__(
        self, kea: Kea, service: str, inputs: dict[str, Any], expected: dict[str, Any], threads: int = 4
    ) -> None:
        self.kea = kea
        self.path = f"{API}/services/{service}/predict"
        self.body = json.dumps({"inputs": inputs})
        self.expected = expected
        self.headers = {"Authorization": f"Bearer {kea.token}", "Content-Type": "application/json"}
        self.address = kea.url.removeprefix("http://")
        self.statuses: Counter[int] = Counter()
        self.connection_errors: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.refused: list[str] = []
        self.slowest = 0.0
        self.versions: list[list[str]] = [[] for _ in range(threads)]
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.more(len(self._threads))
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a request was never answered"

    @property
    def answered(self) -> int:
        return self.statuses[200]

    def more(self, count: int, seconds: float = 60) -> None:
        """Waits until so many more calls were answered with 200."""
        goal = self.answered + count
        self.kea.wait_for(lambda: self.answered >= goal, f"{count} more answers; so far {self.summary()}", seconds)

    def summary(self) -> str:
        return f"{dict(self.statuses)}, {dict(self.connection_errors)}, {self.refused[:3]}, {self.wrong[:3]}"

    def assert_all_answered(self) -> None:
        """Every call was answered, and with the right prediction."""
        assert not self.connection_errors and not self.wrong and set(self.statuses) == {200}, self.summary()

    def assert_versions(self, *order: str) -> None:
        """Each caller saw these versions one after the other, and went back to none."""
        for seen in self.versions:
            assert seen == list(order), f"versions in the order of one caller's answers: {self.versions}"

    def _run(self, caller: int) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        while not self._stopped.is_set():
            self._stopped.wait(PAUSE)
            began = time.monotonic()
            try:
                connection.request("POST", self.path, self.body, self.headers)
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.connection_errors[type(error).__name__] += 1
                # The listener is away: asking as fast as possible would only keep it from coming back.
                self._stopped.wait(0.02)
                continue
            self._note(caller, response, text, time.monotonic() - began)

    def _note(self, caller: int, response: http.client.HTTPResponse, text: str, seconds: float) -> None:
        with self._lock:
            self.slowest = max(self.slowest, seconds)
            self.statuses[response.status] += 1
            if response.status != 200:
                self.refused.append(text)
                return
            version = response.headers["kea-version"]
            if self.versions[caller][-1:] != [version]:
                self.versions[caller].append(version)
            prediction = json.loads(text)["predictions"][0]
            if any(prediction.get(key) != value for key, value in self.expected.items()):
                self.wrong.append(text)
