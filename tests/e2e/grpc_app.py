"""A server of gRPC as many have one, whose messages are plain bytes: run as `python grpc_app.py PORT [MAX_AGE_MS]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent import futures

import grpc


def say(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Answers with what it was told of the call beside the message."""
    seen = dict(context.invocation_metadata())
    context.set_trailing_metadata((("checksum", str(len(request))),))
    names = ["authorization", "kea-service", "x-forwarded-for", "x-mine", "te"]
    told = [f"{name}={seen.get(name, '')}" for name in names]
    return b"\n".join([request, *(line.encode() for line in told), f"left={context.time_remaining()}".encode()])


def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode[request.decode()], "as asked: 100 % `é`")


def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Waits until its caller has left."""
    left = futures.Future()
    context.add_callback(lambda: left.set_result(None))
    left.result(timeout=30)
    return b""


def count(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    for number in range(int(request)):
        yield str(number).encode()


def forever(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    while context.is_active():
        yield b"more"
        time.sleep(0.05)


def total(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    return str(sum(len(request) for request in requests)).encode()


def chat(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"ready"
    yield from requests


def health(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b"\x08\x01"


def serve(port: int, max_age_ms: int) -> None:
    age = [("grpc.max_connection_age_ms", max_age_ms)] if max_age_ms else []
    server = grpc.server(futures.ThreadPoolExecutor(32), options=age)
    unary, streaming = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    methods = {
        "Say": unary(say),
        "Fail": unary(fail),
        "Wait": unary(wait),
        "Count": streaming(count),
        "Forever": streaming(forever),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("greet.Greeter", methods)])
    checks = {"Check": unary(health)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks)])
    if server.add_insecure_port(f"127.0.0.1:{port}") != port:
        sys.exit(f"port {port} cannot be had")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
