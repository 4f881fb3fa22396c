"""The process: loads the model, says so, and answers one request after the other."""

from __future__ import annotations

import ctypes
import gc
import platform
import signal
import sys

from .channel import Channel
from .errors import PACKAGES, InvalidArgument, described, explained, logged
from .loaders import load
from .tensors import read_tensors, write_tensor

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


def run(arguments) -> int:
    """The exit status, once the server is gone or the model could not be loaded."""
    die_with_the_server()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which lets requests finish
    channel = Channel.over_standard_input()
    try:
        model = load(arguments)
    except BaseException as error:
        channel.send_json({"event": "failed", "error": logged(described(error, explained(error)))})
        return 1
    gc.collect()
    gc.freeze()  # what was loaded stays, so the collector need not look at it again
    channel.send_json({"event": "ready", "contract": model.contract, "versions": versions()})
    serve(channel, model)
    return 0
