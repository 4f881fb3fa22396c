"""What every server under test needs: the model, its description, and KEA's form of an answer.

`BENCH_MODELS` is the folder that `models.py` fills, `BENCH_MODEL` the model's name in it.
"""

import json
import os
from pathlib import Path

import numpy as np

NAME = os.environ["BENCH_MODEL"]
FOLDER = Path(os.environ["BENCH_MODELS"])
DESCRIBED = json.loads((FOLDER / "models.json").read_text())[NAME]
FEATURES = DESCRIBED["features"]
WIDTH = DESCRIBED["width"]
CLASSES = [str(label) for label in DESCRIBED["classes"]]


def load_sklearn():
    """The scikit-learn model, as a function from a matrix to one list of probabilities a row."""
    import joblib

    model = joblib.load(FOLDER / f"{NAME}-plain.joblib")
    return lambda matrix: model.predict_proba(matrix).tolist()


def load_onnx():
    """The ONNX model, as a function from a matrix to one list of probabilities a row."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(FOLDER / f"{NAME}.onnx", options, providers=["CPUExecutionProvider"])
    return lambda matrix: session.run(["probabilities"], {"input": matrix.astype(np.float32)})[0].tolist()


def prediction(probabilities):
    """One row's answer: the label, and the probability of each class by its name."""
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {"label": int(CLASSES[best]), "probabilities": dict(zip(CLASSES, probabilities, strict=False))}
