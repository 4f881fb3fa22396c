"""KServe's server with a model class that does what KServe's own sklearnserver does.

(sklearnserver itself is published as an image only.) `BENCH_WORKERS` is the number of server processes. Its three log
lines a request are turned off.
"""

import os

import common
import joblib
from kserve import Model, ModelServer
from kserve.logging import KSERVE_LOG_CONFIG
from kserve.utils.utils import get_predict_input, get_predict_response


class SklearnModel(Model):
    def __init__(self):
        super().__init__(common.NAME)
        self.load()

    def load(self):
        self.model = joblib.load(common.FOLDER / f"{common.NAME}-plain.joblib")
        self.ready = True
        return self.ready

    async def predict(self, payload, headers=None, response_headers=None):
        labels = self.model.predict(get_predict_input(payload))
        return get_predict_response(payload, labels, self.name)


# At the top, because worker processes import this file and configure their logs anew.
for logger in KSERVE_LOG_CONFIG["loggers"].values():
    logger["level"] = "WARNING"

if __name__ == "__main__":
    ModelServer(workers=int(os.environ["BENCH_WORKERS"])).start([SklearnModel()])
