"""Risk of a portfolio: mixins, class methods, static methods, properties, decorators of one's own."""

import functools
from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from typing import TypedDict

import mlflow


def logged(level: str):
    def wrap(function):
        return functools.wraps(function)(function)

    return wrap


class Position(TypedDict):
    asset: str
    amount: float


class Value(TypedDict):
    value: float
    at_risk: float


class VersionMixin:
    VERSION: str = "1.0"

    def version(self) -> str:
        """The version of the model."""
        return self.VERSION


class RiskBase(ABC):
    @abstractmethod
    def predict(self, positions: list[Position]) -> Value: ...

    @property
    @abstractmethod
    def name(self) -> str: ...


class Portfolio(VersionMixin, RiskBase):
    """Risk of a portfolio."""

    non_deterministic = ["simulate"]
    DEFAULT_LEVEL = 0.95

    @cached_property
    def table(self) -> dict[str, float]:
        return {}

    @property
    def name(self) -> str:
        return "portfolio"

    @logged("info")
    @mlflow.trace
    def predict(self, positions: list[Position], level: float = DEFAULT_LEVEL) -> Value:
        """Value at risk."""

    @staticmethod
    @lru_cache(maxsize=None)
    def currencies(known: bool = True) -> set[str]:
        """Currencies that are priced."""

    @classmethod
    def assets(cls, kind: str = "share") -> list[str]:
        """Assets that are priced."""

    def simulate(self, positions: list[Position], runs: int = 10 * 1000) -> list[float]:
        """Values that may come."""

    def __call__(self, x: int) -> int:
        return x

    def _private(self, x: int) -> int:
        return x
