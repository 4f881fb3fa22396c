"""Rates that several KEAs count together in a Redis, and each for itself while that is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import Kea
from models import ModelShelf
from redises import Redis

ECHO = """
class Model:
    def predict(self, x: int) -> int:
        return x
"""

# So slow that nothing flows in while a test runs.
BURST = 20
RATE = [{"requests": 1, "per": "1h", "burst": BURST, "by": "caller"}]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as redis:
        yield redis


@pytest.fixture(scope="module")
def two(
    binary: Path, environments: Path, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Kea, Kea]]:
    """Two KEAs that share nothing but a Redis."""
    make = lambda name: Kea(binary, tmp_path_factory.mktemp(name), environments, {"KEA_RATES_REDIS": redis.url})  # noqa: E731
    one, other = make("one"), make("other")
    try:
        one.start()
        other.start()
        yield one, other
    finally:
        one.stop()
        other.stop()


def deploy(two: tuple[Kea, Kea], models: ModelShelf, name: str) -> None:
    source = models.custom("rates", ECHO)
    for kea in two:
        kea.deploy(name, source, rateLimit=RATE)
        wait_up(kea, 1)


def wait_up(kea: Kea, up: int) -> None:
    is_so = lambda: f"kea_rates_redis_up {up}" in kea.request("GET", "!/metrics").text  # noqa: E731
    kea.wait_for(is_so, f"Redis to be {'asked' if up else 'given up'}", 30)


def missed(two: tuple[Kea, Kea]) -> int:
    """Requests that Redis did not count in time, as on a busy machine, so that a KEA let them pass by its own count."""
    pages = [kea.request("GET", "!/metrics").text for kea in two]
    return sum(int(page.split("\nkea_rates_redis_failures_total ")[1].split()[0]) for page in pages)


def refusal(kea: Kea, name: str) -> Mapping[str, str] | None:
    """The headers of an answer that refuses the request."""
    answer = kea.predict(name, {"x": 1})
    return answer.headers if answer.status_code == 429 else None


def statuses(kea: Kea, name: str, calls: int) -> Counter[int]:
    return Counter(kea.predict(name, {"x": 1}).status_code for _ in range(calls))


def test_both_let_pass_together_what_the_rate_says(two: tuple[Kea, Kea], models: ModelShelf) -> None:
    deploy(two, models, "together")
    with ThreadPoolExecutor(2) as pool:
        counted = sum(pool.map(lambda kea: statuses(kea, "together", 2 * BURST), two), Counter())
    assert set(counted) == {200, 429} and BURST <= counted[200] <= BURST + missed(two), counted
    for kea in two:
        refused = kea.wait_for(lambda kea=kea: refusal(kea, "together"), "a request to be refused")
        assert int(refused["retry-after"]) > 3000 and refused["ratelimit"].startswith('"caller";r=0;t=')
        assert refused["ratelimit-policy"] == f'"caller";q={BURST};w=3600'


def test_each_counts_for_itself_while_redis_is_away(two: tuple[Kea, Kea], models: ModelShelf, redis: Redis) -> None:
    deploy(two, models, "away")
    one, other = two
    assert statuses(one, "away", 5) == {200: 5}
    redis.kill()
    try:
        # Its own count was going on all the time; the other one has seen nothing.
        assert statuses(one, "away", BURST) == {200: BURST - 5, 429: 5}
        assert statuses(other, "away", BURST + 5) == {200: BURST, 429: 5}
        for kea in two:
            wait_up(kea, 0)
    finally:
        redis.start()
    for kea in two:
        wait_up(kea, 1)
    deploy(two, models, "again")
    before = missed(two)
    assert statuses(one, "again", BURST) == {200: BURST}
    assert statuses(other, "again", 5)[200] <= missed(two) - before
    told = one.log_file.read_text().count("the shared count of rates is bypassed until Redis answers again")
    assert told == 1, "each change is told, and not each request"
