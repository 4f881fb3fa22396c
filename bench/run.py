#!/usr/bin/env python3
"""Measures KEA and other model servers side by side, on this machine, in one run. See README.md.

Needs Python 3.11 or newer and nothing else for itself; `bench/setup` makes what the servers need.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness import measure, report
from harness.competitors import COMPETITORS, CONSTANT
from harness.kea import Installation, idle_memory
from harness.machine import describe
from harness.plan import Plan, described_models

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
RESULTS = BENCH / "results"
KEA_ENGINES = {"kea-onnx": "onnx", "kea-sklearn": "sklearn"}


def main():
    arguments = parse()
    models = described_models()
    shutil.rmtree(RESULTS / "logs", ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="kea-bench-") as scratch:
        plan = plan_of(arguments, Path(scratch))
        results = {
            "machine": describe(plan.kea_bin),
            "plan": {
                "models": plan.models,
                "connections": plan.connections,
                "duration_s": plan.duration_s,
                "warmup_s": plan.warmup_s,
                "kea_settings": plan.kea_settings,
            },
            "kea": {},
            "rows": [],
            "failures": [],
        }
        run(plan, models, results)
    text = report.markdown(results)
    save(results, text)
    if arguments.write_docs:
        report.write_into(ROOT / "docs" / "benchmarks.md", text)
    print(text)
    return 1 if results["failures"] else 0


def parse():
    names = [target.name for target in COMPETITORS] + list(KEA_ENGINES)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=int, default=10, help="seconds of each measurement (10)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64], metavar="N")
    parser.add_argument("--models", nargs="+", default=list(described_models()), choices=list(described_models()))
    parser.add_argument("--only", nargs="+", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--kea-bin", type=Path, default=ROOT / "target/release/kea")
    parser.add_argument("--constant-bin", type=Path, default=ROOT / "target/release/examples/constant")
    parser.add_argument(
        "--kea-settings", type=json.loads, default={}, metavar="JSON", help="added to each deploy request"
    )
    parser.add_argument("--quick", action="store_true", help="2 s a measurement: a smoke test, not figures")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser.parse_args()


def plan_of(arguments, scratch):
    duration = 2 if arguments.quick else arguments.duration
    return Plan(
        connections=tuple(sorted(arguments.connections)),
        duration_s=duration,
        warmup_s=1 if arguments.quick else 3,
        models=tuple(arguments.models),
        only=tuple(arguments.only),
        kea_bin=arguments.kea_bin,
        constant_bin=arguments.constant_bin,
        scratch=scratch,
        logs=RESULTS / "logs",
        kea_settings=arguments.kea_settings,
    )


def run(plan, models, results):
    """Model by model, so that what is compared is measured minutes apart. What fails is named, the rest goes on."""
    installation = Installation(plan)
    if any(map(plan.wants, KEA_ENGINES)):
        attempt(results, "kea idle", lambda: results["kea"].update(idle_memory=idle_memory(installation)))
    for name in plan.models:
        for title, job in jobs(installation, measure.Case(plan, name, models[name])):
            attempt(results, f"{title}, {name}", lambda job=job: results["rows"].extend(job()))


def jobs(installation, case):
    """What to measure for one model, in the order of the tables: a title and a function that gives rows."""

    def of_competitor(target):
        return target.name, lambda: [measure.competitor(target, case)]

    def of_kea(name, engine):
        return name, lambda: measure.kea(installation, case, engine)

    found = [of_competitor(CONSTANT)]
    found += [of_kea(name, engine) for name, engine in KEA_ENGINES.items()]
    found += [of_competitor(target) for target in COMPETITORS if target is not CONSTANT]
    return [(title, job) for title, job in found if case.plan.wants(title)]


def attempt(results, title, job):
    started = time.monotonic()
    try:
        job()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        results["failures"].append(f"{title}: {error}")
        print(f"{title}: FAILED: {error}", file=sys.stderr, flush=True)
    else:
        print(f"{title}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def save(results, text):
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    (RESULTS / "results.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
