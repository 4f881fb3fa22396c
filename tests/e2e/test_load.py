"""Changes and losses while callers never pause: none of them is to notice."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Kea, descendants, is_running
from load import Load
from models import SETOSA, ModelShelf

EXPECTED = {"label": "setosa"}

RAISES_IN_LOAD = """
class Model:
    def load(self) -> None:
        raise RuntimeError("the weights are for another planet")

    def predict(self, x: int) -> int:
        return x
"""


def replica(kea: Kea, service: str, name: str) -> dict[str, Any]:
    return next(one for one in kea.details(service)["replicaStatuses"] if one["name"] == name)


def test_killed_replicas_cost_no_request_and_come_back(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("killed", models.iris(), replicas=2)
    names = ["killed-1-0", "killed-1-1"]
    with Load(kea, "killed", SETOSA, EXPECTED) as load:
        for victim in [*names, names[0]]:
            before = replica(kea, "killed", victim)
            os.kill(before["pid"], signal.SIGKILL)

            def came_back(before: dict[str, Any] = before) -> bool:
                now = replica(kea, "killed", before["name"])
                return now["state"] == "ready" and now["pid"] != before["pid"]

            kea.wait_for(came_back, f"{victim} to come back")
            load.more(50)
    load.assert_all_answered()
    assert [replica(kea, "killed", name)["restarts"] for name in names] == [2, 1]
    assert kea.wait_deployed("killed")["readyReplicas"] == 2


def test_a_killed_worker_process_is_replaced(shared_kea: Kea, models: ModelShelf) -> None:
    """The replica itself survives, and callers are told clearly what became of the calls that the worker held."""
    kea = shared_kea
    kea.deploy("killed-worker", models.iris(), replicas=2)
    (server, _) = kea.replica_pids("killed-worker")
    with Load(kea, "killed-worker", SETOSA, EXPECTED) as load:
        (worker,) = descendants(server)
        os.kill(worker, signal.SIGKILL)
        kea.wait_for(lambda: worker not in descendants(server) and descendants(server), "another worker")
        load.more(100)
    assert not load.connection_errors and not load.wrong, load.summary()
    # At most what was at that worker at that moment; a loaded machine may start the next one after their time is over.
    assert len(load.refused) <= 4, load.summary()
    assert all("SIGKILL" in text or "did not answer within" in text for text in load.refused), load.summary()
    assert kea.replica_pids("killed-worker")[0] == server


def test_a_killed_server_leaves_no_process_and_comes_back_as_wanted(
    start: Callable[..., Kea], models: ModelShelf, tmp_path: Path
) -> None:
    kea = start()
    source = tmp_path / "original.joblib"
    shutil.copy(models.iris(1), source)
    kea.deploy("two", source, replicas=2, timeout="7s")
    shutil.copy(models.iris(2), source)
    kea.request("PUT", "/services/two", json={"sourceCode": str(source), "version": "second"}).raise_for_status()
    kea.wait_deployed("two")
    kea.deploy("asleep", source, replicas=0)
    kea.deploy("gone", source)
    assert kea.request("DELETE", "/services/gone").status_code == 204
    source.unlink()
    assert kea.process is not None
    with Load(kea, "two", SETOSA, EXPECTED) as load:
        below = descendants(kea.process.pid)
        assert len(below) >= 4, "two replicas with a worker each"
        kea.kill()
        kea.wait_for(lambda: not any(map(is_running, below)), "every process of the server to end", 20)
        refused_before = dict(load.statuses)
        kea.start()
        details = kea.wait_deployed("two")
        load.more(50)
    assert set(refused_before) == {200}, load.summary()
    # Between the server's start and the first replica's, callers are told to come again.
    assert set(load.statuses) <= {200, 503} and not load.wrong, load.summary()
    assert load.connection_errors, "the outage was seen"
    assert (details["version"], details["liveVersion"], details["replicas"]) == ("second", "second", 2)
    assert details["settings"]["timeout"] == "7s"
    assert kea.details("asleep")["replicas"] == 0
    kea.wait_for(lambda: kea.request("GET", "/services/gone").status_code == 404, "the deleted service to stay away")
    assert kea.predictions("two", SETOSA)[0]["label"] == "setosa"
    # What was live before the kill is still known.
    assert kea.request("POST", "/services/two/rollback").status_code == 200
    assert kea.wait_deployed("two")["liveVersion"] == "1"


def test_a_new_version_and_a_rollback_fail_no_request(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("updated", models.iris(1), replicas=2)
    with Load(kea, "updated", SETOSA, EXPECTED) as load:
        change = {"sourceCode": str(models.iris(2)), "version": "2"}
        assert kea.request("PUT", "/services/updated", json=change).status_code == 200
        assert kea.wait_deployed("updated")["liveVersion"] == "2"
        load.more(50)
        assert kea.request("POST", "/services/updated/rollback").status_code == 200
        assert kea.wait_deployed("updated")["liveVersion"] == "1"
        load.more(50)
    load.assert_all_answered()
    load.assert_versions("1", "2", "1")


def test_scaling_up_and_down_fails_no_request(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("scaled", models.iris(), replicas=1)
    with Load(kea, "scaled", SETOSA, EXPECTED) as load:
        for replicas in (3, 1):
            assert kea.request("PUT", "/services/scaled", json={"replicas": replicas}).status_code == 200
            kea.wait_deployed("scaled")
            kea.wait_for(
                lambda count=replicas: len(kea.details("scaled")["replicaStatuses"]) == count, f"{replicas} replicas"
            )
            load.more(50)
    load.assert_all_answered()


@pytest.mark.parametrize("broken", ["cut", "raises"])
def test_a_version_that_cannot_run_leaves_the_old_one_serving(
    shared_kea: Kea, models: ModelShelf, tmp_path: Path, broken: str
) -> None:
    kea = shared_kea
    if broken == "cut":
        source, said = tmp_path / "cut.joblib", "cut.joblib is no joblib or pickle file"
        source.write_bytes(models.iris(1).read_bytes()[:500])
    else:
        source, said = models.custom("raises-in-load", RAISES_IN_LOAD), "the weights are for another planet"
    name = f"broken-{broken}"
    kea.deploy(name, models.iris(1))
    with Load(kea, name, SETOSA, EXPECTED) as load:
        body = {"sourceCode": str(source), "allowBreaking": True}
        assert kea.request("PUT", f"/services/{name}", json=body).status_code == 200
        details = kea.wait_failed(name)
        assert said in details["reason"] and "version 1 keeps serving" in details["reason"], details["reason"]
        assert (details["version"], details["liveVersion"], details["readyReplicas"]) == ("2", "1", 1)
        load.more(50)
        assert kea.request("PUT", f"/services/{name}", json={"sourceCode": str(models.iris(2))}).status_code == 200
        assert kea.wait_deployed(name)["liveVersion"] == "3"
        load.more(50)
    load.assert_all_answered()
    load.assert_versions("1", "3")
