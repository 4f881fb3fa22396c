"""A custom predictor of KServe."""

from typing import Dict, List

import joblib
import kserve


class IrisModel(kserve.Model):
    """Tells the species of irises."""

    def __init__(self, name: str):
        super().__init__(name)
        self.load()

    def load(self):
        self.model = joblib.load("model.joblib")
        self.ready = True

    def preprocess(self, payload: Dict[str, List[List[float]]], headers: Dict[str, str] = None):
        return payload["instances"]

    def predict(self, payload, headers: Dict[str, str] = None) -> Dict:
        """Predicts.

        Returns:
            The predictions.
        """
        return {"predictions": self.model.predict(payload).tolist()}


if __name__ == "__main__":
    kserve.ModelServer().start([IrisModel("iris")])
