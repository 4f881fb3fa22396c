"""What one run of the benchmark is to do, and where its things are."""

import json
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).parent.parent
MODELS = BENCH / "models"


@dataclass(frozen=True)
class Plan:
    connections: tuple  # of numbers of connections
    duration_s: int
    warmup_s: int
    models: tuple  # of model names
    only: tuple  # of target names; empty: all
    kea_bin: Path
    constant_bin: Path
    scratch: Path  # a folder for the servers' files, removed after the run
    logs: Path
    kea_settings: dict  # merged into every deploy request

    def wants(self, name):
        return not self.only or name in self.only

    def server_environment(self, model_name):
        """One thread of linear algebra a process: with more, several workers on two cores hinder each other."""
        return {
            "BENCH_MODEL": model_name,
            "BENCH_MODELS": str(MODELS),
            "BENCH_SCRATCH": str(self.scratch),
            "BENTOML_HOME": str(self.scratch / "bentoml"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }


def described_models():
    """What models.py wrote: features, sample rows and labels of each model."""
    return json.loads((MODELS / "models.json").read_text())
