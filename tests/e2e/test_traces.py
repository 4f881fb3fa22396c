"""Requests as traces: at a collector that reads them with OpenTelemetry's own definitions, with the system behind below
KEA's part."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from harness import Kea
from models import ModelShelf
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"

ECHO = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(self.headers["traceparent"]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


class Collector:
    """Takes spans, of which every field must be one that the protocol has."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.mistakes: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    assert self.path == "/v1/traces"
                    collector.take(body)
                    self.send_response(200)
                except Exception as mistake:  # noqa: BLE001 - it fails the test, which is not in this thread
                    collector.mistakes.append(repr(mistake))
                    self.send_response(400)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, body: bytes) -> None:
        document = json.loads(body)
        # Ids are hexadecimal in this protocol's JSON, where Protobuf's own has base64.
        for resource in document["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    for name in ("traceId", "spanId", "parentSpanId"):
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        request = Parse(json.dumps(document), ExportTraceServiceRequest())
        for resource in request.resource_spans:
            assert [item.value.string_value for item in resource.resource.attributes] == ["kea"]
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def of(self, trace: str) -> list[Span]:
        assert not self.mistakes
        return [span for span in self.spans if span.trace_id.hex() == trace]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def attributes(span: Span) -> dict[str, str]:
    return {item.key: item.value.string_value for item in span.attributes}


def test_a_request_is_a_trace_from_its_caller_to_the_system_behind(
    start: Callable[..., Kea], collector: Collector, models: ModelShelf, tmp_path: Path
) -> None:
    kea = start(env={"KEA_TRACES_OTLP": collector.url, "KEA_TRACES_SHARE": "0"})
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "echo.py").write_text(ECHO)
    kea.deploy("echo", tmp_path / "echo", framework="Custom", command=["python3", "echo.py", "{port}"])
    kea.deploy("iris", models.iris_onnx())

    def call(method: str, path: str, flags: str, **options: Any) -> Any:
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-{flags}"}
        return kea.request(method, path, headers=headers, **options)

    version, trace, below, flags = call("GET", "/services/echo/", "01").text.split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    kea.wait_for(lambda: collector.of(TRACE), "the spans", 10)
    spans = collector.of(TRACE)
    root = next(span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    upstream = next(span for span in spans if span.kind == Span.SPAN_KIND_CLIENT)
    assert root.parent_span_id.hex() == CALLER
    assert attributes(root)["kea.service.name"] == "echo"
    assert {span.parent_span_id for span in spans if span is not root} == {root.span_id}
    assert (upstream.name, upstream.span_id.hex()) == ("upstream", below)
    assert "authenticate" in {span.name for span in spans}
    for span in spans:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano + 10_000

    # What its caller does not record is not recorded, and neither is what nobody asks for with a share of 0.
    collector.spans.clear()
    assert call("GET", "/services/echo/", "00").text == f"00-{TRACE}-{CALLER}-00"
    assert kea.request("GET", "/services/echo/").text.endswith("-00")
    assert call("POST", "/services/iris/predict", "01", json={"X": "nonsense"}).status_code == 400
    kea.wait_for(lambda: collector.of(TRACE), "the spans of the last one", 10)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    (wrong,) = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    # Its caller is to blame: to a server that is no failure.
    assert (wrong.name, wrong.status.code) == ("call iris/predict", Status.STATUS_CODE_UNSET)
    assert Span.SPAN_KIND_CLIENT not in {span.kind for span in collector.spans}


def test_a_share_that_is_none_is_told(binary: Path, tmp_path: Path) -> None:
    kea = Kea(
        binary, tmp_path / "kea", tmp_path, env={"KEA_TRACES_OTLP": "http://127.0.0.1:1", "KEA_TRACES_SHARE": "2"}
    )
    with pytest.raises(AssertionError, match="`traces-share` is 2, and is to be a share"):
        kea.start()
