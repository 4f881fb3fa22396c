"""mosec with batching: one worker, requests parsed and checked by msgspec, whole batches given to scikit-learn.

`BENCH_WINDOW` is how many milliseconds a batch waits for more requests.
"""

import os
from typing import Annotated

import common
import msgspec
import numpy as np
from mosec import Server, Worker
from mosec.errors import DecodingError

if common.FEATURES:
    Inputs = msgspec.defstruct("Inputs", [(name, float) for name in common.FEATURES])
else:
    Row = Annotated[list[float], msgspec.Meta(min_length=common.WIDTH, max_length=common.WIDTH)]
    Inputs = msgspec.defstruct("Inputs", [("input", Row)])
Request = msgspec.defstruct("Request", [("inputs", Inputs)])


class Model(Worker):
    def __init__(self):
        super().__init__()
        self.predict_rows = common.load_sklearn()
        self.decoder = msgspec.json.Decoder(Request)

    def deserialize(self, data):
        try:
            inputs = self.decoder.decode(data).inputs
        except msgspec.MsgspecError as error:
            raise DecodingError(str(error)) from error
        return msgspec.structs.astuple(inputs) if common.FEATURES else inputs.input

    def forward(self, data):
        return self.predict_rows(np.array(data))

    def serialize(self, data):
        return msgspec.json.encode({"predictions": [common.prediction(data)]})


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=64, max_wait_time=int(os.environ["BENCH_WINDOW"]))
    server.run()
