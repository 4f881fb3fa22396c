"""Keeps requests that are made up at random from starting programs, fetching things or filling the machine.

Loaded by schemathesis. What is refused anyway is left as it is; what would be carried out loses the part that acts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import schemathesis

NOTHING = "nothing-is-here.joblib"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    body = case.body
    if case.operation.path.startswith("/api/v1/k8c/services") and isinstance(body, dict):
        tame(body)


def tame(body: dict[str, Any]) -> None:
    source = body.get("sourceCode")
    if isinstance(source, str) and (":" in source or "\0" in source or Path(source).exists()):
        body["sourceCode"] = NOTHING
    for words in ("command", "requirements"):
        if isinstance(body.get(words), list) and all(isinstance(word, str) for word in body[words]):
            del body[words]
    replicas = body.get("replicas")
    if isinstance(replicas, int) and not isinstance(replicas, bool) and 0 < replicas <= 1000:
        body["replicas"] = 0
