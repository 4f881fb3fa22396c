"""Which replica answers: by the rule that is asked for, among those that live."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

from harness import Kea
from models import ModelShelf

# Each replica has a home that has its name.
NAMES_ITSELF = """
import os
import time

class Model:
    def predict(self, seconds: float = 0.0) -> str:
        time.sleep(seconds)
        return os.path.basename(os.environ["HOME"])
"""


def who(kea: Kea, name: str, seconds: float = 0.0) -> str:
    return kea.predictions(name, {"seconds": seconds})[0]["result"]


def test_rules_decide_which_replica_answers(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("spread", models.custom("names-itself", NAMES_ITSELF), replicas=3)
    names = ["spread-1-0", "spread-1-1", "spread-1-2"]
    assert {who(kea, "spread") for _ in range(60)} == set(names)

    def rule(algorithm: str, replicas: list[str], status: str) -> None:
        config = {"serviceId": "spread", "algorithm": algorithm, "replicas": replicas}
        answer = kea.request("POST", "/router/loadbalancer", json=config)
        assert answer.status_code == 201, answer.text
        assert (answer.json()["serviceId"], answer.json()["status"]) == ("spread", status)
        details = kea.request("GET", "/router/loadbalancer/spread").json()
        assert details["algorithm"] == algorithm
        assert sorted(details["replicas"]) == sorted(replicas or names)
        assert details["activeReplicaCount"] == len(replicas or names)
        listed = kea.request("GET", "/router/loadbalancer").json()
        assert [one["algorithm"] for one in listed if one["serviceId"] == "spread"] == [algorithm]

    rule("ip_hash", [], "created")
    assert len({who(kea, "spread") for _ in range(12)}) == 1, "one client has one replica"
    rule("least_connections", [], "updated")
    slow: list[str] = []
    caller = threading.Thread(target=lambda: slow.append(who(kea, "spread", 2.0)))
    caller.start()
    kea.wait_for(lambda: len({who(kea, "spread") for _ in range(4)}) == 2, "the slow request to be under way", 2)
    fast = {who(kea, "spread") for _ in range(12)}
    assert caller.is_alive(), "the fast ones came while the slow one was under way"
    caller.join()
    assert fast == set(names) - set(slow), "the busy one is left alone"
    rule("round_robin", names[1:], "updated")
    assert Counter(who(kea, "spread") for _ in range(20)) == dict.fromkeys(names[1:], 10)

    unknown = {"serviceId": "spread", "algorithm": "round_robin", "replicas": ["spread-1-9"]}
    answer = kea.request("POST", "/router/loadbalancer", json=unknown)
    assert answer.status_code == 400 and answer.json()["errors"][0]["pointer"] == "/replicas/0", answer.text
    assert kea.request("DELETE", "/router/loadbalancer/spread").status_code == 204
    details = kea.request("GET", "/router/loadbalancer/spread").json()
    assert (details["algorithm"], details["activeReplicaCount"]) == ("peak_ewma", 3)
    # Which ones answer now depends on how quick they were before.
    assert {who(kea, "spread") for _ in range(20)} <= set(names)
    assert kea.request("GET", "/router/loadbalancer/no-such").status_code == 404
    assert kea.request("DELETE", "/router/loadbalancer/no-such").status_code == 404


def test_the_count_of_active_replicas_is_true(shared_kea: Kea, models: ModelShelf) -> None:
    kea = shared_kea
    kea.deploy("counted", models.custom("names-itself", NAMES_ITSELF), replicas=2)

    def active() -> int:
        return kea.request("GET", "/router/loadbalancer/counted").json()["activeReplicaCount"]

    assert active() == 2
    os.kill(kea.replica_pids("counted")[0], signal.SIGKILL)
    kea.wait_for(lambda: active() == 1, "the count without the killed one", 10)
    # Meanwhile the other one answers everything.
    assert who(kea, "counted").startswith("counted-1-")
    kea.wait_for(lambda: active() == 2, "the killed one to be counted again")
    config = {"serviceId": "counted", "algorithm": "round_robin", "replicas": []}
    assert kea.request("POST", "/router/loadbalancer", json=config).status_code == 201
    assert Counter(who(kea, "counted") for _ in range(20)) == {"counted-1-0": 10, "counted-1-1": 10}
    assert kea.request("PUT", "/services/counted", json={"replicas": 0}).status_code == 200
    kea.wait_for(lambda: active() == 0, "no replica to be counted")
    refused = kea.predict("counted", {"seconds": 0.0})
    assert refused.status_code == 503 and "counted" in refused.json()["detail"], refused.text
