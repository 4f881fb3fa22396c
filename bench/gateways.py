#!/usr/bin/env python3
"""Measures KEA's gateway and others before one and the same backend, on this machine, in one run. See README.md.

KEA has tokens, roles, validation, rate limit and audit on. Needs `bench/setup gateways`.
"""

import argparse
import json
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from harness import load, process, steady
from harness.endpoint import Endpoint
from harness.gateways import BACKEND, ENVOY, GATEWAYS, PATH, body, kea_serving
from harness.kea import Installation
from harness.machine import describe, output_of
from harness.plan import Plan
from harness.report import table, write_into

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
RESULTS = BENCH / "results"
SMALL = "200 bytes"
BODIES = {SMALL: 200, "8 KB": 8000}
RATES = (1000, 3000)
BEGIN = "<!-- gateways: begin, written by bench/gateways.py --write-docs -->"
END = "<!-- gateways: end -->"

# Everything that protects is on; the rate is one that the load does not reach, so that it is counted and not refused.
KEA_SETTINGS = {"rateLimit": [{"requests": 100_000_000, "per": "1s", "by": "caller"}]}

# Kept for longer than it is measured, so that the backend is asked once.
KEPT = {"cache": {"enabled": True, "ttl": "1h"}}


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="kea-bench-") as scratch:
        plan = plan_of(arguments, Path(scratch))
        results = {"machine": describe(plan.kea_bin), "rows": [], "failures": []}
        results["machine"]["versions"] |= versions()
        run(plan, arguments, results)
    text = markdown(results, plan)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gateways.json").write_text(json.dumps(results, indent=2) + "\n")
    if arguments.write_docs:
        write_into(ROOT / "docs" / "benchmarks.md", text, BEGIN, END)
    print(text)
    return 1 if results["failures"] else 0


def parse():
    names = [BACKEND.name, *(gateway.name for gateway in GATEWAYS), "kea", "kea-cache"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=int, default=10, help="seconds of each measurement (10)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64], metavar="N")
    parser.add_argument("--only", nargs="+", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--kea-bin", type=Path, default=ROOT / "target/release/kea")
    parser.add_argument("--kea-settings", type=json.loads, default=KEA_SETTINGS, metavar="JSON")
    parser.add_argument("--quick", action="store_true", help="2 s a measurement: a smoke test, not figures")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/benchmarks.md")
    return parser.parse_args()


def plan_of(arguments, scratch):
    return Plan(
        connections=tuple(sorted(arguments.connections)),
        duration_s=2 if arguments.quick else arguments.duration,
        warmup_s=1 if arguments.quick else 3,
        models=("iris",),
        only=tuple(arguments.only),
        kea_bin=arguments.kea_bin,
        constant_bin=Path(),
        scratch=scratch,
        logs=RESULTS / "logs",
        kea_settings=arguments.kea_settings,
    )


def versions():
    """Versions of the gateways, as each says it."""
    commands = {"nginx": ("nginx", "-v"), "haproxy": ("haproxy", "-v"), "envoy": (str(ENVOY), "--version")}
    return {name: re.search(r"\d+\.\d+\.\d+", output_of(*command))[0] for name, command in commands.items()}


def run(plan, arguments, results):
    with backend(plan) as port:
        for name, title, serving in targets(plan, port):
            if not plan.wants(name):
                continue
            try:
                with serving() as (endpoint, server):
                    results["rows"].append(measured(plan, name, title, endpoint, server))
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                results["failures"].append(f"{title}: {error}")
            print(f"{title}: done", file=sys.stderr, flush=True)


@contextmanager
def backend(plan):
    with BACKEND.serving(plan, 0) as (endpoint, server):
        process.wait_until(lambda: answers(endpoint), "the backend", server)
        yield endpoint.port


def targets(plan, port):
    """Each with its name, its title, and what serves it. KEA stands beside the Envoy that it is compared with."""

    @contextmanager
    def direct():
        yield Endpoint(port, PATH), None

    yield BACKEND.name, BACKEND.title, direct
    for gateway in GATEWAYS:
        yield gateway.name, gateway.title, lambda gateway=gateway: gateway.serving(plan, port)
    installation = Installation(plan)
    yield "kea", "KEA, everything on", lambda: kea_serving(installation, port, plan.kea_settings)
    kept = plan.kea_settings | KEPT
    yield "kea-cache", "KEA, the same, answers kept", lambda: kea_serving(installation, port, kept)


def answers(endpoint):
    try:
        return endpoint.call(body(200))[0] == 200
    except OSError:
        return False


def measured(plan, name, title, endpoint, server):
    """The figures of one gateway; its memory is weighed under the load of the most connections."""
    if server:
        process.wait_until(lambda: answers(endpoint), title, server)
    row = {"name": name, "title": title, "closed": {}, "steady": {}}
    for size, length in BODIES.items():
        row["closed"][size] = load.measure(endpoint, body(length), plan)
        file = plan.scratch / "steady.json"
        file.write_bytes(body(length))
        row["steady"][size] = {
            str(rate): steady.measure(endpoint, file, rate, plan.duration_s, plan.scratch) for rate in RATES
        }
    # The gateway's own process: a replica of KEA's that nothing is sent to is no part of what is compared.
    row["memory"] = process.memory_mb([server.pid]) if server else None
    return row


def markdown(results, plan):
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        f"Measured on {machine['date']}: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_gb']} GB, Linux {machine['kernel']}; {plan.duration_s} s a figure; "
        f"load average before the run {machine['load_average_before']}.\n\nVersions: {versions}."
    ]
    for size in BODIES:
        parts.append(f"### {size}\n\n" + size_table(results["rows"], size, plan))
    parts.append("### Goals of the gateway\n\n" + goals_table(results["rows"]))
    if results["failures"]:
        parts.append("### Not measured\n\n" + "\n".join(f"- {failure}" for failure in results["failures"]))
    return "\n\n".join(parts) + "\n"


def size_table(rows, size, plan):
    direct = next((row["steady"][size] for row in rows if row["name"] == BACKEND.name), None)
    header = ["", *(f"req/s at {count}" for count in plan.connections)]
    header += [f"p50 / p99 ms at {count}" for count in plan.connections]
    header += [f"added p50 / p99 / p99.9 ms at {rate:,}/s" for rate in RATES] + ["memory MB"]
    return table(header, [size_row(row, size, plan, direct) for row in rows])


def size_row(row, size, plan, direct):
    closed = [row["closed"][size][str(count)] for count in plan.connections]
    cells = [row["title"], *(f"{figures['rps']:,.0f}" for figures in closed)]
    cells += [f"{figures['p50_ms']:.2f} / {figures['p99_ms']:.2f}" for figures in closed]
    for rate in map(str, RATES):
        added = [added_ms(row["steady"][size], direct, rate, figure) for figure in ("p50_ms", "p99_ms", "p999_ms")]
        cells.append(" / ".join("-" if value is None else f"{value:.2f}" for value in added))
    return [*cells, f"{row['memory']['rss_mb']:.0f}" if row["memory"] else "-"]


def added_ms(figures, direct, rate, figure):
    return figures[rate][figure] - direct[rate][figure] if direct else None


def goals_table(rows):
    found = {row["name"]: row for row in rows}
    if not {"kea", "envoy-jwt-cache", BACKEND.name} <= found.keys():
        return "KEA, Envoy with its cache, and the backend have to be measured in one run."
    kea, envoy, direct = found["kea"], found["envoy-jwt-cache"], found[BACKEND.name]
    rate = lambda size: kea["closed"][size]["64"]["rps"] / envoy["closed"][size]["64"]["rps"]  # noqa: E731
    added = lambda row, figure: added_ms(row["steady"][SMALL], direct["steady"][SMALL], "3000", figure)  # noqa: E731
    share = lambda figure: added(kea, figure) / added(envoy, figure)  # noqa: E731
    memory = kea["memory"]["rss_mb"] / envoy["memory"]["rss_mb"]
    goals = [
        ("rate at 64, 200 bytes / Envoy with token, cache and log", rate(SMALL), 1.3, True),
        ("rate at 64, 8 KB / the same", rate("8 KB"), 1.2, True),
        ("added p50 at 3,000/s / the same", share("p50_ms"), 0.5, False),
        ("added p99 at 3,000/s / the same", share("p99_ms"), 0.5, False),
        ("memory / the same", memory, 1, False),
    ]
    if "kea-cache" in found:
        kept = found["kea-cache"]["closed"][SMALL]["64"]["rps"] / kea["closed"][SMALL]["64"]["rps"]
        goals.append(("rate at 64, 200 bytes, kept answers / forwarded requests", kept, 2, True))
    return table(["goal", "measured", "wanted", "met"], [goal_row(*goal) for goal in goals])


def goal_row(goal, value, bound, at_least):
    met = value >= bound if at_least else value <= bound
    return [goal, f"{value:.2f}", f"at {'least' if at_least else 'most'} {bound:g}", "yes" if met else "**no**"]


if __name__ == "__main__":
    sys.exit(main())
