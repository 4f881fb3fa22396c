"""Travel times, with named tuples in both forms, functional enumerations and new types."""

from collections import namedtuple
from enum import Enum, auto
from typing import NamedTuple, NewType, Optional

Minutes = NewType("Minutes", float)
Weekday = Enum("Weekday", ["MONDAY", "SATURDAY", "SUNDAY"])
Vehicle = Enum("Vehicle", {"CAR": "car", "BIKE": "bike"})
Stop = NamedTuple("Stop", [("name", str), ("minutes", int)])
Point = namedtuple("Point", "lat lon height", defaults=[0.0])


class Traffic(Enum):
    LOW = auto()
    HIGH = auto()
    DENSE = HIGH


class Leg(NamedTuple):
    """A part of the way."""

    metres: float
    via: Optional[Stop] = None
    traffic: Traffic = Traffic.LOW


def predict(start: Point, end: Point, vehicle: Vehicle = Vehicle.CAR, day: Weekday | None = None) -> Minutes:
    """Time on the way.

    Args:
        start: Where it begins.
        end: Where it ends.

    Returns:
        Minutes: door to door
    """
    return Minutes(0.0)


def legs(start: Point, end: Point) -> list[Leg]:
    """The parts of the way."""
    return []
