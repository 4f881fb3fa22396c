"""Real models, trained on data sets that scikit-learn ships; each is made once and kept for all tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).parent / "train"
# Environments that models are trained in: large, and kept from one run of the tests to the next.
ENVIRONMENTS = Path(__file__).parents[2] / ".cache" / "envs"

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SETOSA = dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))
VIRGINICA = dict(zip(NAMES, [6.7, 3.0, 5.2, 2.3], strict=True))


@dataclass
class Trained:
    """Models that a script of `train/` made, and what they answered to some rows."""

    folder: Path
    rows: list[list[float]]
    answers: Any


# A model that cannot be made.
CANNOT_START = """
class Model:
    def __init__(self) -> None:
        raise OSError("no weights")

    def predict(self, x: float) -> str:
        return "v2"
"""


class ModelShelf:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def iris(self, version: int = 1) -> Path:
        """A pipeline of four named features with three named classes; versions differ in their regularization."""
        path = self.folder / f"iris-{version}.joblib"
        if not path.exists():
            import joblib
            from sklearn.datasets import load_iris
            from sklearn.linear_model import LogisticRegression
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler

            iris = load_iris(as_frame=True)
            model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0 / version, max_iter=1000))
            model.fit(iris.data.set_axis(NAMES, axis="columns"), iris.target_names[iris.target])
            joblib.dump(model, path)
        return path

    def high_from(self, threshold: int) -> Path:
        """A tree of one feature, which says `high` of whole numbers from that one on, and `low` of smaller ones."""
        path = self.folder / f"high-from-{threshold}.joblib"
        if not path.exists():
            import joblib
            from pandas import DataFrame
            from sklearn.tree import DecisionTreeClassifier

            rows = DataFrame({"x": range(10)})
            joblib.dump(
                DecisionTreeClassifier().fit(rows, ["low" if x < threshold else "high" for x in rows["x"]]), path
            )
        return path

    def diabetes(self) -> Path:
        """A regressor of ten features without names."""
        path = self.folder / "diabetes.joblib"
        if not path.exists():
            import joblib
            from sklearn.datasets import load_diabetes
            from sklearn.linear_model import Ridge

            data = load_diabetes()
            joblib.dump(Ridge().fit(data.data, data.target), path)
        return path

    def iris_onnx(self) -> Path:
        """The iris classifier without names, as an ONNX graph with one input `X` of four numbers."""
        path = self.folder / "iris.onnx"
        if not path.exists():
            from skl2onnx import to_onnx
            from sklearn.datasets import load_iris
            from sklearn.linear_model import LogisticRegression

            iris = load_iris()
            model = LogisticRegression(max_iter=1000).fit(iris.data, iris.target)
            graph = to_onnx(model, iris.data[:1].astype("float32"), options={"zipmap": False})
            path.write_bytes(graph.SerializeToString())
        return path

    def custom(self, name: str, code: str) -> Path:
        """A folder with a custom class in `model.py`."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(code)
        return folder

    def boosters(self) -> Trained:
        """XGBoost, LightGBM and scikit-learn, on the iris data; probabilities by file."""
        from sklearn.datasets import load_iris

        iris = load_iris()
        return self._trained("boosters", "boosters", {"rows": iris.data, "species": iris.target})

    def keras(self) -> Trained:
        """`digits.keras` and the SavedModel `saved`, with the probabilities of ten digits."""
        return self._trained("keras", "keras_digits", _digits())

    def torch(self) -> Trained:
        """The TorchScript program `script.pt` and the exported program `exported.pt2`, with ten scores a row."""
        return self._trained("torch", "torch_digits", _digits())

    def _trained(self, environment: str, script: str, data: dict[str, Any]) -> Trained:
        import numpy as np

        folder = self.folder / script
        expected = folder / "expected.json"
        if not expected.exists():
            folder.mkdir(exist_ok=True)
            np.savez(folder / "data.npz", **data)
            python = training_environment(environment)
            _run([python, TRAIN / f"{script}.py", folder / "data.npz", folder])
        return Trained(folder, **json.loads(expected.read_text()))


def training_environment(name: str) -> Path:
    """The Python of the environment with the packages of `train/requirements-NAME.txt`; made where there is none."""
    requirements = TRAIN / f"requirements-{name}.txt"
    folder = ENVIRONMENTS / name
    python, made = folder / "bin" / "python", folder / "made.txt"
    if not made.exists() or made.read_text() != requirements.read_text():
        uv = shutil.which("uv")
        assert uv, "uv is not on the PATH: run `make e2e`, which puts it there"
        _run([uv, "venv", "--quiet", "--allow-existing", folder])
        _run([uv, "pip", "install", "--quiet", "--python", python, "-r", requirements])
        shutil.copyfile(requirements, made)
    return python


def _run(command: list[Any]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def _digits() -> dict[str, Any]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"rows": digits.data / 16, "numbers": digits.target}
