"""Load at a fixed rate by h2load, whose requests do not wait for the answers of others: what a gateway adds to each."""

import subprocess
import time
from pathlib import Path

CONNECTIONS = 16
LEAD_S = 1  # left out: connections are made in it


def measure(endpoint, body_file: Path, rate: int, duration_s: int, scratch: Path):
    """Latencies in milliseconds at `rate` requests a second; a single failure fails the benchmark."""
    log = scratch / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", "-m1", f"--rps={rate / CONNECTIONS:g}"]
    command += [f"--duration={duration_s + LEAD_S}", f"--log-file={log}", f"--data={body_file}"]
    command += ["--header=content-type: application/json"]
    if endpoint.token:
        command.append(f"--header=authorization: Bearer {endpoint.token}")
    command.append(f"http://127.0.0.1:{endpoint.port}{endpoint.path}")
    begun = time.time()
    done = subprocess.run(command, capture_output=True, text=True, timeout=duration_s + 60)
    if done.returncode:
        raise RuntimeError(f"h2load: {done.stderr.strip() or done.stdout.strip()}")
    return figures(log.read_text(), begun + LEAD_S, rate, duration_s)


def figures(log: str, counted_from: float, rate: int, duration_s: int):
    lines = [line.split("\t") for line in log.splitlines()]
    failed = [status for _, status, _ in lines if status != "200"]
    if failed or not lines:
        raise RuntimeError(f"{len(failed)} of {len(lines)} requests failed at {rate} a second")
    took = sorted(int(us) for start, _, us in lines if int(start) / 1e6 >= counted_from)
    if len(took) < 0.95 * rate * duration_s:
        raise RuntimeError(f"{len(took)} requests in {duration_s} s where {rate} a second were wanted")
    at = lambda share: round(took[min(len(took) - 1, int(len(took) * share))] / 1000, 3)  # noqa: E731
    return {"rps": rate, "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999)}
