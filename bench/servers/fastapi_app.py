"""The service that one writes by hand: FastAPI with a typed request and a typed answer.

`BENCH_ENGINE` is `sklearn` or `onnx`. The endpoint is `async`: faster here than FastAPI's thread pool.
"""

import os
from typing import Annotated

import common
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

predict_rows = {"sklearn": common.load_sklearn, "onnx": common.load_onnx}[os.environ["BENCH_ENGINE"]]()

if common.FEATURES:
    Inputs = create_model("Inputs", **{name: (float, ...) for name in common.FEATURES})
else:
    Row = Annotated[list[float], Field(min_length=common.WIDTH, max_length=common.WIDTH)]
    Inputs = create_model("Inputs", input=(Row, ...))


class Request(BaseModel):
    inputs: Inputs


class Prediction(BaseModel):
    label: int
    probabilities: dict[str, float]


class Response(BaseModel):
    predictions: list[Prediction]


def matrix(inputs):
    if common.FEATURES:
        return np.array([[getattr(inputs, name) for name in common.FEATURES]])
    return np.array([inputs.input])


app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    rows = predict_rows(matrix(request.inputs))
    return Response(predictions=[Prediction(**common.prediction(row)) for row in rows])
