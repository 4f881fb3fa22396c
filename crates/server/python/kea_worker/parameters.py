"""A call's JSON values as what the function's parameters are annotated with."""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import pathlib
import sys
import types
import typing
import uuid

from .errors import InvalidArgument
from .optional import np


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
    """numpy's, pandas' and torch's own classes, and those that jaxtyping makes of them."""
    if hasattr(hint, "array_type") and hasattr(hint, "dtypes"):
        return of_dtypes(from_json(value, hint.array_type), hint.dtypes)
    torch = sys.modules.get("torch")
    if torch is not None and hint is torch.Tensor:
        return torch.as_tensor(value)
    if np is not None and hint is np.ndarray:
        return np.asarray(value)
    pandas = sys.modules.get("pandas")
    if pandas is not None and hint in (pandas.DataFrame, pandas.Series):
        return hint(value)
    return hint(value) if hint in (set, frozenset, tuple) else value


def of_dtypes(array, names):
    """The array with one of the datatypes that a hint allows, where whole numbers came for others."""
    if np is None or not isinstance(array, np.ndarray) or not isinstance(names, (list, tuple)):
        return array
    fitting = ("float64", "float32", "int64", "int32", array.dtype.name, *names)
    return array if array.dtype.name in names else array.astype(next(name for name in fitting if name in names))
