"""The gateways that are compared: what each is started with, before one and the same backend."""

import json
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass

from . import jwt, process
from .endpoint import Endpoint
from .kea import BASE
from .plan import BENCH, MODELS

CONFIGS = BENCH / "gateways"
ENVOY = BENCH / ".venvs" / "envoy" / "bin" / "envoy"
PATH = "/api/v1/k8c/services/iris/predict"

ACCESS_LOG = """\
access_log:
- name: envoy.access_loggers.file
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: {file}
    log_format:
      json_format:
        time: "%START_TIME%"
        request_id: "%REQ(X-REQUEST-ID)%"
        method: "%REQ(:METHOD)%"
        path: "%REQ(:PATH)%"
        status: "%RESPONSE_CODE%"
        client: "%DOWNSTREAM_REMOTE_ADDRESS%"
        upstream: "%UPSTREAM_HOST%"
        user: "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:claims:sub)%"
        received: "%BYTES_RECEIVED%"
        sent: "%BYTES_SENT%"
        duration: "%DURATION%"
"""

JWT = """\
- name: envoy.filters.http.jwt_authn
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
    providers:
      bench:
        issuer: bench
        payload_in_metadata: claims
        local_jwks: { inline_string: '{jwks}' }
        {cache}
    rules:
    - match: { prefix: "/" }
      requires: { provider_name: bench }
"""


@dataclass(frozen=True)
class Gateway:
    """A gateway that is no part of KEA. Its command gets the file that `config` names, filled in."""

    name: str
    title: str
    config: str
    command: tuple
    token: bool = False
    settings: tuple = ()  # of pairs: a place in the file, and what comes there

    @contextmanager
    def serving(self, plan, backend):
        """The endpoint of the gateway, and its process."""
        port = process.free_port()
        jwks, token = jwt.issue(plan.scratch)
        values = {"folder": plan.scratch, "port": port, "backend": backend, **dict(self.settings)}
        values = {name: str(value).replace("{jwks}", jwks) for name, value in values.items()}
        file = plan.scratch / f"{self.name}-{self.config}"
        file.write_text(filled((CONFIGS / self.config).read_text(), values).replace("{log}", str(plan.scratch)))
        command = [str(part).replace("{file}", str(file)) for part in self.command]
        with process.running(command, plan.logs / f"{self.name}.log") as server:
            endpoint = Endpoint(port, PATH, token=token if self.token else None)
            yield endpoint, server


def filled(template, values):
    """The template with its places filled in; a value of several lines is indented as its place is."""
    lines = []
    for line in template.splitlines():
        for name, value in values.items():
            if line.strip() == f"{{{name}}}":
                line = textwrap.indent(value, line[: len(line) - len(line.lstrip())])
            line = line.replace(f"{{{name}}}", value)
        lines.append(line)
    return "\n".join(lines) + "\n"


def envoy(name, title, jwt_filter="", log=""):
    command = (ENVOY, "--log-level", "warn", "--disable-hot-restart", "-c", "{file}")
    settings = (("jwt", jwt_filter), ("access_log", log.replace("{file}", f"{{log}}/{name}-access.log")))
    return Gateway(name, title, "envoy.yaml", command, token=bool(jwt_filter), settings=settings)


CACHE = "jwt_cache_config: { jwt_cache_size: 1000 }"
BACKEND = Gateway("backend", "the backend, asked directly", "backend.conf", ("nginx", "-c", "{file}"))
GATEWAYS = [
    Gateway("nginx", "nginx", "nginx.conf", ("nginx", "-c", "{file}")),
    Gateway("haproxy", "HAProxy", "haproxy.cfg", ("haproxy", "-db", "-f", "{file}")),
    envoy("envoy", "Envoy, plain"),
    envoy("envoy-jwt", "Envoy, token and log", JWT.replace("{cache}", ""), ACCESS_LOG),
    envoy("envoy-jwt-cache", "Envoy, token, its cache, and log", JWT.replace("{cache}", CACHE), ACCESS_LOG),
]


@contextmanager
def kea_serving(installation, backend, settings):
    """KEA before the same backend: token, roles, validation, rate limit and audit on. The service is a real model,
    whose contract every request is held against; its requests go to the backend in place of its replica."""
    with installation.serving() as kea:
        request = {"modelName": "iris", "sourceCode": str(MODELS / "iris.onnx"), "replicas": 1, **settings}
        service = kea.deploy(request)
        kea.wait_deployed(service)
        rule = {"serviceId": service, "algorithm": "round_robin", "replicas": [f"127.0.0.1:{backend}"]}
        kea.expect("POST", f"{BASE}/router/loadbalancer", rule)
        yield kea.gateway(service), kea.server
        kea.delete(service)


def body(size):
    """A request of that many bytes, about, which fits the contract of the model `iris`."""
    row = [5.1, 3.5, 1.4, 0.2]
    rows = [row]
    while len(text := json.dumps({"inputs": {"input": rows}}, separators=(",", ":"))) < size:
        rows.append(row)
    return text.encode()
