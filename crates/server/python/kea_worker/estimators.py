"""scikit-learn, and whatever has its API: from the file to a model that predicts."""

from __future__ import annotations

import sys
import warnings

from .contract import Model, attempt, contract_of
from .errors import Unusable, name_of
from .features import Features
from .files import unpickle
from .nested import estimators_in, set_jobs
from .scores import Scores
from .shortcuts import fastest_predict


def load_scikit_learn(arguments) -> Model:
    return serve_estimator(unpickle(arguments.model), arguments)


def serve_estimator(model, arguments) -> Model:
    model = predictor(model)
    set_jobs(model, arguments.threads)
    features = Features.of(model)
    inputs, layout = features.fields()
    contract = contract_of(platform_of(model), layout, inputs, [], features.incomplete)
    scores = Scores(model, chosen_predict(model, features))
    outputs = attempt(contract, lambda: features.warm_up(inputs, lambda rows: scores.of(features.arrange(rows))))
    contract["functions"][0]["outputs"] = scores.fields(outputs)
    finish_settings(model, features)

    def infer(arrays):
        return scores.of(features.arrange(arrays))

    return Model(contract, infer)


def predictor(model):
    """The estimator that predicts: of a search, the best one it found."""
    if type(model).__name__.endswith("SearchCV"):
        model = getattr(model, "best_estimator_", model)
    if not hasattr(model, "predict"):
        raise Unusable(
            f"the file holds a {name_of(model)}, which has no `predict`: save the whole fitted pipeline, or a model "
            "that predicts new rows"
        )
    return model


def platform_of(model) -> str:
    package = type(model).__module__.split(".")[0]
    kind = "scikit-learn" if type(model).__module__.startswith("sklearn") else package
    return f"{kind} {name_of(model)}"


def chosen_predict(model, features):
    """How to arrange rows for the model and how to run it, as found out on probes."""
    probes = features.probes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features.choose_arrangement(model, probes)
        return fastest_predict(model, features, probes)


def finish_settings(model, features) -> None:
    """Rows were checked by the server, so scikit-learn need not do it again. Not where NaN is allowed in some column,
    nor for ensembles of trees: they convert to 32 bits, where a large number becomes infinite."""
    sklearn = sys.modules.get("sklearn")
    trees = any(".ensemble" in type(e).__module__ or ".tree" in type(e).__module__ for e in estimators_in(model))
    trusted = not trees and not features.text and not any(column.nullable for column in features.columns)
    if sklearn is not None and trusted:
        sklearn.set_config(assume_finite=True)
