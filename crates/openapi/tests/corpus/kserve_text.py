"""Topics of texts behind KServe, with its steps."""

import argparse
from typing import Any, Dict, List, TypedDict, Union

import kserve
from kserve import InferRequest, InferResponse, Model, ModelServer


class Payload(TypedDict):
    """What a client sends.

    Attributes:
        instances: The texts.
    """

    instances: List[str]


class Topic(TypedDict):
    topic: str
    weight: float


class TextModel(Model):
    """Topics of texts."""

    def __init__(self, name: str):
        super().__init__(name)
        self.ready = False

    def load(self) -> bool:
        self.ready = True
        return self.ready

    def preprocess(self, payload: Payload, headers: Dict[str, str] = None) -> List[List[int]]:
        return [[1]]

    def predict(self, payload: List[List[int]], headers: Dict[str, str] = None) -> Any:
        """Finds topics."""

    def postprocess(self, result: Any, headers: Dict[str, str] = None) -> List[Topic]:
        return []


if __name__ == "__main__":
    ModelServer().start([TextModel("topics")])
