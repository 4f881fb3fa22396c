"""Trains the model and writes it to model.onnx. Run with `pip install -r requirements.txt && python train.py`."""

from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    iris = load_iris()
    species = iris.target_names[iris.target]
    seen, unseen, seen_species, unseen_species = train_test_split(iris.data, species, random_state=0, stratify=species)

    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(seen, seen_species)
    print(f"right for {model.score(unseen, unseen_species):.0%} of {len(unseen)} flowers that it had not seen")

    # Rows of sepal length, sepal width, petal length and petal width in cm; as many rows as a request has.
    flowers = [("flowers", FloatTensorType([None, 4]))]
    # Without ZipMap the probabilities are one tensor, a column for each species in alphabetical order.
    graph = to_onnx(model, initial_types=flowers, options={id(model): {"zipmap": False}}, name="iris")
    Path(__file__).with_name("model.onnx").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    main()
