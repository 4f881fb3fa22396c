"""Mood of texts by functions of the module."""

import functools
import logging
from pathlib import Path
from typing import Literal, TypeAlias, overload

logger = logging.getLogger(__name__)

Mood: TypeAlias = Literal["good", "bad", "neutral"]
LANGUAGES = ["en", "de"]
DEFAULT_LANGUAGE = LANGUAGES[0]
LIMIT = 2 ** 10


def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@timed
def predict(text: str, language: str = DEFAULT_LANGUAGE, limit: int = LIMIT) -> Mood:
    """
    Says the mood of a text.

    @param text: What is read,
        at most C{limit} characters.
    @type text: C{str}
    @param language: Its language.
    @return: The mood.
    @rtype: C{str}
    @raise ValueError: If the language is unknown.
    """
    return "good"


@overload
def moods(texts: str) -> Mood: ...
@overload
def moods(texts: list[str]) -> list[Mood]: ...
def moods(texts: str | list[str]) -> Mood | list[Mood]:
    """Moods of one text or many."""
    return "good" if isinstance(texts, str) else ["good"]


async def from_file(path: Path, encoding: str = "utf-8", errors: Literal["strict", "ignore"] = "strict") -> dict[Mood, int]:
    """Counts the moods of a file's lines."""
    return {"good": 1}


def untyped(text):
    return text


def variadic(text: str, *more: str, **options: int) -> int:
    return 1


class _Cache(dict): ...


if __name__ == "__main__":
    print(predict("fine"))
