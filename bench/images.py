#!/usr/bin/env python3
"""Measures `kea build` beside buildah with a Dockerfile: the same model into an image in a registry, cold and with only
the model changed. See README.md.

Needs root, and Debian's packages buildah, docker-registry, skopeo and umoci (installed where they are missing); uv on
the search path, as KEA uses it where it finds it.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from harness.machine import first_match, kea_version
from harness.report import write_into

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
REQUIREMENTS = "scikit-learn==1.9.1\npandas\n"
SERVER = "fastapi\nuvicorn\n"
BEGIN = "<!-- images: begin, written by bench/images.py --write-docs -->"
END = "<!-- images: end -->"

# What people write who have no KEA: a web service around the model, packages first so that they are built once.
DOCKERFILE = """FROM {registry}/python-pip:slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --break-system-packages -r requirements.txt
COPY app.py .
COPY iris.joblib .
USER 65532:65532
CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8080"]
"""
APP = """import joblib
from fastapi import FastAPI

app = FastAPI()
model = joblib.load("iris.joblib")


@app.post("/predict")
def predict(row: list[float]):
    return {"label": str(model.predict([row])[0])}
"""
TRAIN = """import sys

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

iris = load_iris(as_frame=True)
joblib.dump(LogisticRegression(max_iter=1000, C=float(sys.argv[2])).fit(iris.data, iris.target), sys.argv[1])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kea-bin", type=Path, default=ROOT / "target/release/kea")
    parser.add_argument("--repeats", type=int, default=5, help="builds with only the model changed (5)")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    run(ROOT / "scripts/apt-install", "buildah", "docker-registry", "skopeo", "umoci")
    with tempfile.TemporaryDirectory(prefix="kea-bench-images-") as scratch, registry(Path(scratch)) as host:
        run(ROOT / "scripts/test-base-images", host, ROOT / ".cache/base-images", "python", "python-pip")
        rows = [measure(builder, arguments) for builder in builders(Path(scratch), host, arguments.kea_bin)]
    text = table(rows, machine(arguments.kea_bin))
    print(text)
    (BENCH / "results").mkdir(exist_ok=True)
    (BENCH / "results/images.json").write_text(json.dumps(rows, indent=2))
    if arguments.write_docs:
        write_into(ROOT / "docs/benchmarks.md", text, BEGIN, END)


class Builder:
    """One way to make the image: `build` makes and pushes it, and returns the bytes that came to the registry."""

    def __init__(self, name, folder, host):
        self.name, self.folder, self.host = name, folder, host
        self.model = folder / "context/iris.joblib"
        self.model.parent.mkdir(parents=True)

    def stored(self):
        blobs = Path(self.folder.parent / "registry").glob("docker/registry/v2/blobs/sha256/*/*/data")
        return sum(blob.stat().st_size for blob in blobs)

    def timed(self):
        before, start = self.stored(), time.perf_counter()
        self.build()
        return {"seconds": time.perf_counter() - start, "bytes": self.stored() - before}


class Kea(Builder):
    def __init__(self, folder, host, binary):
        super().__init__("kea build", folder, host)
        self.binary = binary
        caches = {"KEA_CACHE_DIR": folder / "cache", "UV_CACHE_DIR": folder / "uv"}
        bases = {"KEA_BASE_IMAGE_PYTHON": f"{host}/python:slim"}
        self.env = {**os.environ, **{name: str(value) for name, value in {**caches, **bases}.items()}}

    def build(self):
        run(self.binary, "build", self.model, "--image", f"{self.host}/kea-iris:1", "--push", env=self.env)


class Buildah(Builder):
    def __init__(self, folder, host):
        super().__init__("buildah with a Dockerfile", folder, host)
        context = self.model.parent
        (context / "Dockerfile").write_text(DOCKERFILE.format(registry=host))
        (context / "requirements.txt").write_text(REQUIREMENTS + SERVER)
        (context / "app.py").write_text(APP)
        self.buildah = ["buildah", "--root", folder / "storage", "--runroot", folder / "run"]
        if run("stat", "-f", "-c", "%T", folder).strip() == "overlayfs":
            self.buildah += ["--storage-driver", "vfs"]

    def build(self):
        name = f"{self.host}/buildah-iris:1"
        build = ["build", "--layers", "--isolation", "chroot", "--tls-verify=false", "--tag", name]
        # The machine's own certificates, in case packages come through a proxy.
        build += ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        run(*self.buildah, *build, self.model.parent)
        run(*self.buildah, "push", "--quiet", "--tls-verify=false", name)

    def close(self):
        subprocess.run([*map(str, self.buildah), "rmi", "--all", "--force"], capture_output=True)


def builders(scratch, host, binary):
    return [Kea(scratch / "kea", host, binary), Buildah(scratch / "buildah", host)]


def measure(builder, arguments):
    try:
        train(builder.model, 1.0)
        cold = builder.timed()
        print(f"{builder.name}: cold {cold['seconds']:.1f} s", file=sys.stderr)
        again = builder.timed()
        changed = []
        for number in range(arguments.repeats):
            train(builder.model, 2.0 + number)
            changed.append(builder.timed())
            print(f"{builder.name}: model changed {changed[-1]['seconds']:.2f} s", file=sys.stderr)
        return {"name": builder.name, "cold": cold, "unchanged": again, "changed": changed}
    finally:
        getattr(builder, "close", lambda: None)()


def train(path, strength):
    python = BENCH / ".venvs/models/bin/python"
    python = python if python.exists() else ROOT / ".cache/venv/bin/python"
    run(python, "-c", TRAIN, path, str(strength))


def machine(binary):
    processor = first_match("/proc/cpuinfo", r"^model name\s*:(.*)$")
    system = first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')
    buildah = run("buildah", "--version").split(" (")[0].removeprefix("buildah version ").strip()
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{today}: {os.cpu_count()} cores of {processor}, {system}, kea {kea_version(binary)}, buildah {buildah}"


def table(rows, machine):
    lines = [
        f"Measured on {machine}.",
        "",
        "|  | cold, s | nothing changed, s | model changed, s (median) | sent cold, MB | sent with another model, kB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        changed = statistics.median(one["seconds"] for one in row["changed"])
        sent = statistics.median(one["bytes"] for one in row["changed"])
        lines.append(
            f"| {row['name']} | {row['cold']['seconds']:.1f} | {row['unchanged']['seconds']:.2f} | {changed:.2f} "
            f"| {row['cold']['bytes'] / 1e6:.0f} | {sent / 1e3:.1f} |"
        )
    kea, other = rows
    ratio = statistics.median(one["seconds"] for one in other["changed"]) / statistics.median(
        one["seconds"] for one in kea["changed"]
    )
    lines += [
        "",
        f"With only the model changed `kea build` is {ratio:.1f} times as fast (goal: 5), cold "
        f"{other['cold']['seconds'] / kea['cold']['seconds']:.1f} times.",
    ]
    return "\n".join(lines).strip()


@contextlib.contextmanager
def registry(scratch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(scratch / "registry")}},
        "http": {"addr": host},
    }
    (scratch / "registry.yml").write_text(json.dumps(config))
    with open(scratch / "registry.log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", scratch / "registry.yml"], stdout=log, stderr=log)
        try:
            await_answer(f"http://{host}/v2/")
            yield host
        finally:
            process.kill()
            process.wait()


def await_answer(url):
    for _ in range(200):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2)
            return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
