"""What replicas print, and what KEA says itself: found by time, replica, stream and request."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests
from harness import API, Kea
from models import SETOSA, ModelShelf

PRINTS = """
import sys

class Model:
    def load(self) -> None:
        print("loaded")

    def predict(self, text: str, stream: str = "stdout") -> str:
        print(text, file=getattr(sys, stream))
        return text
"""

LINE = re.compile(r"(?P<time>\S+Z) (?P<replica>\S+) (?P<stream>stdout|stderr|kea) (?P<line>.*)")


def entries(kea: Kea, name: str, **query: Any) -> list[dict[str, str]]:
    answer = kea.request("GET", f"/logs/{name}", params=query)
    assert answer.status_code == 200, answer.text
    found = [LINE.fullmatch(line) for line in answer.json()["logEntries"]]
    assert all(found), answer.text
    return [line.groupdict() for line in found if line]


def test_lines_are_found_by_time_replica_and_stream(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    rule = {"algorithm": "round_robin"}
    kea.deploy("prints", models.custom("prints", PRINTS), replicas=2, loadBalancer=rule)
    for number in range(10):
        stream = "stdout" if number < 8 else "stderr"
        assert kea.predict("prints", {"text": f"line {number}", "stream": stream}).status_code == 200

    def printed(**query: Any) -> list[dict[str, str]]:
        return [entry for entry in entries(kea, "prints", **query) if entry["line"].startswith("line ")]

    kea.wait_for(lambda: len(printed()) == 10, "ten lines")
    assert {entry["line"] for entry in printed()} == {f"line {number}" for number in range(10)}
    assert {entry["line"] for entry in printed() if entry["stream"] == "stderr"} == {"line 8", "line 9"}
    assert {entry["replica"] for entry in printed()} == {"prints-1-0", "prints-1-1"}
    times = [datetime.fromisoformat(entry["time"]) for entry in printed()]
    assert max(times) - min(times) < max(times) - datetime.fromisoformat(kea.details("prints")["createdAt"])
    # One replica's lines are those of every second call.
    alone = printed(replica="prints-1-0")
    assert len(alone) == 5 and {entry["replica"] for entry in alone} == {"prints-1-0"}
    assert len(entries(kea, "prints", tail=3)) == 3
    assert entries(kea, "prints", tail=0) == []
    assert len(printed(since="10m")) == 10
    later = printed(since=printed()[6]["time"])
    assert printed()[6] in later and len(later) < 10
    assert entries(kea, "prints", since="2199-01-01T00:00:00Z") == []
    assert kea.request("GET", "/logs/prints", params={"since": "yesterday"}).status_code == 400
    assert kea.request("GET", "/logs/no-such").status_code == 404


def test_following_delivers_each_line_as_it_is_printed(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("followed", models.custom("prints", PRINTS))
    url = f"{kea.url}{API}/logs/followed"
    query = {"follow": "true", "tail": 0}
    lines: list[str] = []
    with kea.session.get(url, params=query, stream=True, timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")

        def read() -> None:
            for line in stream.iter_lines():
                if line.startswith(b"data: "):
                    lines.append(line.removeprefix(b"data: ").decode())
                if len(lines) == 3:
                    return

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for number in range(3):
            # A connection of its own: the session's is busy with the stream.
            headers = {"Authorization": f"Bearer {kea.token}"}
            body = {"inputs": {"text": f"tick {number}"}}
            call = f"{kea.url}{API}/services/followed/predict"
            requests.post(call, json=body, headers=headers, timeout=30).raise_for_status()
            kea.wait_for(lambda count=number + 1: len(lines) == count, "the line that was just printed", 10)
        reader.join(20)
    assert [LINE.fullmatch(line)["line"] for line in lines] == [f"tick {n}" for n in range(3)]


def test_lines_of_a_killed_server_are_still_there(start: Callable[..., Kea], models: ModelShelf) -> None:
    kea = start()
    kea.deploy("kept", models.custom("prints", PRINTS))
    kea.predict("kept", {"text": "before the kill"}).raise_for_status()
    kea.wait_for(lambda: any(e["line"] == "before the kill" for e in entries(kea, "kept")), "the line")
    kea.kill()
    kea.start()
    kea.wait_deployed("kept")
    kept = [entry["line"] for entry in entries(kea, "kept") if entry["stream"] == "stdout"]
    assert kept[:2] == ["loaded", "before the kill"] and "loaded" in kept[2:], kept


def test_keas_own_log_has_the_id_of_each_request(start: Callable[..., Kea], models: ModelShelf) -> None:
    kea = start(env={"KEA_LOG_FORMAT": "json", "KEA_LOG": "debug"})
    kea.deploy("traced", models.iris())
    answer = kea.predict("traced", SETOSA, headers={"x-request-id": "trace-me.1"})
    assert answer.headers["x-request-id"] == "trace-me.1"
    refused = kea.predict("traced", {"sepal_length": "long"}, headers={"x-request-id": "trace-me.2"})
    assert refused.status_code == 400 and refused.json()["instance"] == "trace-me.2"
    made = [kea.predict("traced", SETOSA).headers["x-request-id"] for _ in range(2)]
    assert len(set(made)) == 2 and all(made)

    def own_lines() -> list[dict[str, Any]]:
        text = kea.log_file.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    for request_id in ["trace-me.1", "trace-me.2", *made]:
        has_lines = lambda wanted=request_id: any(line.get("request_id") == wanted for line in own_lines())  # noqa: E731
        kea.wait_for(has_lines, f"{request_id} in KEA's log", 10)
    for line in own_lines():
        datetime.fromisoformat(line["time"])
        assert line["level"] in ("DEBUG", "INFO", "WARN", "ERROR"), line
    assert kea.token not in kea.log_file.read_text()
