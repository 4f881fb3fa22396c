"""Two functions and no class."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

THRESHOLD = 0.5


def predict(text: str, threshold: float = THRESHOLD) -> dict[str, float]:
    """Scores a text.

    @param text: What is scored.
    @type text: str
    @param threshold: From which it counts.
    @return: The scores.
    @rtype: dict
    """
    return {"score": 1.0}


def since(day: datetime, account: UUID, amount: Decimal, raw: bytes = b"") -> list[datetime]: ...


def _helper(x: int) -> int: ...
