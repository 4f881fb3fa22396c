"""BentoML since 1.2, with shapes, files and services that depend on each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, AsyncGenerator

import bentoml
import numpy as np
from bentoml.validators import DType, Shape
from pydantic import BaseModel, Field


class Options(BaseModel):
    length: int = Field(default=100, ge=10, le=1000, description="Words of the summary.")
    style: str = "plain"


@bentoml.service(resources={"gpu": 1})
class Embedder:
    @bentoml.api(batchable=True)
    def encode(self, texts: list[str]) -> Annotated[np.ndarray, Shape((-1, 384)), DType("float32")]:
        """Vectors of texts."""


@bentoml.service(name="summary", traffic={"timeout": 60})
class Summary:
    """Summaries of texts."""

    embedder = bentoml.depends(Embedder)

    @bentoml.api(route="/summarize")
    async def summarize(self, text: Annotated[str, Field(min_length=1)], options: Options = Options(), ctx: bentoml.Context = None) -> str:
        """Shortens a text.

        Args:
            text: What is shortened.
            options: How.

        Returns:
            The summary.
        """

    @bentoml.api
    def from_file(self, document: Annotated[Path, bentoml.validators.ContentType("application/pdf")]) -> list[str]:
        """Summaries of a file's pages."""

    @bentoml.api
    async def words(self, text: str) -> AsyncGenerator[str, None]:
        """One word after the other."""
        yield text

    @bentoml.task
    def retrain(self, texts: list[str], epochs: int = 3) -> float:
        """Trains again."""

    def helper(self, x: int) -> int:
        return x
