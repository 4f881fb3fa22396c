"""Why a service is not ready, in one sentence with Kubernetes' own fact: in the status, and by `kea status`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cluster import Cluster, Gateway, Space, deployment, model, squeezed
from conftest import space_of


@dataclass
class Trouble:
    """What is asked for, what Kubernetes calls it, and what is to be told of it."""

    image: str
    reason: str
    words: list[str]
    spec: dict[str, Any]


TROUBLES = {
    "no-image": Trouble("{registry}/kea-tests/nowhere:1", "ImageUnknown", ["kea-tests/nowhere"], {}),
    "crashing": Trouble("broken", "CrashLoopBackOff", ["the weights are not there"], {}),
    "ending": Trouble("web", "CrashLoopBackOff", ["exit code 1", "no licence"], {"env": {"END": "no licence"}}),
    "too-large": Trouble("iris", "Unschedulable", ["Insufficient cpu"], {"resources": {"requests": {"cpu": 1000}}}),
    "hungry": Trouble("web", "OOMKilled", ["64Mi", "memory"],
                      {"env": {"EAT": "300000000"}, "resources": {"limits": {"memory": "64Mi"}}}),
    "no-secret": Trouble("iris", "CreateContainerConfigError", ['secret "nobody-made-it" not found'],
                         {"pod": {"envFrom": [{"secretRef": {"name": "nobody-made-it"}}]}}),
    "no-login": Trouble("iris", "NoLogin", ["imagePullSecrets", "no-such-login"],
                        {"pod": {"imagePullSecrets": ["no-such-login"]}}),
    "bad-pod": Trouble("iris", "", ["spec.pod.tolerations"], {"pod": {"tolerations": ["everything"]}}),
}  # fmt: skip


@pytest.fixture(scope="module")
def troubled(shared: Space, prepared: Any) -> Space:
    """All of them at once, since most need time to fail."""
    for name, trouble in TROUBLES.items():
        shared.run(name, trouble.image.format(registry=prepared.registry), **trouble.spec)
    shared.apply(deployment("no-model", modelName="not-applied"))
    return shared


def check_told(space: Space, kea: Gateway, name: str, reason: str, *words: str) -> None:
    status = space.failed(name, *words)
    told = status["reason"]
    assert "\n" not in told and len(told) < 1000
    conditions = {one["type"]: one for one in status["conditions"]}
    assert conditions["Degraded"]["status"] == "True" and conditions["Ready"]["status"] == "False"
    assert all(word in conditions["Degraded"]["message"] for word in words)
    assert reason in ("", conditions["Degraded"]["reason"]), conditions["Degraded"]
    answer = kea.cli("status", name, check=False, env={"KEA_TOKEN": kea.token})
    shown = squeezed(answer.stdout + answer.stderr)
    assert all(squeezed(word) in shown for word in words), answer.stdout + answer.stderr
    refused = kea.predict(name, {"X": [1, 2, 3, 4]})
    assert refused.status_code == 503, refused.text


@pytest.mark.parametrize("name", list(TROUBLES))
def test_the_reason_is_told(troubled: Space, kea: Gateway, name: str) -> None:
    check_told(troubled, kea, name, TROUBLES[name].reason, *TROUBLES[name].words)


def test_a_missing_model_is_told_and_waited_for(troubled: Space, kea: Gateway) -> None:
    check_told(troubled, kea, "no-model", "NoModel", "there is no MLModel `not-applied`")
    troubled.apply(model("not-applied", image=troubled.images["iris"]))
    troubled.deployed("no-model")


def test_what_was_missing_is_noticed_when_it_comes(troubled: Space) -> None:
    troubled.failed("no-secret")
    troubled.kubectl("create", "secret", "generic", "nobody-made-it", "--from-literal=A=b")
    troubled.deployed("no-secret")


def test_a_restart_is_counted(troubled: Space, kea: Gateway) -> None:
    troubled.failed("ending")
    replica = kea.details("ending")["replicaStatuses"][0]
    assert replica["restarts"] > 0 and "no licence" in replica["reason"], json.dumps(replica)


@pytest.fixture
def full(cluster: Cluster, kea: Gateway, prepared: Any) -> Iterator[Space]:
    """A namespace whose quota is used up."""
    for space in space_of(cluster, prepared):
        space.kubectl("create", "quota", "none", "--hard=pods=0")
        yield space


def test_an_exhausted_quota_is_told(full: Space, kea: Gateway) -> None:
    full.run("quota", "iris")
    check_told(full, kea, "quota", "ReplicaFailure", "exceeded quota")
    full.kubectl("delete", "quota", "none")
    full.deployed("quota", seconds=120)
