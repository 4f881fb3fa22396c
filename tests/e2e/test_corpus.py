"""`kea docs PATH`: the document of every source of the corpus is valid, and a check fails where one is not complete."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

CORPUS = Path(__file__).parents[2] / "crates" / "openapi" / "tests" / "corpus"


def docs(binary: Path, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # Without a PATH there is no Python to run.
    return subprocess.run([binary, "docs", path, *options], capture_output=True, text=True, env={}, timeout=60)


def test_every_document_of_the_corpus_is_valid(binary: Path) -> None:
    wrong = {}
    for path in sorted(CORPUS.iterdir()):
        done = docs(binary, path)
        if path.name == "syntax_error.py":
            assert (done.returncode, done.stdout) == (1, "")
            assert "syntax_error.py:2:30: " in done.stderr
            continue
        assert done.returncode == 0, done.stderr
        errors = list(OpenAPIV30SpecValidator(json.loads(done.stdout)).iter_errors())
        if errors:
            wrong[path.name] = [error.message for error in errors]
    assert wrong == {}


def test_a_check_fails_with_each_reason(binary: Path) -> None:
    assert docs(binary, CORPUS / "fastapi_loans.py", "--check").returncode == 0
    failed = docs(binary, CORPUS / "flask_predict.py", "--check", "--format", "yaml")
    assert failed.returncode == 1
    reasons = yaml.safe_load(failed.stdout)["info"]["x-kea-incomplete"]
    assert [line for line in failed.stderr.splitlines() if line.startswith("incomplete: ")] == [
        f"incomplete: {reason}" for reason in reasons
    ]


def test_a_model_that_must_be_loaded_says_what_to_do(binary: Path, tmp_path: Path) -> None:
    model = tmp_path / "iris.joblib"
    model.write_bytes(b"\x80\x04")
    refused = docs(binary, model)
    assert refused.returncode == 1
    assert "then run `kea docs iris`" in refused.stderr
