"""Loads one model and runs it for KEA's model server, which does all the rest: HTTP, JSON, validation, batching.

The server starts this file with a connected Unix stream socket as its standard input. Frames go both ways: a u32
length of the JSON header, a u64 length of the tensors, the header, the tensors one after the other (little endian,
row-major, a u32 length before each element of BYTES). Nothing but Python's standard library, numpy and the model's
own packages is needed; Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import collections.abc
import ctypes
import dataclasses
import datetime
import decimal
import enum
import gc
import importlib.util
import inspect
import json
import math
import os
import pathlib
import pickle
import platform
import signal
import socket
import struct
import sys
import traceback
import types
import typing
import uuid
import warnings

THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="runs one model for KEA's model server")
    parser.add_argument("--framework", required=True, choices=sorted(LOADERS))
    parser.add_argument("--model", required=True, help="the model's file or folder")
    parser.add_argument("--file", help="the Python file of a custom class")
    parser.add_argument("--class", dest="class_name", help="the custom class")
    parser.add_argument("--threads", type=int, default=1, help="threads that one inference may use")
    return parser.parse_args()


def limit_threads() -> None:
    """Before numpy and the like are imported, since they read these settings only then."""
    count = next((b for a, b in zip(sys.argv, sys.argv[1:]) if a == "--threads"), "1")
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, count))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


if __name__ == "__main__":
    limit_threads()

try:
    import numpy as np
except ImportError:  # a custom class may do without
    np = None


class Unusable(Exception):
    """The model cannot be served; the text says what to do about it."""


class InvalidArgument(Exception):
    """The caller's argument does not fit the function."""


# ---------------------------------------------------------------------------------------------------------------------
# The socket
# ---------------------------------------------------------------------------------------------------------------------

PREFIX = struct.Struct("<IQ")
ROOM = 1 << 16
KEPT_ROOM = 1 << 24  # a larger buffer is given back after its request


class Channel:
    """Frames over a socket, read into one buffer that is used again and again."""

    def __init__(self, stream: socket.socket):
        self.stream = stream
        self.buffer = bytearray(ROOM)
        self.end = 0  # of the frame that was read last
        self.filled = 0  # bytes in the buffer, of which those after `end` belong to the next frame

    @classmethod
    def over_standard_input(cls) -> Channel:
        """Takes the socket away from standard input, so that nothing that the model does can reach it."""
        stream = socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        return cls(stream)

    def receive(self):
        """The next frame's header and where its tensors begin in the buffer; `None` when the server is gone."""
        self._make_ready()
        if not self._read_until(PREFIX.size):
            return None
        header, tensors = PREFIX.unpack_from(self.buffer)
        start = PREFIX.size + header
        self.end = start + tensors
        self._make_room(self.end)
        if not self._read_until(self.end):
            return None
        return json.loads(self.buffer[PREFIX.size : start]), start

    def _read_until(self, size: int) -> bool:
        while self.filled < size:
            try:
                read = self.stream.recv_into(memoryview(self.buffer)[self.filled :])
            except ConnectionError:
                return False
            if read == 0:
                return False
            self.filled += read
        return True

    def _make_ready(self) -> None:
        ahead = self.buffer[self.end : self.filled]
        if len(self.buffer) > KEPT_ROOM:
            self.buffer = bytearray(max(ROOM, len(ahead)))
        self.buffer[: len(ahead)] = ahead
        self.end, self.filled = 0, len(ahead)

    def _make_room(self, size: int) -> None:
        # A new buffer, since the old one cannot grow while an array still looks into it.
        if size > len(self.buffer):
            read = self.buffer[: self.filled]
            self.buffer = bytearray(size)
            self.buffer[: len(read)] = read

    def send(self, header: bytes, tensors=()) -> None:
        size = sum(map(len, tensors))
        self.stream.sendall(b"".join((PREFIX.pack(len(header), size), header, *tensors)))

    def send_json(self, header) -> None:
        self.send(json.dumps(header).encode())


# ---------------------------------------------------------------------------------------------------------------------
# Tensors
# ---------------------------------------------------------------------------------------------------------------------

NUMPY_NAMES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
DATATYPES = {name: datatype for datatype, name in NUMPY_NAMES.items()}
DTYPES = {datatype: np.dtype(name) for datatype, name in NUMPY_NAMES.items()} if np else {}


def read_tensors(specs, buffer, offset: int) -> dict:
    """Arrays by name, which look into `buffer` without copying where they can."""
    arrays = {}
    for spec in specs:
        size = spec["parameters"]["binary_data_size"]
        dtype = DTYPES.get(spec["datatype"])
        if dtype is None:
            array = read_texts(buffer, offset, size)
        else:
            array = np.frombuffer(buffer, dtype, size // dtype.itemsize, offset)
            if not array.flags.aligned:
                array = array.copy()
        arrays[spec["name"]] = array.reshape(spec["shape"])
        offset += size
    return arrays


def read_texts(buffer, offset: int, size: int):
    texts, end = [], offset + size
    while offset < end:
        (length,) = struct.unpack_from("<I", buffer, offset)
        offset += 4 + length
        texts.append(buffer[offset - length : offset].decode())
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def write_tensor(name: str, array):
    """The header entry of an output and its bytes."""
    datatype = DATATYPES.get(array.dtype.name)
    data = write_texts(array) if datatype is None else array.tobytes()
    entry = (
        f'{{"name":{quoted(name)},"datatype":"{datatype or "BYTES"}","shape":{list(array.shape)},'
        f'"parameters":{{"binary_data_size":{len(data)}}}}}'
    )
    return entry, data


def write_texts(array) -> bytes:
    parts = []
    for element in array.ravel().tolist():
        data = element if isinstance(element, bytes) else str(element).encode()
        parts += (len(data).to_bytes(4, "little"), data)
    return b"".join(parts)


def quoted(name: str, known={}) -> str:  # noqa: B006 (the default is the cache)
    return known.get(name) or known.setdefault(name, json.dumps(name))


def datatype_of(dtype) -> str:
    """The protocol's name for what is sent of arrays of this type."""
    return DATATYPES.get(np.dtype(dtype).name, "BYTES")


# ---------------------------------------------------------------------------------------------------------------------
# Contracts
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Model:
    """A loaded model of a predefined framework: its contract and what runs `predict` on arrays by name."""

    contract: dict
    infer: typing.Callable


def scalar(name: str, datatype: str, **more) -> dict:
    return {"name": name, "type": {"scalar": {"datatype": datatype}}, **more}


def tensor(name: str, datatype: str, shape, **more) -> dict:
    return {"name": name, "type": {"tensor": {"datatype": datatype, "shape": list(shape)}}, **more}


def contract_of(kind: str, layout: str, inputs, outputs, incomplete=()) -> dict:
    predict = {"name": "predict", "layout": layout, "inputs": inputs, "outputs": outputs, "idempotent": True}
    return {"platform": kind, "functions": [predict], "incomplete": list(incomplete)}


def described_outputs(arrays) -> list:
    """Fields of outputs as one run of the model gave them, whose first dimension is the row."""
    return [tensor(name, datatype_of(array.dtype), (-1, *array.shape[1:])) for name, array in arrays]


def zeros_of(field: dict):
    """One row that fits a field of tensors."""
    kind = field["type"]["tensor"]
    shape = [1 if length < 0 else length for length in kind["shape"]]
    if kind["datatype"] == "BYTES":
        return np.full(shape, "text", dtype=object)
    return np.zeros(shape, DTYPES[kind["datatype"]])


EXAMPLE_LIMIT = 4096  # elements; a longer example is no help to a reader


def warm_up(contract: dict, infer):
    """Runs one row of zeros, which becomes the example of every input where that works; the outputs, or `None`."""
    predict = contract["functions"][0]
    rows = {field["name"]: zeros_of(field) for field in predict["inputs"]}
    outputs = attempt(contract, lambda: infer(rows))
    for field in predict["inputs"] if outputs is not None else ():
        if rows[field["name"]].size <= EXAMPLE_LIMIT:
            field["example"] = rows[field["name"]].tolist()
    return outputs


def attempt(contract: dict, run):
    """What `run` returns, or `None` and a sentence in the contract: a failure may be the row's fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run()
    except Exception as error:
        print(f"warning: the model was not warmed up: {name_of(error)}: {error}", file=sys.stderr)
        contract["incomplete"].append("No row was found that is sure to work, so inputs have no example.")
        return None


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn, and whatever has its API
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Column:
    """One feature, as far as the estimators tell."""

    name: str
    datatype: str = "FP64"
    nullable: bool = False
    example: object = 0.0
    categories: list = dataclasses.field(default_factory=list)
    closed: bool = False  # whether another value than the categories is an error
    used: bool = True

    def field(self) -> dict:
        # Only a number has a form for a missing value on the wire: NaN.
        more = {"nullable": True} if self.nullable and self.datatype == "FP64" else {}
        return scalar(self.name, self.datatype, **more, **({"enum": self.categories} if self.closed else {}))

    def set_categories(self, categories, closed: bool) -> None:
        values = [value for value in np.asarray(categories).tolist() if not is_missing(value)]
        kinds = {type(value) for value in values}
        datatype = {str: "BYTES", int: "INT64", bool: "BOOL", float: "FP64"}.get(
            kinds.pop() if len(kinds) == 1 else None
        )
        if datatype is None:
            return
        self.nullable |= len(values) < len(categories)
        self.datatype, self.categories, self.closed = datatype, values, closed
        self.example = values[0]


def is_missing(value) -> bool:
    return value is None or value != value


def describe(estimator, columns: list) -> bool:
    """Writes into `columns` what a fitted estimator tells of what it takes; whether the next step gets them too."""
    if isinstance(estimator, str):  # passthrough
        return True
    for inner in ("best_estimator_", "estimator_", "regressor_"):
        if hasattr(estimator, inner):
            return describe(getattr(estimator, inner), columns)
    if hasattr(estimator, "steps"):
        return all(describe(step, columns) for _, step in estimator.steps if step is not None)
    if hasattr(estimator, "transformers_"):
        return describe_column_transformer(estimator, columns)
    parts = getattr(estimator, "named_estimators_", None) or dict(getattr(estimator, "transformer_list", ()))
    if parts:
        for part in parts.values():
            describe(part, columns)
        return False
    if hasattr(estimator, "analyzer"):
        for column in columns:
            column.datatype, column.example = "BYTES", "text"
        return False
    return describe_columns(estimator, columns)


def describe_column_transformer(estimator, columns: list) -> bool:
    used = set()
    for _, part, which in estimator.transformers_:
        if isinstance(part, str) and part == "drop":
            continue
        chosen = choose(columns, which)
        used.update(column.name for column in chosen)
        describe(part, chosen)
    for column in columns:
        column.used = column.name in used
    return False


def choose(columns: list, which) -> list:
    """The columns that a ColumnTransformer's specification means: names, positions, a slice or a mask."""
    if isinstance(which, slice):
        names = [column.name for column in columns]
        ends = [names.index(end) if isinstance(end, str) else end for end in (which.start, which.stop)]
        last = isinstance(which.stop, str)  # a slice of names has its last one in it
        return columns[slice(ends[0], ends[1] + 1 if last else ends[1], which.step)]
    wanted = np.atleast_1d(np.asarray(which)).tolist()
    if wanted and isinstance(wanted[0], str):
        return [column for column in columns if column.name in wanted]
    if wanted and isinstance(wanted[0], bool):
        return [column for column, taken in zip(columns, wanted) if taken]
    return [columns[position] for position in wanted]


def describe_columns(estimator, columns: list) -> bool:
    if hasattr(estimator, "categories_") and len(estimator.categories_) == len(columns):
        closed = getattr(estimator, "handle_unknown", None) == "error"
        for column, categories in zip(columns, estimator.categories_):
            column.set_categories(categories, closed)
        return False
    if type(estimator).__name__.endswith("Imputer"):
        for column in columns:
            column.nullable = True
    for source in ("statistics_", "mean_", "center_", "data_min_"):
        values = getattr(estimator, source, None)
        if isinstance(values, np.ndarray) and values.shape == (len(columns),):
            for column, value in zip(columns, values.tolist()):
                take_typical(column, value)
    if hasattr(estimator, "predict"):
        missing = accepts_missing(estimator)
        for column in columns:
            column.nullable |= missing
    return hasattr(estimator, "transform")


def take_typical(column: Column, value) -> None:
    if isinstance(value, str):
        column.datatype, column.example = "BYTES", value
    elif isinstance(value, (int, float)) and math.isfinite(value):
        column.example = float(f"{value:.6g}")


def accepts_missing(estimator) -> bool:
    if type(estimator).__module__.split(".")[0] in ("xgboost", "lightgbm"):
        return True
    try:
        from sklearn.utils import get_tags

        return bool(get_tags(estimator).input_tags.allow_nan) and support_of_trees(estimator)
    except (ImportError, AttributeError):
        return bool(getattr(estimator, "_get_tags", dict)().get("allow_nan", False)) and support_of_trees(estimator)


def support_of_trees(estimator) -> bool:
    """Trees and forests take missing values only where they met some in training, whatever their tags say."""
    tree = (getattr(estimator, "estimators_", None) or [estimator])[0]
    tree = getattr(tree, "tree_", None)
    return tree is None or bool(getattr(tree, "missing_go_to_left", np.zeros(1)).any())


def estimators_in(value, seen=None):
    """All estimators within one, itself included."""
    seen = set() if seen is None else seen
    if isinstance(value, (list, tuple)):
        for item in value[:1024]:
            yield from estimators_in(item, seen)
    elif hasattr(value, "get_params") and not isinstance(value, type) and id(value) not in seen:
        seen.add(id(value))
        yield value
        for item in list(vars(value).values()):
            yield from estimators_in(item, seen)


def set_jobs(model, threads: int) -> None:
    """Estimators saved with `n_jobs=-1` would start pools of threads for each request."""
    for estimator in estimators_in(model):
        if getattr(estimator, "n_jobs", None) not in (None, 1):
            estimator.n_jobs = threads


def serve_estimator(model, arguments) -> Model:
    if type(model).__name__.endswith("SearchCV"):
        model = getattr(model, "best_estimator_", model)
    if not hasattr(model, "predict"):
        raise Unusable(
            f"the file holds a {name_of(model)}, which has no `predict`: save the whole fitted pipeline, or a model "
            "that predicts new rows"
        )
    set_jobs(model, arguments.threads)
    features = Features.of(model)
    kind = "scikit-learn" if type(model).__module__.startswith("sklearn") else type(model).__module__.split(".")[0]
    inputs, layout = features.fields()
    contract = contract_of(f"{kind} {name_of(model)}", layout, inputs, [], features.incomplete)
    probes = features.probes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features.choose_arrangement(model, probes)
        predict = fastest_predict(model, features, probes)
    scores = Scores(model, predict)
    outputs = attempt(contract, lambda: features.warm_up(inputs, lambda rows: scores.of(features.arrange(rows))))
    contract["functions"][0]["outputs"] = scores.fields(outputs)
    finish_settings(model, features)

    def infer(arrays):
        return scores.of(features.arrange(arrays))

    return Model(contract, infer)


def finish_settings(model, features) -> None:
    """Rows were checked by the server, so scikit-learn need not do it again. Not where NaN is allowed in some column,
    nor for ensembles of trees: they convert to 32 bits, where a large number becomes infinite."""
    sklearn = sys.modules.get("sklearn")
    trees = any(".ensemble" in type(e).__module__ or ".tree" in type(e).__module__ for e in estimators_in(model))
    trusted = not trees and not features.text and not any(column.nullable for column in features.columns)
    if sklearn is not None and trusted:
        sklearn.set_config(assume_finite=True)


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
        try:
            import pandas

            self.index = pandas.Index(self.names)
        except ImportError:
            if not self.matrix:
                raise Unusable(
                    "the model takes named columns of several types: add `pandas` to its requirements"
                ) from None
        forgotten = forget_names(model)
        if self.index is None:
            return
        plain = self.quiet_prediction(model, probes) if self.matrix else None
        for estimator, names in forgotten:
            estimator.feature_names_in_ = names
        try:
            same = plain is not None and alike(plain, np.asarray(model.predict(self.frame(probes))))
        except Exception:
            same = False
        if same:
            forget_names(model)
            self.index = None

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


def forget_names(model) -> list:
    """Takes the features' names out of the estimators, who would warn on each call that arrays have none; what was
    taken, to be put back."""
    named = [estimator for estimator in estimators_in(model) if "feature_names_in_" in vars(estimator)]
    return [(estimator, vars(estimator).pop("feature_names_in_")) for estimator in named]


# Classifiers whose label is the class of the largest probability, the first one of equals ...
EXACT_ARGMAX = {
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "RandomForestClassifier",
    "ExtraTreesClassifier",
    "BaggingClassifier",
    "VotingClassifier",
    "LGBMClassifier",
}
# ... and those who find it by scores of another scale, where rounding can make near equals differ.
ROUNDED_ARGMAX = {
    "LogisticRegression",
    "LogisticRegressionCV",
    "MLPClassifier",
    "GaussianNB",
    "BernoulliNB",
    "MultinomialNB",
    "ComplementNB",
    "CategoricalNB",
    "HistGradientBoostingClassifier",
    "GradientBoostingClassifier",
    "KNeighborsClassifier",
    "LinearDiscriminantAnalysis",
    "QuadraticDiscriminantAnalysis",
    "XGBClassifier",
}
NEAR = 1e-6


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


def fastest_predict(model, features, probes):
    """A function of rows to labels or values and, for classifiers that have them, probabilities. A short cut is taken
    only where it gave on every probe what the model's own functions give."""
    if not hasattr(model, "predict_proba"):
        plain = lambda rows: (np.asarray(model.predict(rows)), None)  # noqa: E731
    else:
        plain = lambda rows: both(model, rows)  # noqa: E731
    for shortcut in (forest(model), by_argmax(model, getattr(model, "predict_proba", None))):
        if shortcut is not None and gives_the_same(shortcut, plain, features, probes):
            return shortcut
    return plain


def both(model, rows):
    label, probabilities = model.predict(rows), model.predict_proba(rows)
    # Several labels a row have a list of arrays, which no field can hold.
    return np.asarray(label), probabilities if isinstance(probabilities, np.ndarray) else None


def gives_the_same(shortcut, plain, features, probes) -> bool:
    try:
        rows = features.arrange(probes)
        single = [rows[i : i + 1] for i in range(2)]
        return all(
            np.array_equal(a, b) for x in (rows, *single) for a, b in zip(shortcut(x), plain(x)) if b is not None
        )
    except Exception:
        return False


def by_argmax(model, predict_proba):
    """One call instead of two, where the label follows from the probabilities."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    kind = type(last).__name__
    own = type(last).__module__.split(".")[0] in ("sklearn", "xgboost", "lightgbm")
    classes = getattr(model, "classes_", None)
    if (
        predict_proba is None
        or not own
        or not isinstance(classes, np.ndarray)
        or kind not in EXACT_ARGMAX | ROUNDED_ARGMAX
    ):
        return None
    exact = kind in EXACT_ARGMAX

    def run(rows):
        probabilities = predict_proba(rows)
        if not exact and np.count_nonzero(probabilities > probabilities.max(axis=1, keepdims=True) - NEAR) != len(
            probabilities
        ):
            return model.predict(rows), probabilities
        return classes.take(probabilities.argmax(axis=1)), probabilities

    return run


def forest(model):
    """The mean over a forest's trees without a pool of jobs, whose set-up takes longer than the trees themselves."""
    kind = type(model).__name__
    classifies = kind in ("RandomForestClassifier", "ExtraTreesClassifier")
    known = classifies or kind in ("RandomForestRegressor", "ExtraTreesRegressor")
    if not known or not type(model).__module__.startswith("sklearn.") or model.n_outputs_ != 1:
        return None
    trees = [tree.tree_ for tree in model.estimators_]
    width, slow = (model.n_classes_, model.predict_proba) if classifies else (1, model.predict)

    def mean(rows):
        narrow = np.asarray(rows, dtype=np.float32, order="C")
        # The trees themselves check nothing.
        if narrow.ndim != 2 or narrow.shape[1] != model.n_features_in_ or not np.isfinite(narrow).all():
            return slow(rows)
        total = np.zeros((len(narrow), width))
        for tree in trees:
            total += tree.predict(narrow)
        total /= len(trees)
        return total if classifies else total[:, 0]

    return by_argmax(model, mean) if classifies else lambda rows: (mean(rows), None)


def load_scikit_learn(arguments) -> Model:
    return serve_estimator(unpickle(arguments.model), arguments)


TRUSTED_BY_SKOPS = {"sklearn", "numpy", "scipy", "xgboost", "lightgbm", "catboost", "quantile_forest", "imblearn"}


def unpickle(path: str):
    """What a joblib, pickle or skops file holds."""
    sys.path.append(os.path.dirname(os.path.abspath(path)))  # where classes of the model's own may lie
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return load_skops(path) if path.endswith(".skops") else load_pickle(path)
        except (AttributeError, ValueError, TypeError, ModuleNotFoundError) as error:
            mismatch = next(filter(None, map(version_mismatch, caught)), None)
            if mismatch is None:
                raise
            raise Unusable(f"{mismatch}; loading it failed with {name_of(error)}: {error}") from error
        finally:
            for line in dict.fromkeys(version_mismatch(one) or str(one.message) for one in caught):
                print(f"warning: {line}", file=sys.stderr)


def load_pickle(path: str):
    try:
        with open(path, "rb") as file:
            return joblib_or_pickle().load(file)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError) as error:
        raise Unusable(f"{os.path.basename(path)} is no joblib or pickle file, or is cut off ({error})") from error


def joblib_or_pickle():
    try:
        import joblib
    except ImportError:
        return pickle
    return joblib


def load_skops(path: str):
    import skops.io

    untrusted = skops.io.get_untrusted_types(file=path)
    refused = [kind for kind in untrusted if kind.split(".")[0] not in TRUSTED_BY_SKOPS]
    if refused:
        raise Unusable(
            f"the skops file holds types that are of no known package: {', '.join(refused)}; save the model "
            "with joblib if you trust them"
        )
    return skops.io.load(path, trusted=untrusted)


def version_mismatch(caught):
    """A sentence where a warning is scikit-learn's about the version that saved the model."""
    saved = getattr(caught.message, "original_sklearn_version", None)
    if saved is None:
        return None
    installed = caught.message.current_sklearn_version
    return (
        f"the model was saved with scikit-learn {saved} and is loaded with {installed}, which may give other results: "
        f"add `scikit-learn=={saved}` to its requirements"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Boosters in their own formats
# ---------------------------------------------------------------------------------------------------------------------


def serve_booster(platform_name: str, names, count: int, kind: str, run, notes: dict) -> Model:
    """`run` maps a matrix to what the booster gives: `binary`, `multiclass` (probabilities), `label` or `value`.
    `notes` describe features by name."""
    named = bool(names)
    columns = [Column(name, nullable=True) for name in names] if named else [Column("", nullable=True)] * count
    features = Features(columns, named)
    inputs, layout = features.fields()
    for field in inputs:
        field.update({"description": notes[field["name"]]} if field["name"] in notes else {})

    def infer(arrays):
        raw = run(features.plain(arrays))
        if kind == "binary":
            raw = np.column_stack((1 - raw, raw))
        if kind in ("binary", "multiclass"):
            return [("label", raw.argmax(axis=1)), ("probabilities", raw)]
        return [("label", raw.astype(np.int64))] if kind == "label" else [("value", raw)]

    contract = contract_of(platform_name, layout, inputs, [])
    outputs = attempt(contract, lambda: features.warm_up(inputs, infer)) or []
    contract["functions"][0]["outputs"] = [
        scalar(name, datatype_of(array.dtype)) if array.ndim == 1 else described_outputs([(name, array)])[0]
        for name, array in outputs
    ]
    for field in contract["functions"][0]["outputs"][1:]:
        field["labels"] = [str(label) for label in range(outputs[1][1].shape[1])]
    return Model(contract, infer)


def load_xgboost(arguments) -> Model:
    if not arguments.model.endswith((".json", ".ubj", ".model", ".bin")):
        model = unpickle(arguments.model)
        if type(model).__name__ != "Booster":
            return serve_estimator(model, arguments)
    import xgboost

    if arguments.model.endswith((".json", ".ubj", ".model", ".bin")):
        model = xgboost.Booster(model_file=arguments.model)
    model.set_param({"nthread": arguments.threads})
    objective = json.loads(model.save_config())["learner"]["objective"]["name"]
    kinds = {
        "binary:logistic": "binary",
        "multi:softprob": "multiclass",
        "multi:softmax": "label",
        "binary:hinge": "label",
    }
    # scikit-learn's API, which leaves its mark in the file, stops at the best iteration; the booster's own does not.
    best = model.attr("best_iteration") if model.attr("scikit_learn") else None
    rounds = (0, int(best) + 1) if best else (0, 0)
    types_ = dict(zip(model.feature_names or (), model.feature_types or ()))
    notes = {name: "The category's code." for name, kind in types_.items() if kind == "c"}

    def in_place(rows):
        return model.inplace_predict(rows, iteration_range=rounds, validate_features=False)

    def by_matrix(rows):
        matrix = xgboost.DMatrix(rows, feature_names=model.feature_names, feature_types=model.feature_types)
        return model.predict(matrix, iteration_range=rounds)

    probes = np.random.default_rng(0).normal(size=(8, model.num_features()))
    try:
        run = in_place if np.array_equal(in_place(probes), by_matrix(probes)) else by_matrix
    except (xgboost.core.XGBoostError, ValueError):
        run = by_matrix
    names = model.feature_names
    return serve_booster(f"xgboost {objective}", names, model.num_features(), kinds.get(objective, "value"), run, notes)


def load_lightgbm(arguments) -> Model:
    import lightgbm

    if arguments.model.endswith((".txt", ".model", ".lgb")):
        model = lightgbm.Booster(model_file=arguments.model)
    else:
        model = unpickle(arguments.model)
        if type(model).__name__ != "Booster":
            return serve_estimator(model, arguments)
    head = dict(line.split("=", 1) for line in model.model_to_string(num_iteration=1).splitlines() if "=" in line)
    objective = head.get("objective", "custom").split()[0]
    kinds = {"binary": "binary", "multiclass": "multiclass", "multiclassova": "multiclass"}
    names = model.feature_name()
    if names == [f"Column_{i}" for i in range(len(names))]:
        names = []

    def run(rows):
        return model.predict(rows, num_threads=arguments.threads)

    return serve_booster(
        f"lightgbm {objective}", names, model.num_feature(), kinds.get(objective, "value"), run, codes_of(model, head)
    )


def codes_of(model, head: dict) -> dict:
    """What the codes of a booster's categorical features stand for."""
    infos = zip(head["feature_names"].split(), head["feature_infos"].split())
    categorical = [name for name, info in infos if not info.startswith("[") and info != "none"]
    categories = model.pandas_categorical or []
    if len(categories) != len(categorical):
        return dict.fromkeys(categorical, "The category's code.")
    listed = [", ".join(f"{code} = {value}" for code, value in enumerate(values)) for values in categories]
    return {name: f"The category's code: {text}." for name, text in zip(categorical, listed)}


# ---------------------------------------------------------------------------------------------------------------------
# TensorFlow and Keras
# ---------------------------------------------------------------------------------------------------------------------


def field_of_spec(name: str, spec) -> dict:
    """A field for anything that has TensorFlow's or Keras' `shape` and `dtype`."""
    dtype = getattr(spec.dtype, "name", spec.dtype)
    datatype = "BYTES" if dtype == "string" else DATATYPES.get(dtype)
    if datatype is None:
        raise Unusable(
            f"input `{name}` is of type {dtype}, which the protocol cannot carry: export the model with FP32"
        )
    known = spec.shape is not None and getattr(spec.shape, "rank", 0) is not None
    return tensor(
        name, datatype, [-1 if length is None else int(length) for length in spec.shape] if known else [-1, -1]
    )


def tensorflow_with(threads: int):
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return tensorflow


def with_outputs(platform_name: str, inputs: list, infer, incomplete=()) -> Model:
    contract = contract_of(platform_name, "tensors", inputs, [], incomplete)
    contract["functions"][0]["outputs"] = described_outputs(warm_up(contract, infer) or ())
    return Model(contract, infer)


def load_tensorflow(arguments) -> Model:
    if arguments.model.endswith((".keras", ".h5")):
        return load_keras(arguments)
    tensorflow = tensorflow_with(arguments.threads)
    loaded = tensorflow.saved_model.load(arguments.model)
    signatures = loaded.signatures
    if not signatures:
        raise Unusable("the SavedModel has no signature: save it with `model.export(folder)`, or give `signatures=`")
    name = "serving_default" if "serving_default" in signatures else sorted(signatures)[0]
    run = signatures[name]
    inputs = [field_of_spec(name, spec) for name, spec in run.structured_input_signature[1].items()]

    def infer(arrays, loaded=loaded):  # the signature lives only as long as what it was loaded with
        results = run(**{name: tensorflow.constant(array) for name, array in arrays.items()})
        return [(name, result.numpy()) for name, result in sorted(results.items())]

    return with_outputs(f"tensorflow {name}", inputs, infer)


def load_keras(arguments) -> Model:
    if "KERAS_BACKEND" not in os.environ:
        backends = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
        os.environ["KERAS_BACKEND"] = (backends or ["tensorflow"])[0]
    backend = os.environ["KERAS_BACKEND"]
    tensorflow = tensorflow_with(arguments.threads) if backend == "tensorflow" else None
    import keras

    model = keras.saving.load_model(arguments.model, compile=False)
    if not getattr(model, "inputs", None):
        raise Unusable(
            "the Keras model has no recorded inputs: call it once before `model.save`, or build it with `keras.Input`"
        )
    specs = [tensor_.name if len(model.inputs) > 1 else named_or("input", tensor_.name) for tensor_ in model.inputs]
    inputs = [field_of_spec(name, spec) for name, spec in zip(specs, model.inputs)]
    structure = getattr(model, "_inputs_struct", None)

    def forward(*arrays):
        packed = arrays[0] if structure is None else keras.tree.pack_sequence_as(structure, list(arrays))
        return model(packed, training=False)

    if tensorflow is not None:
        forward = tensorflow.function(forward, reduce_retracing=True)
    names = getattr(model, "output_names", None) or []

    def infer(arrays):
        results = forward(*(keras.ops.convert_to_tensor(arrays[name]) for name in specs))
        return named_outputs(results, names, keras.ops.convert_to_numpy)

    return with_outputs(f"keras {name_of(model)}", inputs, infer)


def named_or(default: str, name: str) -> str:
    """A tensor's own name, unless Keras made it up."""
    return default if name.startswith(("keras_tensor", "input_layer")) else name


def named_outputs(results, names, convert) -> list:
    """Outputs by name: a dictionary's keys, else the given names, else `output` or `output_0`, `output_1` ..."""
    if isinstance(results, dict):
        return [(str(name), convert(result)) for name, result in results.items()]
    if not isinstance(results, (list, tuple)):
        return [(names[0] if len(names) == 1 else "output", convert(results))]
    names = names if len(names) == len(results) else [f"output_{i}" for i in range(len(results))]
    return [(name, convert(result)) for name, result in zip(names, results)]


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch
# ---------------------------------------------------------------------------------------------------------------------


def load_pytorch(arguments) -> Model:
    import torch

    torch.set_num_threads(arguments.threads)
    exported = arguments.model.endswith(".pt2")
    run, inputs, incomplete = (exported_program if exported else torch_script)(torch, arguments.model)
    names = [field["name"] for field in inputs]

    def convert(result):
        result = result.detach().cpu()
        return (result.float() if result.dtype == torch.bfloat16 else result).numpy()

    def infer(arrays):
        with torch.inference_mode():
            return named_outputs(run(*(torch.from_numpy(arrays[name]) for name in names)), [], convert)

    kind = "exported program" if exported else "TorchScript"
    return with_outputs(f"pytorch {kind}", inputs, infer, incomplete)


def exported_program(torch, path: str):
    program = torch.export.load(path)
    wanted = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [
        tensor(name, torch_datatype(values[name].dtype), map(fixed_length, values[name].shape)) for name in wanted
    ]
    return program.module(), inputs, []


def fixed_length(length) -> int:
    return length if isinstance(length, int) else -1


def torch_datatype(dtype) -> str:
    datatype = DATATYPES.get(str(dtype).replace("torch.", ""))
    if datatype is None:
        raise Unusable(f"an input is of type {dtype}, which the protocol cannot carry: export the model with FP32")
    return datatype


def torch_script(torch, path: str):
    try:
        model = torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:
        raise Unusable(
            f"the file is no TorchScript archive: save the model with `torch.jit.script(model).save(...)` or as an "
            f"exported program (.pt2); a state_dict has only weights, and needs a custom class ({error})"
        ) from error
    taken = [argument for argument in model.forward.schema.arguments[1:] if not argument.has_default_value()]
    shape = guessed_shape(torch, model) if len(taken) == 1 else None
    inputs = [tensor(argument.name, "FP32", shape or [-1, -1]) for argument in taken]
    incomplete = (
        []
        if shape
        else ["TorchScript does not record the inputs' shapes and types; two dimensions of FP32 are assumed."]
    )
    return model, inputs, incomplete


def guessed_shape(torch, model):
    """The shape of an input whose length the first layer's weights tell and a trial confirms."""
    weights = next((weights for weights in model.parameters() if weights.dim() == 2), None)
    first = next(model.parameters(), None)
    if weights is None or first is not weights:
        return None
    try:
        with torch.inference_mode():
            model(torch.zeros(2, weights.shape[1]))
    except RuntimeError:
        return None
    return [-1, weights.shape[1]]


# ---------------------------------------------------------------------------------------------------------------------
# Custom classes
# ---------------------------------------------------------------------------------------------------------------------


class CustomModel:
    """An instance of the author's class, whose public methods are its functions."""

    contract = None

    def __init__(self, instance):
        self.instance = instance
        self.prepared = {}
        self.loop = None

    def call(self, name: str, arguments: dict):
        """The result of one function as plain JSON values."""
        function, parameters, hints = self.prepared.get(name) or self.prepare(name)
        positional, named = bind(parameters, hints, arguments)
        return to_json(self.awaited(function(*positional, **named)))

    def prepare(self, name: str):
        function = None if name.startswith("_") else getattr(self.instance, name, None)
        if not callable(function):
            raise InvalidArgument(f"the class {name_of(self.instance)} has no function `{name}`")
        try:
            hints = typing.get_type_hints(function)
        except Exception:  # names that exist only while types are checked
            hints = {}
        self.prepared[name] = function, inspect.signature(function).parameters, hints
        return self.prepared[name]

    def awaited(self, result):
        """One event loop for all calls, since clients and locks that the model keeps belong to the loop they met."""
        if not inspect.isawaitable(result):
            return result
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(result)


def load_custom(arguments) -> CustomModel:
    if not arguments.file or not arguments.class_name:
        raise Unusable("a custom model needs --file and --class")
    file = pathlib.Path(arguments.file).resolve()
    folder = pathlib.Path(arguments.model).resolve()
    os.chdir(folder if folder.is_dir() else folder.parent)
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kind = getattr(module, arguments.class_name, None)
    if not isinstance(kind, type):
        raise Unusable(f"{file.name} has no class `{arguments.class_name}`")
    model = CustomModel(kind())
    if callable(getattr(model.instance, "load", None)):
        model.awaited(model.instance.load())
    return model


def bind(parameters, hints: dict, arguments: dict):
    """Positional and named arguments of a call, each converted to what its annotation asks for."""
    positional, named, rest = [], {}, dict(arguments)
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(rest)
            rest = {}
        elif name in rest:
            value = argument(name, rest.pop(name), hints.get(name))
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[name] = value
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            raise InvalidArgument(f"argument `{name}` is missing")
    if rest:
        raise InvalidArgument(f"there is no argument `{next(iter(rest))}`")
    return positional, named


def argument(name: str, value, hint):
    try:
        return from_json(value, hint)
    except (ValueError, TypeError, KeyError, ArithmeticError, binascii.Error) as error:
        raise InvalidArgument(f"argument `{name}`: {error}") from error


PARSED_TEXT = {
    datetime.datetime: lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")),
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    decimal.Decimal: lambda value: decimal.Decimal(str(value)),
    uuid.UUID: uuid.UUID,
    pathlib.Path: pathlib.Path,
    bytes: lambda text: base64.b64decode(text, validate=True),
}
UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))


def from_json(value, hint):
    """A JSON value as the type that an annotation names; as it is where the annotation asks for nothing special."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in PARSED_TEXT:
        return PARSED_TEXT[hint](value)
    if origin in UNIONS:
        return from_union(value, parts)
    if origin is not None:
        return from_generic(value, origin, parts)
    if not isinstance(hint, type):
        return from_json(value, hint.__supertype__) if hasattr(hint, "__supertype__") else value
    if hint is float and type(value) is int:
        return float(value)
    if issubclass(hint, enum.Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint):
        return hint(**from_fields(value, typing.get_type_hints(hint), hint))
    if hasattr(hint, "model_validate"):
        return hint.model_validate(value)
    if hasattr(hint, "parse_obj"):
        return hint.parse_obj(value)
    if typing.is_typeddict(hint) if hasattr(typing, "is_typeddict") else hasattr(hint, "__total__"):
        return from_fields(value, typing.get_type_hints(hint), hint)
    return from_library(value, hint)


def from_fields(value, hints: dict, hint) -> dict:
    if not isinstance(value, dict):
        raise TypeError(f"an object for {hint.__name__} is expected")
    unknown = next((name for name in value if name not in hints), None)
    if unknown is not None:
        raise ValueError(f"{hint.__name__} has no field `{unknown}`")
    return {name: from_json(item, hints[name]) for name, item in value.items()}


def from_union(value, parts):
    if value is None and type(None) in parts:
        return None
    failure = None
    for part in parts:
        try:
            converted = from_json(value, part)
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            failure = error
            continue
        # A plain type takes only its own values; a converting one has checked.
        if part in (str, int, float, bool, list, dict) and not isinstance(converted, part):
            continue
        if part is not type(None):
            return converted
    raise failure or TypeError(f"a value of another type than {type(value).__name__} is expected")


def from_generic(value, origin, parts):
    if np is not None and origin is np.ndarray:
        dtype = typing.get_args(parts[1])[0] if len(parts) > 1 and typing.get_args(parts[1]) else None
        return np.asarray(value, dtype=dtype if isinstance(dtype, type) else None)
    if origin is tuple and parts and parts[-1] is not Ellipsis:
        return tuple(from_json(item, part) for item, part in zip(value, parts))
    if not isinstance(origin, type):  # Literal and the like
        return value
    if issubclass(origin, (dict, collections.abc.Mapping)) and len(parts) == 2:
        return {from_json(key, parts[0]): from_json(item, parts[1]) for key, item in value.items()}
    if issubclass(origin, collections.abc.Collection) and parts:
        items = [from_json(item, parts[0]) for item in value]
        return origin(items) if origin in (set, frozenset, tuple) else items
    return value


def from_library(value, hint):
    """numpy's and pandas' own classes."""
    if np is not None and hint is np.ndarray:
        return np.asarray(value)
    pandas = sys.modules.get("pandas")
    if pandas is not None and hint in (pandas.DataFrame, pandas.Series):
        return hint(value)
    return hint(value) if hint in (set, frozenset, tuple) else value


class NotJson(Exception):
    """A part of a result that JSON cannot hold, and where in the result it is."""

    def __init__(self, why: str):
        self.why, self.where = why, ""

    def within(self, place: str) -> NotJson:
        self.where = place + self.where
        return self

    def __str__(self) -> str:
        return f"the function's result{self.where} {self.why}"


def to_json(value):
    """A result as values that JSON has."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise NotJson(f"is {float(value)}, which JSON cannot hold")
    if kind is dict:
        return object_of(value)
    if kind in (list, tuple, set, frozenset):
        return list_of(value)
    return to_json(unwrapped(value))


def object_of(value: dict) -> dict:
    result = {}
    for key, item in value.items():
        try:
            result[key_of(key)] = to_json(item)
        except NotJson as error:
            raise error.within(f".{key}") from None
    return result


def list_of(values) -> list:
    result = []
    for position, item in enumerate(values):
        try:
            result.append(to_json(item))
        except NotJson as error:
            raise error.within(f"[{position}]") from None
    return result


def key_of(key) -> str:
    key = key.value if isinstance(key, enum.Enum) else key
    if isinstance(key, (str, int, float)) or hasattr(key, "dtype"):
        return str(key)
    raise NotJson(f"has a key of type {name_of(key)}, where JSON has only text")


def unwrapped(value):
    """One step nearer to JSON."""
    kind = type(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return None if value != value else value.isoformat()  # pandas' missing time is unequal to itself
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (decimal.Decimal, uuid.UUID, pathlib.PurePath)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for method in ("model_dump", "_asdict"):  # pydantic, namedtuple
        if hasattr(kind, method):
            return dict(getattr(value, method)())
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    for plain in (str, bool, int, dict, list, tuple):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, (collections.abc.Mapping, collections.abc.KeysView, collections.abc.ValuesView)):
        return dict(value) if isinstance(value, collections.abc.Mapping) else list(value)
    return unwrapped_array(value)


def unwrapped_array(value):
    pandas = sys.modules.get("pandas")
    if pandas is not None and value is pandas.NA:
        return None
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return value.to_dict("records")
    if np is not None and isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else str(value)
    if np is not None and isinstance(value, np.generic):
        return value.item()
    if np is not None and isinstance(value, np.ndarray):
        return [np.datetime_as_string(item) for item in value] if value.dtype.kind == "M" else value.tolist()
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if np is not None and hasattr(value, "__array__"):
        return np.asarray(value)
    raise NotJson(f"is of type {name_of(value)}, which has no form in JSON")


# ---------------------------------------------------------------------------------------------------------------------
# Errors
# ---------------------------------------------------------------------------------------------------------------------

# Where a package's name is not that of its module.
PACKAGES = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "bs4": "beautifulsoup4",
    "imblearn": "imbalanced-learn",
    "category_encoders": "category-encoders",
    "sentence_transformers": "sentence-transformers",
    "dateutil": "python-dateutil",
}
TRACEBACK_LIMIT = 8000


def name_of(value) -> str:
    return type(value).__name__


def described(error: BaseException, message: str = "") -> dict:
    """An error as the server passes it on, with the lines of the model's own code."""
    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename == described.__code__.co_filename:
        own = own.tb_next
    lines = traceback.format_exception(type(error), error, own or error.__traceback__)
    text = "" if isinstance(error, (InvalidArgument, NotJson, Unusable)) else "".join(lines)[-TRACEBACK_LIMIT:]
    return {"type": name_of(error), "message": message or str(error) or name_of(error), "traceback": text}


def logged(error: dict) -> dict:
    """The error, once the lines of the model's own code are in the log: a caller gets its text alone."""
    if error["traceback"]:
        print(error["traceback"], end="", file=sys.stderr, flush=True)
    return error


def explained(error: BaseException) -> str:
    """What to do about a model that cannot be loaded."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing_module(error.name)
    if isinstance(error, ImportError):
        return f"a package of the model's environment cannot be imported: {error}"
    if isinstance(error, AttributeError) and "Can't get attribute" in str(error):
        return (
            f"{error}: the model was saved with a class or function of the author's own; put it into a module beside "
            "the model's file and save the model again, or serve it by a custom class"
        )
    if isinstance(error, SystemExit):
        return f"the model ended the process while it was loaded: {error}"
    return str(error)


def missing_module(name: str) -> str:
    root = name.split(".")[0]
    package = PACKAGES.get(root, root)
    if "." in name and importlib.util.find_spec(root):
        return (
            f"the installed `{package}` has no module `{name}`: require the version of `{package}` that the model was "
            "saved with"
        )
    return (
        f"the model needs the Python module `{name}`, which its environment does not have: add `{package}` to its "
        "requirements"
    )


# ---------------------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------------------

LOADERS = {
    "ScikitLearn": load_scikit_learn,
    "XGBoost": load_xgboost,
    "LightGBM": load_lightgbm,
    "Keras": load_keras,
    "TensorFlow": load_tensorflow,
    "PyTorch": load_pytorch,
    "Custom": load_custom,
}
REPORTED = (
    "numpy",
    "scipy",
    "pandas",
    "sklearn",
    "joblib",
    "skops",
    "xgboost",
    "lightgbm",
    "tensorflow",
    "keras",
    "torch",
)


def versions() -> dict:
    loaded = {name: sys.modules[name] for name in REPORTED if name in sys.modules}
    found = {PACKAGES.get(name, name): getattr(module, "__version__", None) for name, module in loaded.items()}
    return {"python": platform.python_version(), **{name: str(version) for name, version in found.items() if version}}


def die_with_the_server() -> None:
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def answer(channel: Channel, model, request: dict, start: int) -> None:
    if request["op"] == "call":
        result = model.call(request["function"], request.get("arguments") or {})
        channel.send_json({"id": request["id"], "result": result})
        return
    if request["function"] != "predict":
        raise InvalidArgument(f"the model has no function `{request['function']}`")
    outputs = model.infer(read_tensors(request["inputs"], channel.buffer, start))
    entries, tensors = zip(*(write_tensor(name, array) for name, array in outputs))
    channel.send(f'{{"id":{request["id"]},"outputs":[{",".join(entries)}]}}'.encode(), tensors)


def serve(channel: Channel, model) -> None:
    """Answers one request after the other until the server is gone."""
    while True:
        received = channel.receive()
        if received is None:
            return
        request, start = received
        try:
            answer(channel, model, request, start)
        except ConnectionError:
            return
        except BaseException as error:  # whatever the model raises, SystemExit too, is an answer
            channel.send_json({"id": request.get("id"), "error": logged(described(error))})


def main() -> int:
    arguments = parse_arguments()
    sys.path.pop(0)  # where this program lies, or the folder it was started in: no place for a model's imports
    die_with_the_server()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which lets requests finish
    channel = Channel.over_standard_input()
    try:
        model = LOADERS[arguments.framework](arguments)
    except BaseException as error:
        channel.send_json({"event": "failed", "error": logged(described(error, explained(error)))})
        return 1
    gc.collect()
    gc.freeze()  # what was loaded stays, so the collector need not look at it again
    channel.send_json({"event": "ready", "contract": model.contract, "versions": versions()})
    serve(channel, model)
    return 0


if __name__ == "__main__":
    status = main()
    # At once: threads and exit handlers of the frameworks could hold it up.
    os._exit(status)
