"""Run with `pytest`."""

import pytest

from model import IrisClassifier


@pytest.fixture
def model() -> IrisClassifier:
    classifier = IrisClassifier()
    classifier.load()
    return classifier


@pytest.mark.parametrize(
    ("flower", "species"),
    [((5.1, 3.5, 1.4, 0.2), "setosa"), ((5.7, 2.8, 4.1, 1.3), "versicolor"), ((6.3, 3.3, 6.0, 2.5), "virginica")],
)
def test_a_flower_is_of_its_species(model, flower, species):
    assert model.predict(*flower).label == species


def test_probabilities_add_up_to_one(model):
    for flower in [(5.1, 3.5, 1.4, 0.2), (1e6, 1e6, 1e6, 1e6)]:
        assert sum(model.predict(*flower).probabilities.values()) == pytest.approx(1)


def test_an_unknown_species_is_named_with_the_known_ones(model):
    with pytest.raises(ValueError, match="setosa, versicolor, virginica"):
        model.centroid("rose")
