"""Run with `pip install -r requirements.txt && pytest`."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest


@pytest.fixture(scope="module")
def session():
    return onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))


def test_each_flower_is_of_its_species(session):
    flowers = np.array([[5.1, 3.5, 1.4, 0.2], [5.7, 2.8, 4.1, 1.3], [6.3, 3.3, 6.0, 2.5]], dtype=np.float32)
    label, probabilities = session.run(["label", "probabilities"], {"flowers": flowers})
    assert list(label) == ["setosa", "versicolor", "virginica"]
    assert probabilities.sum(axis=1) == pytest.approx(1)
