"""Trains a classifier on the iris data set and writes it to the file named on the command line."""

import sys

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def main(path: str) -> None:
    iris = load_iris(as_frame=True)
    # The model keeps the names of columns and classes: they become those of its API.
    rows = iris.data.set_axis(NAMES, axis="columns")
    species = iris.target_names[iris.target]
    train_rows, test_rows, train_species, test_species = train_test_split(
        rows, species, test_size=0.3, random_state=0, stratify=species
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train_rows, train_species)
    accuracy = model.score(test_rows, test_species)
    joblib.dump(model, path)
    print(f"accuracy {accuracy:.3f} on {len(test_rows)} flowers not seen in training; written to {path}")


if __name__ == "__main__":
    main(sys.argv[1])
