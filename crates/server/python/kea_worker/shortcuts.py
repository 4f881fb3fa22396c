"""Faster ways to what an estimator's own functions give, each taken only where it gives the same."""

from __future__ import annotations

import numpy as np

# Classifiers whose label is the class of the largest probability, the first one of equals ...
EXACT_ARGMAX = {
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "RandomForestClassifier",
    "ExtraTreesClassifier",
    "BaggingClassifier",
    "VotingClassifier",
    "LGBMClassifier",
}
# ... and those who find it by scores of another scale, where rounding can make near equals differ.
ROUNDED_ARGMAX = {
    "LogisticRegression",
    "LogisticRegressionCV",
    "MLPClassifier",
    "GaussianNB",
    "BernoulliNB",
    "MultinomialNB",
    "ComplementNB",
    "CategoricalNB",
    "HistGradientBoostingClassifier",
    "GradientBoostingClassifier",
    "KNeighborsClassifier",
    "LinearDiscriminantAnalysis",
    "QuadraticDiscriminantAnalysis",
    "XGBClassifier",
}
NEAR = 1e-6


def fastest_predict(model, features, probes):
    """A function of rows to labels or values and, for classifiers that have them, probabilities. A short cut is taken
    only where it gave on every probe what the model's own functions give."""
    if not hasattr(model, "predict_proba"):
        plain = lambda rows: (np.asarray(model.predict(rows)), None)  # noqa: E731
    else:
        plain = lambda rows: both(model, rows)  # noqa: E731
    for shortcut in (forest(model), by_argmax(model, getattr(model, "predict_proba", None))):
        if shortcut is not None and gives_the_same(shortcut, plain, features, probes):
            return shortcut
    return plain


def both(model, rows):
    label, probabilities = model.predict(rows), model.predict_proba(rows)
    # Several labels a row have a list of arrays, which no field can hold.
    return np.asarray(label), probabilities if isinstance(probabilities, np.ndarray) else None


def gives_the_same(shortcut, plain, features, probes) -> bool:
    try:
        rows = features.arrange(probes)
        single = [rows[i : i + 1] for i in range(2)]
        return all(
            np.array_equal(a, b) for x in (rows, *single) for a, b in zip(shortcut(x), plain(x)) if b is not None
        )
    except Exception:
        return False


def by_argmax(model, predict_proba):
    """One call instead of two, where the label follows from the probabilities."""
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    kind = type(last).__name__
    own = type(last).__module__.split(".")[0] in ("sklearn", "xgboost", "lightgbm")
    classes = getattr(model, "classes_", None)
    if (
        predict_proba is None
        or not own
        or not isinstance(classes, np.ndarray)
        or kind not in EXACT_ARGMAX | ROUNDED_ARGMAX
    ):
        return None
    exact = kind in EXACT_ARGMAX

    def run(rows):
        probabilities = predict_proba(rows)
        if not exact and np.count_nonzero(probabilities > probabilities.max(axis=1, keepdims=True) - NEAR) != len(
            probabilities
        ):
            return model.predict(rows), probabilities
        return classes.take(probabilities.argmax(axis=1)), probabilities

    return run


def forest(model):
    """The mean over a forest's trees without a pool of jobs, whose set-up takes longer than the trees themselves."""
    kind = type(model).__name__
    classifies = kind in ("RandomForestClassifier", "ExtraTreesClassifier")
    known = classifies or kind in ("RandomForestRegressor", "ExtraTreesRegressor")
    if not known or not type(model).__module__.startswith("sklearn.") or model.n_outputs_ != 1:
        return None
    trees = [tree.tree_ for tree in model.estimators_]
    width, slow = (model.n_classes_, model.predict_proba) if classifies else (1, model.predict)

    def mean(rows):
        narrow = np.asarray(rows, dtype=np.float32, order="C")
        # The trees themselves check nothing.
        if narrow.ndim != 2 or narrow.shape[1] != model.n_features_in_ or not np.isfinite(narrow).all():
            return slow(rows)
        total = np.zeros((len(narrow), width))
        for tree in trees:
            total += tree.predict(narrow)
        total /= len(trees)
        return total if classifies else total[:, 0]

    return by_argmax(model, mean) if classifies else lambda rows: (mean(rows), None)
