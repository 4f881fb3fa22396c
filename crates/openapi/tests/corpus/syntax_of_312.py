"""Prices of flats, with type parameters and aliases as statements."""

from dataclasses import dataclass

type Metres = float
type Rooms = dict[str, Metres]


@dataclass
class Page[T]:
    """Some of many.

    Attributes:
        items: What is on it.
        following: Where the next begins.
    """

    items: list[T]
    following: int | None = None


class Model:
    def predict(self, rooms: Rooms, floor: int = 0) -> float:
        """Prices a flat.

        Args:
            rooms: Length of each room's longer side, in metres.
            floor: 0 is the ground.
        """
        match floor:
            case 0:
                factor = 0.9
            case _ if floor > 10:
                factor = 1.2
            case _:
                factor = 1.0
        try:
            return factor * sum(rooms.values())
        except* ValueError as group:
            raise group.exceptions[0]

    def listed(self, start: int = 0) -> Page[str]:
        """Flats that are known."""
        return Page(items=[f"flat {number}" for number in range(start, start + 3)])
