"""Run with `pip install -r requirements.txt && pytest`."""

from pathlib import Path

import joblib
import pandas as pd
import pytest

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def model():
    return joblib.load(Path(__file__).with_name("model.joblib"))


def test_features_have_names(model):
    assert list(model.feature_names_in_) == FEATURES


@pytest.mark.parametrize(
    ("flower", "species"),
    [((5.1, 3.5, 1.4, 0.2), "setosa"), ((5.7, 2.8, 4.1, 1.3), "versicolor"), ((6.3, 3.3, 6.0, 2.5), "virginica")],
)
def test_a_flower_is_of_its_species(model, flower, species):
    assert model.predict(pd.DataFrame([flower], columns=FEATURES)) == [species]
