#!/usr/bin/env python3
"""Measures how long the list of services takes, and a search of it, where there are many. See README.md."""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from harness import process
from harness.kea import Installation
from harness.machine import kea_version

ROOT = Path(__file__).resolve().parent.parent
MODEL = '''"""Weighs."""

from dataclasses import dataclass


@dataclass
class Parcel:
    """What is sent.

    Attributes:
        width: How wide it is, in cm.
        weight: How heavy it is.
    """

    width: float
    weight: float


class Model:
    """Says what a parcel costs."""

    def predict(self, parcel: Parcel, express: bool = False) -> float:
        """The price in euros."""
        return parcel.weight * (2 if express else 1)
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kea-bin", type=Path, default=ROOT / "target/release/kea")
    parser.add_argument("--services", type=int, default=1_000, help="how many there are (1,000)")
    parser.add_argument(
        "--repeats", type=int, default=10, help="requests of each kind, of which the median counts (10)"
    )
    arguments = parser.parse_args()
    print(f"KEA {kea_version(arguments.kea_bin)}, {arguments.services:,} services, median of {arguments.repeats}\n")
    print("| what | found | measured |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder, arguments):
    (folder / "model.py").write_text(MODEL)
    (folder / "logs").mkdir()
    plan = SimpleNamespace(scratch=folder, kea_bin=arguments.kea_bin, logs=folder / "logs")
    installation = Installation(plan)
    with installation.serving() as kea:
        name = kea.deploy({"modelName": "parcels", "sourceCode": str(folder / "model.py")})
        kea.wait_deployed(name)
        kea.scale(name, 0)
    multiply(installation.folder / "kea.db", name, arguments.services)
    with installation.serving() as kea:
        process.wait_until(lambda: count(kea, "") == arguments.services, "the services to be listed", kea.server)
        rows = [("the first page", "", arguments.services), ("a name", "parcels-7", None), ("a field", "width", None)]
        for what, search, expected in [*rows, ("nothing", "wolpertinger", 0)]:
            found = count(kea, search)
            if expected is not None and found != expected:
                sys.exit(f"{what}: {found} found, and not {expected}")
            took = statistics.median(timed(kea, search) for _ in range(arguments.repeats))
            print(f"| {what} | {found:,} | {took * 1000:.1f} ms |", flush=True)


def multiply(database, name, total):
    """Makes many services of one, which want no replica and whose contract is known."""
    with sqlite3.connect(database) as connection:
        (service,) = connection.execute("SELECT body FROM services WHERE id = ?", (name,)).fetchone()
        versions = connection.execute(
            "SELECT id, position, body FROM versions WHERE service_id = ?", (name,)
        ).fetchall()
        for number in range(1, total):
            body = json.loads(service) | {"id": f"{name}-{number}"}
            connection.execute("INSERT INTO services (id, body) VALUES (?, ?)", (body["id"], json.dumps(body)))
            rows = [(body["id"], *version) for version in versions]
            connection.executemany("INSERT INTO versions (service_id, id, position, body) VALUES (?, ?, ?, ?)", rows)
    connection.close()


def asked(kea, search):
    return kea.expect("GET", f"/docs/services.json?search={search}")


def count(kea, search):
    return asked(kea, search)["total"]


def timed(kea, search):
    start = time.perf_counter()
    asked(kea, search)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
