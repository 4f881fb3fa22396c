import joblib
import kserve


class CustomModel(kserve.Model):
    def __init__(self, name):
        super().__init__(name)
        self.name = name
        self.load()

    def load(self):
        self.model = joblib.load("/mnt/models/model.joblib")
        self.ready = True

    async def predict(self, payload, headers=None):
        result = self.model.predict(payload["instances"])
        return {"predictions": result.tolist()}

    async def explain(self, payload, headers=None):
        """Says why."""
        return {"explanations": []}
