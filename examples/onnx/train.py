"""Trains a regression on the diabetes data set and writes it, as ONNX, to the file named on the command line."""

import sys
from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import train_test_split


def main(path: str) -> None:
    patients, progression = load_diabetes(return_X_y=True)
    seen, unseen, seen_progression, unseen_progression = train_test_split(patients, progression, random_state=0)
    model = GradientBoostingRegressor(random_state=0).fit(seen, seen_progression)
    # The names given here are those of the API. The first dimension is open: a request has as many rows as it likes.
    inputs = [("patients", FloatTensorType([None, patients.shape[1]]))]
    graph = to_onnx(model, initial_types=inputs)
    Path(path).write_bytes(graph.SerializeToString())
    print(f"R² {model.score(unseen, unseen_progression):.2f} on {len(unseen)} patients not seen in training")


if __name__ == "__main__":
    main(sys.argv[1])
