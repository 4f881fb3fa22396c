"""Starting a server in a process group of its own, weighing its process tree, and ending all of it."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

STOP_TIMEOUT_S = 15


def free_port():
    """A free loopback port, for servers that can't be given port 0 and asked which one they took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, log: Path, environment=None, folder=None):
    """The server of `command`, with its output in `log`; its whole process tree is gone afterwards."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process):
    """Ends the server gently, then whatever it left behind. Only processes of its own tree are touched."""
    family = {pid: started_at(pid) for pid in tree(process.pid)}
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid, started in family.items():
        if started is not None and started_at(pid) == started:
            os.kill(pid, signal.SIGKILL)


def stat_fields(pid):
    """The fields of /proc/PID/stat after the command's name, or None where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def started_at(pid):
    fields = stat_fields(pid)
    return fields and fields[19]


def tree(root):
    """`root`, its descendants, and whoever else is in its session."""
    stats = {int(entry.name): stat_fields(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found = {pid for pid, fields in stats.items() if fields and int(fields[3]) == root} | {root}
    while grown := {pid for pid, fields in stats.items() if fields and int(fields[1]) in found} - found:
        found |= grown
    return found


def memory_mb(pids):
    """Resident memory of processes: `pss_mb` shares pages used by several out among them, `rss_mb` counts them anew."""
    total = {"pss_mb": 0.0, "rss_mb": 0.0}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
        total["pss_mb"] += sizes.get("Pss", 0) / 1024
        total["rss_mb"] += sizes.get("Rss", 0) / 1024
    return {key: round(value, 1) for key, value in total.items()}


def wait_until(check, what, process, timeout_s=120.0, interval_s=0.01):
    """The first true value of `check()`; fails when the process ends or the time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what}: the server ended with status {process.returncode}")
        if value := check():
            return value
        time.sleep(interval_s)
    raise RuntimeError(f"{what}: not within {timeout_s:.0f} s")
