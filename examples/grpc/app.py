"""A server of gRPC around a model, as many have one already: it tells how likely a loan is to be paid back."""

import json
import os
from concurrent import futures

import grpc


def score(application: dict, context: grpc.ServicerContext) -> dict:
    if application["income"] <= 0:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "`income` must be above 0")
    ratio = application["debt"] / application["income"]
    return {"ratio": ratio, "granted": ratio < 0.4}


def score_all(applications, context: grpc.ServicerContext):
    """Answers each application as it comes."""
    for application in applications:
        yield score(application, context)


def encode(message: dict) -> bytes:
    return json.dumps(message).encode()


# What `protoc` would generate. Messages are JSON here, so that there is nothing to compile.
messages = {"request_deserializer": json.loads, "response_serializer": encode}
methods = {
    "Score": grpc.unary_unary_rpc_method_handler(score, **messages),
    "ScoreAll": grpc.stream_stream_rpc_method_handler(score_all, **messages),
}

server = grpc.server(futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("credit.Credit", methods)])
server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
server.start()
server.wait_for_termination()
