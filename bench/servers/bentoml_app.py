"""BentoML: one service with a typed request. `BENCH_WORKERS` is the number of its processes."""

import os
from typing import Annotated

import bentoml
import common
import numpy as np
from pydantic import BaseModel, Field, create_model

if common.FEATURES:
    Inputs = create_model("Inputs", **{name: (float, ...) for name in common.FEATURES})
else:
    Row = Annotated[list[float], Field(min_length=common.WIDTH, max_length=common.WIDTH)]
    Inputs = create_model("Inputs", input=(Row, ...))


class Prediction(BaseModel):
    label: int
    probabilities: dict[str, float]


class Response(BaseModel):
    predictions: list[Prediction]


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]))
class Service:
    def __init__(self):
        self.predict_rows = common.load_sklearn()

    @bentoml.api
    async def predict(self, inputs: Inputs) -> Response:
        row = [getattr(inputs, name) for name in common.FEATURES] if common.FEATURES else inputs.input
        rows = self.predict_rows(np.array([row]))
        return Response(predictions=[Prediction(**common.prediction(row)) for row in rows])
