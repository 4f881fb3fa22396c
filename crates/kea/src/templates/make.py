"""Makes the trained models that `kea init` ships, by running the training scripts that it ships with them.

Run in an environment with the packages of sklearn/requirements.txt and onnx/requirements.txt.
"""

import runpy
from pathlib import Path

import sklearn

HERE = Path(__file__).parent


def main() -> None:
    for framework in ("sklearn", "onnx"):
        pinned = f"scikit-learn=={sklearn.__version__}"
        if pinned not in (HERE / framework / "requirements.txt").read_text().split():
            raise SystemExit(f"{framework}/requirements.txt does not have {pinned}: write it there, or install what it has")
        runpy.run_path(str(HERE / framework / "train.py"), run_name="__main__")


if __name__ == "__main__":
    main()
