"""A second version beside the live one, on one machine: its share of the requests, its end, and how it takes over."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from harness import Kea
from load import Load
from models import CANNOT_START, ModelShelf

NAMES_ITSELF = """
class Model:
    def predict(self, x: float = 0.0) -> str:
        return "{name}"
"""

INPUTS = {"x": 1.0}


def model(models: ModelShelf, name: str) -> str:
    return str(models.custom(f"canary-{name}", NAMES_ITSELF.format(name=name)))


def shares(kea: Kea, service: str, requests: int) -> Counter[str]:
    """How many of the next requests each version answered; each is checked to be that version's."""
    counted: Counter[str] = Counter()
    for _ in range(requests):
        answer = kea.predict(service, INPUTS)
        assert answer.status_code == 200, answer.text
        version = answer.headers["kea-version"]
        assert answer.json()["predictions"] == [{"result": f"v{version}"}]
        counted[version] += 1
    return counted


def change(kea: Kea, service: str, **fields: object) -> dict[str, object]:
    answer = kea.request("PUT", f"/services/{service}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def command(kea: Kea, *arguments: str) -> str:
    return kea.cli(*arguments, env={"KEA_TOKEN": kea.token}).stdout


def versions_of(kea: Kea, service: str) -> Counter[str]:
    return Counter(replica["version"] for replica in kea.details(service)["replicaStatuses"])


@pytest.fixture(scope="module")
def canary(shared_kea: Kea, models: ModelShelf) -> str:
    """A service of two replicas whose version 2 has 20 percent of the requests."""
    kea, name = shared_kea, "canary"
    kea.deploy(name, model(models, "v1"), replicas=2)
    change(kea, name, sourceCode=model(models, "v2"), canary={"version": "2", "weight": 20})
    details = kea.wait_deployed(name)
    assert (details["version"], details["liveVersion"]) == ("1", "1")
    assert details["canary"] == {"version": "2", "weight": 20}
    return name


def test_the_canary_gets_exactly_its_share(canary: str, shared_kea: Kea) -> None:
    kea = shared_kea
    assert versions_of(kea, canary) == {"1": 2, "2": 1}
    assert shares(kea, canary, 100) == {"1": 80, "2": 20}
    for asked in ({"params": {"version": "2"}}, {"headers": {"kea-version": "2"}}):
        assert kea.predict(canary, INPUTS, **asked).headers["kea-version"] == "2"
    counted = kea.request("GET", "!/metrics").text
    assert f'kea_requests_total{{service="{canary}",version="2",status="2xx"}} 22' in counted
    told = command(kea, "status", canary)
    assert "with canary 2 for 20 % of the requests" in told and "canary-2-0" in told, told


def test_a_changed_weight_acts_without_a_failed_request(canary: str, shared_kea: Kea) -> None:
    kea = shared_kea
    with Load(kea, canary, INPUTS, {}, threads=2) as load:
        for weight, replicas in ((0, 1), (100, 2), (50, 1)):
            command(kea, "update", canary, "--canary", f"2={weight}")
            details = kea.details(canary)
            assert details["canary"]["weight"] == weight and details["status"] == "deployed"
            kea.wait_for(lambda n=replicas: versions_of(kea, canary)["2"] == n, "the replicas for that share")
            load.more(20)
    load.assert_all_answered()
    assert shares(kea, canary, 100) == {"1": 50, "2": 50}


def test_a_canary_that_ends_by_itself_takes_nothing_of_the_live_version(canary: str, shared_kea: Kea) -> None:
    kea = shared_kea
    replicas = kea.details(canary)["replicaStatuses"]
    os.kill(next(replica["pid"] for replica in replicas if replica["version"] == "2"), signal.SIGKILL)
    kea.wait_for(lambda: kea.details(canary)["status"] == "updating", "the loss to be seen", 10)
    assert shares(kea, canary, 10) == {"1": 10}
    kea.wait_deployed(canary)
    assert shares(kea, canary, 100) == {"1": 50, "2": 50}


def test_another_start_of_kea_keeps_the_canary(canary: str, shared_kea: Kea) -> None:
    kea = shared_kea
    change(kea, canary, canary={"version": "2", "weight": 30})
    kea.kill()
    kea.start()
    assert kea.wait_deployed(canary)["canary"] == {"version": "2", "weight": 30}
    assert shares(kea, canary, 100) == {"1": 70, "2": 30}


def test_naming_the_canary_lets_it_take_over(canary: str, shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    with Load(kea, canary, INPUTS, {}, threads=2) as load:
        load.more(10)
        command(kea, "update", canary, "--version", "2")
        load.more(20)
    load.assert_all_answered()
    details = kea.details(canary)
    assert (details["liveVersion"], details["canary"], details["replicas"]) == ("2", None, 2)
    kea.wait_for(lambda: versions_of(kea, canary) == {"2": 2}, "the replicas of version 1 to end")
    # And the one after it is ended by a rollback, after which nothing of it runs.
    change(kea, canary, sourceCode=model(models, "v3"), version="3", canary={"version": "3", "weight": 40})
    kea.wait_deployed(canary)
    assert shares(kea, canary, 20) == {"2": 12, "3": 8}
    command(kea, "rollback", canary)
    kea.wait_for(lambda: versions_of(kea, canary) == {"2": 2}, "the canary to end")
    assert kea.details(canary)["canary"] is None
    assert shares(kea, canary, 10) == {"2": 10}


def test_a_canary_that_cannot_start_leaves_the_live_version_alone(shared_kea: Kea, models: ModelShelf) -> None:
    kea, name = shared_kea, "canary-broken"
    kea.deploy(name, model(models, "v1"))
    broken = str(models.custom("canary-cannot-start", CANNOT_START))
    change(kea, name, sourceCode=broken, canary={"version": "2", "weight": 50}, allowBreaking=True)
    details = kea.wait_failed(name)
    assert details["reason"].startswith("canary 2: ") and "no weights" in details["reason"], details["reason"]
    assert details["liveVersion"] == "1" and shares(kea, name, 10) == {"1": 10}
    command(kea, "rollback", name)
    assert kea.details(name)["status"] == "deployed"


def test_a_canary_that_cannot_be_is_refused(shared_kea: Kea, models: ModelShelf) -> None:
    kea, name = shared_kea, "canary-refused"
    first = {"modelName": name, "sourceCode": model(models, "v1"), "canary": {"version": "1", "weight": 10}}
    answer = kea.request("POST", "/services", json=first)
    assert answer.status_code == 400 and answer.json()["errors"][0]["pointer"] == "/canary", answer.text
    assert "leave `canary` out" in answer.json()["detail"]
    kea.deploy(name, model(models, "v1"))
    for asked, status, told in (
        ({"version": "9", "weight": 10}, 404, "has no version `9`; it has 1"),
        ({"version": "1", "weight": 10}, 400, "beside the version that is live"),
        ({"version": "1", "weight": 101}, 400, "at most 100"),
    ):
        answer = kea.request("PUT", f"/services/{name}", json={"canary": asked})
        assert answer.status_code == status and told in answer.text, answer.text
    assert kea.details(name)["canary"] is None


def test_documents_ask_for_a_canary(shared_kea: Kea, models: ModelShelf, tmp_path: Path) -> None:
    kea, name = shared_kea, "canary-documents"
    file = tmp_path / "kea.yaml"

    def apply(version: str, deployment: str) -> None:
        head = "apiVersion: ml.kea-project.io/v1alpha1\nmetadata: {name: " + name + "}\n"
        source = model(models, f"v{version}")
        spec = f'spec: {{source: {source}, version: "{version}"}}\n'
        file.write_text(f"{head}kind: MLModel\n{spec}---\n{head}kind: MLDeployment\nspec: {deployment}\n")
        command(kea, "deploy", "-f", str(file))

    apply("1", "{}")
    for weight in (10, 50):
        apply("2", f'{{canary: {{version: "2", weight: {weight}}}}}')
    assert shares(kea, name, 10) == {"1": 5, "2": 5}
    apply("2", "{}")
    assert kea.details(name)["canary"] is None
    assert shares(kea, name, 10) == {"2": 10}
