"""Custom Python classes, whose public methods are the functions of a service."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import pathlib
import sys
import typing

from .errors import InvalidArgument, Unusable, name_of
from .parameters import bind
from .results import to_json


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
