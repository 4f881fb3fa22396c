"""Custom Python classes, whose public methods are the functions of a service."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import pathlib
import sys
import typing

from .conventions import KServe, MlServer, adapted
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
    if not arguments.file:
        raise Unusable("a custom model needs --file")
    file = pathlib.Path(arguments.file).resolve()
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = CustomModel(instance_of(module, arguments.class_name) if arguments.class_name else Functions(module))
    if callable(getattr(model.instance, "load", None)):
        loaded = model.awaited(model.instance.load())
        if loaded is False and isinstance(model.instance, (KServe, MlServer)):
            raise Unusable(f"`load` of `{arguments.class_name}` said that the model is not ready")
    return model


def instance_of(module, name: str):
    kind = getattr(module, name, None)
    adapter = adapted(kind, name)
    if adapter is None and not isinstance(kind, type):
        raise Unusable(f"{module.__name__}.py has no class `{name}`")
    return adapter or kind()


class Functions:
    """The functions that a file defines itself, which are its service's where it has no class."""

    def __init__(self, module):
        own = {name: value for name, value in vars(module).items() if inspect.isfunction(value)}
        vars(self).update({name: value for name, value in own.items() if value.__module__ == module.__name__})
