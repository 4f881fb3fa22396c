from __future__ import annotations

from typing import Annotated, AsyncGenerator

import bentoml
import numpy as np
from bentoml.validators import DType, Shape
from pydantic import BaseModel, Field


class Params(BaseModel):
    temperature: float = Field(default=0.5, ge=0, le=2)
    prompt: str


@bentoml.service
class Tokens:
    @bentoml.api
    def count(self, text: str) -> int:
        return len(text.split())


@bentoml.service(resources={"cpu": "2"}, traffic={"timeout": 30})
class Summarization:
    """Sums up texts."""

    tokens = bentoml.depends(Tokens)

    def __init__(self) -> None:
        self.model = None

    @bentoml.api(batchable=True)
    def summarize(self, texts: list[str], ctx: bentoml.Context = None) -> list[str]:
        """Sums up each text."""
        return [text[:10] for text in texts]

    @bentoml.api
    def classify(self, row: Annotated[np.ndarray, Shape((-1, 4)), DType("float64")]) -> np.ndarray:
        return row

    @bentoml.api(input_spec=Params)
    def generate(self, **params) -> str:
        return params["prompt"]

    @bentoml.api
    async def stream(self, prompt: str) -> AsyncGenerator[str, None]:
        yield prompt

    def helper(self, x: int) -> int:
        return x
