"""What fitted estimators of scikit-learn, or of whatever has its API, tell of the columns they take."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from .contract import scalar


@dataclasses.dataclass
class Column:
    """One feature, as far as the estimators tell."""

    name: str
    datatype: str = "FP64"
    nullable: bool = False
    example: object = 0.0
    categories: list = dataclasses.field(default_factory=list)
    closed: bool = False  # whether another value than the categories is an error
    used: bool = True

    def field(self) -> dict:
        # Only a number has a form for a missing value on the wire: NaN.
        more = {"nullable": True} if self.nullable and self.datatype == "FP64" else {}
        return scalar(self.name, self.datatype, **more, **({"enum": self.categories} if self.closed else {}))

    def set_categories(self, categories, closed: bool) -> None:
        values = [value for value in np.asarray(categories).tolist() if not is_missing(value)]
        kinds = {type(value) for value in values}
        datatype = {str: "BYTES", int: "INT64", bool: "BOOL", float: "FP64"}.get(
            kinds.pop() if len(kinds) == 1 else None
        )
        if datatype is None:
            return
        self.nullable |= len(values) < len(categories)
        self.datatype, self.categories, self.closed = datatype, values, closed
        self.example = values[0]


def is_missing(value) -> bool:
    return value is None or value != value


def describe(estimator, columns: list) -> bool:
    """Writes into `columns` what a fitted estimator tells of what it takes; whether the next step gets them too."""
    if isinstance(estimator, str):  # passthrough
        return True
    for inner in ("best_estimator_", "estimator_", "regressor_"):
        if hasattr(estimator, inner):
            return describe(getattr(estimator, inner), columns)
    if hasattr(estimator, "steps"):
        return all(describe(step, columns) for _, step in estimator.steps if step is not None)
    if hasattr(estimator, "transformers_"):
        return describe_column_transformer(estimator, columns)
    parts = getattr(estimator, "named_estimators_", None) or dict(getattr(estimator, "transformer_list", ()))
    if parts:
        for part in parts.values():
            describe(part, columns)
        return False
    if hasattr(estimator, "analyzer"):
        for column in columns:
            column.datatype, column.example = "BYTES", "text"
        return False
    return describe_columns(estimator, columns)


def describe_column_transformer(estimator, columns: list) -> bool:
    used = set()
    for _, part, which in estimator.transformers_:
        if isinstance(part, str) and part == "drop":
            continue
        chosen = choose(columns, which)
        used.update(column.name for column in chosen)
        describe(part, chosen)
    for column in columns:
        column.used = column.name in used
    return False


def choose(columns: list, which) -> list:
    """The columns that a ColumnTransformer's specification means: names, positions, a slice or a mask."""
    if isinstance(which, slice):
        names = [column.name for column in columns]
        ends = [names.index(end) if isinstance(end, str) else end for end in (which.start, which.stop)]
        last = isinstance(which.stop, str)  # a slice of names has its last one in it
        return columns[slice(ends[0], ends[1] + 1 if last else ends[1], which.step)]
    wanted = np.atleast_1d(np.asarray(which)).tolist()
    if wanted and isinstance(wanted[0], str):
        return [column for column in columns if column.name in wanted]
    if wanted and isinstance(wanted[0], bool):
        return [column for column, taken in zip(columns, wanted) if taken]
    return [columns[position] for position in wanted]


def describe_columns(estimator, columns: list) -> bool:
    if hasattr(estimator, "categories_") and len(estimator.categories_) == len(columns):
        closed = getattr(estimator, "handle_unknown", None) == "error"
        for column, categories in zip(columns, estimator.categories_):
            column.set_categories(categories, closed)
        return False
    if type(estimator).__name__.endswith("Imputer"):
        for column in columns:
            column.nullable = True
    for source in ("statistics_", "mean_", "center_", "data_min_"):
        values = getattr(estimator, source, None)
        if isinstance(values, np.ndarray) and values.shape == (len(columns),):
            for column, value in zip(columns, values.tolist()):
                take_typical(column, value)
    if hasattr(estimator, "predict"):
        missing = accepts_missing(estimator)
        for column in columns:
            column.nullable |= missing
    return hasattr(estimator, "transform")


def take_typical(column: Column, value) -> None:
    if isinstance(value, str):
        column.datatype, column.example = "BYTES", value
    elif isinstance(value, (int, float)) and math.isfinite(value):
        column.example = float(f"{value:.6g}")


def accepts_missing(estimator) -> bool:
    if type(estimator).__module__.split(".")[0] in ("xgboost", "lightgbm"):
        return True
    try:
        from sklearn.utils import get_tags

        return bool(get_tags(estimator).input_tags.allow_nan) and support_of_trees(estimator)
    except (ImportError, AttributeError):
        return bool(getattr(estimator, "_get_tags", dict)().get("allow_nan", False)) and support_of_trees(estimator)


def support_of_trees(estimator) -> bool:
    """Trees and forests take missing values only where they met some in training, whatever their tags say."""
    tree = (getattr(estimator, "estimators_", None) or [estimator])[0]
    tree = getattr(tree, "tree_", None)
    return tree is None or bool(getattr(tree, "missing_go_to_left", np.zeros(1)).any())
