"""Custom Python classes."""

import textwrap

import pytest

from worker_client import WorkerGone

SERVICE = """
from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import os
import sys
import typing
import uuid
from pathlib import Path
from typing import Dict, List, Optional, Union

import numpy as np
import pandas as pd
import pydantic
from helper import GREETING
from numpy.typing import NDArray


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.5
    colour: Colour = Colour.RED


class Order(pydantic.BaseModel):
    item: str
    count: int = pydantic.Field(ge=1)
    due: Optional[datetime.date] = None


class Scores(pydantic.RootModel[List[float]]):
    pass


class Size(typing.TypedDict):
    width: float
    label: str


class Pair(typing.NamedTuple):
    first: int
    second: str


class Model:
    def __init__(self, path: str = "unused"):
        self.path, self.loads, self.calls = path, 0, 0

    def load(self):
        self.loads += 1
        self.cwd = os.getcwd()

    def state(self):
        return {"loads": self.loads, "path": self.path, "cwd": self.cwd, "greeting": GREETING}

    def predict(self, values: List[float], scale: float = 1.0) -> List[float]:
        return [value * scale for value in values]

    def types(self, **arguments):
        return {name: type(value).__name__ for name, value in arguments.items()}

    def converted(
        self,
        point: Point,
        points: list[Point],
        order: Order,
        colour: Colour,
        when: datetime.datetime,
        array: np.ndarray,
        typed: NDArray[np.float32],
        size: Size,
        data: bytes,
        maybe: Optional[Point],
        either: Union[int, Point],
        by_name: Dict[str, Point],
        frame: pd.DataFrame,
        whole: float,
        key: uuid.UUID,
    ):
        return {
            "types": [type(v).__name__ for k, v in locals().items() if k not in ("self",)],
            "inner": [type(inner).__name__ for inner in (points[0], point.colour, typed[0], by_name["a"])],
            "point": point,
            "order": order,
            "when": when,
            "typed": typed,
            "data": data,
            "size": size,
            "frame": frame,
        }

    def results(self):
        return {
            "float32": np.float32(0.5),
            "int64": np.int64(3),
            "bool": np.bool_(True),
            "array": np.arange(4).reshape(2, 2),
            "words": np.array(["a", "b"]),
            "point": Point(1.0),
            "points": (Point(1.0), Point(2.0)),
            "order": Order(item="pen", count=2, due=datetime.date(2024, 2, 29)),
            "pair": Pair(1, "b"),
            "scores": Scores([0.5, 1.0]),
            "squares": (number * number for number in range(3)),
            "colour": Colour.BLUE,
            "when": datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc),
            "day": np.datetime64("2024-02-29"),
            "stamp": pd.Timestamp("2024-02-29"),
            "bytes": b"KEA",
            "frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
            "series": pd.Series([1.5, 2.5]),
            "nothing": pd.NA,
            "set": {1},
            "price": decimal.Decimal("1.10"),
            "path": Path("a/b"),
            3: "three",
        }

    def not_finite(self):
        return {"rows": [{"ok": 1.0}, {"score": np.array([1.0, float("nan")])}]}

    def infinite(self):
        return np.float64("inf")

    def opaque(self):
        return {"model": [object()]}

    def endless(self):
        knot = []
        knot.append(knot)
        return knot

    def fail(self, text: str):
        raise LookupError(text)

    def leave(self):
        sys.exit(3)

    def shout(self, megabytes: int):
        for _ in range(megabytes * 16):
            print("x" * 65535)
        os.write(2, b"done")
        return len(sys.stdin.read())

    def die_on_the_tenth(self):
        self.calls += 1
        if self.calls == 10:
            os._exit(7)
        return self.calls

    async def later(self, value: int):
        self.lock = getattr(self, "lock", None) or asyncio.Lock()
        async with self.lock:
            await asyncio.sleep(0)
            return value + 1

    def _hidden(self):
        return "secret"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    (folder / "service.py").write_text(SERVICE)
    (folder / "helper.py").write_text("GREETING = 'kia ora'\n")
    return folder


@pytest.fixture(scope="module")
def model(start_shared, folder):
    place = folder / "place"
    place.mkdir()
    return start_shared("Custom", folder, file=folder / "service.py", class_name="Model", cwd=place)


@pytest.fixture
def ended_model(start, folder):
    """One that the test ends."""
    return start("Custom", folder, file=folder / "service.py", class_name="Model")


@pytest.fixture
def start_code(start, tmp_path):
    """Starts a class `Model` of the given text."""

    def start_code(code):
        (tmp_path / "model.py").write_text(textwrap.dedent(code))
        return start("Custom", tmp_path, file=tmp_path / "model.py", class_name="Model")

    return start_code


def refused(worker, function, **arguments):
    error = worker.call_raw(function, **arguments)["error"]
    assert error["type"] == "InvalidArgument"
    assert error["traceback"] == ""
    return error["message"]


def test_load_is_called_once_in_the_folder_of_the_replica(model, folder):
    assert model.started["contract"] is None
    model.call("predict", values=[1.0])
    assert model.call("state") == {"loads": 1, "path": "unused", "cwd": str(folder / "place"), "greeting": "kia ora"}


def test_arguments_are_passed_by_name_and_defaults_hold(model):
    assert model.call("predict", values=[1, 2], scale=2) == [2.0, 4.0]
    assert model.call("predict", values=[1]) == [1.0]
    assert model.call("types", a=1, b="x") == {"a": "int", "b": "str"}


def test_arguments_become_what_the_annotations_ask_for(model):
    result = model.call(
        "converted",
        point={"x": 1, "colour": "blue"},
        points=[{"x": 1}],
        order={"item": "pen", "count": 1},
        colour="red",
        when="2024-02-29T12:00:00Z",
        array=[[1, 2]],
        typed=[1, 2],
        size={"width": 1, "label": "s"},
        data="S0VB",
        maybe=None,
        either={"x": 2},
        by_name={"a": {"x": 3}},
        frame=[{"a": 1}, {"a": 2}],
        whole=1,
        key="12345678-1234-5678-1234-567812345678",
    )
    expected = "Point list Order Colour datetime ndarray ndarray dict bytes NoneType Point dict DataFrame float UUID"
    assert result["types"] == expected.split()
    assert result["inner"] == ["Point", "Colour", "float32", "Point"]
    assert result["point"] == {"x": 1.0, "y": 0.5, "colour": "blue"}
    assert result["order"] == {"item": "pen", "count": 1, "due": None}
    assert result["when"] == "2024-02-29T12:00:00+00:00"
    assert result["data"] == "S0VB"
    assert result["frame"] == [{"a": 1}, {"a": 2}]


def test_arguments_that_do_not_fit_are_the_callers_fault(model):
    assert refused(model, "predict") == "argument `values` is missing"
    assert refused(model, "predict", values=[1], other=2) == "there is no argument `other`"
    good = {"order": {"item": "pen", "count": 1}, "points": [], "colour": "red", "point": {"x": 1}}
    assert "argument `order`: 1 validation error" in refused(
        model, "converted", **{**good, "order": {"item": "a", "count": 0}}
    )
    assert "'green' is not a valid Colour" in refused(model, "converted", **{**good, "colour": "green"})
    assert "Point has no field `z`" in refused(model, "converted", **{**good, "point": {"z": 1}})


@pytest.mark.parametrize("name", ["missing", "_hidden", "__init__", "path"])
def test_only_public_methods_are_functions(model, name):
    assert refused(model, name) == f"the class Model has no function `{name}`"


def test_results_of_all_kinds_become_json(model):
    assert model.call("results") == {
        "float32": 0.5,
        "int64": 3,
        "bool": True,
        "array": [[0, 1], [2, 3]],
        "words": ["a", "b"],
        "point": {"x": 1.0, "y": 0.5, "colour": "red"},
        "points": [{"x": 1.0, "y": 0.5, "colour": "red"}, {"x": 2.0, "y": 0.5, "colour": "red"}],
        "order": {"item": "pen", "count": 2, "due": "2024-02-29"},
        "pair": {"first": 1, "second": "b"},
        "scores": [0.5, 1.0],
        "squares": [0, 1, 4],
        "colour": "blue",
        "when": "2024-02-29T12:00:00+00:00",
        "day": "2024-02-29",
        "stamp": "2024-02-29T00:00:00",
        "bytes": "S0VB",
        "frame": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        "series": [1.5, 2.5],
        "nothing": None,
        "set": [1],
        "price": "1.10",
        "path": "a/b",
        "3": "three",
    }


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("not_finite", "the function's result.rows[1].score[1] is nan, which JSON cannot hold"),
        ("infinite", "the function's result is inf, which JSON cannot hold"),
        ("opaque", "the function's result.model[0] is of type object, which has no form in JSON"),
    ],
)
def test_results_that_are_no_json_are_errors_that_say_where(model, function, message):
    assert model.call_raw(function)["error"]["message"] == message
    assert model.call("predict", values=[1]) == [1.0]


def test_a_result_that_holds_itself_is_an_error(model):
    assert model.call_raw("endless")["error"]["type"] == "RecursionError"
    assert model.call("predict", values=[1]) == [1.0]


def test_an_exception_is_an_answer_with_the_models_own_lines(model):
    error = model.call_raw("fail", text="no such flower")["error"]
    assert (error["type"], error["message"]) == ("LookupError", "no such flower")
    assert "raise LookupError(text)" in error["traceback"]
    assert "def answer" not in error["traceback"]
    assert "kea_worker" not in error["traceback"]
    assert model.call_raw("leave")["error"]["type"] == "SystemExit"
    assert model.call("predict", values=[1]) == [1.0]


def test_printed_megabytes_are_logs_and_never_answers(ended_model):
    assert ended_model.call("shout", megabytes=8) == 0
    assert ended_model.output("stdout").count("\n") == 8 * 16
    assert ended_model.captured["stderr"] == "done"


def test_a_worker_that_dies_closes_the_socket(ended_model):
    assert [ended_model.call("die_on_the_tenth") for _ in range(9)] == list(range(1, 10))
    with pytest.raises(WorkerGone):
        ended_model.call("die_on_the_tenth")
    assert ended_model.wait() == 7


def test_coroutines_are_awaited_in_one_loop(model):
    assert [model.call("later", value=value) for value in range(3)] == [1, 2, 3]


def test_an_exception_in_load_says_what_and_where(start_code):
    worker = start_code(
        """
        class Model:
            def load(self):
                raise OSError("weights.bin is missing")
        """
    )
    error = worker.started["error"]
    assert (worker.started["event"], error["message"]) == ("failed", "weights.bin is missing")
    assert "raise OSError" in error["traceback"]
    assert worker.wait() == 1


def test_a_missing_package_is_named_as_it_is_required(start_code):
    worker = start_code("import cv2_is_not_here\n\nclass Model: ...")
    assert "add `cv2_is_not_here` to its requirements" in worker.started["error"]["message"]
    worker = start_code("import numpy.no_such_part\n\nclass Model: ...")
    assert "require the version of `numpy`" in worker.started["error"]["message"]


def test_a_missing_class_is_named(start_code):
    worker = start_code("class Other: ...")
    assert worker.started["error"]["message"] == "model.py has no class `Model`"


def test_load_may_be_a_coroutine(start_code):
    worker = start_code(
        """
        class Model:
            async def load(self):
                self.ready = True

            def predict(self):
                return self.ready
        """
    )
    assert worker.call("predict") is True


def test_large_arguments_and_results_pass(model):
    values = [float(value) for value in range(300_000)]
    assert model.call("predict", values=values) == values
