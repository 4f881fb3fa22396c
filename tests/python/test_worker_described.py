"""What workers tell of models that are also described without running them: `crates/openapi` holds the same to that."""

import json
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2] / "crates" / "openapi" / "tests"


@pytest.mark.parametrize(
    ("framework", "model"), [("XGBoost", "xgboost_flowers.json"), ("LightGBM", "lightgbm_flowers.txt")]
)
def test_a_worker_tells_what_is_read_without_one(start, framework, model):
    contract = start(framework, TESTS / "corpus" / model).contract
    for field in contract["functions"][0]["inputs"]:
        del field["example"]  # found by a run
    expected = (TESTS / "told_by_workers" / model).with_suffix(".json").read_text()
    assert contract == json.loads(expected)
