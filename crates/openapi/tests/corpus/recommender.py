"""A recommender with every kind of record."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal, NamedTuple, Optional, TypedDict

from annotated_types import Len
from pydantic import BaseModel, Field


class Genre(str, Enum):
    CRIME = "crime"
    POETRY = "poetry"


@dataclass
class Reader:
    """Somebody who reads.

    Attributes:
        age: In years.
    """

    age: int
    genres: list[Genre] = field(default_factory=list)
    friends: Optional[list[Reader]] = None


class Query(BaseModel):
    reader: Reader
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    words: Annotated[list[str], Len(0, 5)] = []
    mode: Literal["fast", "exact"] = "fast"


class Span(NamedTuple):
    first: int
    last: int = 10


class Book(TypedDict, total=False):
    title: str
    score: float


class Base:
    def distance(self, span: Span) -> float: ...


class Recommender(Base):
    def predict(self, query: Query) -> list[Book]:
        """Recommends books.

        :param query: Who asks.
        :returns: best first
        :raises ValueError: where nobody asks
        """
