"""Speech with everything that Python 3.12 to 3.14 brought."""

import sys
from typing import Literal, Protocol, TypedDict, TypeIs, Unpack, override

type Seconds = float
type Vector[N: (int, float) = float] = list[N]
type Callback[**P, R] = Protocol

if sys.version_info >= (3, 14):
    from annotationlib import Format
else:
    Format = None


class Options(TypedDict, total=False):
    beam: int
    language: str


class Segment(TypedDict, closed=True):
    start: Seconds
    end: Seconds
    text: str


class Base:
    def predict(self, samples: Vector, rate: int = 16_000) -> list[Segment]:
        """Writes down what is said."""


class Speech(Base):
    @override
    def predict(self, samples: Vector, rate: int = 16_000, **options: Unpack[Options]) -> list[Segment]:
        match options:
            case {"language": "de" | "en" as language, **rest} if rest:
                print(f"{language!s:>{10}} {f"{rest["beam"]}"}")
            case {"beam": int(beam)}:
                print(t"beam {beam}")
            case _:
                pass
        try:
            return []
        except* (ValueError, TypeError) as group:
            raise group from None
        finally:
            (lambda *, x=1: x)()

    async def embed[T: str](self, words: list[T], kind: Literal[b"x", 1, True, "s"] = "s") -> Vector[float]:
        """Vectors of words."""
        return [y async for x in words if (y := x)]

    def is_long(self, text: object) -> TypeIs[str]:
        """Whether it is long."""
