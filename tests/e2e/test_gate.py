"""The gate against breaking changes: what a new version would break for callers is told, and kept from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import Kea
from models import NAMES, SETOSA, ModelShelf

ONE = "class Model:\n    def predict(self, x: float) -> float:\n        return x\n"
MORE = "class Model:\n    def predict(self, x: float, scale: float = 2.0) -> float:\n        return x * scale\n"
BREAKS = "class Model:\n    def predict(self, x: float, scale: float) -> str:\n        return str(x * scale)\n"


def change(kea: Kea, name: str, **fields: Any) -> Any:
    return kea.request("PUT", f"/services/{name}", json=fields)


def command(kea: Kea, *arguments: str, check: bool = True, **options: Any) -> Any:
    return kea.cli(*arguments, check=check, env={"KEA_TOKEN": kea.token, **options.pop("env", {})}, **options)


def told(changes: list[dict[str, str]]) -> set[tuple[str, str, str]]:
    return {(change["side"], change["pointer"], change["effect"]) for change in changes}


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """Writes a model of one file, each version of which lies at the same place."""

    def write(code: str) -> str:
        file = tmp_path / "model.py"
        file.write_text(code)
        return str(file)

    return write


def test_a_source_that_would_break_callers_is_refused_at_once_unless_that_is_allowed(
    shared_kea: Kea, source: Any
) -> None:
    kea, name = shared_kea, "gate-source"
    kea.deploy(name, source(ONE))
    assert change(kea, name, sourceCode=source(MORE)).status_code == 200
    assert kea.wait_deployed(name)["liveVersion"] == "2"
    refused = change(kea, name, sourceCode=source(BREAKS))
    assert refused.status_code == 409, refused.text
    problem = refused.json()
    assert problem["type"].endswith("/breaking-change") and "`allowBreaking`" in problem["detail"]
    expected = {("input", "/inputs/scale", "breaking"), ("output", "/predictions/*/result", "breaking")}
    assert told(problem["changes"]) == expected
    # Nothing of it is kept, whoever asks for it.
    body = {"modelName": name, "sourceCode": source(BREAKS)}
    assert kea.request("POST", "/services", json=body).status_code == 409
    assert [version["version"] for version in kea.request("GET", f"/services/{name}/versions").json()] == ["1", "2"]
    # On the command line each change has a line, and an option lets it through.
    failed = command(kea, "update", name, "--source", source(BREAKS), check=False)
    assert failed.returncode == 1
    assert "predict, input /inputs/scale: was optional, is required" in failed.stderr, failed.stderr
    command(kea, "update", name, "--source", source(BREAKS), "--allow-breaking")
    assert kea.predictions(name, {"x": 2.0, "scale": 3.0}) == [{"result": "6.0"}]
    # Whoever wants out gets out, and back.
    command(kea, "rollback", name)
    assert kea.predictions(name, {"x": 2.0}) == [{"result": 4.0}]
    command(kea, "update", name, "--version", "3")
    assert kea.details(name)["liveVersion"] == "3"


def test_a_model_that_tells_only_when_it_runs_is_held_back_before_requests_reach_it(
    shared_kea: Kea, models: ModelShelf
) -> None:
    kea, name = shared_kea, "gate-model"
    kea.deploy(name, models.iris())
    # One feature in place of four.
    assert change(kea, name, sourceCode=str(models.high_from(5))).status_code == 200
    details = kea.wait_failed(name)
    assert (details["version"], details["liveVersion"]) == ("2", "1")
    assert details["reason"].startswith("version 2: it would break callers of version 1 ("), details["reason"]
    assert details["reason"].endswith("version 1 keeps serving")
    changes = told(details["breakingChanges"])
    expected = {("input", f"/inputs/{feature}", "breaking") for feature in [*NAMES, "x"]}
    assert expected <= changes and all(effect == "breaking" for *_, effect in changes), changes
    # Its replicas are ended, and nobody reaches it by name either.
    kea.wait_for(lambda: {r["version"] for r in kea.details(name)["replicaStatuses"]} == {"1"}, "version 2 to end")
    assert kea.predict(name, {"x": 1}, headers={"kea-version": "2"}).status_code == 404
    assert kea.predictions(name, SETOSA)[0]["label"] == "setosa"
    status = command(kea, "status", name).stdout
    assert "input /inputs/petal_width" in status and "callers who send it are refused" in status, status
    waited = command(kea, "update", name, "--source", str(models.high_from(5)), check=False)
    assert waited.returncode == 1 and "it would break callers of version 1" in waited.stderr, waited.stderr
    # What is known by now is refused at once; a change of something else is not, and an earlier version ends it.
    named = change(kea, name, version="2")
    assert named.status_code == 409 and told(named.json()["changes"]) == changes
    assert change(kea, name, replicas=2).status_code == 200
    assert kea.details(name)["status"] == "failed"
    command(kea, "update", name, "--version", "2", "--allow-breaking")
    assert kea.predictions(name, {"x": 7}) == [{"label": "high", "probabilities": {"high": 1.0, "low": 0.0}}]
    assert kea.details(name)["breakingChanges"] == []


def test_a_canary_is_held_back_and_a_shadow_is_not(shared_kea: Kea, source: Any) -> None:
    kea, name = shared_kea, "gate-beside"
    kea.deploy(name, source(ONE))
    canary = change(kea, name, sourceCode=source(BREAKS), canary={"version": "2", "weight": 50})
    assert canary.status_code == 409 and "/inputs/scale" in canary.text, canary.text
    assert change(kea, name, sourceCode=source(BREAKS), shadow={"version": "2"}).status_code == 200
    assert kea.wait_deployed(name)["shadow"]["version"] == "2"
    differs = kea.request("GET", f"/openapi/{name}/changes", params={"version": "2"}).json()
    assert differs["breaking"] and (differs["from"], differs["version"]) == ("1", "2")
    assert change(kea, name, canary={"version": "2", "weight": 50}).status_code == 409
    assert change(kea, name, canary={"version": "2", "weight": 50}, allowBreaking=True).status_code == 200
    assert kea.wait_deployed(name)["canary"] == {"version": "2", "weight": 50}


def test_a_versions_number_is_one_content(shared_kea: Kea, source: Any, tmp_path: Path) -> None:
    kea, name = shared_kea, "gate-content"
    body = {"modelName": name, "sourceCode": source(ONE), "version": "1"}

    def deploy(**fields: Any) -> int:
        return kea.request("POST", "/services", json={**body, **fields}).status_code

    assert deploy() == 201
    kea.wait_deployed(name)
    pids = kea.replica_pids(name)
    # The same content is the same version, wherever it lies.
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "model.py"
    copy.write_text(ONE)
    assert deploy() == 201 and deploy(sourceCode=str(copy)) == 201
    assert change(kea, name, sourceCode=str(copy), version="1").status_code == 200
    assert kea.wait_deployed(name)["version"] == "1" and kea.replica_pids(name) == pids
    # Another content is none, also at the same place.
    source(MORE)
    refused = kea.request("POST", "/services", json=body)
    assert refused.status_code == 409 and "exists with another model" in refused.json()["detail"], refused.text
    assert change(kea, name, sourceCode=str(tmp_path / "model.py"), version="1").status_code == 409
    assert deploy(version="2") == 201


def test_what_is_stated_is_compared_refused_and_changed_by_itself(shared_kea: Kea, source: Any, tmp_path: Path) -> None:
    kea, name = shared_kea, "gate-stated"
    kea.deploy(name, source(ONE))

    def stated(**of_x: Any) -> list[dict[str, Any]]:
        return [{"name": "predict", "inputs": [{"name": "x", **of_x}]}]

    # Values that exclude each other, and what the source contradicts, are known at once.
    for of_x, keyword in [({"maximum": 10, "example": 11}, "example"), ({"type": "string"}, "type")]:
        refused = change(kea, name, functions=stated(**of_x))
        assert refused.status_code == 400, refused.text
        assert [error["pointer"] for error in refused.json()["errors"]] == [f"/functions/0/inputs/0/{keyword}"]
    file = tmp_path / "functions.yaml"
    file.write_text(json.dumps({"functions": stated(minimum=0, example=1)}))
    compared = command(kea, "diff", name, source(ONE), "--functions", str(file), check=False)
    assert compared.returncode == 1 and "input /inputs/x" in compared.stdout, compared.stdout + compared.stderr
    assert change(kea, name, functions=stated(minimum=0)).status_code == 409
    command(kea, "update", name, "--functions", str(file), "--allow-breaking")
    assert kea.details(name)["liveVersion"] == "2"
    assert kea.predict(name, {"x": -1.0}).json()["errors"][0]["expected"] == "at least 0.0"


def test_what_would_change_is_told_before_it_is_deployed(
    shared_kea: Kea, models: ModelShelf, source: Any, environments: Path
) -> None:
    kea, name = shared_kea, "gate-diff"
    kea.deploy(name, source(ONE))
    first = command(kea, "diff", name).stdout
    assert first == "version 1 of gate-diff is the first: there is nothing before it\n"
    assert "changes nothing" in command(kea, "diff", name, source(ONE)).stdout
    compatible = command(kea, "diff", name, source(MORE)).stdout
    assert "no caller could stumble" in compatible and "/inputs/scale" in compatible, compatible
    breaking = command(kea, "--output", "json", "diff", name, source(BREAKS), check=False)
    assert breaking.returncode == 1
    assert told(json.loads(breaking.stdout)["changes"]) >= {("input", "/inputs/scale", "breaking")}
    # Two versions, and what the latest changed.
    change(kea, name, sourceCode=source(BREAKS), allowBreaking=True)
    kea.wait_deployed(name)
    for what in ([], ["1", "2"], ["2"]):
        done = command(kea, "diff", name, *what, check=False)
        assert done.returncode == 1 and "version 2 changes for callers of version 1" in done.stdout, done.stdout
    assert command(kea, "diff", name, "2", "1", check=False).returncode == 1
    assert command(kea, "diff", name, "9", check=False).stderr.startswith("error: Not Found: service `gate-diff`")
    # Models that have to be loaded for it.
    cache = kea.folder / "cache" / "sources"
    cache.mkdir(parents=True)
    (cache / "environments").symlink_to(environments)
    for model, told_of in ((models.iris_onnx(), "/inputs/X"), (models.iris(), "/inputs/petal_width")):
        done = command(kea, "diff", name, str(model), check=False, env={"KEA_CACHE_DIR": str(kea.folder / "cache")})
        assert done.returncode == 1 and told_of in done.stdout, done.stdout + done.stderr
