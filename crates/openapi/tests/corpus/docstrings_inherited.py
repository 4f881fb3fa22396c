"""A model of which the words stand in its base classes."""

from typing import Protocol, TypedDict


class Row(TypedDict):
    """
    Attributes
    ----------
    x : float
        East, in metres.
    y : float
        North, in metres.
    """

    x: float
    y: float


class Weighted(Row):
    weight: float


class Base:
    """Says how far things are."""

    def predict(self, rows: list[Row], power: int = 2) -> float:
        """Total distance.

        Parameters
        ----------
        rows
            Points on the way.
        power : {1, 2}, optional
            Of the norm.

        Returns
        -------
        float
            In metres.

        Raises
        ------
        ValueError
            If there is no row.
        """
        return 0.0


class Middle(Base):
    def longest(self, rows: list[Row]) -> float:
        """The longest step."""
        return 0.0


class Distances(Middle):
    def predict(self, rows: list[Weighted], power: int = 2) -> float:
        return super().predict(rows, power)

    def longest(self, rows: list[Row]) -> float:
        return 1.0


class HasLength(Protocol):
    def length(self) -> int: ...
