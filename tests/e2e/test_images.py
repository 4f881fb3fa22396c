"""Images that `kea build` pushed, in the hands of others: skopeo, umoci and runc find in them what they expect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import requests
from builds import Build, Builder, example
from containers import Container, Registry, free_port, run, unpack
from models import NAMES, ModelShelf
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

SERVE_APP = "exec uvicorn app:app --host $HOST --port $PORT"


@dataclass
class Unpacked:
    """An image that was built and pushed, and lies unpacked here."""

    name: str
    build: Build
    bundle: Path
    config: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def root(self) -> Path:
        return self.bundle / "rootfs"

    @property
    def own(self) -> dict[str, Any]:
        return self.config["config"]

    @property
    def env(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.own["Env"])

    def run(self) -> Container:
        port = free_port()
        env = {"KEA_LISTEN": f"127.0.0.1:{port}", "HOST": "127.0.0.1", "PORT": str(port)}
        return Container(self.bundle, port, env)


@pytest.fixture(scope="module")
def unpacked(builder: Builder, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Unpacked]:
    """Builds, pushes and unpacks a model's image; once for each name."""
    known: dict[str, Unpacked] = {}

    def unpacked(name: str, source: Path, *options: str) -> Unpacked:
        if name not in known:
            build = builder.push(source, f"{registry.host}/judged/{name}:1", *options)
            image = f"docker://{registry.host}/judged/{name}:1"
            inspected = run("skopeo", "inspect", "--tls-verify=false", "--config", image)
            raw = run("skopeo", "inspect", "--tls-verify=false", "--raw", image)
            bundle = unpack(image, tmp_path_factory.mktemp(name))
            known[name] = Unpacked(name, build, bundle, json.loads(inspected), json.loads(raw))
        return known[name]

    return unpacked


@pytest.fixture(scope="module")
def onnx(unpacked: Callable[..., Unpacked], models: ModelShelf) -> Unpacked:
    return unpacked("graph", models.iris_onnx())


@pytest.fixture(scope="module")
def sklearn(
    unpacked: Callable[..., Unpacked], models: ModelShelf, tmp_path_factory: pytest.TempPathFactory
) -> Unpacked:
    # Nobody but its owner may read it here.
    folder = tmp_path_factory.mktemp("private")
    path = folder / "iris.joblib"
    path.write_bytes(models.iris().read_bytes())
    path.chmod(0o600)
    folder.chmod(0o700)
    return unpacked("iris", path)


@pytest.fixture(scope="module")
def tickets(unpacked: Callable[..., Unpacked]) -> Unpacked:
    return unpacked("tickets", example("custom-class"))


@pytest.fixture(scope="module")
def loans(unpacked: Callable[..., Unpacked]) -> Unpacked:
    return unpacked("loans", example("web-service"), "--command", SERVE_APP)


def predict(container: Container, name: str, inputs: dict[str, Any], function: str = "predict") -> Any:
    url = f"{container.url}/api/v1/k8c/services/{name}/{function}"
    answer = requests.post(url, json={"inputs": inputs}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def is_of_no_root(container: Container) -> bool:
    """Whether the first process of the container has the rights of no known user."""
    state = json.loads(run("runc", "--root", container.bundle / "state", "state", container.name))
    status = Path(f"/proc/{state['pid']}/status").read_text()
    (ids,) = re.findall(r"^Uid:\s+(.*)$", status, re.MULTILINE)
    return ids.split() == ["65532"] * 4


def test_an_onnx_image_answers_as_the_model_does(onnx: Unpacked) -> None:
    iris = load_iris()
    expected = LogisticRegression(max_iter=1000).fit(iris.data, iris.target).predict_proba(iris.data)
    with onnx.run() as container:
        container.wait_for("/v2/health/ready")
        assert is_of_no_root(container)
        predictions = predict(container, "graph", {"X": iris.data.tolist()})
        tensor = {"name": "X", "datatype": "FP32", "shape": [150, 4], "data": iris.data.ravel().tolist()}
        answer = requests.post(f"{container.url}/v2/models/graph/infer", json={"inputs": [tensor]}, timeout=30)
    assert np.allclose([one["probabilities"] for one in predictions], expected, atol=1e-5)
    assert [one["label"] for one in predictions] == expected.argmax(axis=1).tolist()
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert np.allclose(outputs["probabilities"], expected.ravel(), atol=1e-5)


def test_an_onnx_image_has_no_python(onnx: Unpacked) -> None:
    # libstdc++ brings scripts for debuggers, which nothing here could run.
    assert not [*onnx.root.glob("**/bin/python*"), *onnx.root.glob("**/libpython*"), *onnx.root.glob("**/python3*")]
    assert not [path for path in (onnx.root / "opt/kea").rglob("*.py*")]
    assert not {"KEA_PYTHON", "PYTHONPATH"} & set(onnx.env)
    assert (onnx.root / onnx.env["KEA_ONNXRUNTIME"].lstrip("/")).is_file()


def test_a_scikit_learn_image_answers_as_the_model_does(sklearn: Unpacked, models: ModelShelf) -> None:
    model, rows = joblib.load(models.iris()), load_iris(as_frame=True).data.set_axis(NAMES, axis="columns")
    expected = model.predict_proba(rows)
    with sklearn.run() as container:
        assert container.wait_for("/v2/health/ready").json() == {"ready": True}
        assert is_of_no_root(container)
        predictions = predict(container, "iris", {name: rows[name].tolist() for name in NAMES})
    assert [one["label"] for one in predictions] == model.predict(rows).tolist()
    served = [[one["probabilities"][name] for name in model.classes_] for one in predictions]
    assert np.abs(np.array(served) - expected).max() <= 1e-9


def test_a_custom_class_finds_its_files_in_its_image(tickets: Unpacked) -> None:
    with tickets.run() as container:
        container.wait_for("/v2/health/ready")
        (routing,) = predict(container, "tickets", {"text": "I was charged twice, please refund my card"})
        departments = predict(container, "tickets", {}, "departments")
    assert routing["department"] == "billing"
    assert departments == [{"result": ["billing", "shipping", "technical"]}]


def test_a_web_service_keeps_its_own_command(loans: Unpacked) -> None:
    assert loans.own["Cmd"] == ["sh", "-c", SERVE_APP]
    assert not loans.own.get("Entrypoint")
    assert not (loans.root / "usr/local/bin/kea").exists(), "it is not served by KEA's server"
    with loans.run() as container:
        assert container.wait_for("/limits?currency=USD").json() == {"highest_ratio": 0.4, "currency": "USD"}
        assert is_of_no_root(container)
        answer = requests.post(f"{container.url}/score", json={"income": 50000, "debt": 12000}, timeout=30)
        invalid = requests.post(f"{container.url}/score", json={"income": 0, "debt": 0}, timeout=30)
    assert answer.json() == {"ratio": 0.24, "granted": True}
    assert invalid.status_code == 422


def test_an_image_says_what_it_is(onnx: Unpacked, sklearn: Unpacked, tickets: Unpacked, loans: Unpacked) -> None:
    for image in (onnx, sklearn, tickets, loans):
        labels = image.own["Labels"]
        assert labels["org.opencontainers.image.title"] == image.name
        assert re.fullmatch(r"127\.0\.0\.1:\d+/(debian|python):slim", labels["org.opencontainers.image.base.name"])
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels["org.opencontainers.image.base.digest"])
        assert labels.items() <= image.manifest["annotations"].items()
        assert image.own["User"] == "65532:65532"
        assert image.own["ExposedPorts"] == {"8080/tcp": {}}
        assert image.config["created"] == "1970-01-01T00:00:00Z"
        assert (image.config["os"], image.config["architecture"]) == ("linux", "amd64")
        assert len(image.config["rootfs"]["diff_ids"]) == len(image.manifest["layers"])
    for image in (onnx, sklearn, tickets):
        assert image.own["Entrypoint"] == ["/usr/local/bin/kea", "model-server"]
    engines = [image.own["Labels"]["ml.kea-project.engine"] for image in (onnx, sklearn, tickets, loans)]
    assert engines == ["onnx", "python", "python", "external"]


def test_whoever_runs_an_image_can_read_its_model_and_write_nothing(
    sklearn: Unpacked, tickets: Unpacked, loans: Unpacked
) -> None:
    assert (sklearn.root / "models/iris.joblib").is_file()
    for image in (sklearn, tickets, loans):
        for part in ("models", "opt/kea"):
            for path in [image.root / part, *(image.root / part).rglob("*")]:
                if path.is_symlink():
                    continue
                mode, owner = path.stat().st_mode & 0o777, path.stat().st_uid
                wanted = 0o555 if path.is_dir() else 0o444
                assert mode & wanted == wanted and mode & 0o022 == 0 and owner == 0, f"{path}: {mode:o} of {owner}"


def test_an_image_comes_with_bytecode_that_is_used(sklearn: Unpacked) -> None:
    site = sklearn.root / "opt/kea/python"
    compiled = list(site.rglob("*.cpython-311.pyc"))
    sources = [path for path in site.rglob("*.py") if "tests" not in path.parts]
    assert len(compiled) > 0.95 * len(sources)
    # Unchecked: of hashes, not of times, which an image does not keep.
    assert {path.read_bytes()[4] for path in compiled} == {1}


# What is in it, by itself


def distributions(root: Path) -> dict[str, str]:
    """Names and versions of the packages that are really there."""
    found = {}
    for info in (root / "opt/kea/python").glob("*.dist-info"):
        text = (info / "METADATA").read_text(errors="replace")
        name, version = (re.search(rf"^{field}: (.*)$", text, re.MULTILINE)[1] for field in ("Name", "Version"))
        found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


def bill(registry: Registry, image: Unpacked) -> tuple[dict[str, Any], bytes]:
    """The manifest of the bill of materials, found through the tag of what refers to the image, and the bill."""
    name = f"judged/{image.name}"
    index = registry.manifest(name, image.build.digest.replace(":", "-"))
    (entry,) = index["manifests"]
    assert entry["artifactType"] == "application/vnd.cyclonedx+json"
    manifest = registry.manifest(name, entry["digest"])
    (layer,) = manifest["layers"]
    return manifest, registry.blob(name, layer["digest"])


def test_a_bill_of_materials_is_attached_to_the_image(registry: Registry, sklearn: Unpacked, onnx: Unpacked) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    for image in (sklearn, onnx):
        manifest, text = bill(registry, image)
        assert manifest["subject"]["digest"] == image.build.digest
        assert manifest["artifactType"] == "application/vnd.cyclonedx+json"
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None


def test_a_bill_of_materials_lists_what_is_installed(registry: Registry, sklearn: Unpacked) -> None:
    components = json.loads(bill(registry, sklearn)[1])["components"]
    installed = distributions(sklearn.root)
    listed = {one["name"]: one["version"] for one in components if one["type"] == "library"}
    assert listed == installed
    assert {"numpy", "scikit-learn", "joblib", "scipy"} <= set(listed) and listed["scikit-learn"] == "1.9.1"
    assert {one["purl"] for one in components if one["type"] == "library"} == {
        f"pkg:pypi/{name}@{version}" for name, version in installed.items()
    }
    (model,) = [one for one in components if one["type"] == "machine-learning-model"]
    assert model["version"] == sklearn.own["Labels"]["ml.kea-project.model"]
    (base,) = [one for one in components if one["type"] == "container"]
    assert base["version"] == sklearn.own["Labels"]["org.opencontainers.image.base.digest"]


def test_every_package_of_an_image_is_locked_with_its_hashes(
    sklearn: Unpacked, tickets: Unpacked, loans: Unpacked
) -> None:
    for image in (sklearn, tickets, loans):
        text = (image.root / "opt/kea/requirements.lock").read_text().replace("\\\n", " ")
        lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        locked = {}
        for first, *hashes in lines:
            name, version = first.split("==")
            locked[re.sub(r"[-_.]+", "-", name.split("[")[0]).lower()] = version
            assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), first
        assert locked == distributions(image.root)
