"""XGBoost and LightGBM, in their own formats and as pickles of their scikit-learn API."""

import lightgbm
import numpy as np
import pandas
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from worker_client import input_named

IRIS = load_iris(as_frame=True)
CANCER = load_breast_cancer(as_frame=True)
DIABETES = load_diabetes(as_frame=True)


@pytest.mark.parametrize("ending", [".json", ".ubj", ".model", ".xgb"])
@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["multiclass", "binary"])
def test_an_xgboost_classifier_is_known_by_its_objective(start, tmp_path, ending, data):
    model = xgboost.XGBClassifier(n_estimators=8).fit(data.data, data.target)
    path = tmp_path / f"model{ending}"
    if ending in (".json", ".ubj"):
        model.save_model(path)
    else:
        model.get_booster().save_model(path.with_suffix(".ubj"))
        path.with_suffix(".ubj").rename(path)
    worker = start("XGBoost", path)
    assert [field["name"] for field in worker.predict["inputs"]] == list(data.data.columns)
    assert all(field["nullable"] for field in worker.predict["inputs"])
    assert worker.predict["outputs"][1]["labels"] == [str(label) for label in range(len(data.target_names))]
    outputs = worker.infer_rows(data.data)
    assert np.array_equal(outputs["label"], model.predict(data.data))
    assert np.allclose(outputs["probabilities"], model.predict_proba(data.data), atol=1e-7)
    assert len(worker.infer_example()["label"]) == 1


def test_the_best_iteration_of_xgboosts_scikit_learn_api_is_kept(start, tmp_path):
    model = xgboost.XGBClassifier(n_estimators=300, early_stopping_rounds=3, learning_rate=1.0)
    model.fit(
        CANCER.data[:300], CANCER.target[:300], eval_set=[(CANCER.data[300:], CANCER.target[300:])], verbose=False
    )
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "model.json")
    outputs = start("XGBoost", tmp_path / "model.json").infer_rows(CANCER.data)
    assert np.allclose(outputs["probabilities"], model.predict_proba(CANCER.data), atol=1e-7)


@pytest.mark.parametrize("booster", ["gbtree", "gblinear", "dart"])
def test_every_booster_of_xgboost_gives_its_own_values(start, tmp_path, booster):
    matrix = xgboost.DMatrix(DIABETES.data.to_numpy(), DIABETES.target)
    model = xgboost.train({"booster": booster, "objective": "reg:squarederror"}, matrix, 5)
    model.save_model(tmp_path / "model.json")
    worker = start("XGBoost", tmp_path / "model.json")
    assert worker.predict["layout"] == "tensors"
    assert worker.predict["outputs"] == [{"name": "value", "type": {"scalar": {"datatype": "FP32"}}}]
    assert np.array_equal(worker.infer_rows(DIABETES.data)["value"], model.predict(matrix))


@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["multiclass", "binary"])
def test_a_lightgbm_text_file_is_known_by_its_objective(start, tmp_path, data):
    data.data.columns = data.data.columns.str.replace("[^a-z]", "_", regex=True)
    model = lightgbm.LGBMClassifier(n_estimators=8, verbose=-1).fit(data.data, data.target)
    model.booster_.save_model(tmp_path / "model.txt")
    worker = start("LightGBM", tmp_path / "model.txt")
    assert worker.predict["layout"] == "features"
    outputs = worker.infer_rows(data.data)
    assert np.array_equal(outputs["label"], model.predict(data.data))
    assert np.allclose(outputs["probabilities"], model.predict_proba(data.data))


def test_a_lightgbm_file_without_names_takes_a_tensor(start, tmp_path):
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(DIABETES.data.to_numpy(), DIABETES.target)
    model.booster_.save_model(tmp_path / "model.txt")
    worker = start("LightGBM", tmp_path / "model.txt")
    assert worker.predict["inputs"][0]["type"] == {"tensor": {"datatype": "FP64", "shape": [-1, 10]}}
    assert np.allclose(worker.infer_rows(DIABETES.data)["value"], model.predict(DIABETES.data.to_numpy()))


def test_codes_of_lightgbms_categories_are_told(start, tmp_path):
    data = pandas.DataFrame({"length": IRIS.data.iloc[:, 0]})
    data["width"] = pandas.Categorical(np.where(IRIS.data.iloc[:, 1] > 3, "broad", "slim"))
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=5).fit(data, IRIS.target)
    model.booster_.save_model(tmp_path / "model.txt")
    worker = start("LightGBM", tmp_path / "model.txt")
    assert input_named(worker.predict, "width")["description"] == "The category's code: 0 = broad, 1 = slim."
    rows = np.column_stack([data["length"], data["width"].cat.codes]).astype(float)
    assert np.array_equal(worker.infer_rows(rows)["label"], model.predict(data))


@pytest.mark.parametrize(
    ("framework", "model"),
    [
        ("XGBoost", xgboost.XGBClassifier(n_estimators=5)),
        ("LightGBM", lightgbm.LGBMClassifier(n_estimators=5, verbose=-1)),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_pickles_of_the_scikit_learn_api_are_served(serve, framework, model, named):
    rows = CANCER.data.set_axis([f"f{i}" for i in range(30)], axis=1) if named else CANCER.data.to_numpy()
    model.fit(rows, CANCER.target)
    worker = serve(model, framework)
    assert worker.predict["layout"] == ("features" if named else "tensors")
    outputs = worker.infer_rows(rows)
    assert np.array_equal(outputs["label"], model.predict(rows))
    assert np.array_equal(outputs["probabilities"], model.predict_proba(rows))
