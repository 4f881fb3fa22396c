"""Errors as the server passes them on, and what to do about a model that cannot be loaded."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback


class Unusable(Exception):
    """The model cannot be served; the text says what to do about it."""


class InvalidArgument(Exception):
    """The caller's argument does not fit the function."""


class NotJson(Exception):
    """A part of a result that JSON cannot hold, and where in the result it is."""

    def __init__(self, why: str):
        self.why, self.where = why, ""

    def within(self, place: str) -> NotJson:
        self.where = place + self.where
        return self

    def __str__(self) -> str:
        return f"the function's result{self.where} {self.why}"


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
WORKER = os.path.dirname(__file__)


def name_of(value) -> str:
    return type(value).__name__


def described(error: BaseException, message: str = "") -> dict:
    """An error as the server passes it on, with the lines of the model's own code."""
    lines = traceback.format_exception(type(error), error, own_part(error.__traceback__))
    text = "" if isinstance(error, (InvalidArgument, NotJson, Unusable)) else "".join(lines)[-TRACEBACK_LIMIT:]
    return {"type": name_of(error), "message": message or str(error) or name_of(error), "traceback": text}


def own_part(trace):
    """A traceback from where the worker called the model's own code; the whole one where it did not."""
    own = trace
    while own is not None and os.path.dirname(own.tb_frame.f_code.co_filename) == WORKER:
        own = own.tb_next
    return own or trace


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
