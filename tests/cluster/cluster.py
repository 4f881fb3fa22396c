"""A real Kubernetes in the hands of a test: kubectl for what people do, and the API server for what is looked at."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from harness import Kea
from load import PAUSE, Load

GROUP = "ml.kea-project.io"
API_VERSION = f"{GROUP}/v1alpha1"
NAMESPACE = "kea"

# Where objects of a kind are.
PLACES = {
    "configmaps": "/api/v1",
    "deployments": "/apis/apps/v1",
    "endpoints": "/api/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v1",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "mldeployments": f"/apis/{API_VERSION}",
    "mlmodels": f"/apis/{API_VERSION}",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1beta1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "serviceaccounts": "/api/v1",
    "services": "/api/v1",
}

Object = dict[str, Any]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60, pause: float = 0.1) -> Any:
    """Asks until the answer is true, and returns that. `what` may be a function that tells how far it came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"gave up waiting for {what() if callable(what) else what}")


class Cluster:
    """One cluster, as the one who may do everything in it."""

    def __init__(self, folder: Path) -> None:
        beside = Path(os.environ.get("KEA_CLUSTER_DIR", "/nowhere")) / "bin" / "kubectl"
        found = str(beside) if beside.exists() else shutil.which("kubectl")
        assert found, "there is no kubectl on the PATH: run `make cluster`"
        self.program = found
        self.folder = folder
        self.session = requests.Session()
        self.url = ""
        self.proxy: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """The API server without a login, for this process."""
        command = [self.program, "proxy", "--port=0", "--reject-methods=^$", "--reject-paths=^$"]
        self.proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.proxy.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", self.proxy.stdout.readline())
        assert found, "`kubectl proxy` does not tell where it listens"
        self.url = f"http://{found.group()}"

    def stop(self) -> None:
        assert self.proxy is not None
        self.proxy.terminate()
        self.proxy.wait(30)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        command = [self.program, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds)
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def apply(self, *objects: Object, check: bool = True) -> subprocess.CompletedProcess[str]:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "-f", "-", stdin=text, check=check)

    def get(self, path: str, **query: str) -> Object | None:
        answer = self.session.get(self.url + path, params=query, timeout=30)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.get(f"{PLACES[kind]}/namespaces/{namespace}/{kind}/{name}")

    def list(self, kind: str, namespace: str, **labels: str) -> list[Object]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = self.get(f"{PLACES[kind]}/namespaces/{namespace}/{kind}", labelSelector=selector)
        return found["items"] if found else []

    def of_kea(self, component: str, going: bool = False) -> list[Object]:
        """Pods of KEA's own: those that nobody has told to end, or all (`going`)."""
        pods = self.get(
            f"/api/v1/namespaces/{NAMESPACE}/pods",
            labelSelector=f"app.kubernetes.io/name=kea,app.kubernetes.io/component={component}",
        )
        found = (pods or {"items": []})["items"]
        return [pod for pod in found if going or "deletionTimestamp" not in pod["metadata"]]

    def node_address(self) -> str:
        nodes = self.get("/api/v1/nodes")
        assert nodes is not None
        addresses = nodes["items"][0]["status"]["addresses"]
        return next(str(address["address"]) for address in addresses if address["type"] == "InternalIP")

    def leader(self) -> str | None:
        lease = self.find("leases", NAMESPACE, "kea-operator")
        return lease["spec"].get("holderIdentity") or None if lease else None

    def wait_ready(self, component: str, seconds: float = 120) -> None:
        """Waits until all pods of KEA's own Deployment are ready, and those of before are gone."""
        self.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/kea-{component}", f"--timeout={seconds:.0f}s")
        pods = functools.partial(self.of_kea, component, going=True)
        wait_for(lambda: all(map(settled, pods())), f"ready pods of {component}, and no others", seconds)

    def said_by(self, component: str) -> str:
        """The last lines of KEA's own log."""
        selector = f"app.kubernetes.io/component={component}"
        return self.kubectl("-n", NAMESPACE, "logs", "--tail=20", "--prefix", "-l", selector, check=False).stdout


def settled(pod: Object) -> bool:
    """Whether it is ready and stays."""
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def model(name: str, **spec: Any) -> Object:
    return {"apiVersion": API_VERSION, "kind": "MLModel", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, **spec: Any) -> Object:
    return {"apiVersion": API_VERSION, "kind": "MLDeployment", "metadata": {"name": name}, "spec": spec}


class Space:
    """A namespace of a test's own."""

    def __init__(self, cluster: Cluster, name: str, images: dict[str, str]) -> None:
        self.cluster = cluster
        self.name = name
        self.images = images
        cluster.kubectl("create", "namespace", name)

    def delete(self) -> None:
        self.cluster.kubectl("delete", "namespace", self.name, "--wait=false")

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl("-n", self.name, *arguments, **options)

    def apply(self, *objects: Object, check: bool = True) -> subprocess.CompletedProcess[str]:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "-f", "-", stdin=text, check=check)

    def run(self, name: str, image: str, version: str | None = None, port: int | None = None, **spec: Any) -> None:
        """Applies an MLModel of one of the images that were prepared, and its MLDeployment."""
        of_model = {"image": self.images.get(image, image), "version": version, "port": port}
        given = {key: value for key, value in of_model.items() if value is not None}
        self.apply(model(name, **given), deployment(name, **spec))

    def patch(self, kind: str, name: str, spec: Object) -> None:
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def find(self, kind: str, name: str) -> Object | None:
        return self.cluster.find(kind, self.name, name)

    def list(self, kind: str, **labels: str) -> list[Object]:
        return self.cluster.list(kind, self.name, **labels)

    def pods(self, service: str, version: str | None = None) -> list[Object]:
        """Pods that serve a model and that nobody has told to end."""
        pods = self.list("pods", **{f"{GROUP}/service": service, "app.kubernetes.io/component": "model"})
        return [
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and version in (None, pod["metadata"]["labels"][f"{GROUP}/version"])
        ]

    def status(self, name: str) -> Object:
        found = self.find("mldeployments", name)
        return found.get("status", {}) if found else {}

    def condition(self, name: str, kind: str) -> Object:
        return next((one for one in self.status(name).get("conditions", []) if one["type"] == kind), {})

    def _current(self, name: str) -> Object | None:
        """The status, where it is about what is asked for now."""
        found = self.find("mldeployments", name)
        status = found.get("status", {}) if found else {}
        assert found is not None, f"there is no MLDeployment {name}"
        return status if status.get("observedGeneration") == found["metadata"]["generation"] else None

    def deployed(self, name: str, version: str | None = None, seconds: float = 90) -> Object:
        """Waits until what is asked for is there, and returns the status."""

        def done() -> Object | None:
            status = self._current(name)
            is_done = status and status["state"] == "deployed" and version in (None, status["liveVersion"])
            return status if is_done else None

        return wait_for(done, lambda: f"{name} to be deployed; {self.told(name)}", seconds)

    def failed(self, name: str, *words: str, seconds: float = 90) -> Object:
        """Waits until it has failed with these words, and returns the status."""

        def done() -> Object | None:
            status = self._current(name)
            has_failed = status and status["state"] == "failed"
            return status if has_failed and all(word in status["reason"] for word in words) else None

        return wait_for(done, lambda: f"{name} to fail with {words}; {self.told(name)}", seconds)

    def told(self, name: str) -> str:
        """All that there is to say where a test gives up."""
        pods = [(pod["metadata"]["name"], pod.get("status", {})) for pod in self.pods(name)]
        return f"status {json.dumps(self.status(name))}\npods {json.dumps(pods)}\n{self.cluster.said_by('operator')}"

    def rolled_out(self, name: str, version: str = "1") -> None:
        """Waits until all pods of a version are those of its Deployment as it is now."""
        self.kubectl("rollout", "status", f"deployment/{name}-{version}", "--timeout=90s")

    def gone(self, name: str, seconds: float = 90) -> None:
        """Waits until nothing is left of a service."""
        kinds = [
            "deployments",
            "horizontalpodautoscalers",
            "networkpolicies",
            "poddisruptionbudgets",
            "pods",
            "serviceaccounts",
            "services",
            "jobs",
        ]

        def left() -> list[str]:
            found = [(kind, one) for kind in kinds for one in self.list(kind, **{f"{GROUP}/service": name})]
            return [f"{kind}/{one['metadata']['name']}" for kind, one in found]

        wait_for(lambda: not left(), lambda: f"nothing to be left of {name}; there is {left()}", seconds)


class Gateway(Kea):
    """The routers of a cluster, by their Service."""

    def __init__(self, binary: Path, folder: Path, url: str, password: str) -> None:
        super().__init__(binary, folder, None)
        self.url = url
        self.password = password

    def login(self) -> None:
        body = {"username": "admin", "password": self.password}
        answer = requests.post(f"{self.url}/api/v1/k8c/auth/login", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        self.session.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def answers(self, service: str, version: str = "1", seconds: float = 15) -> None:
        """Waits until a router routes to a version: each hears of it by itself."""

        def routed() -> bool:
            details = self.request("GET", f"/services/{service}")
            is_live = details.status_code == 200 and details.json()["liveVersion"] == version
            return is_live and self.request("GET", f"/openapi/{service}").status_code == 200

        wait_for(routed, f"{self.url} to route to version {version} of {service}", seconds)


# Ports of callers, each for one connection. The node remembers for days to which router it sent one, be it one that was
# killed, and would send another connection from the same port there, too.
PORTS = itertools.cycle(range(10_000, 60_000))


def fresh_port() -> int:
    """A port of this machine that no connection has had yet."""
    while True:
        port = next(PORTS)
        with socket.socket() as taken:
            try:
                taken.bind(("", port))
                return port
            except OSError:
                continue


class FreshLoad(Load):
    """Callers that make a connection for each call, as callers of a Service do whose router may go."""

    # There are so many ports for all tests together.
    PAUSE = PAUSE * 4

    def _run(self, caller: int) -> None:
        headers = self.headers | {"Connection": "close"}
        while not self._stopped.is_set():
            self._stopped.wait(self.PAUSE)
            with self._lock:
                port = fresh_port()
            began = time.monotonic()
            connection = http.client.HTTPConnection(self.address, timeout=30, source_address=("", port))
            try:
                connection.request("POST", self.path, self.body, headers)
                response = connection.getresponse()
                text = response.read().decode()
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.connection_errors[f"{type(error).__name__}: {error}"] += 1
                self._stopped.wait(0.02)
                continue
            finally:
                connection.close()
            self._note(caller, response, text, time.monotonic() - began)


class Files:
    """What builds in the cluster fetch, on the node's address."""

    def __init__(self, folder: Path, address: str) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer((address, 0), handler)
        self.server.daemon_threads = True
        self.host = f"{address}:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Registry:
    """The cluster's registry on another address, over the same storage: pods do not reach their node's loopback."""

    PORT = 5000

    def __init__(self, address: str, folder: Path, storage: Path) -> None:
        self.folder = folder
        self.url = f"http://{address}:{self.PORT}"
        config = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
            "http": {"addr": f"{address}:{self.PORT}"},
        }
        (folder / "registry.yml").write_text(json.dumps(config))
        self.start()

    def start(self) -> None:
        with (self.folder / "registry.log").open("ab") as log:
            env = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
            command = ["docker-registry", "serve", self.folder / "registry.yml"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        wait_for(self._is_there, "the registry", 20)

    def _is_there(self) -> bool:
        assert self.process.poll() is None, (self.folder / "registry.log").read_text()
        try:
            return requests.get(f"{self.url}/v2/", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def squeezed(text: str) -> str:
    """A text without spaces and line ends, which tables put anywhere."""
    return "".join(text.split())
