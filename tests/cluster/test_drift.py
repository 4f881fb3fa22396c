"""What somebody else does to KEA's objects: what KEA asks for is put right, and the rest is theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cluster import GROUP, Gateway, Object, Space, wait_for

SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture(scope="module")
def drifting(shared: Space, kea: Gateway) -> str:
    shared.run("drifting", "iris")
    shared.deployed("drifting")
    kea.answers("drifting")
    return "drifting"


def again(space: Space, kind: str, name: str, check: Callable[[Object], Any]) -> Object:
    """Waits until there is an object that is as it should be."""

    def is_right() -> Object | None:
        found = space.find(kind, name)
        return found if found and check(found) else None

    return wait_for(is_right, lambda: f"{kind}/{name} to be put right; it is {space.find(kind, name)}", 30)


def test_a_deleted_deployment_comes_back(shared: Space, kea: Gateway, drifting: str) -> None:
    before = (shared.find("deployments", "drifting-1") or {})["metadata"]["uid"]
    shared.kubectl("delete", "deployment", "drifting-1", "--wait=false")
    again(shared, "deployments", "drifting-1", lambda found: found["metadata"]["uid"] != before)
    shared.deployed(drifting)
    wait_for(lambda: kea.predict(drifting, SETOSA).status_code == 200, "an answer", 30)


def test_a_deleted_service_account_policy_and_service_come_back(shared: Space, drifting: str) -> None:
    for kind in ("services", "serviceaccounts", "networkpolicies"):
        before = (shared.find(kind, drifting) or {})["metadata"]["uid"]
        shared.kubectl("delete", kind, drifting)
        again(shared, kind, drifting, lambda found, before=before: found["metadata"]["uid"] != before)
    assert shared.deployed(drifting)


def test_replicas_changed_by_hand_are_put_right(shared: Space, drifting: str) -> None:
    shared.kubectl("scale", "deployment/drifting-1", "--replicas=3")
    again(shared, "deployments", "drifting-1", lambda found: found["spec"]["replicas"] == 1)
    shared.kubectl("scale", "deployment/drifting-1", "--replicas=0")
    again(shared, "deployments", "drifting-1", lambda found: found["spec"]["replicas"] == 1)
    shared.deployed(drifting)


def test_an_image_changed_by_hand_is_put_right(shared: Space, drifting: str) -> None:
    image = shared.status(drifting)["image"]
    shared.kubectl("set", "image", "deployment/drifting-1", f"model={shared.images['iris-2']}")
    found = again(shared, "deployments", "drifting-1",
                  lambda found: found["spec"]["template"]["spec"]["containers"][0]["image"] == image)  # fmt: skip
    assert found["metadata"]["generation"] > 1
    shared.rolled_out(drifting)


def test_a_selector_changed_by_hand_is_put_right(shared: Space, drifting: str) -> None:
    shared.kubectl("patch", "service", drifting, "--type=json",
                   '-p=[{"op": "replace", "path": "/spec/selector", "value": {"app": "other"}}]')  # fmt: skip
    again(shared, "services", drifting, lambda found: found["spec"]["selector"].get(f"{GROUP}/service") == drifting)


def test_labels_and_annotations_of_others_stay(shared: Space, drifting: str) -> None:
    for target in ("deployment/drifting-1", f"service/{drifting}"):
        shared.kubectl("label", target, "team=red")
        shared.kubectl("annotate", target, "example.com/note=kept")
    shared.patch("mld", drifting, {"env": {"TOUCHED": "yes"}})
    again(shared, "deployments", "drifting-1", lambda found: "TOUCHED" in str(found["spec"]["template"]))
    for kind, name in (("deployments", "drifting-1"), ("services", drifting)):
        metadata = (shared.find(kind, name) or {})["metadata"]
        assert metadata["labels"]["team"] == "red"
        assert metadata["annotations"]["example.com/note"] == "kept"


def test_what_is_right_is_not_written_again(shared: Space, drifting: str) -> None:
    shared.deployed(drifting)
    shared.rolled_out(drifting)
    wait_for(lambda: len(shared.pods(drifting)) == 1, "the pods of before to be gone")
    wait_for(lambda: shared.status(drifting)["replicas"] == 1, lambda: f"one replica; {shared.told(drifting)}")

    def versions() -> list[str]:
        kinds = ("mldeployments", "services", "serviceaccounts", "networkpolicies")
        found = [shared.find(kind, drifting) for kind in kinds]
        return [one["metadata"]["resourceVersion"] for one in found if one]

    before = versions()
    # The operator looks again for every pod that changes.
    shared.kubectl("label", "pods", "-l", f"{GROUP}/service={drifting}", "looked-at=yes")
    shared.run("bystander", "iris")
    shared.deployed("bystander")
    assert versions() == before


def test_a_service_that_was_there_before_is_not_taken(space: Space, kea: Gateway) -> None:
    space.kubectl("create", "service", "clusterip", "taken", "--tcp=80:80")
    before = space.find("services", "taken")
    space.run("taken", "iris")
    space.failed("taken", "Service `taken`", "KEA did not make", f"{GROUP}/adopt=true")
    after = space.find("services", "taken")
    assert before and after and after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert space.condition("taken", "Degraded")["reason"] == "Refused"
    # Handed over, it is KEA's, and leads to the replicas.
    space.kubectl("annotate", "service", "taken", f"{GROUP}/adopt=true")
    space.deployed("taken")
    found = wait_for(
        lambda: (space.find("endpoints", "taken") or {}).get("subsets"), "the Service to lead to a replica"
    )
    assert len(found[0]["addresses"]) == 1
