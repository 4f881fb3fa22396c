"""The contract of a model: what it takes and gives, told to the server once the model is loaded."""

from __future__ import annotations

import dataclasses
import sys
import typing
import warnings

from .errors import name_of
from .optional import np
from .tensors import DTYPES, datatype_of


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
