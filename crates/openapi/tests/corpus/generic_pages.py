"""Search with answers that are generic in both syntaxes."""

from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")
K = TypeVar("K", str, int)


class Hit(TypedDict):
    title: str
    score: float


class Page(BaseModel, Generic[T]):
    """Some of many."""

    items: list[T]
    total: int = Field(ge=0)


@dataclass
class Keyed(Generic[K, T]):
    key: K
    value: T


class HitPage(Page[Hit]):
    took: float


@dataclass
class Envelope[D, M = dict[str, str]]:
    """What is around an answer."""

    data: D
    meta: M


type Pair[A, B] = tuple[A, B]
type Table[R] = dict[str, list[R]]
Rows = list[T]


class Search:
    def predict(self, words: list[str], weights: Pair[float, float] = (0.5, 0.5)) -> Page[Hit]:
        """Searches."""

    def wrapped(self, words: Rows[str]) -> Envelope[list[Hit]]:
        """The same within an envelope."""

    def known(self, by: Keyed[str, Table[int]]) -> HitPage:
        """Those that are known."""

    def first[N: (int, float)](self, numbers: list[N]) -> N:
        """The first of some."""

    def raw(self, page: Page) -> list[Page[int]]:
        """A page of anything."""
