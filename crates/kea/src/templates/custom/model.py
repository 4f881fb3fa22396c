"""Tells the species of an iris by its nearest centroid. It needs nothing but Python's standard library.

KEA reads this file to learn what to document: each public method with type hints is a function of the service, its
docstring is the function's description. `predict` is the one that is meant where a caller names none.
"""

import math
from dataclasses import dataclass


@dataclass
class Flower:
    """The measures of a flower in cm."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


@dataclass
class Prediction:
    """A species, and how sure the model is of it."""

    label: str
    probabilities: dict[str, float]


class IrisClassifier:
    """Nearest-centroid classifier of iris flowers."""

    def load(self) -> None:
        """Runs once, before the first call: the place to read files beside this one."""
        # Mean and standard deviation, in cm, of the four features in Fisher's iris data (50 flowers a species).
        self.centroids = {
            "setosa": (5.006, 3.428, 1.462, 0.246),
            "versicolor": (5.936, 2.770, 4.260, 1.326),
            "virginica": (6.588, 2.974, 5.552, 2.026),
        }
        self.deviations = (0.8281, 0.4359, 1.7653, 0.7622)

    def predict(
        self, sepal_length: float, sepal_width: float, petal_length: float, petal_width: float
    ) -> Prediction:
        """Tells the species of one flower from its measures in cm."""
        flower = (sepal_length, sepal_width, petal_length, petal_width)
        closeness = {name: math.exp(-self._distance(flower, mean)) for name, mean in self.centroids.items()}
        # Far from everything known, all of them are 0: then each species is as likely as the others.
        total = sum(closeness.values())
        count = len(closeness)
        shares = {name: value / total if total else 1 / count for name, value in closeness.items()}
        return Prediction(label=max(shares, key=shares.__getitem__), probabilities=shares)

    def centroid(self, species: str) -> Flower:
        """Tells the mean measures of a species: setosa, versicolor or virginica."""
        if species not in self.centroids:
            raise ValueError(f"{species!r} is not a species of this model: choose one of {', '.join(self.centroids)}")
        return Flower(*self.centroids[species])

    def _distance(self, flower: tuple[float, ...], mean: tuple[float, ...]) -> float:
        scaled = ((x - m) / d for x, m, d in zip(flower, mean, self.deviations, strict=True))
        return math.hypot(*scaled)
