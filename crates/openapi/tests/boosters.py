"""Trains the boosters of the corpus anew; needs what tests/python/requirements.txt lists."""

from pathlib import Path

import lightgbm
import numpy as np
import xgboost
from sklearn.datasets import load_iris

CORPUS = Path(__file__).parent / "corpus"
NAMES = ["sepal_length", "sepal_width", "petal_length", "garden"]

rows, species = load_iris(return_X_y=True)
rows = np.column_stack([rows[:, :3], np.arange(len(rows)) % 5])

types = ["float", "float", "float", "c"]
matrix = xgboost.DMatrix(rows, species, feature_names=NAMES, feature_types=types, enable_categorical=True)
settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 2}
xgboost.train(settings, matrix, 2).save_model(CORPUS / "xgboost_flowers.json")

data = lightgbm.Dataset(rows, species, feature_name=NAMES, categorical_feature=["garden"])
settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 3, "verbose": -1}
lightgbm.train(settings, data, 2).save_model(CORPUS / "lightgbm_flowers.txt")
