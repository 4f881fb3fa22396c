"""Scores of customers by mlrun."""

from typing import List

import mlrun
from mlrun.serving import V2ModelServer


class ScoringBase(V2ModelServer):
    def load(self):
        model_file, extra = self.get_model(".pkl")

    def predict(self, body: dict) -> List:
        """Scores rows."""
        return self.model.predict(body["inputs"]).tolist()


class Scoring(ScoringBase):
    def explain(self, request: dict) -> List[float]:
        """Weight of each column."""
        return []
