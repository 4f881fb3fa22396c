"""Measures one target with one model: start, verify, load, weigh, stop. A row of figures comes out."""

import time

from . import load, process
from .kea import source_of, timed_deploy
from .plan import MODELS


def row(name, title, family, model_name, **figures):
    return {"target": name, "title": title, "family": family, "model": model_name, **figures}


def competitor(target, plan, model_name, model):
    port = process.free_port()
    endpoint = target.endpoint(port, model_name)
    environment = {**plan.server_environment(model_name), **target.settings}
    log = plan.logs / f"{target.name}-{model_name}.log"
    started = time.perf_counter()
    with process.running(target.command_for(port, plan.constant_bin), log, environment) as server:
        process.wait_until(lambda: endpoint.answers(model), target.title, server)
        first_answer_s = round(time.perf_counter() - started, 3)
        endpoint.verify(model)
        figures = load.measure(endpoint, endpoint.body(model, model["rows"][0]), plan, plan.scratch)
        memory = process.memory_mb(process.tree(server.pid))
    return row(
        target.name, target.title, target.family, model_name, first_answer_s=first_answer_s, memory=memory, load=figures
    )


def kea(installation, plan, engine, model_name, model):
    """Rows of the gateway, of the model server alone, and (scikit-learn) of the gateway with two replicas."""
    name = f"{model_name}-{engine}"
    with installation.serving() as running:
        # The first deploy makes the environment; what is timed is the second, as issued every day after.
        settings = plan.kea_settings
        first, _ = timed_deploy(running, name, source_of(MODELS, model_name, engine), settings, model)
        running.delete(first)
        service, deploy_s = timed_deploy(running, name, source_of(MODELS, model_name, engine), settings, model)
        rows = kea_rows(running, plan, engine, service, model_name, model)
    first_answer_s = restart(installation, service, model)
    for each in rows:
        each |= {"deploy_to_first_answer_s": deploy_s, "first_answer_s": first_answer_s}
    return rows


def kea_rows(running, plan, engine, service, model_name, model):
    words = {"onnx": "ONNX", "sklearn": "scikit-learn"}[engine]
    gateway = running.gateway(service)
    replica, pid = running.replica(service)
    rows = [
        loaded(f"kea-server-{engine}", f"KEA model server alone, {words}", replica, [pid], plan, model_name, model),
        loaded(
            f"kea-gateway-{engine}", f"KEA gateway, {words}", gateway, [running.server.pid], plan, model_name, model
        ),
    ]
    if engine == "sklearn":
        running.scale(service, 2)
        title = f"KEA gateway, {words}, 2 replicas"
        rows.append(
            loaded(f"kea-gateway-{engine}-2", title, gateway, [running.server.pid], plan, model_name, model)
        )
        running.scale(service, 1)
    return rows


def loaded(name, title, endpoint, roots, plan, model_name, model):
    endpoint.verify(model)
    figures = load.measure(endpoint, endpoint.body(model, model["rows"][0]), plan, plan.scratch)
    memory = process.memory_mb(set().union(*(process.tree(root) for root in roots)))
    return row(name, title, name, model_name, memory=memory, load=figures)


def restart(installation, service, model):
    """Seconds from `kea serve` to the first prediction of a service that it finds in its store; then it is deleted."""
    started = time.perf_counter()
    with installation.serving() as running:
        gateway = running.gateway(service)
        process.wait_until(lambda: gateway.answers(model), f"{service} after a restart", running.server)
        seconds = round(time.perf_counter() - started, 3)
        running.delete(service)
    return seconds
