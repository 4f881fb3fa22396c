"""A model whose base class says what it does, in words and in type variables."""

from abc import ABC, abstractmethod
from typing import Generic, TypedDict, TypeVar

Given = TypeVar("Given")
Told = TypeVar("Told")


class Predictor(ABC, Generic[Given, Told]):
    """Predicts something of something."""

    @abstractmethod
    def predict(self, given: Given) -> Told:
        """Predicts.

        Args:
            given: What is looked at.

        Returns:
            What is seen in it.
        """

    def many(self, given: list[Given]) -> list[Told]:
        """Predicts for many.

        Args:
            given: What is looked at, in order.
        """
        return [self.predict(one) for one in given]

    def version(self) -> str:
        """Name of the build."""
        return "1"


class Flower(TypedDict):
    petals: int
    width: float


class Species(TypedDict):
    name: str


class Flowers(Predictor[Flower, Species]):
    def predict(self, given: Flower) -> Species:
        return {"name": "rose"}

    def version(self) -> str:
        return "2"
