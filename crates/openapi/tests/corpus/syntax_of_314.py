"""Greetings: template strings, annotations that are looked up late, exceptions without brackets."""

from typing import TypedDict


class Model:
    def predict(self, guest: Guest) -> Greeting:
        """Greets."""
        try:
            template = t"Hello {guest['name']}"
        except KeyError, TypeError:
            template = t"Hello"
        return {"parts": len(template.strings), "language": guest.get("language", "en")}


class Guest(TypedDict, total=False):
    name: str
    language: str


class Greeting(TypedDict):
    parts: int
    language: str
