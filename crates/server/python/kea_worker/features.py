"""What an estimator takes, and how a request becomes it: an array, a data frame or a list of texts."""

from __future__ import annotations

import warnings

import numpy as np

from .columns import Column, describe
from .contract import tensor, zeros_of
from .errors import Unusable
from .nested import forget_names
from .tensors import DTYPES


class Features:
    """What an estimator takes, and how the arrays of a request are made into it."""

    def __init__(self, columns: list, named: bool, text: bool = False, incomplete=()):
        self.columns, self.named, self.text, self.incomplete = columns, named, text, incomplete
        self.names = [column.name for column in columns]
        self.matrix = len({column.datatype for column in columns}) == 1 and columns[0].datatype != "BYTES"
        self.index = None  # of the data frame, where the estimator needs one

    @classmethod
    def of(cls, model) -> Features:
        names = getattr(model, "feature_names_in_", None)
        count = getattr(model, "n_features_in_", None)
        if names is not None and all(str(name) == f"Column_{i}" for i, name in enumerate(names)):
            names = None  # what LightGBM calls columns without names
        if names is None and count is None:
            first = getattr(model, "steps", [(None, model)])[0][1]
            if hasattr(first, "analyzer"):
                return cls([], named=False, text=True)
            return cls([], named=False, incomplete=["The number of features is not recorded in the model."])
        columns = [Column(str(name)) for name in (names if names is not None else map("x{}".format, range(count)))]
        describe(model, columns)
        named = names is not None or any(column.datatype != "FP64" for column in columns)
        used = [column for column in columns if column.used] if names is not None else columns
        features = cls(used, named)
        features.by_name = names is not None
        return features

    by_name = False

    def fields(self):
        """The contract's inputs and their layout."""
        if self.text:
            return [tensor("input", "BYTES", [-1])], "tensors"
        if self.named:
            return [column.field() for column in self.columns], "features"
        nullable = {"nullable": True} if any(column.nullable for column in self.columns) else {}
        return [tensor("input", "FP64", [-1, len(self.columns) or -1], **nullable)], "tensors"

    def probes(self, rows: int = 32):
        """Rows as a request brings them, to see whether a faster way gives the same results; `None` for text."""
        if not self.columns:
            return None
        random = np.random.default_rng(0)
        return self.request([self.sample(column, random, rows) for column in self.columns])

    def sample(self, column: Column, random, rows: int) -> list:
        if column.categories:
            return [column.categories[i] for i in random.integers(len(column.categories), size=rows)]
        if column.datatype != "FP64":
            return [column.example] * rows
        return (column.example + random.normal(size=rows) * (abs(column.example) + 1)).tolist()

    def request(self, values: list) -> dict:
        """The arrays of a request out of each column's values."""
        dtypes = [DTYPES.get(column.datatype, object) for column in self.columns]
        arrays = [np.array(column, dtype=dtype) for column, dtype in zip(values, dtypes)]
        if self.matrix or not self.named:
            return {"input": np.column_stack(arrays)}
        return dict(zip(self.names, arrays))

    def warm_up(self, inputs: list, run):
        """Tries one row, with other numbers where nothing is known of a column; it becomes the inputs' example."""
        if not self.columns:
            rows = {"input": zeros_of(inputs[0])}
            outputs = run(rows)
            inputs[0]["example"] = rows["input"].tolist()
            return outputs
        for filler in (0.0, 1.0, 0.5):
            row = [
                filler if column.example == 0.0 and not column.categories else column.example for column in self.columns
            ]
            try:
                outputs = run(self.request([[value] for value in row]))
            except Exception:
                if filler == 0.5:
                    raise
                continue
            for field, value in zip(inputs, row if self.named else [[row]]):
                field["example"] = value
            return outputs

    def choose_arrangement(self, model, probes) -> None:
        """Plain arrays where they give what a data frame gives: they are several times faster."""
        if not self.by_name:
            return
        self.index = self.frame_index()
        forgotten = forget_names(model)
        if self.index is None:
            return
        plain = self.quiet_prediction(model, probes) if self.matrix else None
        for estimator, names in forgotten:
            estimator.feature_names_in_ = names
        if plain is not None and self.frame_gives(plain, model, probes):
            forget_names(model)
            self.index = None

    def frame_index(self):
        """What a data frame calls its columns; `None` where pandas is not there and not needed."""
        try:
            import pandas
        except ImportError:
            if self.matrix:
                return None
            raise Unusable("the model takes named columns of several types: add `pandas` to its requirements") from None
        return pandas.Index(self.names)

    def frame_gives(self, plain, model, probes) -> bool:
        try:
            return alike(plain, np.asarray(model.predict(self.frame(probes))))
        except Exception:
            return False

    def quiet_prediction(self, model, probes):
        """What the model makes of plain arrays; `None` where a step of it misses the names."""
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="X (has|does not have valid) feature names")
            try:
                return np.asarray(model.predict(self.plain(probes)))
            except Exception:
                return None

    def arrange(self, arrays: dict):
        """What the estimator takes, out of the arrays of a request."""
        if self.index is not None:
            return self.frame(arrays)
        return self.plain(arrays)

    def plain(self, arrays: dict):
        matrix = arrays.get("input")
        if matrix is not None and (matrix.ndim == 2 or not self.columns):
            return matrix.tolist() if self.text else matrix
        columns = [arrays[name] for name in self.names]
        if self.matrix:
            return np.column_stack(columns)
        rows = np.empty((len(columns[0]), len(columns)), dtype=object)
        for position, column in enumerate(columns):
            rows[:, position] = column
        return rows

    def frame(self, arrays: dict):
        import pandas

        matrix = arrays.get("input")
        if matrix is not None and matrix.ndim == 2:
            return pandas.DataFrame(matrix, columns=self.index, copy=False)
        return pandas.DataFrame({name: arrays[name] for name in self.names}, columns=self.index)


def alike(one, other) -> bool:
    """Labels are equal, and numbers but for their last digits, which depend on an array's order in memory."""
    if one.dtype.kind == "f" and one.shape == other.shape:
        return np.allclose(one, other, rtol=1e-9, atol=0, equal_nan=True)
    return np.array_equal(one, other)
