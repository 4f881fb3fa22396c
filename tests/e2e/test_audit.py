"""Who did what: one record for each request whatever becomes of it, in a chain, found, shipped, counted."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import API, Kea
from models import ModelShelf

ROOT = Path(__file__).parents[2]

SLOW = """
import time

class Model:
    def predict(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds
"""


def records(kea: Kea, **query: Any) -> list[dict[str, Any]]:
    """Records of requests, newest first; those of these questions are left out."""
    answer = kea.request("GET", "/logs/audit", params={"limit": 10000, **query})
    assert answer.status_code == 200, answer.text
    found = answer.json()["records"]
    return [record for record in found if record.get("event.action") != "getAuditTrail"]


def of(kea: Kea, request_id: str) -> list[dict[str, Any]]:
    return [record for record in records(kea) if record.get("http.request.id") == request_id]


def one(kea: Kea, request_id: str) -> dict[str, Any]:
    found = kea.wait_for(lambda: of(kea, request_id), f"the record of {request_id}", 10)
    assert len(found) == 1, found
    return found[0]


@pytest.fixture(scope="module")
def iris(shared_kea: Kea, models: ModelShelf) -> Kea:
    shared_kea.deploy("iris", models.iris_onnx(), replicas=2)
    return shared_kea


ROW = {"X": [[5.1, 3.5, 1.4, 0.2]]}


def call(kea: Kea, request_id: str, inputs: Any = ROW, path: str = "/services/iris/predict", **headers: str) -> int:
    headers = {"x-request-id": request_id, "Authorization": f"Bearer {kea.token}", **headers}
    return requests.post(f"{kea.url}{API}{path}", json={"inputs": inputs}, headers=headers, timeout=30).status_code


def test_each_way_a_call_ends_is_one_record(iris: Kea) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert call(iris, "ok", traceparent=f"00-{trace}-00f067aa0ba902b7-01") == 200
    record = one(iris, "ok")
    expected = {
        "trace.id": trace,
        "user.name": "admin",
        "user.roles": ["admin"],
        "service.name": "iris",
        "service.version": "1",
        "kea.function": "predict",
        "kea.protocol": "kea",
        "kea.cache": "bypass",
        "kea.outcome": "success",
        "kea.fault": "none",
        "event.outcome": "success",
        "event.action": "call",
        "client.ip": "127.0.0.1",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": f"{API}/services/iris/predict",
    }
    assert {name: record.get(name) for name in expected} == expected
    assert record["kea.replica"].startswith("iris-1-")
    assert record["http.request.body.bytes"] > 20 and record["http.response.body.bytes"] > 20
    stages = sum(value for name, value in record.items() if name.startswith("kea.micros."))
    assert 0 < record["kea.micros.upstream"] <= stages <= record["event.duration"] / 1000 + 6

    assert call(iris, "bad", {"X": "no"}) == 400
    assert call(iris, "nobody", Authorization="Bearer x") == 401
    assert call(iris, "nowhere", path="/services/no-such/predict") == 404
    assert call(iris, "no-function", path="/services/iris/no_such") == 404
    for request_id, outcome, status, user in [
        ("bad", "invalid", 400, "admin"),
        ("nobody", "denied", 401, None),
        ("nowhere", "invalid", 404, "admin"),
        ("no-function", "invalid", 404, "admin"),
    ]:
        record = one(iris, request_id)
        found = record["kea.outcome"], record["http.response.status_code"], record.get("user.name")
        assert found == (outcome, status, user), record
        assert record["kea.fault"] == "caller" and record["event.reason"], record

    # Whoever is refused is recorded by the names that were asked for, however the path wrote them.
    assert call(iris, "escaped", path="/services/ir%69s/%70redict", Authorization="Bearer x") == 401
    record = one(iris, "escaped")
    assert (record["service.name"], record["kea.function"]) == ("iris", "predict")


def test_what_is_slow_and_who_leaves_is_recorded(iris: Kea, models: ModelShelf) -> None:
    iris.deploy("slow", models.custom("slow", SLOW), timeout="300ms")
    assert call(iris, "late", {"seconds": 2}, "/services/slow/predict") == 504
    record = one(iris, "late")
    assert (record["kea.outcome"], record["kea.fault"]) == ("unavailable", "model")

    host, port = iris.url.removeprefix("http://").split(":")
    body = json.dumps({"inputs": {"seconds": 2}})
    head = f"POST {API}/services/slow/predict HTTP/1.1\r\nhost: x\r\nx-request-id: left\r\n"
    head += f"authorization: Bearer {iris.token}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    record = one(iris, "left")
    assert (record["kea.outcome"], record["kea.fault"]) == ("cancelled", "caller")
    assert "http.response.status_code" not in record


def test_changes_and_logins_are_recorded_with_their_target(iris: Kea, models: ModelShelf) -> None:
    iris.deploy("target", models.iris_onnx())
    assert iris.request("PUT", "/services/target", json={"replicas": 2}).status_code == 200
    balancing = {"serviceId": "target", "algorithm": "ip_hash", "replicas": []}
    assert iris.request("POST", "/router/loadbalancer", json=balancing).status_code == 201
    assert iris.request("POST", "/services/target/rollback").status_code == 409
    assert iris.request("DELETE", "/services/target").status_code == 204
    wrong = {"username": "mallory", "password": "guess"}
    assert iris.request("POST", "/auth/login", json=wrong).status_code == 401
    changes = {
        record["event.action"]: record["kea.outcome"]
        for record in records(iris, service="target", caller="admin")
        if record["event.category"] == ["configuration"]
    }
    assert changes == {
        "deployService": "success",
        "updateService": "success",
        "configureLoadBalancer": "success",
        "rollbackService": "invalid",
        "deleteService": "success",
    }
    (login,) = records(iris, caller="mallory")
    assert (login["event.action"], login["kea.outcome"], login["event.type"]) == ("login", "denied", ["denied"])
    assert "guess" not in json.dumps(login)


def test_calls_that_rules_leave_out_are_counted_alone(iris: Kea) -> None:
    counter = 'kea_calls_total{service="iris",version="1",function="predict",protocol="kea",outcome="success"'

    def counted() -> float:
        page = iris.request("GET", "!/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(counter))

    def put(calls: str) -> None:
        assert iris.request("PUT", "/logs/rules/iris", json={"calls": calls}).json()["calls"] == calls

    put("failed")
    before = counted()
    ids = iter(range(1000))

    def left_out() -> bool:
        name = f"left-out-{next(ids)}"
        assert call(iris, name) == 200
        return not of(iris, name)

    iris.wait_for(left_out, "the rules to hold", 10)
    assert call(iris, "wrong-row", {"X": "nonsense"}) == 400
    assert one(iris, "wrong-row")["kea.outcome"] == "invalid"
    assert counted() - before == next(ids)
    put("none")

    def wrong_left_out() -> bool:
        name = f"wrong-left-out-{next(ids)}"
        assert call(iris, name, {"X": "nonsense"}) == 400
        return not of(iris, name)

    iris.wait_for(wrong_left_out, "the rules to hold", 10)
    put("all")
    iris.wait_for(lambda: not left_out(), "the rules to end", 10)


def test_records_are_followed_as_they_come(iris: Kea) -> None:
    iris.cli("login", "--username", "admin", env={"KEA_PASSWORD": "correct horse battery staple"})
    with iris.cli_process("audit", "--follow", "--service", "iris", "--output", "json") as following:
        lines = iter(following.stdout.readline, "")
        for number in range(3):
            assert call(iris, f"followed-{number}") == 200
            assert any(json.loads(line)["http.request.id"] == f"followed-{number}" for line in lines)


def test_bodies_are_kept_for_whom_the_rules_say_and_without_what_is_masked(iris: Kea) -> None:
    rules = {"keep": "720h", "payload": {"sample": 1, "mask": ["/inputs/X", "/predictions/*/label"]}}
    answer = iris.request("PUT", "/logs/rules/iris", json=rules)
    assert answer.status_code == 200, answer.text
    assert iris.request("GET", "/logs/rules/iris").json()["payload"]["sample"] == 1
    for wrong in ({"calls": "some"}, {"keep": "1s"}):
        assert iris.request("PUT", "/logs/rules/iris", json=wrong).status_code == 400, wrong
    for wrong in [{"sample": 2}, {"maxBytes": "1Gi"}, {"mask": ["inputs"]}, {"masks": []}]:
        assert iris.request("PUT", "/logs/rules/iris", json={"payload": wrong}).status_code == 400, wrong

    def kept() -> dict[str, Any] | None:
        assert call(iris, "kept") == 200
        newest = of(iris, "kept")[0]
        return newest if "http.request.body.content" in newest else None

    record = iris.wait_for(kept, "the rules to hold", 10)
    assert json.loads(record["http.request.body.content"]) == {"inputs": {"X": "***"}}
    came, ends = (datetime.fromisoformat(record[name]) for name in ("@timestamp", "kea.audit.expires"))
    assert timedelta(0) <= came + timedelta(days=30) - ends < timedelta(seconds=1), record
    assert "***" in record["http.response.body.content"] or "label" not in record["http.response.body.content"]
    assert iris.request("PUT", "/logs/rules/iris", json={}).status_code == 200

    def no_more() -> bool:
        assert call(iris, "not-kept") == 200
        return "http.request.body.content" not in of(iris, "not-kept")[0]

    iris.wait_for(no_more, "the rules to end", 10)


def test_each_request_of_a_load_is_one_record_while_a_replica_is_killed(iris: Kea) -> None:
    sent = [f"load-{number:04}" for number in range(800)]
    todo, statuses = iter(sent), Counter()
    lock = threading.Lock()

    def work() -> None:
        session = requests.Session()
        headers = {"Authorization": f"Bearer {iris.token}"}
        while True:
            with lock:
                request_id = next(todo, None)
            if request_id is None:
                return
            url = f"{iris.url}{API}/services/iris/predict"
            own = {**headers, "x-request-id": request_id}
            if request_id == sent[200]:
                os.kill(iris.replica_pids("iris")[0], signal.SIGKILL)
            status = session.post(url, json={"inputs": ROW}, headers=own, timeout=30).status_code
            with lock:
                statuses[status] += 1

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = [record for record in records(iris) if record.get("http.request.id", "").startswith("load-")]
    assert Counter(record["http.request.id"] for record in found) == Counter(sent)
    assert Counter(record["http.response.status_code"] for record in found) == statuses


def test_queries_are_for_those_who_may_and_say_what_is_wrong(iris: Kea) -> None:
    assert requests.get(f"{iris.url}{API}/logs/audit", timeout=10).status_code == 401
    for query in [{"outcome": "fine"}, {"limit": 0}, {"limit": 20000}, {"since": "yesterday"}, {"who": "me"}]:
        assert iris.request("GET", "/logs/audit", params=query).status_code == 400, query
    assert call(iris, "asked-for") == 200
    assert len(records(iris, limit=1)) <= 1
    assert all(record["kea.outcome"] == "denied" for record in records(iris, outcome="denied"))
    assert records(iris, since="2199-01-01T00:00:00Z") == []
    iris.cli("login", "--username", "admin", env={"KEA_PASSWORD": "correct horse battery staple"})
    shown = iris.cli("audit", "--since", "1h", "--service", "iris", "--caller", "admin").stdout
    assert "asked-for" in shown and "iris/predict" in shown and "TIME" in shown


def test_the_trail_is_whole_until_somebody_edits_it(start: Callable[..., Kea], models: ModelShelf) -> None:
    kea = start(env={"KEA_AUDIT_FILE_SIZE": "10k"})
    folder = kea.data_dir / "audit"
    for _ in range(30):
        kea.request("GET", "/services")
    records(kea)
    kea.kill()
    kea.start()
    records(kea)
    kea.stop()
    files = sorted(folder.glob("audit-*.jsonl"))
    assert len(files) > 1
    told = kea.cli("--output", "json", "audit", "verify", str(folder))
    verdict = json.loads(told.stdout)
    assert verdict["findings"] == [] and verdict["files"] == len(files)
    noted = f"{verdict['head']['sequence']}:{verdict['head']['hash']}"
    kea.cli("audit", "verify", str(folder), "--noted", noted)

    lines = files[0].read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("127.0.0.1", "127.0.0.2")
    files[0].write_text("".join(lines))
    told = kea.cli("audit", "verify", str(folder), check=False)
    assert told.returncode == 1
    assert re.search(rf"{re.escape(str(files[0]))}:4: .*changed", told.stdout), told.stdout
    assert kea.cli("audit", "verify", str(folder.parent), check=False).returncode == 1


class Bulk(BaseHTTPRequestHandler):
    """The bulk API as far as it is documented; ids that are there are conflicts."""

    protocol_version = "HTTP/1.1"
    documents: dict[str, Any] = {}

    def do_PUT(self) -> None:
        self.answer({"acknowledged": True})

    def do_POST(self) -> None:
        lines = [json.loads(line) for line in self.body().splitlines()]
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            document_id = action["create"]["_id"]
            status = 409 if document_id in self.documents else 201
            self.documents.setdefault(document_id, document)
            items.append({"create": {"_id": document_id, "status": status}})
        self.answer({"took": 1, "errors": False, "items": items})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def answer(self, value: Any) -> None:
        if self.command == "PUT":
            self.body()
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def search() -> Iterator[Callable[[int], ThreadingHTTPServer]]:
    servers: list[ThreadingHTTPServer] = []

    def serve(port: int) -> ThreadingHTTPServer:
        Bulk.documents = {}
        server = ThreadingHTTPServer(("127.0.0.1", port), Bulk)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def metric(kea: Kea, name: str) -> float:
    page = kea.request("GET", "!/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found.group(1))


def test_a_sink_that_was_down_gets_every_record(
    start: Callable[..., Kea], search: Callable[[int], ThreadingHTTPServer], models: ModelShelf
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {"KEA_AUDIT_ELASTICSEARCH": f"http://127.0.0.1:{port}", "KEA_AUDIT_STDOUT": "true"}
    kea = start(env=env)
    up = 'kea_audit_sink_up{sink="elasticsearch"}'
    kea.wait_for(lambda: metric(kea, up) == 0, "the sink to be told away", 10)
    for number in range(100):
        assert kea.request("GET", "/services", headers={"x-request-id": f"down-{number}"}).status_code == 200
    ready = kea.request("GET", "!/readyz")
    assert ready.status_code == 200
    assert any("`elasticsearch`" in trouble for trouble in ready.json()["troubles"])
    search(port)
    kea.wait_for(lambda: metric(kea, up) == 1, "the sink to be told there", 60)
    wanted = {f"down-{number}" for number in range(100)}

    def arrived() -> Counter[str]:
        ids = [document.get("http.request.id", "") for document in list(Bulk.documents.values())]
        return Counter(i for i in ids if i in wanted)

    kea.wait_for(lambda: len(arrived()) == 100, "all records")
    assert set(arrived().values()) == {1}
    assert kea.request("GET", "!/readyz").json()["troubles"] == []
    log = kea.log_file.read_text()
    assert log.count("an audit sink takes no records") == 1
    assert log.count("an audit sink takes records again") == 1
    # Standard output has them, too.
    assert '"http.request.id":"down-99"' in log


def test_metrics_have_the_same_labels_everywhere_and_the_dashboard_uses_what_is_there(
    iris: Kea, start: Callable[..., Kea]
) -> None:
    assert call(iris, "counted") == 200
    assert call(iris, "not-counted", path="/services/iris/made_up") == 404
    records(iris)
    page = iris.request("GET", "!/metrics").text
    labels = 'service="iris",version="1",function="predict",protocol="kea",outcome="success",cache="bypass"'
    assert re.search(rf"^kea_calls_total\{{{labels}\}} [1-9]", page, re.MULTILINE), page
    assert f'kea_call_duration_seconds_bucket{{{labels},le="0.005"}}' in page
    assert "made_up" not in page and 'function="other"' in page
    with_sink = start(env={"KEA_AUDIT_OTLP": "http://127.0.0.1:1"}).request("GET", "!/metrics").text
    there = set(re.findall(r"^(kea_\w+)[{ ]", page + with_sink, re.MULTILINE))
    dashboard = (ROOT / "deploy/grafana/kea.json").read_text()
    used = set(re.findall(r"\bkea_\w+", dashboard))
    assert len(used) > 10
    assert used <= there, used - there


def test_elasticsearch_and_kibana_get_what_they_need(kea: Kea) -> None:
    got: dict[str, str] = {}

    class Both(Bulk):
        def do_PUT(self) -> None:
            got[self.path] = self.body().decode()
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PUT

    server = ThreadingHTTPServer(("127.0.0.1", 0), Both)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        kea.cli("audit", "setup-elasticsearch", url, "--kibana", url)
    finally:
        server.shutdown()
        server.server_close()
    template = json.loads(got["/_index_template/kea-audit"])
    fields = set(template["template"]["mappings"]["properties"])
    written = {name for record in records(kea) for name in record}
    assert written <= fields, written - fields
    upload = got["/api/saved_objects/_import?overwrite=true"]
    objects = [json.loads(line) for line in upload.splitlines() if line.startswith("{")]
    ids = {(each["type"], each["id"]) for each in objects}
    for each in objects:
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in ids, reference
    # Dashboards ask for fields that there are.
    asked = set(re.findall(r'\\"field\\": \\"([^\\]+)\\"', upload))
    assert asked and asked <= fields
