"""Makes what the tests of a cluster need: images in its registry, and files that builds in the cluster fetch.

A cluster's network may have no outside, so this is done before, in the machine's own. What was made is told in
`prepared.json`.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import requests  # noqa: E402
from builds import Build, Builder  # noqa: E402
from containers import run  # noqa: E402
from models import NAMES, ModelShelf  # noqa: E402

FOLDER = Path(os.environ.get("KEA_TEST_CLUSTER_FOLDER") or ROOT / ".cache" / "cluster")
REGISTRY = os.environ.get("KEA_TEST_REGISTRY", "127.0.0.1:5000")
BASES = {
    "KEA_BASE_IMAGE_ONNX": f"{REGISTRY}/debian:bookworm-slim",
    "KEA_BASE_IMAGE_PYTHON": f"{REGISTRY}/python:{{python}}-slim",
}
SECONDS = 600

ADDER = '''
"""Adds."""

import os


class Adder:
    """Adds to numbers."""

    def load(self) -> None:
        print("the adder is loaded", flush=True)

    def predict(self, x: int) -> int:
        """Adds."""
        return x + int(os.environ.get("PLUS", "1"))

    def say(self, text: str) -> str:
        """Prints."""
        print(text, flush=True)
        return text
'''

BROKEN = """
class Broken:
    def load(self) -> None:
        raise RuntimeError("the weights are not there")

    def predict(self, x: int) -> int:
        return x
"""


def iris_onnx(path: Path, version: int) -> list[dict[str, Any]]:
    """The iris classifier as an ONNX graph; version 2 counts the species the other way round. What scikit-learn says of
    some rows is returned."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    iris = load_iris()
    target = iris.target if version == 1 else 2 - iris.target
    model = LogisticRegression(max_iter=1000).fit(iris.data, target)
    graph = to_onnx(model, iris.data[:1].astype("float32"), options={"zipmap": False})
    path.write_bytes(graph.SerializeToString())
    return answers(model, iris.data[::15])


def answers(model: Any, rows: Any) -> list[dict[str, Any]]:
    labels, probabilities = model.predict(rows), model.predict_proba(rows)
    return [
        {"row": list(map(float, row)), "label": getattr(label, "item", lambda label=label: label)(), "probabilities": p}
        for row, label, p in zip(getattr(rows, "values", rows), labels, probabilities.tolist(), strict=True)
    ]


def iris_frame(path: Path) -> list[dict[str, Any]]:
    """The pipeline of four named features, and what it says."""
    import joblib
    from sklearn.datasets import load_iris

    shelf = ModelShelf(path.parent)
    shutil.copyfile(shelf.iris(), path)
    rows = load_iris(as_frame=True).data.set_axis(NAMES, axis="columns")[::15]
    return answers(joblib.load(path), rows)


def lock(build: Build, repository: str) -> str:
    """What pip is to fetch for the same packages."""
    for digest in build.part("packages"):
        blob = requests.get(f"http://{REGISTRY}/v2/{repository}/blobs/{digest}", timeout=60).content
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            for member in archive:
                if member.name == "opt/kea/requirements.lock":
                    return (archive.extractfile(member) or io.BytesIO()).read().decode()
                # Of ONNX Runtime the library alone is there, which has the version in its name.
                if found := re.search(r"libonnxruntime\.so\.([\d.]+)$", member.name):
                    return f"onnxruntime=={found[1]}\n"
    raise AssertionError(f"the image {repository} has no lock of its packages")


def wheels(folder: Path, locks: list[str]) -> None:
    """Fetches the packages of some locks, unless that was done before."""
    done = folder / "done.json"
    if done.exists() and json.loads(done.read_text()) == locks:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, text in enumerate(locks):
        file = folder / f"{number}.lock"
        file.write_text(text)
        pip = ["uv", "run", "--quiet", "--no-project", "--python", "3.11", "--with", "pip", "python", "-m", "pip"]
        only = ["--no-deps", "--only-binary", ":all:"]
        run(*pip, "download", "--quiet", *only, "--dest", folder, "-r", file)
    done.write_text(json.dumps(locks))


def main() -> None:
    files = FOLDER / "files"
    files.mkdir(parents=True, exist_ok=True)
    program = FOLDER / "kea"
    run("strip", "-o", program, os.environ["KEA_BIN"])
    builder = Builder(program, FOLDER / "build", BASES)

    expected = {
        "iris": iris_onnx(files / "iris.onnx", 1),
        "iris-2": iris_onnx(files / "iris-2.onnx", 2),
        "iris-frame": iris_frame(files / "iris.joblib"),
    }
    for name, code in [("adder", ADDER), ("broken", BROKEN)]:
        (files / name).mkdir(exist_ok=True)
        (files / name / "model.py").write_text(code)
    (files / "web").mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("web.py"), files / "web" / "web.py")
    (files / "adder.py").write_text(ADDER)

    sources: dict[str, tuple[str, ...]] = {
        "iris": ("iris.onnx",),
        "iris-2": ("iris-2.onnx",),
        "iris-frame": ("iris.joblib",),
        "adder": ("adder",),
        "broken": ("broken",),
        "web": ("web", "--command", "exec python3 web.py"),
    }
    own = builder.push("--self", f"{REGISTRY}/kea-tests/kea:1", seconds=SECONDS)
    images, locks = {"kea": own.reference}, {}
    for name, (source, *options) in sources.items():
        image = f"kea-tests/{name}"
        build = builder.push(files / source, f"{REGISTRY}/{image}:1", *options, seconds=SECONDS)
        images[name] = f"{REGISTRY}/{image}:1"
        if name in ("iris", "iris-frame", "adder"):
            locks[name] = lock(build, image)
    wheels(files / "wheels", sorted(set(locks.values())))
    told = {"registry": REGISTRY, "images": images, "expected": expected, "files": str(files), "program": str(program)}
    (FOLDER / "prepared.json").write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
