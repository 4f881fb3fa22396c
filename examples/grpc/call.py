"""Calls the service through KEA: `python call.py URL TOKEN`."""

import json
import sys
from urllib.parse import urlsplit

import grpc

url, token = sys.argv[1:]
address = urlsplit(url).netloc
# The token says who calls, and `kea-service` which service is meant: on one host there may be many.
metadata = [("authorization", f"Bearer {token}"), ("kea-service", "credit")]


def encode(message: dict) -> bytes:
    return json.dumps(message).encode()


# Of a KEA with TLS: grpc.secure_channel(address, grpc.ssl_channel_credentials()).
with grpc.insecure_channel(address) as channel:
    score = channel.unary_unary("/credit.Credit/Score", encode, json.loads)
    print("one:", score({"income": 50_000, "debt": 12_000}, metadata=metadata, timeout=5))

    score_all = channel.stream_stream("/credit.Credit/ScoreAll", encode, json.loads)
    applications = [{"income": income, "debt": 12_000} for income in (20_000, 40_000)]
    for answer in score_all(iter(applications), metadata=metadata, timeout=5):
        print("of many:", answer)

    try:
        score({"income": 0, "debt": 0}, metadata=metadata)
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    try:
        score({"income": 1, "debt": 0}, metadata=metadata[1:])
    except grpc.RpcError as error:
        print(error.code().name, error.details())
