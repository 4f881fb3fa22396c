"""XGBoost and LightGBM in their own formats; pickles of their scikit-learn API are estimators."""

from __future__ import annotations

import json

import numpy as np

from .columns import Column
from .contract import Model, attempt, contract_of, described_outputs, scalar
from .estimators import serve_estimator
from .features import Features
from .files import unpickle
from .tensors import datatype_of

# By objective, what a booster gives; any other gives values.
XGBOOST_KINDS = {
    "binary:logistic": "binary",
    "multi:softprob": "multiclass",
    "multi:softmax": "label",
    "binary:hinge": "label",
}
LIGHTGBM_KINDS = {"binary": "binary", "multiclass": "multiclass", "multiclassova": "multiclass"}


def load_xgboost(arguments) -> Model:
    if arguments.model.endswith((".json", ".ubj", ".model", ".bin", ".xgb")):
        import xgboost

        model = xgboost.Booster(model_file=arguments.model)
    else:
        model = unpickle(arguments.model)
        if type(model).__name__ != "Booster":
            return serve_estimator(model, arguments)
    model.set_param({"nthread": arguments.threads})
    objective = json.loads(model.save_config())["learner"]["objective"]["name"]
    kind = XGBOOST_KINDS.get(objective, "value")
    types = dict(zip(model.feature_names or (), model.feature_types or ()))
    notes = {name: "The category's code." for name, letter in types.items() if letter == "c"}
    run = xgboost_run(model)
    return serve_booster(f"xgboost {objective}", model.feature_names, model.num_features(), kind, run, notes)


def xgboost_run(model):
    """A function of a matrix to what the booster gives, in place where that gives the same."""
    import xgboost

    # scikit-learn's API, which leaves its mark in the file, stops at the best iteration; the booster's own does not.
    best = model.attr("best_iteration") if model.attr("scikit_learn") else None
    rounds = (0, int(best) + 1) if best else (0, 0)

    def in_place(rows):
        return model.inplace_predict(rows, iteration_range=rounds, validate_features=False)

    def by_matrix(rows):
        matrix = xgboost.DMatrix(rows, feature_names=model.feature_names, feature_types=model.feature_types)
        return model.predict(matrix, iteration_range=rounds)

    probes = np.random.default_rng(0).normal(size=(8, model.num_features()))
    try:
        return in_place if np.array_equal(in_place(probes), by_matrix(probes)) else by_matrix
    except (xgboost.core.XGBoostError, ValueError):
        return by_matrix


def load_lightgbm(arguments) -> Model:
    import lightgbm

    if arguments.model.endswith((".txt", ".model", ".lgb")):
        model = lightgbm.Booster(model_file=arguments.model)
    else:
        model = unpickle(arguments.model)
        if type(model).__name__ != "Booster":
            return serve_estimator(model, arguments)
    head = dict(line.split("=", 1) for line in model.model_to_string(num_iteration=1).splitlines() if "=" in line)
    objective = head.get("objective", "custom").split()[0]
    kind = LIGHTGBM_KINDS.get(objective, "value")
    names = model.feature_name()
    if names == [f"Column_{i}" for i in range(len(names))]:
        names = []

    def run(rows):
        return model.predict(rows, num_threads=arguments.threads)

    return serve_booster(f"lightgbm {objective}", names, model.num_feature(), kind, run, codes_of(model, head))


def codes_of(model, head: dict) -> dict:
    """What the codes of a booster's categorical features stand for."""
    infos = zip(head["feature_names"].split(), head["feature_infos"].split())
    categorical = [name for name, info in infos if not info.startswith("[") and info != "none"]
    categories = model.pandas_categorical or []
    if len(categories) != len(categorical):
        return dict.fromkeys(categorical, "The category's code.")
    listed = [", ".join(f"{code} = {value}" for code, value in enumerate(values)) for values in categories]
    return {name: f"The category's code: {text}." for name, text in zip(categorical, listed)}


def serve_booster(platform_name: str, names, count: int, kind: str, run, notes: dict) -> Model:
    """`run` maps a matrix to what the booster gives: `binary`, `multiclass` (probabilities), `label` or `value`.
    `notes` describe features by name."""
    columns = [Column(name, nullable=True) for name in names or [""] * count]
    features = Features(columns, named=bool(names))
    inputs, layout = features.fields()
    for field in inputs:
        field.update({"description": notes[field["name"]]} if field["name"] in notes else {})

    def infer(arrays):
        return named_scores(kind, run(features.plain(arrays)))

    contract = contract_of(platform_name, layout, inputs, [])
    outputs = attempt(contract, lambda: features.warm_up(inputs, infer)) or []
    contract["functions"][0]["outputs"] = score_fields(outputs)
    return Model(contract, infer)


def named_scores(kind: str, raw) -> list:
    if kind == "binary":
        raw = np.column_stack((1 - raw, raw))
    if kind in ("binary", "multiclass"):
        return [("label", raw.argmax(axis=1)), ("probabilities", raw)]
    return [("label", raw.astype(np.int64))] if kind == "label" else [("value", raw)]


def score_fields(outputs) -> list:
    fields = [
        scalar(name, datatype_of(array.dtype)) if array.ndim == 1 else described_outputs([(name, array)])[0]
        for name, array in outputs
    ]
    for field in fields[1:]:
        field["labels"] = [str(label) for label in range(outputs[1][1].shape[1])]
    return fields
