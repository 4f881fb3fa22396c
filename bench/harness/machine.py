"""What a run was made on: processor, memory, system, versions."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

BENCH = Path(__file__).parent.parent
PACKAGES = {
    "fastapi": ("fastapi", "gunicorn", "uvicorn", "onnxruntime", "scikit-learn", "numpy"),
    "mosec": ("mosec", "msgspec"),
    "mlserver": ("mlserver", "mlserver-sklearn"),
    "kserve": ("kserve",),
    "bentoml": ("bentoml",),
}


def first_match(file, pattern):
    found = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def describe(kea_bin):
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": first_match("/proc/cpuinfo", r"^model name\s*:(.*)$"),
        "cores": os.cpu_count(),
        "memory_gb": round(int(first_match("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / 1024**2),
        "system": first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)'),
        "kernel": platform.release(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "versions": {"wrk": wrk_version(), "kea": kea_version(kea_bin)} | package_versions(),
    }


def output_of(*command):
    """What a command printed; some print their version on stderr, wrk with a status of 1."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return (done.stdout or done.stderr).strip()


def wrk_version():
    return output_of("wrk", "--version").split(" [")[0].removeprefix("wrk ")


def kea_version(kea_bin):
    return output_of(str(kea_bin), "--version").removeprefix("kea ") if kea_bin.exists() else "not measured"


def package_versions():
    """Versions of what matters in each environment; one that is not installed is left out."""
    code = "import importlib.metadata as m, sys; [print(p, m.version(p), flush=True) for p in sys.argv[1:]]"
    versions = {}
    for venv, packages in PACKAGES.items():
        python = BENCH / ".venvs" / venv / "bin" / "python"
        if python.exists():
            versions["python"] = output_of(str(python), "--version").removeprefix("Python ")
            done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, timeout=60)
            versions |= dict(line.split() for line in done.stdout.splitlines())
    return versions
