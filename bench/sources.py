#!/usr/bin/env python3
"""Measures how long contracts take: read from Python sources without running them, and held against a request.
See README.md."""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.machine import kea_version

ROOT = Path(__file__).resolve().parent.parent
DECODING = re.compile(r"^decode 784 numbers, (\d+) bytes: ([\d.]+)(ns|µs|ms|s)$", re.MULTILINE)
BLOCKS = 20  # of a module of the package
MICROSECONDS = {"ns": 1e-3, "µs": 1, "ms": 1e3, "s": 1e6}

# One of many functions, with what engineers write: types of their own, limits, a docstring, a body that is passed over.
BLOCK = '''

@dataclass
class Order{n}:
    """An order of kind {n}.

    Attributes:
        item: What is ordered.
        count: How many of it.
        tags: Words about it.
    """

    item: str
    count: int = 1
    tags: list[str] = field(default_factory=list)
    size: Literal["small", "large"] = "small"


class Settings{n}(BaseModel):
    limit: float = Field(default=0.5, ge=0, le=1, description="Where to cut.")
    colours: dict[str, int] = {{}}
    within: Optional[Order{n}] = None


def weigh{n}(orders: list[Order{n}], settings: Settings{n}) -> dict[str, float]:
    """Weighs orders.

    Args:
        orders: The orders.
        settings: How they are weighed.

    Returns:
        A weight for each item.
    """
    weights = {{}}
    for position, order in enumerate(orders):
        if order.count <= 0 or (settings.within and order.item == settings.within.item):
            continue
        weights[order.item] = weights.get(order.item, 0.0) + order.count * settings.limit / (position + 1)
    return {{item: round(weight, 6) for item, weight in sorted(weights.items())}}
'''
IMPORTS = """from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from pydantic import BaseModel, Field
"""
METHOD = """
    def weigh{n}(self, orders: list[Order{n}], settings: Settings{n}) -> dict[str, float]:
        return weigh{n}(orders, settings)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kea-bin", type=Path, default=ROOT / "target/release/kea")
    parser.add_argument("--timing-bin", type=Path, default=ROOT / "target/release/examples/timing")
    parser.add_argument("--repeats", type=int, default=10, help="runs of each, of which the median counts (10)")
    arguments = parser.parse_args()
    print(f"KEA {kea_version(arguments.kea_bin)}, median of {arguments.repeats} runs, the process's start included\n")
    print("| what | measured | goal | |\n| --- | ---: | ---: | --- |")
    met = [row(*measured) for measured in measure(arguments)]
    sys.exit(0 if all(met) else 1)


def measure(arguments):
    """What was measured, in milliseconds, and what it should be at most, where there is a goal."""
    yield "`kea --version`, to compare", median(arguments, [arguments.kea_bin, "--version"]), None
    with tempfile.TemporaryDirectory() as folder:
        file, package = Path(folder) / "model.py", Path(folder) / "package"
        lines, functions = write_file(file, 2_000)
        yield f"a file of {lines:,} lines", read(arguments, file, functions), 50
        lines, functions = write_package(package, 100_000)
        yield f"a package of {lines:,} lines", read(arguments, package, functions), 2_000
    size, took = decoding(arguments.timing_bin)
    yield f"784 numbers in {size:,} bytes", took, 0.015


def row(what, took, goal):
    """Prints one; whether it met its goal."""
    met = goal is None or took <= goal
    wanted = ("", "") if goal is None else (shown(goal), "met" if met else "missed")
    print(f"| {what} | {shown(took)} | {' | '.join(wanted)} |", flush=True)
    return met


def shown(milliseconds):
    return f"{milliseconds:,.1f} ms" if milliseconds >= 1 else f"{milliseconds * 1000:.1f} µs"


def class_of(numbers):
    return "\n\nclass Model:" + "".join(METHOD.format(n=n) for n in numbers)


def write_file(path, lines):
    """A file of one class with about so many lines; how many they are, and how many functions the class has."""
    numbers = range(lines // (BLOCK + METHOD).count("\n"))
    text = IMPORTS + "".join(BLOCK.format(n=n) for n in numbers) + class_of(numbers)
    path.write_text(text)
    return text.count("\n"), len(numbers)


def write_package(folder, lines):
    """A package whose class uses types of each of its modules, over a relative import; what `write_file` tells."""
    folder.mkdir()
    imports, total = "from __future__ import annotations\n\n", 0
    modules = range(lines // (BLOCK.count("\n") * BLOCKS))
    for module in modules:
        text = IMPORTS + "".join(BLOCK.format(n=f"{module}_{n}") for n in range(BLOCKS))
        (folder / f"part{module}.py").write_text(text)
        imports += f"from .part{module} import Order{module}_0, Settings{module}_0, weigh{module}_0\n"
        total += text.count("\n")
    text = imports + class_of([f"{module}_0" for module in modules])
    (folder / "model.py").write_text(text)
    (folder / "__init__.py").write_text("from .model import Model\n")
    return total + text.count("\n") + 1, len(modules)


def read(arguments, path, functions):
    """The median of what `kea docs` takes for a path, in milliseconds, once its answer is found to be whole."""
    command = [arguments.kea_bin, "docs", path, "--name", "bench"]
    found = {name.rpartition("/")[2] for name in json.loads(run(command))["paths"] if "/weigh" in name}
    if len(found) != functions:
        sys.exit(f"{path} has {functions} functions, and {len(found)} were found")
    return median(arguments, command)


def median(arguments, command):
    return statistics.median(timed(command) for _ in range(arguments.repeats))


def timed(command):
    start = time.perf_counter()
    run(command)
    return (time.perf_counter() - start) * 1000


def run(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout


def decoding(binary):
    """The size of the request, and the milliseconds that its decoding takes, as kea-openapi's example measures it."""
    found = DECODING.search(run([binary]).decode())
    if not found:
        sys.exit(f"{binary} says nothing of 784 numbers")
    size, took, unit = found.groups()
    return int(size), float(took) * MICROSECONDS[unit] / 1000


if __name__ == "__main__":
    main()
