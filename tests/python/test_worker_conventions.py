"""Classes that were written for KServe, MLServer, BentoML and mlrun, called as those call them.

Where one of them is installed, it is used itself; else what stands in for it here, in `stand_ins`.
"""

import importlib.util
import textwrap
from pathlib import Path

import pytest

STAND_INS = Path(__file__).parent / "stand_ins"

KSERVE = """
import kserve
from kserve import InferOutput, InferRequest, InferResponse


class Scaled(kserve.Model):
    def load(self):
        self.factor = 10
        self.ready = True
        return self.ready

    def preprocess(self, payload, headers=None):
        return payload["instances"]

    async def predict(self, payload, headers=None):
        return [self.factor * value for value in payload]

    def explain(self, payload, headers=None):
        return [f"{self.factor} times {value}" for value in payload]

    def postprocess(self, result, headers=None, response_headers=None):
        return {"model": self.name, "predictions": result}


class Tensors(kserve.Model):
    def load(self):
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None):
        assert isinstance(payload, InferRequest), type(payload)
        given = payload.inputs[0]
        data = [2 * value for value in given.data]
        output = InferOutput("doubled", given.shape, given.datatype, data=data)
        return InferResponse("1", self.name, [output])


class Unready(kserve.Model):
    def load(self):
        return False


class Unsaid(kserve.Model):
    def load(self):
        self.ready = True

    def predict(self, payload, headers=None):
        return payload
"""

MLSERVER = """
from typing import List

from mlserver import MLModel
from mlserver.codecs import decode_args
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Sums(MLModel):
    async def load(self) -> bool:
        self.start = 100
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = payload.inputs[0].data
        total = self.start + sum(getattr(data, "root", data))
        output = ResponseOutput(name="total", shape=[1], datatype="INT64", data=[total])
        return InferenceResponse(model_name=self.name, outputs=[output])


class Decoded(MLModel):
    @decode_args
    async def predict(self, texts: List[str]) -> List[str]:
        return [text.upper() for text in texts]


class Unready(MLModel):
    async def load(self) -> bool:
        return False
"""

BENTOML = """
import bentoml


@bentoml.service
class Summary:
    def __init__(self):
        self.started = []

    @bentoml.on_startup
    def first(self):
        self.started.append("first")

    @bentoml.on_startup
    async def second(self):
        self.started.append("second")

    @bentoml.api
    def shorten(self, text: str, length: int = 3) -> str:
        return text[:length]

    @bentoml.api
    async def hooks(self) -> list[str]:
        return sorted(self.started)

    def helper(self) -> str:
        return "of nobody's concern"
"""

MLRUN = """
import mlrun


class Classifier(mlrun.serving.V2ModelServer):
    def predict(self, body):
        return body["inputs"]
"""


@pytest.fixture
def serve_class(start, tmp_path, monkeypatch):
    """Serves a class of a file of one of the systems."""

    def serve(system, source, name):
        if importlib.util.find_spec(system) is None:
            monkeypatch.setenv("PYTHONPATH", str(STAND_INS / system))
        file = tmp_path / "service.py"
        file.write_text(textwrap.dedent(source))
        return start("Custom", tmp_path, file=file, class_name=name)

    return serve


def test_a_model_of_kserve_is_called_through_its_steps(serve_class):
    worker = serve_class("kserve", KSERVE, "Scaled")
    assert worker.call("predict", instances=[1, 2]) == {"model": "Scaled", "predictions": [10, 20]}


def test_a_model_of_kserve_explains_by_the_same_steps(serve_class):
    worker = serve_class("kserve", KSERVE, "Scaled")
    assert worker.call("explain", instances=[3]) == {"model": "Scaled", "predictions": ["10 times 3"]}


def test_tensors_come_to_kserve_as_an_object_and_go_as_json(serve_class):
    worker = serve_class("kserve", KSERVE, "Tensors")
    given = {"name": "x", "shape": [2], "datatype": "INT64", "data": [4, 5]}
    answer = worker.call("predict", inputs=[given])
    assert answer["model_name"] == "Tensors"
    (output,) = answer["outputs"]
    assert {name: output[name] for name in ("name", "shape", "datatype", "data")} == {
        "name": "doubled",
        "shape": [2],
        "datatype": "INT64",
        "data": [8, 10],
    }


@pytest.mark.parametrize("inputs", ["text", [1, 2], [{"name": "x"}]], ids=["a text", "numbers", "no datatype"])
def test_what_only_looks_like_tensors_comes_as_it_is(serve_class, inputs):
    worker = serve_class("kserve", KSERVE, "Unsaid")
    assert worker.call("predict", inputs=inputs) == {"inputs": inputs}


def test_a_model_of_mlserver_takes_and_gives_the_protocol(serve_class):
    worker = serve_class("mlserver", MLSERVER, "Sums")
    given = {"name": "x", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]}
    answer = worker.call("predict", inputs=[given])
    assert answer["model_name"] == "Sums"
    assert "id" not in answer, "what is not there is left out"
    assert answer["outputs"][0]["data"] == [106]


def test_decoded_inputs_of_mlserver_are_given_by_name(serve_class):
    worker = serve_class("mlserver", MLSERVER, "Decoded")
    assert worker.call("predict", texts=["one", "two"]) == ["ONE", "TWO"]


@pytest.mark.parametrize(("system", "source"), [("kserve", KSERVE), ("mlserver", MLSERVER)], ids=["kserve", "mlserver"])
def test_a_model_that_says_it_is_not_ready_is_not_served(serve_class, system, source):
    worker = serve_class(system, source, "Unready")
    assert worker.started["event"] != "ready"
    assert "said that the model is not ready" in str(worker.started)


def test_the_apis_of_a_bentoml_service_are_its_functions(serve_class):
    worker = serve_class("bentoml", BENTOML, "Summary")
    assert worker.call("shorten", text="a long text") == "a l"
    assert worker.call("shorten", text="a long text", length=6) == "a long"


def test_other_methods_of_a_bentoml_service_are_not_called(serve_class):
    answer = serve_class("bentoml", BENTOML, "Summary").call_raw("helper")
    assert "has no function `helper`" in str(answer["error"])


def test_hooks_of_bentoml_run_before_the_first_call(serve_class):
    assert serve_class("bentoml", BENTOML, "Summary").call("hooks") == ["first", "second"]


def test_a_server_of_mlrun_is_refused_with_what_to_do(serve_class):
    worker = serve_class("mlrun", MLRUN, "Classifier")
    assert worker.started["event"] != "ready"
    assert "`load` and `predict`" in str(worker.started)
