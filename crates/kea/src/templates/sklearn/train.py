"""Trains the model and writes it to model.joblib. Run with `pip install -r requirements.txt && python train.py`."""

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    iris = load_iris(as_frame=True)
    # The model keeps the names of the columns and classes that it is trained with: the service's API has the same.
    features = iris.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    species = iris.target_names[iris.target]
    seen, unseen, seen_species, unseen_species = train_test_split(features, species, random_state=0, stratify=species)

    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(seen, seen_species)
    print(f"right for {model.score(unseen, unseen_species):.0%} of {len(unseen)} flowers that it had not seen")

    joblib.dump(model, Path(__file__).with_name("model.joblib"))


if __name__ == "__main__":
    main()
