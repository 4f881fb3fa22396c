"""Trains a tree that says how many people carry a parcel, from a weight on two, and writes it to a file."""

import sys

import joblib
import pandas
from sklearn.tree import DecisionTreeClassifier


def main(path: str, from_kilograms: int) -> None:
    rows = pandas.DataFrame({"kilograms": range(50)})
    people = ["two" if kilograms >= from_kilograms else "one" for kilograms in rows["kilograms"]]
    joblib.dump(DecisionTreeClassifier().fit(rows, people), path)
    print(f"two people from {from_kilograms} kg on; written to {path}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
