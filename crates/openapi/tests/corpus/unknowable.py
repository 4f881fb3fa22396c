"""What cannot be known from the source: it is said and not invented."""

from typing import Any, Callable, Protocol

import torch
from sklearn.pipeline import Pipeline
from transformers import BatchEncoding

from company.schemas import Customer


class Scorer(Protocol):
    def __call__(self, x: float) -> float: ...


class Options:
    def __init__(self, depth: int = 3):
        self.depth = depth


def make_type():
    return int


class Model:
    pipeline: Pipeline

    def predict(self, customer: Customer, options: Options, scorer: Scorer) -> BatchEncoding:
        """Nobody can know."""

    def call(self, function: Callable[[int], str], computed: make_type(), missing: Nowhere) -> Any:
        """Nor this."""

    def listed(self, x, y: int = compute()) -> dict:
        """Nor all of this."""

    def device(self, device: torch.device = torch.device("cpu")) -> list:
        """Nor where."""
