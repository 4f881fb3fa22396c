"""MLServer with its scikit-learn runtime: writes its settings, then becomes it.

`BENCH_PARALLEL` is the number of its inference processes (0: in the server's own), `BENCH_BATCH` the most requests
of one of its adaptive batches (0: no batching).
"""

import json
import os
import socket
import sys
import tempfile

import common


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


settings = {
    "host": "127.0.0.1",
    "http_port": int(sys.argv[1]),
    "grpc_port": free_port(),
    "metrics_port": free_port(),
    "parallel_workers": int(os.environ["BENCH_PARALLEL"]),
    "debug": False,
}
model = {
    "name": common.NAME,
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": str(common.FOLDER / f"{common.NAME}-plain.joblib")},
}
batch = int(os.environ["BENCH_BATCH"])
if batch:
    model |= {"max_batch_size": batch, "max_batch_time": 0.003}

folder = tempfile.mkdtemp(prefix="mlserver-", dir=os.environ["BENCH_SCRATCH"])
for name, content in {"settings.json": settings, "model-settings.json": model}.items():
    with open(f"{folder}/{name}", "w") as file:
        json.dump(content, file)
os.chdir(folder)
os.execv(f"{os.path.dirname(sys.executable)}/mlserver", ["mlserver", "start", "."])
