"""Load by wrk: one thread, a fixed body, and its own account of rates and latencies."""

import json
import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent / "predict.lua"


def measure(endpoint, body: bytes, plan):
    """A warm-up, then one run for each number of connections: `{connections: figures}`."""
    file = plan.scratch / "body.json"
    file.write_bytes(body)
    wrk(endpoint, file, max(plan.connections), plan.warmup_s)
    return {str(count): wrk(endpoint, file, count, plan.duration_s) for count in plan.connections}


def wrk(endpoint, body_file: Path, connections: int, duration_s: int):
    """One run; a single error in it fails the benchmark, because fast refusals are no figures."""
    environment = {**os.environ, "BENCH_BODY": str(body_file)}
    if endpoint.token:
        environment["BENCH_TOKEN"] = endpoint.token
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "--timeout", "10s", "--latency"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{endpoint.port}{endpoint.path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=duration_s + 60)
    return figures(done.stdout, done.stderr)


def figures(output: str, errors: str):
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"wrk gave no result: {errors.strip() or output.strip()}")
    raw = json.loads(line.removeprefix("RESULT "))
    if raw["errors"] or not raw["requests"]:
        raise RuntimeError(f"{raw['errors']} of {raw['requests']} requests failed under load")
    return {
        "rps": round(raw["requests"] / (raw["duration_us"] / 1e6), 1),
        "p50_ms": raw["p50_us"] / 1000,
        "p99_ms": raw["p99_us"] / 1000,
        "max_ms": raw["max_us"] / 1000,
        "requests": raw["requests"],
    }
