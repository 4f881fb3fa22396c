"""What a function returns as JSON."""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import sys
import uuid

from .errors import NotJson, name_of
from .optional import np


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
            return getattr(value, method)()
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    for plain in (str, bool, int, dict, list, tuple):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, (collections.abc.Mapping, collections.abc.KeysView, collections.abc.ValuesView)):
        return dict(value) if isinstance(value, collections.abc.Mapping) else list(value)
    if isinstance(value, collections.abc.Iterator):  # of a generator, which says that it is an array
        return list(value)
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
