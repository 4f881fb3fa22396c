"""Starts the worker: `PYTHON -u FOLDER --framework NAME --model PATH`, where FOLDER is the one that this file lies in.

Standard input is a connected Unix stream socket, over which the server asks; see `kea_worker/channel.py`.
"""

import argparse
import os
import sys

from kea_worker.loaders import LOADERS

THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="runs one model for KEA's model server", prog="kea_worker")
    parser.add_argument("--framework", required=True, choices=sorted(LOADERS))
    parser.add_argument("--model", required=True, help="the model's file or folder")
    parser.add_argument("--file", help="the Python file of a custom class")
    parser.add_argument("--class", dest="class_name", help="the custom class")
    parser.add_argument("--threads", type=int, default=1, help="threads that one inference may use")
    return parser.parse_args()


def limit_threads(count: int) -> None:
    """Before numpy and the like are imported, since they read these settings only then."""
    os.environ.update(dict.fromkeys(THREAD_SETTINGS, str(count)))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main() -> int:
    arguments = parse_arguments()
    limit_threads(arguments.threads)
    from kea_worker import process

    sys.path.pop(0)  # this folder: no place for a model's imports; the package finds its own modules without
    return process.run(arguments)


if __name__ == "__main__":
    status = main()
    # At once: threads and exit handlers of the frameworks could hold it up.
    os._exit(status)
