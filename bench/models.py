"""Trains the benchmark's models on data that scikit-learn ships, and saves each as joblib and as ONNX.

`NAME.joblib` knows the names of its features, where it has such. `NAME-plain.joblib` is the same model without
them, for
servers that give it bare arrays: scikit-learn would warn at every call, and slow them down for no fault of theirs.

Beside them `models.json` says, for each model, its features, some rows and the label that the model gives each row.
Every server must give the same labels before it is measured.
"""

import json
from pathlib import Path

import joblib
import numpy as np
import onnxruntime
import pandas
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

FOLDER = Path(__file__).parent / "models"
SAMPLES = 12
SIDE = 28


def named(data):
    """A data set with its features as columns whose names are identifiers."""
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in data.feature_names]
    return pandas.DataFrame(data.data, columns=names), data.target


def upscaled(images):
    """Pictures of 8x8 as rows of 28x28 numbers between 0 and 1, by bilinear interpolation."""
    old = images.shape[1]
    at = np.linspace(0, old - 1, SIDE)
    low = np.minimum(at.astype(int), old - 2)
    part = at - low
    wide = images[:, :, low] * (1 - part) + images[:, :, low + 1] * part
    tall = wide[:, low, :] * (1 - part)[:, None] + wide[:, low + 1, :] * part[:, None]
    return np.round(tall.reshape(len(images), SIDE * SIDE) / 16, 4)


def iris():
    return LogisticRegression(max_iter=500), *named(load_iris())


def forest():
    return RandomForestClassifier(n_estimators=100, random_state=0), *named(load_breast_cancer())


def mlp():
    digits = load_digits()
    return MLPClassifier((128,), max_iter=200, random_state=0), upscaled(digits.images), digits.target


def sample(model, x, y):
    """Rows of all classes, with what the model says."""
    rows = x.iloc if hasattr(x, "iloc") else x
    chosen = rows[np.argsort(y, kind="stable")[:: len(y) // SAMPLES][:SAMPLES]]
    return np.asarray(chosen, dtype=float), [int(label) for label in model.predict(chosen)]


def as_onnx(model, width):
    return to_onnx(
        model,
        initial_types=[("input", FloatTensorType([None, width]))],
        options={id(model): {"zipmap": False}},
        target_opset=17,
    ).SerializeToString()


def check_onnx(graph, rows, labels):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    given = session.run(None, {"input": rows.astype(np.float32)})[0]
    assert list(map(int, given)) == labels, "the ONNX model gives other labels than the scikit-learn model"


def make(name, model, x, y):
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)
    model.fit(x_train, y_train)
    accuracy = model.score(x_test, y_test)
    rows, labels = sample(model, x, y)
    graph = as_onnx(model, rows.shape[1])
    check_onnx(graph, rows, labels)
    joblib.dump(model, FOLDER / f"{name}.joblib")
    (FOLDER / f"{name}.onnx").write_bytes(graph)
    features = list(vars(model).pop("feature_names_in_", []))
    joblib.dump(model, FOLDER / f"{name}-plain.joblib")
    print(f"model {name}: accuracy {accuracy:.3f}", flush=True)
    return {
        "features": features,
        "width": rows.shape[1],
        "classes": [int(label) for label in model.classes_],
        "rows": rows.tolist(),
        "labels": labels,
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    described = {maker.__name__: make(maker.__name__, *maker()) for maker in (iris, forest, mlp)}
    (FOLDER / "models.json").write_text(json.dumps(described))


if __name__ == "__main__":
    main()
