"""Support tickets that answer each other: types that contain themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, Union

from pydantic import BaseModel

Json = Union[dict[str, "Json"], list["Json"], str, int, float, bool, None]
type Tree = int | list[Tree]


@dataclass
class Ticket:
    text: str
    answers: list[Ticket] = field(default_factory=list)


class Node(BaseModel):
    name: str
    parent: "Node | None" = None
    edges: list[Edge] = []


class Edge(BaseModel):
    to: Node


class Urgency(TypedDict):
    level: int
    because: list[str]


class Model:
    def predict(self, ticket: Ticket, extra: Json = None) -> Urgency:
        """How urgent a ticket is."""

    def depth(self, tree: Tree, root: Node | None = None) -> int:
        """Depth of a tree."""
