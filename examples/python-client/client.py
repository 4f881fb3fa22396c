"""Calls a service with `requests` alone.

    python client.py SERVICE INPUTS

INPUTS is JSON, as '{"sepal_length": 5.1, ...}'. KEA_SERVER is KEA's address, KEA_TOKEN a token (`kea token` prints
one); without it, KEA_PASSWORD is exchanged for one.
"""

import json
import os
import sys
import time

import requests

SERVER = os.environ.get("KEA_SERVER", "http://127.0.0.1:8080")
API = f"{SERVER}/api/v1/k8c"


def log_in() -> str:
    credentials = {"username": "admin", "password": os.environ["KEA_PASSWORD"]}
    answer = requests.post(f"{API}/auth/login", json=credentials, timeout=30)
    answer.raise_for_status()
    return answer.json()["token"]


def predict(session: requests.Session, service: str, inputs: dict, attempts: int = 5) -> list[dict]:
    """One prediction a row. A service that is busy or not ready says when to ask again."""
    for attempt in range(1, attempts + 1):
        answer = session.post(f"{API}/services/{service}/predict", json={"inputs": inputs}, timeout=30)
        if answer.status_code != 503 or attempt == attempts:
            break
        time.sleep(float(answer.headers.get("Retry-After", 1)))
    if not answer.ok:
        raise SystemExit(explain(answer))
    return answer.json()["predictions"]


def explain(answer: requests.Response) -> str:
    """The problem (RFC 9457) in words: what is wrong, and where in the request."""
    problem = answer.json()
    lines = [f"{problem['status']} {problem['title']}: {problem['detail']} (request {problem['instance']})"]
    for error in problem.get("errors", []):
        lines.append(f"  {error['pointer']}: expected {error['expected']}, received {error['received']}")
    return "\n".join(lines)


def main(service: str, inputs: str) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {os.environ.get('KEA_TOKEN') or log_in()}"
    for prediction in predict(session, service, json.loads(inputs)):
        print(json.dumps(prediction))


if __name__ == "__main__":
    main(*sys.argv[1:])
