"""Real models, trained on data sets that scikit-learn ships; each is made once and kept for all tests."""

from __future__ import annotations

from pathlib import Path

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SETOSA = dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))
VIRGINICA = dict(zip(NAMES, [6.7, 3.0, 5.2, 2.3], strict=True))


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
