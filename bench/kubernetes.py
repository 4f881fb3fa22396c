"""Measures the operator and a router in a cluster: `scripts/with-cluster python3 bench/kubernetes.py KEA IMAGE`.

KEA is the program, IMAGE an image of an ONNX model (input `X`, rows of 4) that the cluster can pull and this process
can ask for. Operator and router run as processes beside the cluster, so that their CPU time and memory are the kernel's
own figures. Needs kubectl on the PATH, KUBECONFIG, and a cluster with the definitions (`deploy/crds.yaml`) in which no
other operator looks at all namespaces; makes a namespace and removes it.
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import secrets
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

NAMESPACE = f"kea-bench-{os.getpid()}"
ROUTER = "127.0.0.1:18080"
OPERATOR = "127.0.0.1:18081"
PASSWORD = secrets.token_hex(8)
CALLERS = 8


def kubectl(*arguments: str, text: str | None = None) -> str:
    line = ["kubectl", "-n", NAMESPACE, *arguments]
    return subprocess.run(line, input=text, check=True, text=True, stdout=subprocess.PIPE).stdout


def apply(documents: list[dict[str, Any]]) -> None:
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))


def create(documents: list[dict[str, Any]]) -> None:
    """Creates MLDeployments as fast as the API server takes them, which kubectl does not: it holds itself back."""
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "client.pem"
        parts = [user["client-certificate-data"], user["client-key-data"]]
        file.write_bytes(b"\n".join(base64.b64decode(part) for part in parts))
        tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        tls.load_cert_chain(file)
    path = f"/apis/ml.kea-project.io/v1alpha1/namespaces/{NAMESPACE}/mldeployments"

    def send(some: list[dict[str, Any]]) -> None:
        connection = http.client.HTTPSConnection(cluster["server"].removeprefix("https://"), context=tls)
        for one in some:
            connection.request("POST", path, json.dumps(one), {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 201, text
        connection.close()

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(send, [documents[n::CALLERS] for n in range(CALLERS)]))


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "ml.kea-project.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@contextlib.contextmanager
def running(line: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(line, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def wait_for(condition: Any, seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            if found := condition():
                return found
        time.sleep(0.02)
    sys.exit(f"{what}: not within {seconds} s")


def post(path: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(f"http://{ROUTER}/api/v1/k8c{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def operator_metric(name: str) -> float:
    with urllib.request.urlopen(f"http://{OPERATOR}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return float(next((line.split()[1] for line in lines if line.startswith(f"{name} ")), 0))


def states() -> list[str]:
    listed = kubectl("get", "mldeployments", "-o", "jsonpath={range .items[*]}{.status.state}{'\\n'}{end}")
    return listed.split()


def first_prediction(image: str, token: str, number: int) -> float:
    """Seconds from `kubectl apply` of a deployment to its first answered prediction."""
    name = f"first-{number}"
    began = time.monotonic()
    apply([document("MLModel", name, {"image": image}), document("MLDeployment", name, {"replicas": 1})])
    row = {"inputs": {"X": [[5.1, 3.5, 1.4, 0.2]]}}
    wait_for(lambda: post(f"/services/{name}/predict", row, token), 60, "the first prediction")
    took = time.monotonic() - began
    kubectl("delete", "mldeployment,mlmodel", name)
    return took


def active_replicas(name: str, token: str) -> int:
    """Replicas that the router sends requests to."""
    request = urllib.request.Request(f"http://{ROUTER}/metrics", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line.split()[1] for line in lines if line.startswith(f'kea_active_replicas{{service="{name}"')]
    return sum(int(count) for count in counts)


class ReadyPods:
    """When pods became ready, as another watcher of the API server hears of it: kubectl."""

    def __init__(self, name: str) -> None:
        condition = '{.status.conditions[?(@.type=="Ready")].status}'
        line = ["kubectl", "-n", NAMESPACE, "get", "pods", "--watch", "-l", f"ml.kea-project.io/service={name}"]
        line += ["-o", f'jsonpath={{.metadata.name}} {condition}{{"\\n"}}']
        self.times: dict[str, float] = {}
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for event in self.process.stdout:
            name, _, ready = event.strip().partition(" ")
            if ready == "True":
                self.times.setdefault(name, time.monotonic())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def routed(image: str, token: str, rounds: int, pods: int) -> list[float]:
    """Seconds from a pod that is ready to a router that sends it requests, for each pod."""
    name, delays = "routed", []
    apply([document("MLModel", name, {"image": image}), document("MLDeployment", name, {"replicas": 0})])
    wait_for(lambda: states()[-1:] == ["deployed"], 60, "the service")
    for _ in range(rounds):
        ready, seen = ReadyPods(name), []
        kubectl("scale", "mldeployment", name, f"--replicas={pods}")
        while len(seen) < pods:
            seen += [time.monotonic()] * (active_replicas(name, token) - len(seen))
            time.sleep(0.002)
        wait_for(lambda ready=ready: len(ready.times) >= pods, 30, "the pods to be seen as ready")
        # The n-th that is ready is the n-th that is routed to.
        delays += [max(0.0, late - early) for early, late in zip(sorted(ready.times.values()), seen, strict=True)]
        ready.stop()
        kubectl("scale", "mldeployment", name, "--replicas=0")
        wait_for(lambda: not kubectl("get", "pods", "-o", "name").split(), 120, "the pods to end")
    kubectl("delete", "mldeployment,mlmodel", name)
    return delays


def many(image: str, count: int, pid: int) -> dict[str, float]:
    """All at once, without replicas: the time until the last one is as asked."""
    cpu = cpu_seconds(pid)
    began = time.monotonic()
    apply([document("MLModel", "many", {"image": image})])
    create([document("MLDeployment", f"many-{n}", {"modelName": "many", "replicas": 0}) for n in range(count)])
    applied = time.monotonic() - began
    wait_for(lambda: states().count("deployed") == count, 600, f"{count} deployments")
    took = time.monotonic() - began
    return {"applied_s": applied, "reconciled_s": took, "cpu_s": cpu_seconds(pid) - cpu, "peak_mib": peak_mib(pid)}


def resync(line: list[str], count: int) -> float:
    """CPU seconds in which a new operator finds that nothing is to be done."""
    with running(line, {}) as operator:
        looked = lambda: operator_metric("kea_operator_reconcile_seconds_count") >= count  # noqa: E731
        wait_for(looked, 120, "a look at everything")
        return cpu_seconds(operator.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kea")
    parser.add_argument("image")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--pods", type=int, default=20, help="pods that become ready in one round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    subprocess.run(["kubectl", "create", "namespace", NAMESPACE], check=True, stdout=subprocess.DEVNULL)
    cluster = ["--namespace", NAMESPACE, "--single-namespace"]
    operator_line = [arguments.kea, "operator", *cluster, "--image", arguments.image, "--listen", OPERATOR]
    router_line = [arguments.kea, "router", *cluster, "--listen", ROUTER, "--linger", "0s"]
    try:
        with running(router_line, {"KEA_ADMIN_PASSWORD": PASSWORD, "KEA_TOKEN_TTL": "12h"}):
            with running(operator_line, {}) as operator:
                login = {"username": "admin", "password": PASSWORD}
                token = wait_for(lambda: post("/auth/login", login), 30, "the router")["token"]
                wait_for(lambda: operator_metric("kea_operator_leader") == 1, 30, "the operator")
                times = [first_prediction(arguments.image, token, n) for n in range(arguments.times)]
                print(f"first prediction: median {statistics.median(times):.2f} s, most {max(times):.2f} s")
                delays = sorted(routed(arguments.image, token, arguments.rounds, arguments.pods))
                p99 = delays[min(len(delays) - 1, len(delays) * 99 // 100)]
                print(
                    f"from ready to routed, {len(delays)} pods: median {statistics.median(delays) * 1000:.0f} ms, "
                    f"p99 {p99 * 1000:.0f} ms"
                )
                figures = many(arguments.image, arguments.count, operator.pid)
                print(", ".join(f"{name} {value:.1f}" for name, value in figures.items()))
            print(
                f"a look at {arguments.count} that are as asked: {resync(operator_line, arguments.count):.2f} s of CPU"
            )
    finally:
        subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--wait=false"], stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
