"""What is called: an address, the form of its requests and of its answers."""

import http.client
import json
from dataclasses import dataclass, field


def named_body(model, row):
    """KEA's form, which the hand-written services share: named features, or one named row of numbers."""
    inputs = dict(zip(model["features"], row, strict=False)) if model["features"] else {"input": row}
    return {"inputs": inputs}


def onnx_body(model, row):
    """KEA's form for a graph with one tensor, called `input`."""
    return {"inputs": {"input": row}}


def v2_body(model, row):
    """The Open Inference Protocol's form."""
    return {"inputs": [{"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": row}]}


def v1_body(model, row):
    """KServe's first protocol."""
    return {"instances": [row]}


def first_number(value):
    """An ONNX graph gives its label as a number, or as a tensor with one."""
    return int(first_number(value[0]) if isinstance(value, list) else value)


def named_label(answer):
    return first_number(answer["predictions"][0]["label"])


def v2_label(answer):
    return first_number(answer["outputs"][0]["data"])


def v1_label(answer):
    return first_number(answer["predictions"])


def any_label(answer):
    """The constant answer is right when it is JSON."""
    return None


@dataclass(frozen=True)
class Endpoint:
    """One URL on loopback, and how to talk to it."""

    port: int
    path: str
    make_body: object = named_body
    read_label: object = named_label
    token: str | None = field(default=None, repr=False)

    def call(self, body: bytes, timeout_s=30.0):
        """The answer's status and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request("POST", self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def body(self, model, row) -> bytes:
        return json.dumps(self.make_body(model, row), separators=(",", ":")).encode()

    def answers(self, model) -> bool:
        """Whether a prediction comes back at all."""
        try:
            return self.call(self.body(model, model["rows"][0]))[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def verify(self, model):
        """Every sample row must get the label that scikit-learn gave it when the model was trained."""
        for row, expected in zip(model["rows"], model["labels"], strict=False):
            status, text = self.call(self.body(model, row))
            if status != 200:
                raise RuntimeError(f"{self.path} answered {status}: {text[:400]}")
            label = self.read_label(json.loads(text))
            if label is not None and label != expected:
                raise RuntimeError(f"{self.path} gave label {label} where the model gives {expected}")
