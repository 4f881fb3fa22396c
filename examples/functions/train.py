"""Trains a classifier of irises on rows without names, and writes it to the file named on the command line."""

import sys

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


def main(path: str) -> None:
    iris = load_iris()
    model = LogisticRegression(max_iter=1000).fit(iris.data, iris.target_names[iris.target])
    joblib.dump(model, path)


if __name__ == "__main__":
    main(sys.argv[1])
