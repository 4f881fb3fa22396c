"""BentoML before 1.2: a service object with functions."""

import bentoml
import numpy as np
from bentoml.io import JSON, NumpyNdarray, Text
from pydantic import BaseModel

runner = bentoml.sklearn.get("iris:latest").to_runner()
svc = bentoml.Service("iris", runners=[runner])


class Flower(BaseModel):
    sepal: float
    petal: float


class Species(BaseModel):
    name: str


@svc.api(input=NumpyNdarray(dtype="float32", shape=(-1, 4)), output=NumpyNdarray(dtype="int64", shape=(-1,)))
def predict(rows: np.ndarray) -> np.ndarray:
    """Species of each row."""
    return runner.predict.run(rows)


@svc.api(input=JSON(pydantic_model=Flower), output=JSON(pydantic_model=Species), route="/v1/one")
async def one(flower: Flower) -> Species:
    """Species of one flower."""


@svc.api(input=Text(), output=JSON())
def parse(text: str) -> dict:
    """Reads a flower from words."""
