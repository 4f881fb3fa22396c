"""The documents of examples/kubernetes, as they are but for the registry in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster import Gateway, Space, wait_for

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"
SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture
def apply(space: Space):
    def apply(name: str) -> None:
        text = (FOLDER / name).read_text()
        for tag, image in (("1", "iris"), ("2", "iris-2")):
            text = text.replace(f"image: registry.example/team/iris:{tag}", f"image: {space.images[image]}")
        assert "registry.example" not in text.split("spec:", 1)[1].replace("registry.example/team/iris:1 --push", "")
        space.kubectl("apply", "-f", "-", stdin=text)

    return apply


def test_every_example_is_tried() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == ["autoscaling.yaml", "canary.yaml", "iris.yaml"]


def test_a_model_its_canary_and_the_way_back(space: Space, kea: Gateway, apply) -> None:
    apply("iris.yaml")
    assert space.deployed("iris", "1")["ready"] == "2/2"
    kea.answers("iris")
    assert kea.predictions("iris", SETOSA)[0]["label"] == 0
    apply("canary.yaml")
    wait_for(lambda: space.status("iris").get("canary", {}).get("readyReplicas") == 1, "the canary", 90)
    assert space.deployed("iris", "1")["canary"]["weight"] == 10
    apply("iris.yaml")
    assert "canary" not in space.deployed("iris", "1")
    wait_for(lambda: not space.pods("iris", "2"), "the canary to end")


def test_replicas_that_follow_the_load(space: Space, apply) -> None:
    apply("autoscaling.yaml")
    assert space.deployed("busy")["ready"] == "2/2"
    scaler = space.find("horizontalpodautoscalers", "busy")
    assert scaler and scaler["spec"]["targetCPUUtilizationPercentage"] == 70
