"""Estimators of scikit-learn, from the file to the answer."""

import pickle

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from worker_client import datatype, input_named

IRIS = load_iris(as_frame=True)
CANCER = load_breast_cancer(as_frame=True)
DIABETES = load_diabetes(as_frame=True)
DIGITS = load_digits()
SPECIES = np.array(IRIS.target_names, dtype=object)[IRIS.target]


def iris_with_words():
    """Iris with its widths told in words and its lengths in whole numbers."""
    data = IRIS.data.copy()
    data.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    data["sepal_width"] = np.where(data["sepal_width"] > 3, "broad", "slim")
    data["petal_length"] = data["petal_length"].round().astype(int)
    return data


def mixed_pipeline(**encoder):
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(**encoder), ["sepal_width"]),
            ("whole", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["petal_length"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["sepal_length"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


def columns_of(data):
    return {name: data[name].to_numpy(object if data[name].dtype.kind in "OU" else None) for name in data}


@pytest.fixture(scope="module")
def species(serve_shared):
    """A classifier of iris by its data frame, and its worker."""
    model = LogisticRegression(max_iter=1000).fit(IRIS.data, SPECIES)
    return model, serve_shared(model)


@pytest.fixture(scope="module")
def mixed(serve_shared):
    """A pipeline of columns of several types, and its worker."""
    model = mixed_pipeline().fit(iris_with_words(), SPECIES)
    return model, serve_shared(model)


@pytest.fixture(scope="module")
def cancer_forest(serve_shared):
    return serve_shared(RandomForestClassifier(5, random_state=0).fit(CANCER.data, CANCER.target))


def test_a_classifier_has_features_label_and_probabilities(species):
    model, worker = species
    predict = worker.predict
    assert predict["layout"] == "features"
    assert predict["idempotent"] is True
    assert worker.contract["platform"] == "scikit-learn LogisticRegression"
    assert [field["name"] for field in predict["inputs"]] == list(IRIS.data.columns)
    assert {datatype(field) for field in predict["inputs"]} == {"FP64"}
    assert predict["outputs"][0] == {"name": "label", "type": {"scalar": {"datatype": "BYTES"}}}
    assert predict["outputs"][1]["type"] == {"tensor": {"datatype": "FP64", "shape": [-1, 3]}}
    assert predict["outputs"][1]["labels"] == ["setosa", "versicolor", "virginica"]
    outputs = worker.infer_rows(IRIS.data)
    assert outputs["label"].tolist() == model.predict(IRIS.data).tolist()
    assert np.array_equal(outputs["probabilities"], model.predict_proba(IRIS.data))


def test_versions_are_told(species):
    _, worker = species
    assert {"python", "numpy", "scikit-learn", "joblib"} <= set(worker.started["versions"])


CLASSIFIERS = [
    DecisionTreeClassifier(max_depth=3, random_state=0),
    RandomForestClassifier(20, random_state=0),
    RandomForestClassifier(20, random_state=0, n_jobs=-1),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10, random_state=0),
    KNeighborsClassifier(4),
    KNeighborsClassifier(4, weights="distance"),
    GaussianNB(),
    MLPClassifier(max_iter=200, random_state=0),
    make_pipeline(StandardScaler(), SGDClassifier(loss="modified_huber", random_state=0)),
    make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
    VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier(max_depth=2))], voting="soft"),
    GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("data", [IRIS, CANCER], ids=["iris", "cancer"])
@pytest.mark.filterwarnings("ignore")
def test_labels_and_probabilities_are_the_models_own(serve, model, data):
    model.fit(data.data, data.target)
    worker = serve(model)
    # The corners between the training rows are where classes come near to each other.
    rows = np.vstack([data.data.to_numpy(), (data.data.to_numpy()[1:] + data.data.to_numpy()[:-1]) / 2])
    outputs = worker.infer_rows(rows)
    expected = rows if not hasattr(model, "feature_names_in_") else type(data.data)(rows, columns=data.data.columns)
    assert np.array_equal(outputs["label"], model.predict(expected))
    # A data frame lies in memory by columns, so that sums may differ in their last digit.
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(expected), rtol=1e-8, atol=1e-12)
    one = worker.infer_rows(rows[:1])
    np.testing.assert_allclose(one["probabilities"], model.predict_proba(expected[:1]), rtol=1e-8, atol=1e-12)


def test_a_tied_vote_of_neighbours_has_the_models_label(serve):
    rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = KNeighborsClassifier(2).fit(rows, [1, 0, 0, 1])
    outputs = serve(model).infer_rows([[0.5], [2.5], [1.5]])
    assert outputs["label"].tolist() == model.predict([[0.5], [2.5], [1.5]]).tolist()


def test_a_tied_score_has_the_models_label(serve):
    model = LogisticRegression().fit([[-1.0], [1.0]], [0, 1])
    model.intercept_[:] = 0.0
    outputs = serve(model).infer_rows([[0.0], [1e-17], [-1e-17]])
    assert outputs["label"].tolist() == model.predict([[0.0], [1e-17], [-1e-17]]).tolist() == [0, 1, 0]


def test_rows_without_names_are_one_tensor(serve):
    model = RandomForestClassifier(10, random_state=0).fit(DIGITS.data, DIGITS.target)
    predict = (worker := serve(model)).predict
    assert predict["layout"] == "tensors"
    assert predict["inputs"][0]["type"] == {"tensor": {"datatype": "FP64", "shape": [-1, 64]}}
    assert predict["outputs"][0]["type"] == {"scalar": {"datatype": "INT64"}}
    assert np.array_equal(worker.infer_rows(DIGITS.data)["probabilities"], model.predict_proba(DIGITS.data))


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        RandomForestRegressor(20, random_state=0),
        ExtraTreesRegressor(20, random_state=0),
        TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_regressor_has_a_value(serve, model):
    model.fit(DIABETES.data, DIABETES.target)
    worker = serve(model)
    assert worker.predict["outputs"] == [{"name": "value", "type": {"scalar": {"datatype": "FP64"}}}]
    np.testing.assert_allclose(worker.infer_rows(DIABETES.data)["value"], model.predict(DIABETES.data), rtol=1e-12)


def test_a_regressor_of_several_values_has_a_tensor(serve):
    targets = np.column_stack([DIABETES.target, DIABETES.target * 2])
    model = LinearRegression().fit(DIABETES.data, targets)
    worker = serve(model)
    assert worker.predict["outputs"][0]["type"] == {"tensor": {"datatype": "FP64", "shape": [-1, 2]}}
    np.testing.assert_allclose(worker.infer_rows(DIABETES.data)["value"], model.predict(DIABETES.data), rtol=1e-12)


def test_several_labels_a_row_are_a_tensor(serve):
    targets = np.column_stack([CANCER.target, CANCER.data["mean radius"] > 14]).astype(int)
    model = RandomForestClassifier(10, random_state=0).fit(CANCER.data, targets)
    worker = serve(model)
    assert [field["type"] for field in worker.predict["outputs"]] == [
        {"tensor": {"datatype": "INT64", "shape": [-1, 2]}}
    ]
    assert np.array_equal(worker.infer_rows(CANCER.data)["label"], model.predict(CANCER.data))


@pytest.mark.parametrize("model", [KMeans(3, n_init=1, random_state=0), IsolationForest(random_state=0)])
def test_clusters_and_outliers_are_labels(serve, model):
    model.fit(IRIS.data)
    worker = serve(model)
    assert worker.predict["outputs"] == [{"name": "label", "type": {"scalar": {"datatype": "INT64"}}}]
    assert np.array_equal(worker.infer_rows(IRIS.data)["label"], model.predict(IRIS.data))


@pytest.mark.parametrize("model", [StandardScaler().fit(IRIS.data), DBSCAN().fit(IRIS.data), {"not": "a model"}])
def test_what_cannot_predict_is_refused_with_what_to_do(serve, model):
    worker = serve(model)
    assert worker.started["event"] == "failed"
    assert "no `predict`: save the whole fitted pipeline" in worker.started["error"]["message"]
    assert worker.wait() == 1


@pytest.mark.parametrize(("labels", "expected"), [(IRIS.target == 0, "BOOL"), (IRIS.target * 1.0, "FP64")])
def test_labels_have_the_type_of_the_classes(serve, labels, expected):
    model = DecisionTreeClassifier().fit(IRIS.data, labels)
    worker = serve(model)
    assert datatype(worker.predict["outputs"][0]) == expected
    assert np.array_equal(worker.infer_rows(IRIS.data)["label"], model.predict(IRIS.data))


def test_columns_of_encoders_have_the_categories_types(mixed):
    data = iris_with_words()
    model, worker = mixed
    predict = worker.predict
    assert [field["name"] for field in predict["inputs"]] == ["sepal_length", "sepal_width", "petal_length"]
    words, whole, number = (input_named(predict, n) for n in ("sepal_width", "petal_length", "sepal_length"))
    assert (datatype(words), words["enum"]) == ("BYTES", ["broad", "slim"])
    assert (datatype(whole), "enum" in whole) == ("INT64", False)
    assert (datatype(number), number["nullable"]) == ("FP64", True)
    used = data[["sepal_length", "sepal_width", "petal_length"]]
    outputs = worker.infer(**columns_of(used))
    assert outputs["label"].tolist() == model.predict(data).tolist()
    assert np.array_equal(outputs["probabilities"], model.predict_proba(data))


def test_missing_values_reach_the_imputer(mixed):
    data = iris_with_words()
    model, worker = mixed
    data["sepal_length"] = np.nan
    outputs = worker.infer(**columns_of(data[["sepal_length", "sepal_width", "petal_length"]]))
    assert outputs["label"].tolist() == model.predict(data).tolist()


def test_only_numbers_are_nullable(serve):
    encoded = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    columns = ColumnTransformer([("words", encoded, ["sepal_width"]), ("numbers", SimpleImputer(), ["sepal_length"])])
    model = make_pipeline(columns, DecisionTreeClassifier()).fit(iris_with_words(), SPECIES)
    predict = serve(model).predict
    assert input_named(predict, "sepal_width")["enum"] == ["broad", "slim"]
    assert "nullable" not in input_named(predict, "sepal_width")
    assert input_named(predict, "sepal_length")["nullable"] is True


def test_an_encoder_that_ignores_the_unknown_has_no_enum(serve):
    model = mixed_pipeline(handle_unknown="ignore").fit(iris_with_words(), SPECIES)
    words = input_named(serve(model).predict, "sepal_width")
    assert datatype(words) == "BYTES"
    assert "enum" not in words


def test_encoded_arrays_without_names_get_names(serve):
    data = iris_with_words()[["sepal_width", "petal_length"]].to_numpy(object)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(data, SPECIES)
    worker = serve(model)
    assert [(f["name"], datatype(f)) for f in worker.predict["inputs"]] == [("x0", "BYTES"), ("x1", "INT64")]
    outputs = worker.infer(x0=data[:, 0], x1=data[:, 1].astype(np.int64))
    assert outputs["label"].tolist() == model.predict(data).tolist()


def test_text_goes_to_a_vectorizer(serve):
    texts = [
        f"a flower of {length} cm, {'broad' if width > 3 else 'slim'}" for length, width, *_ in IRIS.data.to_numpy()
    ]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, SPECIES)
    worker = serve(model)
    assert worker.predict["inputs"][0]["type"] == {"tensor": {"datatype": "BYTES", "shape": [-1]}}
    outputs = worker.infer(input=np.array(texts, dtype=object))
    assert outputs["label"].tolist() == model.predict(texts).tolist()


def test_examples_are_rows_that_work(serve, mixed):
    scaled = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS.data, SPECIES)
    worker = serve(scaled)
    means = [field["example"] for field in worker.predict["inputs"]]
    assert means == pytest.approx(IRIS.data.mean().tolist(), rel=1e-5)
    assert len(worker.infer_example()["label"]) == 1
    _, of_types = mixed
    assert input_named(of_types.predict, "sepal_width")["example"] in ("broad", "slim")
    assert len(of_types.infer_example()["label"]) == 1
    plain = serve(KNeighborsClassifier().fit(DIGITS.data, DIGITS.target))
    assert len(plain.infer_example()["label"]) == 1


def test_missing_values_are_allowed_where_the_estimator_takes_them(serve, species):
    boosted = HistGradientBoostingClassifier(max_iter=5).fit(IRIS.data, IRIS.target)
    worker = serve(boosted)
    assert all(field["nullable"] for field in worker.predict["inputs"])
    rows = np.full((1, 4), np.nan)
    assert np.array_equal(worker.infer_rows(rows)["probabilities"], boosted.predict_proba(rows))
    scaled = serve(make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS.data, IRIS.target))
    for strict in (species[1], scaled):
        assert not any(field.get("nullable") for field in strict.predict["inputs"])


def test_one_column_a_feature_is_the_same_as_one_matrix(species):
    _, worker = species
    columns = worker.infer(**columns_of(IRIS.data))
    assert np.array_equal(columns["probabilities"], worker.infer_rows(IRIS.data)["probabilities"])


def test_requests_do_not_warn_about_names(serve):
    worker = serve(make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(IRIS.data, IRIS.target))
    worker.infer_rows(IRIS.data)
    assert worker.output() == ""


def test_a_pipeline_of_data_frames_gets_data_frames(serve):
    model = make_pipeline(StandardScaler(), LogisticRegression()).set_output(transform="pandas")
    model.fit(IRIS.data, SPECIES)
    worker = serve(model)
    assert np.array_equal(worker.infer_rows(IRIS.data)["probabilities"], model.predict_proba(IRIS.data))
    assert worker.output() == ""


@pytest.mark.parametrize("form", ["joblib", "compressed", "pickle", "skops"])
def test_every_form_of_file_is_read(start, tmp_path, form):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS.data, SPECIES)
    path = tmp_path / {"pickle": "model.pkl", "skops": "model.skops"}.get(form, "model.joblib")
    if form == "skops":
        skops.io.dump(model, path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, path, compress=3 if form == "compressed" else 0)
    outputs = start("ScikitLearn", path).infer_rows(IRIS.data)
    assert np.array_equal(outputs["probabilities"], model.predict_proba(IRIS.data))


def test_large_numbers_are_refused_by_a_forest_and_do_not_end_the_worker(cancer_forest):
    answer, _ = cancer_forest.infer_raw({"input": np.full((1, 30), 1e300)})
    assert answer["error"]["type"] == "ValueError"
    assert "float32" in answer["error"]["message"]
    assert len(cancer_forest.infer_rows(CANCER.data[:3])["label"]) == 3


def test_a_wrong_width_is_an_error(cancer_forest):
    answer, _ = cancer_forest.infer_raw({"input": np.zeros((1, 29))})
    assert "30 features" in answer["error"]["message"]
