"""The servers that KEA is measured against, each in the way its own documentation says to run it on two cores,
with its access log off.

Where a server has several reasonable modes, each is a competitor of its own with the same `family`; the goals are
compared with the better one.
"""

from dataclasses import dataclass, field
from pathlib import Path

from . import endpoint

BENCH = Path(__file__).parent.parent
SERVERS = BENCH / "servers"


@dataclass(frozen=True)
class Competitor:
    name: str
    title: str
    family: str
    command: tuple  # of parts; {bin}, {servers}, {port} are filled in
    path: str
    venv: str | None = None
    settings: dict = field(default_factory=dict)
    make_body: object = endpoint.named_body
    read_label: object = endpoint.named_label

    def command_for(self, port, constant_bin):
        filled = {"bin": self.bin_folder(), "servers": SERVERS, "port": port, "constant": constant_bin}
        return [part.format(**filled) for part in self.command]

    def bin_folder(self):
        return BENCH / ".venvs" / (self.venv or "") / "bin"

    def endpoint(self, port, model_name):
        path = self.path.format(model=model_name)
        return endpoint.Endpoint(port, path, self.make_body, self.read_label)


def fastapi(engine, title):
    command = "{bin}/gunicorn --workers 2 --worker-class uvicorn_worker.UvicornWorker --bind 127.0.0.1:{port}"
    command += " --chdir {servers} fastapi_app:app"
    name = f"fastapi-{engine}"
    return Competitor(name, title, name, tuple(command.split()), "/predict", "fastapi", {"BENCH_ENGINE": engine})


def mosec(window_ms):
    command = "{bin}/python {servers}/mosec_app.py --address 127.0.0.1 --port {port} --log-level warning"
    return Competitor(
        "mosec",
        f"mosec, batches of 64 within {window_ms} ms",
        "mosec",
        tuple(command.split()),
        "/inference",
        "mosec",
        {"BENCH_WINDOW": str(window_ms)},
    )


def mlserver(name, title, parallel, batch):
    return Competitor(
        name,
        title,
        "mlserver",
        ("{bin}/python", "{servers}/mlserver_app.py", "{port}"),
        "/v2/models/{model}/infer",
        "mlserver",
        {"BENCH_PARALLEL": str(parallel), "BENCH_BATCH": str(batch)},
        endpoint.v2_body,
        endpoint.v2_label,
    )


def kserve(name, title, workers):
    command = "{bin}/python {servers}/kserve_app.py --http_port {port} --enable_grpc false"
    command += " --enable_latency_logging false"
    return Competitor(
        name,
        title,
        "kserve",
        tuple(command.split()),
        "/v1/models/{model}:predict",
        "kserve",
        # The FastAPI that it asks for warns at each of its answers that ORJSONResponse is deprecated.
        {"BENCH_WORKERS": str(workers), "PYTHONWARNINGS": "ignore"},
        endpoint.v1_body,
        endpoint.v1_label,
    )


def bentoml():
    command = "{bin}/bentoml serve bentoml_app:Service --host 127.0.0.1 --port {port} --working-dir {servers}"
    settings = {
        "BENCH_WORKERS": "2",
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    }
    return Competitor(
        "bentoml", "BentoML, 2 workers", "bentoml", tuple(command.split()), "/predict", "bentoml", settings
    )


CONSTANT = Competitor(
    "constant",
    "constant answer by hyper, JSON parsed (the limit)",
    "constant",
    ("{constant}", "--port", "{port}"),
    "/predict",
    read_label=endpoint.any_label,
)

COMPETITORS = (
    CONSTANT,
    mosec(window_ms=3),
    fastapi("onnx", "FastAPI + onnxruntime, gunicorn with 2 workers"),
    fastapi("sklearn", "FastAPI + scikit-learn, gunicorn with 2 workers"),
    kserve("kserve", "KServe's server", workers=1),
    kserve("kserve-workers", "KServe's server, 2 workers", workers=2),
    mlserver("mlserver", "MLServer, in its own process", parallel=0, batch=0),
    mlserver("mlserver-parallel", "MLServer, 2 parallel workers", parallel=2, batch=0),
    mlserver("mlserver-batching", "MLServer, adaptive batching", parallel=0, batch=64),
    bentoml(),
)
