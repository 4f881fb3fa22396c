"""The response cache: off until a service's author allows it, never stale, and never another caller's."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import API, Kea
from load import Load
from models import NAMES, SETOSA, VIRGINICA, ModelShelf
from redises import Redis, TlsRedis

# Its answers differ from call to call: one that comes again comes from the cache.
COUNTS = """
import os

class Model:
    def load(self) -> None:
        self.calls = 0

    def predict(self, x: int, y: str = "") -> str:
        self.calls += 1
        return f"{os.getpid()}-{self.calls}"
"""


def call(kea: Kea, name: str, inputs: dict[str, Any], **headers: str) -> tuple[str, str, str | None]:
    """How the cache took part, the answer, and its key."""
    answer = kea.predict(name, inputs, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status_code == 200, answer.text
    return answer.headers["kea-cache"], answer.text, answer.headers.get("kea-cache-key")


def clear(kea: Kea, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return kea.cli("cache", "clear", *arguments, env={"KEA_TOKEN": kea.token}, **options)


def test_it_is_off_until_a_service_enables_it(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("uncached", models.custom("counts", COUNTS))
    (first, second) = (call(kea, "uncached", {"x": 1}) for _ in range(2))
    assert (first[0], second[0], first[2]) == ("bypass", "bypass", None)
    assert first[1] != second[1]
    kea.request("PUT", "/services/uncached", json={"cache": {"enabled": True}}).raise_for_status()
    assert [call(kea, "uncached", {"x": 1})[0] for _ in range(2)] == ["miss", "hit"]


def test_the_same_inputs_are_answered_from_the_cache_and_by_the_key(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("cached", models.custom("counts", COUNTS), cache={"enabled": True})
    miss, first, key = call(kea, "cached", {"x": 1, "y": "a"})
    assert miss == "miss" and key and key.startswith("cached:")
    assert call(kea, "cached", {"y": "a", "x": 1}) == ("hit", first, key)
    other = call(kea, "cached", {"x": 2, "y": "a"})
    assert other[0] == "miss" and other[1] != first and other[2] != key
    by_key = kea.request("GET", "/router/cache", params={"cacheKey": key})
    assert by_key.status_code == 200 and by_key.text == first
    assert kea.request("GET", "/router/cache", params={"cacheKey": key + "0"}).status_code == 404
    assert requests.get(f"{kea.url}{API}/router/cache", params={"cacheKey": key}, timeout=10).status_code == 401
    # A caller who wants a fresh answer gets one, and it is not kept.
    fresh = call(kea, "cached", {"x": 1, "y": "a"}, Cache_Control="no-store")
    assert fresh[0] == "bypass" and fresh[1] != first
    assert call(kea, "cached", {"x": 1, "y": "a"}) == ("hit", first, key)


def test_numbers_are_the_same_however_they_are_written(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("written", models.iris(), cache={"enabled": True})
    texts = [
        '{"inputs": {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}}',
        '{"inputs":{"petal_width":2e-1,"petal_length":1.40,"sepal_width":35E-1,"sepal_length":5.10}}',
        '{ "inputs" : { "sepal_width":3.50 , "sepal_length":0.51e1, "petal_width":0.20, "petal_length":14.0e-1 } }',
    ]
    headers = {"Content-Type": "application/json"}
    answers = [kea.request("POST", "/services/written/predict", data=text, headers=headers) for text in texts]
    assert [answer.headers["kea-cache"] for answer in answers] == ["miss", "hit", "hit"]
    assert len({answer.headers["kea-cache-key"] for answer in answers}) == 1
    # Neither the values of other features nor another number of rows are the same inputs.
    swapped = dict(zip(NAMES, reversed(list(SETOSA.values())), strict=True))
    rows = {name: [value] for name, value in SETOSA.items()}
    two = {name: [value, value] for name, value in SETOSA.items()}
    assert [call(kea, "written", inputs)[0] for inputs in (swapped, VIRGINICA, two)] == ["miss"] * 3
    assert kea.predictions("written", rows) == kea.predictions("written", SETOSA)


def test_an_answer_lives_as_long_as_its_service_says(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("short", models.custom("counts", COUNTS), cache={"enabled": True, "ttl": "2s"})
    _, first, key = call(kea, "short", {"x": 1})

    def expired() -> bool:
        return kea.request("GET", "/router/cache", params={"cacheKey": key}).status_code == 404

    kea.wait_for(expired, "the answer to expire", 10)
    state, second, _ = call(kea, "short", {"x": 1})
    assert state == "miss" and second != first


def test_no_version_answers_with_the_words_of_another(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    answers = 'class Model:\n    def predict(self, x: int) -> str:\n        return "version {}"\n'
    sources = [models.custom(f"says-{n}", answers.format(n)) for n in (1, 2)]
    kea.deploy("versions-differ", sources[0], cache={"enabled": True, "shared": True})
    assert [call(kea, "versions-differ", {"x": 1})[0] for _ in range(2)] == ["miss", "hit"]
    kea.request("PUT", "/services/versions-differ", json={"sourceCode": str(sources[1])}).raise_for_status()
    assert kea.wait_deployed("versions-differ")["liveVersion"] == "2"
    state, text, _ = call(kea, "versions-differ", {"x": 1})
    assert state == "miss" and "version 2" in text
    kea.request("POST", "/services/versions-differ/rollback").raise_for_status()
    assert kea.wait_deployed("versions-differ")["liveVersion"] == "1"
    assert "version 1" in call(kea, "versions-differ", {"x": 1})[1]


def test_answers_of_a_caller_are_not_those_of_strangers(shared_kea: Kea, models: ModelShelf) -> None:
    """A public service may be called without a name; who has one keeps what is told to them, unless it is shared."""
    kea = shared_kea
    url = f"{kea.url}{API}/services/public/predict"

    def stranger() -> tuple[str, str]:
        answer = requests.post(url, json={"inputs": {"x": 1}}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.headers["kea-cache"], answer.text

    cache = {"enabled": True}
    kea.deploy("public", models.custom("counts", COUNTS), cache=cache, access={"public": True})
    _, mine, _ = call(kea, "public", {"x": 1})
    state, theirs = stranger()
    assert state == "miss" and theirs != mine
    assert call(kea, "public", {"x": 1})[:2] == ("hit", mine)
    assert stranger() == ("hit", theirs)
    kea.request("PUT", "/services/public", json={"cache": cache | {"shared": True}}).raise_for_status()
    _, shared, _ = call(kea, "public", {"x": 1})
    assert stranger() == ("hit", shared)


def test_errors_are_not_kept(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    code = """
class Model:
    def load(self) -> None:
        self.calls = 0

    def predict(self, x: int) -> int:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("not yet")
        return x
"""
    kea.deploy("raises-once", models.custom("raises-once", code), cache={"enabled": True})
    assert kea.predict("raises-once", {"x": 1}).status_code == 500
    assert [call(kea, "raises-once", {"x": 1})[0] for _ in range(2)] == ["miss", "hit"]


SLOW = """
import time

class Model:
    non_deterministic = ["draw"]

    def load(self) -> None:
        self.calls = 0

    def predict(self, x: int) -> int:
        time.sleep(0.3)
        self.calls += 1
        return self.calls

    def draw(self, x: int) -> int:
        self.calls += 1
        return self.calls
"""


def test_equal_requests_at_once_are_one_call_of_the_model(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("one-flight", models.custom("slow", SLOW), cache={"enabled": True})
    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(lambda _: call(kea, "one-flight", {"x": 1}), range(50)))
    assert {text for _, text, _ in answers} == {answers[0][1]}
    assert sorted(state for state, _, _ in answers) == ["hit"] * 49 + ["miss"]
    assert kea.predictions("one-flight", {"x": 2}) == [{"result": 2}]
    drawn = [kea.predict("one-flight", {"x": 1}, "draw") for _ in range(2)]
    assert [answer.headers["kea-cache"] for answer in drawn] == ["bypass"] * 2
    assert drawn[0].text != drawn[1].text


def test_answers_are_removed_by_the_api_and_by_the_command(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("cleared", models.custom("counts", COUNTS), cache={"enabled": True})
    _, first, key = call(kea, "cleared", {"x": 1})
    assert kea.request("DELETE", "/router/cache", params={"cacheKey": key}).status_code == 204
    state, second, _ = call(kea, "cleared", {"x": 1})
    assert state == "miss" and second != first
    assert "kept answers of cleared" in clear(kea, "cleared", "--function", "predict").stdout
    state, third, _ = call(kea, "cleared", {"x": 1})
    assert state == "miss" and third not in (first, second)
    clear(kea, "cleared")
    assert call(kea, "cleared", {"x": 1})[0] == "miss"
    refused = clear(kea, "no-such-service", check=False)
    assert refused.returncode != 0 and "no-such-service" in refused.stderr
    nobody = requests.delete(f"{kea.url}{API}/router/cache", params={"serviceId": "cleared"}, timeout=10)
    assert nobody.status_code == 401


def test_who_has_the_answer_is_told_so(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("tagged", models.custom("counts", COUNTS), cache={"enabled": True})
    first = kea.predict("tagged", {"x": 1})
    tag = {"If-None-Match": first.headers["etag"]}
    again = kea.predict("tagged", {"x": 1}, headers=tag)
    assert (again.status_code, again.content, again.headers["kea-cache"]) == (304, b"", "hit")
    assert "age" in again.headers and again.headers["vary"] == "authorization"
    key = {"cacheKey": first.headers["kea-cache-key"]}
    assert kea.request("GET", "/router/cache", params=key, headers=tag).status_code == 304
    only = {"Cache-Control": "only-if-cached"}
    assert kea.predict("tagged", {"x": 1}, headers=only).status_code == 200
    assert kea.predict("tagged", {"x": 2}, headers=only).status_code == 504


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture(scope="module")
def redis_kea(
    binary: Path, environments: Path, redis: Redis, models: ModelShelf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kea]:
    """A KEA whose answers are in Redis, with the service `counts`."""
    folder = tmp_path_factory.mktemp("redis-kea")
    kea = Kea(binary, folder, environments, {"KEA_CACHE_REDIS": redis.url})
    try:
        kea.start()
        kea.deploy("counts", models.custom("counts", COUNTS), cache={"enabled": True})
        yield kea
    finally:
        kea.stop()


def wait_hit(kea: Kea, x: int) -> str:
    """Waits until Redis answers for these inputs, and returns what it says."""
    found: list[str] = []

    def hit() -> bool:
        state, text, _ = call(kea, "counts", {"x": x})
        found.append(text)
        return state == "hit"

    kea.wait_for(hit, "an answer from Redis", 30)
    return found[-1]


def wait_bypassed(kea: Kea, x: int) -> None:
    kea.wait_for(lambda: "kea_cache_redis_up 0" in kea.request("GET", "!/metrics").text, "Redis to be given up", 30)
    assert call(kea, "counts", {"x": x})[0] == "bypass"


def test_redis_keeps_answers_while_kea_is_away(redis_kea: Kea) -> None:
    kea = redis_kea
    kept = wait_hit(kea, 1)
    kea.kill()
    kea.start()
    kea.wait_deployed("counts")
    # Other replicas run now: they would answer with another process's number.
    assert wait_hit(kea, 1) == kept
    clear(kea, "counts")
    state, text, _ = call(kea, "counts", {"x": 1})
    assert state != "hit" and text != kept


def test_every_request_is_answered_while_redis_dies_and_comes_back(redis_kea: Kea, redis: Redis) -> None:
    kea = redis_kea
    with Load(kea, "counts", {"x": 7}, {}) as load:
        for _ in range(2):
            load.more(50)
            redis.kill()
            load.more(50)
            wait_bypassed(kea, 8)
            redis.start()
            wait_hit(kea, 9)
    load.assert_all_answered()
    # Each change is told, and not each request.
    told = kea.log_file.read_text().count("the response cache is bypassed until Redis answers again")
    assert 2 <= told < load.answered / 10


def test_a_redis_that_hangs_is_bypassed(redis_kea: Kea, redis: Redis) -> None:
    kea = redis_kea
    wait_hit(kea, 20)
    redis.signal(signal.SIGSTOP)
    try:
        for x in range(30, 40):
            assert call(kea, "counts", {"x": x})[0] == "bypass"
        wait_bypassed(kea, 40)
        assert kea.request("DELETE", "/router/cache", params={"serviceId": "counts"}).status_code == 503
    finally:
        redis.signal(signal.SIGCONT)
    wait_hit(kea, 20)


def test_a_redis_is_reached_over_tls_with_a_certificate_that_is_checked(binary: Path, tmp_path: Path) -> None:
    with TlsRedis(tmp_path) as redis:
        kea = Kea(binary, tmp_path / "kea", None, {"KEA_CACHE_REDIS": redis.url})
        try:
            kea.start()
            kea.wait_for(lambda: "Redis cannot be used" in kea.log_file.read_text(), "the stranger to be refused")
            kea.stop()
            kea.env["SSL_CERT_FILE"] = str(redis.authority)
            kea.start()
            kea.wait_for(lambda: "kea_cache_redis_up 1" in kea.request("GET", "!/metrics").text, "Redis over TLS")
            assert "geheim" not in kea.log_file.read_text()
        finally:
            kea.stop()
