"""joblib, pickle and skops files, and why one cannot be read."""

from __future__ import annotations

import os
import pickle
import sys
import warnings

from .errors import Unusable, name_of

TRUSTED_BY_SKOPS = {"sklearn", "numpy", "scipy", "xgboost", "lightgbm", "catboost", "quantile_forest", "imblearn"}


def unpickle(path: str):
    """What a joblib, pickle or skops file holds."""
    sys.path.append(os.path.dirname(os.path.abspath(path)))  # where classes of the model's own may lie
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return load_skops(path) if path.endswith(".skops") else load_pickle(path)
        except (AttributeError, ValueError, TypeError, ModuleNotFoundError) as error:
            mismatch = next(filter(None, map(version_mismatch, caught)), None)
            if mismatch is None:
                raise
            raise Unusable(f"{mismatch}; loading it failed with {name_of(error)}: {error}") from error
        finally:
            for line in dict.fromkeys(version_mismatch(one) or str(one.message) for one in caught):
                print(f"warning: {line}", file=sys.stderr)


def load_pickle(path: str):
    try:
        with open(path, "rb") as file:
            return joblib_or_pickle().load(file)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError) as error:
        raise Unusable(f"{os.path.basename(path)} is no joblib or pickle file, or is cut off ({error})") from error


def joblib_or_pickle():
    try:
        import joblib
    except ImportError:
        return pickle
    return joblib


def load_skops(path: str):
    import skops.io

    untrusted = skops.io.get_untrusted_types(file=path)
    refused = [kind for kind in untrusted if kind.split(".")[0] not in TRUSTED_BY_SKOPS]
    if refused:
        raise Unusable(
            f"the skops file holds types that are of no known package: {', '.join(refused)}; save the model "
            "with joblib if you trust them"
        )
    return skops.io.load(path, trusted=untrusted)


def version_mismatch(caught):
    """A sentence where a warning is scikit-learn's about the version that saved the model."""
    saved = getattr(caught.message, "original_sklearn_version", None)
    if saved is None:
        return None
    installed = caught.message.current_sklearn_version
    return (
        f"the model was saved with scikit-learn {saved} and is loaded with {installed}, which may give other results: "
        f"add `scikit-learn=={saved}` to its requirements"
    )
