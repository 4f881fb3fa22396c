"""What an estimator gives, by the names and types of the contract."""

from __future__ import annotations

import numpy as np

from .contract import scalar, tensor
from .tensors import datatype_of


class Scores:
    """Runs an estimator's functions and names their results."""

    def __init__(self, model, predict):
        self.model, self.predict = model, predict
        classes = getattr(model, "classes_", None)
        self.kind = "value" if classes is None else "label"
        if classes is None and (
            hasattr(model, "labels_") or hasattr(model, "cluster_centers_") or is_outlier_detector(model)
        ):
            self.kind = "cluster"
        self.classes = classes if isinstance(classes, np.ndarray) else None
        self.dtypes = {}

    def of(self, rows) -> list:
        label, probabilities = self.predict(rows)
        if self.kind == "value" and label.ndim == 2 and label.shape[1] == 1:
            label = label[:, 0]
        named = [("value" if self.kind == "value" else "label", label)]
        if probabilities is not None:
            named.append(("probabilities", probabilities))
        return [(name, self.converted(name, array)) for name, array in named]

    def converted(self, name: str, array):
        """Labels are text, 64-bit integers or truth values; numbers have 32 or 64 bits."""
        kind = array.dtype.kind
        if kind in "iu" and array.dtype != np.int64:
            return array.astype(np.float64 if name == "value" else np.int64)
        if name == "value" and kind in "iub":
            return array.astype(np.float64)
        return array

    def fields(self, outputs) -> list:
        """The contract's outputs: as the warm-up gave them, else as the classes tell."""
        if outputs is None:
            outputs = self.expected()
        fields = [
            scalar(name, datatype_of(array.dtype))
            if array.ndim == 1
            else tensor(name, datatype_of(array.dtype), (-1, *array.shape[1:]))
            for name, array in outputs
        ]
        if len(fields) == 2 and self.classes is not None:
            fields[1]["labels"] = [str(label) for label in self.classes.tolist()]
        return fields

    def expected(self) -> list:
        if self.kind == "value":
            width = getattr(self.model, "n_outputs_", 1)
            return [("value", np.zeros(1 if width == 1 else (1, width)))]
        if self.classes is None:
            return [("label", np.zeros(1, np.int64))]
        label = [("label", self.converted("label", self.classes[:1]))]
        if hasattr(self.model, "predict_proba"):
            label.append(("probabilities", np.zeros((1, len(self.classes)))))
        return label


def is_outlier_detector(model) -> bool:
    return hasattr(model, "score_samples") and hasattr(model, "offset_")
