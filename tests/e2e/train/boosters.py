"""Trains gradient boosting and scikit-learn models on the iris data: boosters.py DATA FOLDER"""

import json
import pickle
import sys
from pathlib import Path

import lightgbm
import numpy as np
import skops.io
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier


def main(data: Path, folder: Path) -> None:
    iris = np.load(data)
    rows, species = iris["rows"], iris["species"]
    sample = rows[::15]

    boosted = xgboost.XGBClassifier(n_estimators=10).fit(rows, species)
    boosted.save_model(folder / "xgboost.json")
    light = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(rows, species)
    light.booster_.save_model(folder / "lightgbm.txt")
    forest = RandomForestClassifier(10, random_state=0).fit(rows, species)
    (folder / "forest.pkl").write_bytes(pickle.dumps(forest))
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, species)
    skops.io.dump(tree, folder / "tree.skops")
    neighbors = KNeighborsRegressor().fit(rows[:, :3], rows[:, 3])
    skops.io.dump(neighbors, folder / "neighbors.skops")

    classifiers = {"xgboost.json": boosted, "lightgbm.txt": light, "forest.pkl": forest, "tree.skops": tree}
    expected = {name: model.predict_proba(sample).tolist() for name, model in classifiers.items()}
    expected["neighbors.skops"] = neighbors.predict(sample[:, :3]).tolist()
    (folder / "expected.json").write_text(json.dumps({"rows": sample.tolist(), "answers": expected}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
