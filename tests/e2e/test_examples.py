"""Every example does what its README says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from containers import Registry
from harness import PASSWORD, Kea
from shell_blocks import Shell, blocks_of

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))

# What must have been printed, besides every command having succeeded.
EXPECTED = {
    "access": ["binding `teachers`", "these roles alone: teacher", "binding `teacher-user-ben`"],
    "custom-class": ["billing", "parcel", "there is no department 'kitchen'", "/inputs/text"],
    "documents": ["kea-cache: hit"],
    "functions": [
        "Length of the sepal, in cm",
        "setosa",
        "/inputs/sepal_length",
        "but `predict` of the model has 1: `input` FP64[-1, 4]",
    ],
    "gate": [
        "no caller could stumble",
        "3 changes could make callers stumble",
        "version `3` would break callers of version `2` of `postage`",
        "/inputs/currency",
        "7.59 USD",
    ],
    "grpc": ["one: {'ratio': 0.24", "'granted': False", "INVALID_ARGUMENT `income`", "UNAUTHENTICATED"],
    "image": ["sha256:", '"part": "model"'],
    "iris": ["setosa", "virginica", "sepal_length"],
    "onnx": ["patients", "variable"],
    "python-client": ["shipping", "/inputs/text", "/inputs/colour"],
    "rollout": ["version 2 took over from version 1", "version 3 went back at step 1 of 2", "at most 2 % may"],
    "shadow": ["version 2 in shadow: 8 answers the same, 2 different, 0 failed"],
    "web-service": ["## `POST /api/v1/k8c/services/web-service/score`", "0.24", "USD"],
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, where they may write files."""
    copy = tmp_path_factory.mktemp("copy") / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("*.joblib", "*.onnx", "__pycache__"))
    return copy


def environment(kea: Kea, registry: Registry) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{kea.binary.parent}:{os.environ['PATH']}"
    return {
        "PATH": path,
        "KEA_SERVER": kea.url,
        "KEA_PASSWORD": PASSWORD,
        "XDG_CONFIG_HOME": str(kea.folder / "config"),
        "REGISTRY": f"{registry.host}/team",
        "KEA_BASE_IMAGE_PYTHON": f"{registry.host}/python:slim",
        "KEA_CACHE_DIR": str(kea.folder / "cache"),
    }


def test_every_example_is_tested() -> None:
    assert sorted(EXPECTED) == FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_the_commands_of_an_example_do_what_they_say(
    name: str, copies: Path, shared_kea: Kea, registry: Registry
) -> None:
    shared_kea.cli("login", env={"KEA_PASSWORD": PASSWORD})
    shell = Shell(copies / name, environment(shared_kea, registry))
    try:
        printed = "".join(shell.run(block) for block in blocks_of(copies / name / "README.md"))
    finally:
        shell.close()
    for part in EXPECTED[name]:
        assert part in printed, f"{part} is not in:\n{printed}"


def test_curl_alone_is_enough(copies: Path, shared_kea: Kea, registry: Registry) -> None:
    done = subprocess.run(
        [copies / "curl.sh", shared_kea.url],
        env=environment(shared_kea, registry),
        capture_output=True,
        text=True,
        timeout=420,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"department":"shipping"' in done.stdout
