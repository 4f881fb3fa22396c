"""KEA under test: one `kea serve`, driven through its management API as any client would."""

import http.client
import json
import secrets
import time
from contextlib import contextmanager

from . import endpoint, process

BASE = "/api/v1/k8c"
DEPLOY_TIMEOUT_S = 600  # the first deploy of a framework makes its Python environment


class Kea:
    """A client of one running `kea serve`."""

    def __init__(self, server, port):
        self.server = server
        self.port = port
        self.token = None

    def request(self, method, path, body=None):
        """The answer's status and JSON (None where the body is empty)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    def expect(self, method, path, body=None, statuses=(200, 201, 204)):
        status, answer = self.request(method, path, body)
        if status not in statuses:
            raise RuntimeError(f"{method} {path} answered {status}: {answer}")
        return answer

    def is_up(self):
        try:
            return self.request("GET", "/healthz")[0] == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def login(self, password):
        """A token of the first admin."""
        return self.expect("POST", f"{BASE}/auth/login", {"username": "admin", "password": password})["token"]

    def deploy(self, request):
        """The service's id, while it is still on its way."""
        return self.expect("POST", f"{BASE}/services", request)["serviceId"]

    def delete(self, service):
        self.expect("DELETE", f"{BASE}/services/{service}")
        process.wait_until(
            lambda: self.request("GET", f"{BASE}/services/{service}")[0] == 404, f"deleting {service}", self.server
        )

    def scale(self, service, replicas):
        self.expect("PUT", f"{BASE}/services/{service}", {"replicas": replicas})
        self.wait_deployed(service, replicas)

    def wait_deployed(self, service, replicas=1):
        """The service's details once it answers with all its replicas."""

        def deployed():
            details = self.expect("GET", f"{BASE}/services/{service}")
            if details["status"] == "failed":
                raise RuntimeError(f"{service} failed: {details['reason']}")
            whole = details["status"] == "deployed" and details["readyReplicas"] == replicas
            return details if whole else None

        return process.wait_until(deployed, f"deploying {service}", self.server, DEPLOY_TIMEOUT_S)

    def request_form(self, service):
        """How this service wants one row, as it documents it itself: a name for each number, or one for the row."""
        methods = self.expect("GET", f"{BASE}/services/{service}/methods")
        names = [field["name"] for field in next(m for m in methods if m["name"] == "predict")["inputs"]]

        def body(_model, row):
            return {"inputs": dict(zip(names, row, strict=False)) if len(names) > 1 else {names[0]: row}}

        return body

    def gateway(self, service, form=None):
        """The service through the gateway: authenticated, validated, logged."""
        path = f"{BASE}/services/{service}/predict"
        return endpoint.Endpoint(self.port, path, form or self.request_form(service), token=self.token)

    def replica(self, service):
        """The service's only replica, asked directly; and the replica's process."""
        (replica,) = self.expect("GET", f"{BASE}/services/{service}")["replicaStatuses"]
        port = int(replica["address"].rpartition(":")[2])
        path = f"{BASE}/services/{service}/predict"
        return endpoint.Endpoint(port, path, self.request_form(service)), replica["pid"]


class Installation:
    """A data folder with its admin, in which `kea serve` is started again and again."""

    def __init__(self, plan):
        self.plan = plan
        self.folder = plan.scratch / "kea-data"
        self.password = secrets.token_urlsafe(18)
        self.token = None  # of the first login; it outlives restarts, so that logging in is no part of what is timed

    @contextmanager
    def serving(self):
        port = process.free_port()
        command = [self.plan.kea_bin, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", self.folder]
        # One login serves a whole run.
        environment = {"KEA_ADMIN_PASSWORD": self.password, "KEA_TOKEN_TTL": "12h"}
        with process.running(command, self.plan.logs / "kea.log", environment) as server:
            kea = Kea(server, port)
            process.wait_until(kea.is_up, "kea serve", server, interval_s=0.002)
            self.token = kea.token = self.token or kea.login(self.password)
            yield kea


def idle_memory(installation):
    """What `kea serve` itself takes without a service."""
    with installation.serving() as kea:
        time.sleep(2)  # the memory of a process that just started still grows; there is no event for "settled"
        return process.memory_mb([kea.server.pid])


def timed_deploy(kea, request, model):
    """Deploys and waits for the first prediction: the service, and the seconds it took."""
    started = time.perf_counter()
    service = kea.deploy(request)
    kea.wait_deployed(service)
    gateway = kea.gateway(service)
    process.wait_until(lambda: gateway.answers(model), f"a first prediction of {service}", kea.server)
    return service, round(time.perf_counter() - started, 3)
