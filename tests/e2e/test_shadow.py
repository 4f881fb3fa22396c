"""A version in shadow: it gets copies of requests, callers notice nothing of it, and what it answers is compared."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from harness import Kea
from load import Load
from models import ModelShelf

# Version 1 says "high" from 5 on, version 2 from 7 on: they differ about 5 and 6.
ROWS = range(10)
NOTHING = {"same": 0, "different": 0, "failed": 0, "notCompared": 0, "dropped": 0, "skipped": 0}


def says(x: int) -> str:
    return "high" if x >= 5 else "low"


def update(kea: Kea, service: str, **change: Any) -> dict[str, Any]:
    answer = kea.request("PUT", f"/services/{service}", json=change)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counts(kea: Kea, service: str) -> dict[str, int]:
    return dict(kea.details(service)["shadow"]["counts"])


def wait_counts(kea: Kea, service: str, total: int) -> dict[str, int]:
    """The counts once so many requests have been copied, or not."""

    def counted() -> dict[str, int] | None:
        found = counts(kea, service)
        return found if sum(found.values()) >= total else None

    found = kea.wait_for(counted, f"{total} copies; so far {counts(kea, service)}")
    assert sum(found.values()) == total, found
    return found


def metric(kea: Kea, service: str, outcome: str) -> int:
    page = kea.request("GET", "!/metrics").text
    labels = f'service="{service}",version="2",outcome="{outcome}"'
    found = re.search(rf"^kea_shadow_requests_total{{{labels}}} (\d+)$", page, re.MULTILINE)
    assert found, page
    return int(found.group(1))


@pytest.fixture(scope="module")
def shadowed(shared_kea: Kea, models: ModelShelf) -> str:
    """A service whose version 2 is in shadow."""
    kea, name = shared_kea, "shadowed"
    kea.deploy(name, models.high_from(5))
    update(kea, name, sourceCode=str(models.high_from(7)), shadow={"version": "2"})
    details = kea.wait_deployed(name)
    assert (details["liveVersion"], details["version"], details["canary"]) == ("1", "1", None)
    assert details["shadow"] == {"version": "2", "percent": 100, "tolerance": 1e-6, "counts": NOTHING}
    assert {replica["version"] for replica in details["replicaStatuses"]} == {"1", "2"}
    return name


def test_answers_are_compared_and_given_to_nobody(shared_kea: Kea, shadowed: str) -> None:
    kea, name = shared_kea, shadowed
    for number, x in enumerate([*ROWS, *ROWS]):
        answer = kea.predict(name, {"x": x}, headers={"x-request-id": f"shadowed-{number}"})
        assert (answer.status_code, answer.headers["kea-version"]) == (200, "1")
        assert answer.json()["predictions"][0]["label"] == says(x)
    assert wait_counts(kea, name, 20) == {**NOTHING, "same": 16, "different": 4}
    assert [metric(kea, name, outcome) for outcome in ("same", "different", "failed")] == [16, 4, 0]
    page = kea.request("GET", "!/metrics").text
    assert f'kea_shadow_duration_seconds_count{{service="{name}",version="2"}} 20' in page
    assert f'kea_requests_total{{service="{name}",version="2",status="2xx"}} 0' in page, "copies are no requests"
    # A line now and then, of which request and where, and no word of what was answered.
    lines = [line for line in kea.log_file.read_text().splitlines() if "a shadow answers differently" in line]
    lines = [line for line in lines if name in line]
    assert 1 <= len(lines) < 4, lines
    assert re.search(r"shadowed-(5|6|15|16)\b", lines[0]) and "/predictions/0/label" in lines[0], lines
    assert "high" not in lines[0] and "low" not in lines[0]
    status = kea.cli("status", name, env={"KEA_TOKEN": kea.token}).stdout
    assert "version 2 in shadow: 16 answers the same, 4 different, 0 failed" in status, status
    assert "with shadow 2 for 100 % of the requests" in status, status


def test_what_names_a_version_or_comes_from_the_cache_is_not_copied(shared_kea: Kea, shadowed: str) -> None:
    kea, name = shared_kea, shadowed
    before = sum(counts(kea, name).values())
    for version, label in (("1", "high"), ("2", "low")):
        answer = kea.predict(name, {"x": 5}, headers={"kea-version": version})
        assert answer.json()["predictions"][0]["label"] == label, "its own answer"
    update(kea, name, cache={"enabled": True})
    states = [kea.predict(name, {"x": 1}).headers["kea-cache"] for _ in range(3)]
    assert states == ["miss", "hit", "hit"]
    wait_counts(kea, name, before + 1)
    update(kea, name, cache={"enabled": False})
    # An answer of the inference protocol names its version, which is no difference.
    same = counts(kea, name)["same"]
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]}
    answer = kea.request("POST", f"!/v2/models/{name}/infer", json=body)
    assert answer.status_code == 200 and answer.json()["model_version"] == "1", answer.text
    assert wait_counts(kea, name, before + 2)["same"] == same + 1


def test_a_share_is_copied_and_a_shadow_becomes_a_canary_and_takes_over(shared_kea: Kea, shadowed: str) -> None:
    kea, name = shared_kea, shadowed
    before = sum(counts(kea, name).values())
    kea.cli("update", name, "--shadow", "2=20", env={"KEA_TOKEN": kea.token})
    for _ in range(100):
        assert kea.predictions(name, {"x": 1})[0]["label"] == "low"
    wait_counts(kea, name, before + 20)
    update(kea, name, canary={"version": "2", "weight": 100})
    details = kea.wait_deployed(name)
    assert (details["shadow"], details["canary"]) == (None, {"version": "2", "weight": 100})
    assert kea.predictions(name, {"x": 5})[0]["label"] == "low"
    kea.cli("update", name, "--shadow", "2", env={"KEA_TOKEN": kea.token})
    assert kea.details(name)["canary"] is None and kea.predictions(name, {"x": 5})[0]["label"] == "high"
    update(kea, name, version="2")
    details = kea.wait_deployed(name)
    assert (details["liveVersion"], details["shadow"]) == ("2", None)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"shadow": {"version": "1"}},
            "a shadow gives version `1` copies of the requests beside the version that is live",
        ),
        ({"shadow": {"version": "9"}}, "has no version `9`"),
        ({"shadow": {"version": "1", "percent": 0}}, "/shadow/percent"),
        ({"shadow": {"version": "1", "tolerance": 2}}, "/shadow/tolerance"),
        ({"shadow": {"version": "1", "weight": 5}}, "weight"),
        ({"shadow": {"version": "1"}, "canary": {"version": "1", "weight": 5}}, "cannot be canary and shadow at once"),
        ({"rollout": {"steps": [{"weight": 5}, {"shadow": True}]}}, "/rollout/steps/1/shadow"),
    ],
)
def test_what_cannot_be_is_refused(shared_kea: Kea, models: ModelShelf, change: dict[str, Any], told: str) -> None:
    kea, name = shared_kea, "shadow-refused"
    if kea.request("GET", f"/services/{name}").status_code == 404:
        kea.deploy(name, models.high_from(5))
    answer = kea.request("PUT", f"/services/{name}", json=change)
    assert answer.status_code in {400, 404} and told in answer.text, answer.text
    assert kea.details(name)["shadow"] is None


def test_a_shadow_that_hangs_or_dies_costs_callers_nothing(shared_kea: Kea, models: ModelShelf) -> None:
    kea, name = shared_kea, "shadow-hangs"
    kea.deploy(name, models.high_from(5), timeout="30s")
    update(kea, name, sourceCode=str(models.high_from(7)), shadow={"version": "2"})
    replicas = kea.wait_deployed(name)["replicaStatuses"]
    pid = next(replica["pid"] for replica in replicas if replica["version"] == "2")
    os.kill(pid, signal.SIGSTOP)
    try:
        # Far more than may be under way at once; none of those that are has an answer.
        for _ in range(60):
            assert kea.predictions(name, {"x": 1})[0]["label"] == "low"
        assert counts(kea, name) == {**NOTHING, "dropped": 60 - 32}
    finally:
        os.kill(pid, signal.SIGKILL)
    # What was there when it died has failed. It comes back, and goes on.
    assert wait_counts(kea, name, 60) == {**NOTHING, "dropped": 60 - 32, "failed": 32}

    def is_back() -> bool:
        kea.predictions(name, {"x": 1})
        return counts(kea, name)["same"] > 0

    kea.wait_for(is_back, "copies that the shadow answers")
    details = kea.details(name)
    assert details["liveVersion"] == "1" and {r["version"] for r in details["replicaStatuses"]} == {"1", "2"}
    kea.cli("rollback", name, env={"KEA_TOKEN": kea.token})
    assert kea.details(name)["shadow"] is None


STEPS = [{"shadow": True, "pause": "500ms"}, {"weight": 50, "pause": "500ms"}]


def test_a_rollout_that_begins_in_shadow_goes_back_or_takes_over(
    shared_kea: Kea, models: ModelShelf, tmp_path: Path
) -> None:
    kea, name = shared_kea, "shadow-rollout"
    rules = {"steps": STEPS, "minRequests": 10, "maxDifferenceRate": 0.1}
    kea.deploy(name, models.high_from(5), rollout=rules)
    with Load(kea, name, {"x": 5}, {}, threads=2) as load:
        update(kea, name, sourceCode=str(models.high_from(7)))
        details = kea.wait_failed(name)
        told = "100 % of its "
        assert details["reason"].startswith(f"version 2 went back at step 1 of 2: {told}"), details["reason"]
        assert "were answered differently by the live version, and at most 10 % may" in details["reason"]
        assert (details["liveVersion"], details["shadow"], details["canary"]) == ("1", None, None)
        load.more(5)
        # No caller ever got another answer than version 1's.
        assert {version for seen in load.versions for version in seen} == {"1"}
        # The same tree, trained once more, is another version that answers alike.
        same = tmp_path / "same.joblib"
        same.write_bytes(models.high_from(5).read_bytes())
        update(kea, name, sourceCode=str(same))
        details = kea.wait_deployed(name)
    load.assert_all_answered()
    assert (details["liveVersion"], details["rollout"]["phase"]) == ("3", "promoted")
    logs = kea.request("GET", f"/logs/{name}").text
    assert "version 3 goes on to step 2 of 2" in logs and "0 % of " in logs and "were answered differently" in logs


def test_functions_that_may_not_be_called_twice_are_not_copied(shared_kea: Kea, models: ModelShelf) -> None:
    kea, name = shared_kea, "shadow-class"
    code = "class Model:\n    def predict(self, x: float) -> str:\n        return '{name}'\n"
    kea.deploy(name, models.custom("shadow-1", code.format(name="v1")))
    update(kea, name, sourceCode=str(models.custom("shadow-2", code.format(name="v2"))), shadow={"version": "2"})
    kea.wait_deployed(name)
    for _ in range(3):
        assert kea.predictions(name, {"x": 1.0}) == [{"result": "v1"}]
    assert counts(kea, name) == {**NOTHING, "skipped": 3}
