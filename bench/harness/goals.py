"""The goals of the project as ratios within one run, and whether this run meets them."""

from dataclasses import dataclass

PYTHON_SERVERS = ("mosec", "fastapi-sklearn", "kserve", "mlserver", "bentoml")
MAIN_MODEL = "iris"


@dataclass(frozen=True)
class Check:
    goal: str
    model: str
    value: float
    bound: float
    unit: str = ""
    at_most: bool = False
    below: bool = False
    wanted: bool = True  # False: shown for comparison, not a goal for this model

    def met(self):
        if self.below:
            return self.value < self.bound
        return self.value <= self.bound if self.at_most else self.value >= self.bound


class Figures:
    """The rows of a run, asked by target or family."""

    def __init__(self, rows):
        self.rows = rows

    def best(self, family, model, figure, connections):
        """The best mode's figure: the highest rate, or the lowest latency; None where it was not measured."""
        found = [
            row["load"][connections][figure]
            for row in self.rows
            if row["family"] == family and row["model"] == model and connections in row.get("load", {})
        ]
        return (max if figure == "rps" else min)(found, default=None)

    def ratio(self, ours, theirs, model, figure, connections):
        mine, other = (self.best(family, model, figure, connections) for family in (ours, theirs))
        return mine / other if mine and other else None


def checks(rows, models, kea):
    figures = Figures(rows)
    found = [check for model in models for check in model_checks(figures, model)]
    found += whole_checks(rows, kea)
    return [check for check in found if check.value is not None]


def model_checks(figures, model):
    rate = lambda ours, theirs: figures.ratio(ours, theirs, model, "rps", "64")  # noqa: E731
    alone = lambda ours, theirs: figures.ratio(ours, theirs, model, "p50_ms", "1")  # noqa: E731
    main = model == MAIN_MODEL
    sklearn, onnx = "kea-server-sklearn", "kea-server-onnx"
    return [
        Check("scikit-learn alone / mosec, rate at 64", model, rate(sklearn, "mosec"), 1.3),
        Check("scikit-learn alone / FastAPI, rate at 64", model, rate(sklearn, "fastapi-sklearn"), 4),
        Check("scikit-learn alone / MLServer, rate at 64", model, rate(sklearn, "mlserver"), 10),
        lowest_p99(figures, model),
        Check("scikit-learn alone / FastAPI, p50 at 1", model, alone(sklearn, "fastapi-sklearn"), 1, at_most=True),
        Check("ONNX alone / FastAPI + onnxruntime, rate at 64", model, rate(onnx, "fastapi-onnx"), 3, wanted=main),
        Check("ONNX alone / constant answer, rate at 64", model, rate(onnx, "constant"), 0.5, wanted=main),
        Check("ONNX alone / constant answer, p50 at 1", model, alone(onnx, "constant"), 1.6, at_most=True, wanted=main),
        Check("gateway / alone, scikit-learn, rate at 64", model, rate("kea-gateway-sklearn", sklearn), 0.55),
        Check("gateway / alone, ONNX, rate at 64", model, rate("kea-gateway-onnx", onnx), 0.55),
    ]


def lowest_p99(figures, model):
    """KEA's p99 over the lowest p99 of the Python servers."""
    others = [figures.best(family, model, "p99_ms", "64") for family in PYTHON_SERVERS]
    lowest = min((value for value in others if value), default=None)
    mine = figures.best("kea-server-sklearn", model, "p99_ms", "64")
    value = mine / lowest if mine and lowest else None
    return Check("scikit-learn alone / the best other server, p99 at 64", model, value, 1, below=True)


def whole_checks(rows, kea):
    deploys = [
        row["deploy_to_first_answer_s"]
        for row in rows
        if row["target"] == "kea-gateway-sklearn" and row["model"] == MAIN_MODEL and "deploy_to_first_answer_s" in row
    ]
    idle = kea.get("idle_memory", {}).get("rss_mb")
    return [
        Check("deploy to first prediction", MAIN_MODEL, deploys[0] if deploys else None, 2, " s", at_most=True),
        Check("idle `kea serve`, resident", "-", idle, 40, " MB", below=True),
    ]
