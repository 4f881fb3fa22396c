"""Measures one target with one model: start, verify, load, weigh, stop. Rows of figures come out."""

import time
from dataclasses import dataclass

from . import load, process
from .kea import timed_deploy
from .plan import MODELS, Plan

WORDS = {"onnx": "ONNX", "sklearn": "scikit-learn"}
SUFFIXES = {"onnx": "onnx", "sklearn": "joblib"}


@dataclass(frozen=True)
class Case:
    """One model in one run."""

    plan: Plan
    name: str
    model: dict  # features, sample rows and labels, as models.py describes them


def competitor(target, case):
    """The row of a server that is no part of KEA."""
    port = process.free_port()
    endpoint = target.endpoint(port, case.name)
    command = target.command_for(port, case.plan.constant_bin)
    environment = {**case.plan.server_environment(case.name), **target.settings}
    started = time.perf_counter()
    with process.running(command, case.plan.logs / f"{target.name}-{case.name}.log", environment) as server:
        process.wait_until(lambda: endpoint.answers(case.model), target.title, server)
        seconds = round(time.perf_counter() - started, 3)
        row = loaded(case, target.name, target.title, endpoint, server.pid)
    return row | {"family": target.family, "first_answer_s": seconds}


def kea(installation, case, engine):
    """Rows of the model server alone, of the gateway, and (scikit-learn) of the gateway with two replicas."""
    with installation.serving() as running:
        service, deploy_s = deployed(running, case, engine)
        rows = kea_rows(running, case, engine, service)
        form = running.request_form(service)
    first_answer_s = restarted(installation, case, service, form)
    return [row | {"deploy_to_first_answer_s": deploy_s, "first_answer_s": first_answer_s} for row in rows]


def deployed(running, case, engine):
    """The service, and the seconds of its second deploy: the first one makes the environment."""
    request = {
        "modelName": f"{case.name}-{engine}",
        "sourceCode": str(MODELS / f"{case.name}.{SUFFIXES[engine]}"),
        "replicas": 1,
        **case.plan.kea_settings,
    }
    first, _ = timed_deploy(running, request, case.model)
    running.delete(first)
    return timed_deploy(running, request, case.model)


def kea_rows(running, case, engine, service):
    whole = running.server.pid
    gateway = running.gateway(service)
    replica, pid = running.replica(service)
    rows = [
        loaded(case, f"kea-server-{engine}", f"KEA model server alone, {WORDS[engine]}", replica, pid),
        loaded(case, f"kea-gateway-{engine}", f"KEA gateway, {WORDS[engine]}", gateway, whole),
    ]
    if engine == "sklearn":
        running.scale(service, 2)
        title = f"KEA gateway, {WORDS[engine]}, 2 replicas"
        rows.append(loaded(case, f"kea-gateway-{engine}-2", title, gateway, whole))
    return rows


def loaded(case, name, title, endpoint, root):
    """The figures of a server that answers as the model does; `root` is the process whose tree is weighed."""
    endpoint.verify(case.model)
    body = endpoint.body(case.model, case.model["rows"][0])
    figures = load.measure(endpoint, body, case.plan)
    memory = process.memory_mb(process.tree(root))
    return {"target": name, "title": title, "family": name, "model": case.name, "memory": memory, "load": figures}


def restarted(installation, case, service, form):
    """Seconds from `kea serve` to the first prediction of a service that it finds in its store; then it is deleted."""
    started = time.perf_counter()
    with installation.serving() as running:
        gateway = running.gateway(service, form)
        process.wait_until(lambda: gateway.answers(case.model), f"{service} after a restart", running.server)
        seconds = round(time.perf_counter() - started, 3)
        running.delete(service)
    return seconds
