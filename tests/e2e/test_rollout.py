"""A new version that takes over step by step, or goes back by itself, by what the router counted of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from harness import Kea
from load import Load
from models import CANNOT_START, ModelShelf

# Versions are told apart by what they answer.
GOOD = """
class Model:
    def predict(self, x: float) -> str:
        return "{name}"
"""

FAILS = """
class Model:
    def predict(self, x: float) -> str:
        raise RuntimeError("the weights are those of another model")
"""

RENAMED = """
class Model:
    def predict(self, width: float) -> str:
        return "renamed"
"""

SLOW = """
import time

class Model:
    def predict(self, x: float) -> str:
        time.sleep(0.4)
        return "slow"
"""

INPUTS = {"x": 1.0}

STEPS = [{"weight": 10, "pause": "700ms"}, {"weight": 50, "pause": "700ms"}]


def rules(**more: Any) -> dict[str, Any]:
    return {"steps": STEPS, "minRequests": 10, **more}


def good(models: ModelShelf, name: str) -> str:
    return str(models.custom(f"rollout-{name}", GOOD.format(name=name)))


def deployed(kea: Kea, models: ModelShelf, service: str, **more: Any) -> str:
    """A service whose version 1 is live, and whose next ones take over by steps."""
    details = kea.deploy(service, good(models, "v1"), rollout=rules(**more))
    assert details["rollout"] is None and details["liveVersion"] == "1", "there was nothing to take over from"
    return service


def update(kea: Kea, service: str, source: str, **more: Any) -> dict[str, Any]:
    answer = kea.request("PUT", f"/services/{service}", json={"sourceCode": source, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def cli(kea: Kea, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return kea.cli(*arguments, check=check, env={"KEA_TOKEN": kea.token})


def at_step(kea: Kea, service: str, step: int) -> dict[str, Any] | None:
    details = kea.details(service)
    rollout = details["rollout"]
    return details if rollout["phase"] == "progressing" and rollout["step"] == step and rollout["weight"] else None


def document(file: Path, service: str, source: str, version: str) -> str:
    head = f"apiVersion: ml.kea-project.io/v1alpha1\nmetadata: {{name: {service}}}\n"
    spec = f'spec: {{source: {source}, version: "{version}"}}\n'
    steps = "{weight: 10, pause: 700ms}, {weight: 50, pause: 700ms}"
    rollout = f"spec: {{replicas: 2, rollout: {{steps: [{steps}], minRequests: 10, maxP99: 5s}}}}\n"
    file.write_text(f"{head}kind: MLModel\n{spec}---\n{head}kind: MLDeployment\n{rollout}")
    return str(file)


def test_a_good_version_takes_over_by_itself(shared_kea: Kea, models: ModelShelf, tmp_path: Path) -> None:
    kea, name, file = shared_kea, "rollout-good", tmp_path / "kea.yaml"
    cli(kea, "deploy", "-f", document(file, name, good(models, "v1"), "1"))
    with Load(kea, name, INPUTS, {}, threads=2) as load:
        cli(kea, "deploy", "--no-wait", "-f", document(file, name, good(models, "v2"), "2"))
        first = kea.wait_for(lambda: at_step(kea, name, 1), "the first step")
        assert first["canary"] == {"version": "2", "weight": 10}
        assert (first["status"], first["liveVersion"], first["version"]) == ("updating", "1", "2")
        told = cli(kea, "status", name).stdout
        assert "version 2 has 10 % of the requests at step 1 of 2" in told, told
        # The same document once more changes nothing, and waits for what is under way.
        cli(kea, "deploy", "-f", str(file))
        load.more(20)
    load.assert_all_answered()
    details = kea.details(name)
    rollout = details["rollout"]
    assert (rollout["phase"], rollout["from"], rollout["weight"], details["liveVersion"]) == ("promoted", "1", 100, "2")
    assert rollout["startedAt"] == first["rollout"]["startedAt"]
    assert "0 % failed" in rollout["reason"] and "p99" in rollout["reason"], rollout
    assert (details["status"], details["canary"], details["readyReplicas"]) == ("deployed", None, 2)
    assert "version 2 took over from version 1 after 2 steps" in cli(kea, "status", name).stdout
    logs = "\n".join(kea.request("GET", f"/logs/{name}").json()["logEntries"])
    assert "version 2 goes on to step 2 of 2, 50 % of the requests: of " in logs
    assert "version 2 takes over from version 1: of " in logs
    assert load.versions[0][0] == "1" and load.versions[0][-1] == "2"


def test_a_version_that_fails_goes_back_by_itself(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    name = deployed(kea, models, "rollout-fails", maxErrorRate=0.02)
    with Load(kea, name, INPUTS, {"result": "v1"}, threads=2) as load:
        done = cli(kea, "update", name, "--source", str(models.custom("rollout-fails", FAILS)), check=False)
        load.more(20)
    # Whoever asked for it hears of it.
    assert done.returncode == 1 and "100 % of its" in done.stderr and "at most 2 % may" in done.stderr, done.stderr
    details = kea.details(name)
    assert (details["status"], details["liveVersion"], details["canary"]) == ("failed", "1", None)
    assert details["rollout"]["phase"] == "returned" and details["rollout"]["step"] == 1
    assert details["reason"].startswith("version 2 went back at step 1 of 2: 100 % of its ")
    assert details["reason"].endswith("requests failed, and at most 2 % may; version 1 keeps serving")
    # Nobody but the tenth that it had got a failure, and all others what version 1 says.
    total, failed = sum(load.statuses.values()), load.statuses[500]
    assert set(load.statuses) == {200, 500} and not load.connection_errors and not load.wrong, load.summary()
    assert failed >= 10 and (failed - 1) * 10 <= total, load.summary()
    kea.wait_for(lambda: {r["version"] for r in kea.details(name)["replicaStatuses"]} == {"1"}, "its replica to end")
    assert "version 2 goes back to version 1 at step 1 of 2: 100 %" in kea.request("GET", f"/logs/{name}").text
    # A rollback puts up with it; what comes next is tried by steps again.
    cli(kea, "rollback", name)
    assert kea.details(name)["status"] == "deployed" and kea.details(name)["rollout"] is None


def test_a_version_that_takes_other_inputs_or_too_long_goes_back(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    name = deployed(kea, models, "rollout-other", maxP99="200ms")
    for code, told in ((RENAMED, "did not fit its contract, against 0 %"), (SLOW, "its p99 is ")):
        source = str(models.custom(f"rollout-other-{len(code)}", code))
        with Load(kea, name, INPUTS, {}, threads=3):
            update(kea, name, source, allowBreaking=True)
            assert told in kea.wait_failed(name)["reason"]
    assert kea.details(name)["liveVersion"] == "1"


def test_a_version_that_does_not_start_goes_back(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    name = deployed(kea, models, "rollout-broken")
    update(kea, name, str(models.custom("rollout-broken", CANNOT_START)))
    reason = kea.wait_failed(name)["reason"]
    assert reason.startswith("version 2 went back at step 1 of 2: it does not run: ") and "no weights" in reason, reason
    assert kea.predictions(name, INPUTS) == [{"result": "v1"}]


def test_another_start_of_kea_goes_on_with_the_step(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    name = deployed(kea, models, "rollout-kept")
    # Nobody calls it: a step waits for what it is judged by, and says so.
    update(kea, name, good(models, "v2"))
    before = kea.wait_for(lambda: at_step(kea, name, 1), "the first step")
    kea.wait_for(lambda: "0 of at least 10 requests so far: it waits" in kea.details(name)["reason"], "the reason", 10)
    kea.kill()
    kea.start()
    kea.wait_for(lambda: kea.details(name)["readyReplicas"] == 1, "version 1 again")
    after = kea.wait_for(lambda: at_step(kea, name, 1), "the first step again")
    assert after["rollout"]["startedAt"] == before["rollout"]["startedAt"]
    assert (after["liveVersion"], after["canary"]["weight"]) == ("1", 10)
    for _ in range(100):
        assert kea.predict(name, INPUTS).status_code == 200
    kea.wait_for(lambda: (at_step(kea, name, 2) or after)["canary"]["weight"] == 50, "the second share")
    # By hand it is let go on without waiting.
    cli(kea, "update", name, "--version", "2")
    details = kea.details(name)
    assert (details["liveVersion"], details["rollout"], details["canary"]) == ("2", None, None)
    # And the one after that is taken back by hand.
    update(kea, name, good(models, "v3"))
    kea.wait_for(lambda: at_step(kea, name, 1), "the first step of version 3")
    cli(kea, "rollback", name)
    assert (kea.details(name)["liveVersion"], kea.details(name)["rollout"]) == ("2", None)


def test_rules_that_cannot_be_are_refused(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    name = deployed(kea, models, "rollout-refused")
    for asked, pointer in (
        ({"rollout": {"steps": [{"weight": 50}, {"weight": 10}]}}, "/rollout/steps/1/weight"),
        ({"rollout": {"maxErrorRate": 0.1}}, "/rollout/steps"),
        ({"rollout": {"steps": [{"weight": 10}], "maxErrors": 1}}, "/rollout/maxErrors"),
        ({"rollout": rules(), "canary": {"version": "1", "weight": 10}}, "/canary"),
    ):
        answer = kea.request("PUT", f"/services/{name}", json=asked)
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer, answer.text
    assert kea.request("PUT", f"/services/{name}", json={"rollout": {}}).status_code == 200
    update(kea, name, good(models, "v2"))
    assert kea.wait_deployed(name)["liveVersion"] == "2", "without steps it takes over at once"
