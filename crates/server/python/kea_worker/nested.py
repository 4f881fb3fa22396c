"""The estimators within one: the steps of pipelines, the members of ensembles, what a search found."""

from __future__ import annotations


def estimators_in(value, seen=None):
    """All estimators within one, itself included."""
    seen = set() if seen is None else seen
    if isinstance(value, (list, tuple)):
        for item in value[:1024]:
            yield from estimators_in(item, seen)
    elif hasattr(value, "get_params") and not isinstance(value, type) and id(value) not in seen:
        seen.add(id(value))
        yield value
        for item in list(vars(value).values()):
            yield from estimators_in(item, seen)


def set_jobs(model, threads: int) -> None:
    """Estimators saved with `n_jobs=-1` would start pools of threads for each request."""
    for estimator in estimators_in(model):
        if getattr(estimator, "n_jobs", None) not in (None, 1):
            estimator.n_jobs = threads


def forget_names(model) -> list:
    """Takes the features' names out of the estimators, who would warn on each call that arrays have none; what was
    taken, to be put back."""
    named = [estimator for estimator in estimators_in(model) if "feature_names_in_" in vars(estimator)]
    return [(estimator, vars(estimator).pop("feature_names_in_")) for estimator in named]
