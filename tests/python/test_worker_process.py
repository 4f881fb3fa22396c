"""The worker as a process: its socket, its threads, its end, and files that cannot be loaded."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from worker_client import PREFIX, WORKER, written

IRIS = load_iris()
CANCER = load_breast_cancer()


@pytest.fixture(scope="module")
def iris_model():
    return LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)


@pytest.fixture(scope="module")
def iris(serve_shared, iris_model):
    return serve_shared(iris_model)


def test_a_closed_socket_ends_the_worker_at_once(serve, iris_model):
    worker = serve(iris_model)
    began = time.monotonic()
    assert worker.hang_up() == 0
    assert time.monotonic() - began < 5


def test_the_socket_is_read_in_any_pieces(iris):
    spec, data = written("input", IRIS.data[:5])
    header = json.dumps({"id": 1, "op": "infer", "function": "predict", "inputs": [spec]}).encode()
    frame = PREFIX.pack(len(header), len(data)) + header + data
    for size in (1, 7, 12, 100):
        for start in range(0, len(frame), size):
            iris.stream.sendall(frame[start : start + size])
        answer, _ = iris.receive()
        assert answer["outputs"][0]["shape"] == [5]


def test_requests_that_wait_together_are_answered_in_order(iris):
    spec, data = written("input", IRIS.data[:5])
    for number in range(20):
        iris.send({"id": number, "op": "infer", "function": "predict", "inputs": [spec]}, data)
    assert [iris.receive()[0]["id"] for _ in range(20)] == list(range(20))


def test_batches_larger_than_the_buffer_and_small_ones_after_them(iris, iris_model):
    many = np.tile(IRIS.data, (10_000, 1))
    assert np.array_equal(iris.infer_rows(many)["label"], iris_model.predict(many))
    assert np.array_equal(iris.infer_rows(IRIS.data)["label"], iris_model.predict(IRIS.data))


def test_headers_of_every_length_leave_the_numbers_as_they_are(iris, iris_model):
    spec, data = written("input", IRIS.data)
    for padding in range(9):
        _, tensors = iris.ask({"op": "infer", "function": "predict", "inputs": [spec], "x": "x" * padding}, data)
        probabilities = np.frombuffer(tensors[len(IRIS.data) * 8 :]).reshape(-1, 3)
        assert np.array_equal(probabilities, iris_model.predict_proba(IRIS.data))


def test_requests_that_make_no_sense_are_errors_and_not_the_end(iris):
    spec, data = written("input", IRIS.data[:5])
    assert "no function `other`" in iris.infer_raw({"input": IRIS.data}, "other")[0]["error"]["message"]
    assert "error" in iris.ask({"op": "infer", "function": "predict", "inputs": [{**spec, "shape": [3, 3]}]}, data)[0]
    assert "error" in iris.ask({"op": "infer", "function": "predict", "inputs": []})[0]
    assert len(iris.infer_rows(IRIS.data)["label"]) == 150


def test_an_interrupt_of_the_terminal_is_left_to_the_server(iris):
    iris.process.send_signal(signal.SIGINT)
    assert len(iris.infer_rows(IRIS.data)["label"]) == 150


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_the_worker_dies_with_its_parent(tmp_path):
    (tmp_path / "model.py").write_text("class Model: ...")
    parent = f"""
import socket, subprocess, sys, time
ours, theirs = socket.socketpair()
worker = subprocess.Popen([sys.executable, "-u", {str(WORKER)!r}, "--framework", "Custom", "--model", {str(tmp_path)!r},
    "--file", {str(tmp_path / "model.py")!r}, "--class", "Model"], stdin=theirs)
ours.recv(1)
print(worker.pid, flush=True)
# Another process keeps the socket open, so that only the parent's death can end the worker.
subprocess.run(["sleep", "30"], pass_fds=[ours.fileno()])
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(worker)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_threads_are_limited_before_anything_is_imported(start, tmp_path):
    (tmp_path / "model.py").write_text(
        "import os\nSEEN = os.environ['OMP_NUM_THREADS']\n\nclass Model:\n    def predict(self):\n        return SEEN\n"
    )
    worker = start("Custom", tmp_path, file=tmp_path / "model.py", class_name="Model", threads=2)
    assert worker.call("predict") == "2"


def test_a_forest_of_all_cores_starts_no_threads(serve):
    worker = serve(RandomForestClassifier(30, n_jobs=-1, random_state=0).fit(CANCER.data, CANCER.target))
    worker.infer_rows(CANCER.data)
    assert len(os.listdir(f"/proc/{worker.process.pid}/task")) == 1


def message(worker):
    assert worker.started["event"] == "failed", worker.started
    assert worker.wait() == 1
    return worker.started["error"]["message"]


def test_files_that_are_no_model_are_failures_that_say_so(start, tmp_path):
    (tmp_path / "text.pkl").write_text("not a pickle")
    assert "text.pkl is no joblib or pickle file" in message(start("ScikitLearn", tmp_path / "text.pkl"))
    whole = pickle.dumps(LogisticRegression().fit(IRIS.data, IRIS.target))
    (tmp_path / "half.pkl").write_bytes(whole[: len(whole) // 2])
    assert "half.pkl is no joblib or pickle file, or is cut off" in message(start("ScikitLearn", tmp_path / "half.pkl"))
    assert "No such file" in message(start("ScikitLearn", tmp_path / "none.pkl"))
    assert message(start("XGBoost", tmp_path / "none.json"))
    (tmp_path / "text.txt").write_text("not a booster")
    assert message(start("LightGBM", tmp_path / "text.txt"))


def test_modules_that_the_worker_leaves_for_later_are_no_way_into_it(start, tmp_path):
    for name in ("json", "asyncio", "numpy", "kea_worker"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "model.py").write_text(
        "class Model:\n    async def predict(self, x: float):\n        return {'x': x}\n"
    )
    worker = start("Custom", tmp_path, file=tmp_path / "model.py", class_name="Model", cwd=tmp_path)
    assert worker.call("predict", x=1) == {"x": 1.0}


def test_a_class_of_the_authors_script_is_explained(start, tmp_path):
    script = "import pickle\nclass Mine:\n    def predict(self, x): return x\npickle.dump(Mine(), open('m.pkl', 'wb'))"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert "put it into a module beside the model's file" in message(start("ScikitLearn", tmp_path / "m.pkl"))


def test_a_module_beside_the_model_is_found(start, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from sklearn.base import BaseEstimator\nclass Twice(BaseEstimator):\n    n_features_in_ = 1\n"
        "    def predict(self, x): return x[:, 0] * 2.0\n"
    )
    script = "import mine, joblib; joblib.dump(mine.Twice(), 'm.joblib')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    worker = start("ScikitLearn", tmp_path / "m.joblib")
    assert worker.contract["platform"] == "mine Twice"
    assert worker.infer_rows([[1.5]])["value"].tolist() == [3.0]


def test_another_version_of_scikit_learn_is_a_warning_that_says_what_to_require(start, iris_model, tmp_path):
    state = pickle.dumps(iris_model).replace(installed(), b"1.0.0")
    (tmp_path / "old.pkl").write_bytes(state)
    worker = start("ScikitLearn", tmp_path / "old.pkl")
    assert len(worker.infer_rows(IRIS.data)["label"]) == 150
    assert "add `scikit-learn==1.0.0` to its requirements" in worker.output()


def installed():
    import sklearn

    version = sklearn.__version__.encode()
    assert len(version) == len(b"1.0.0")
    return version


def test_a_model_that_no_row_is_known_for_is_served_without_example(start, tmp_path):
    (tmp_path / "picky.py").write_text(
        "from sklearn.base import BaseEstimator\nclass Picky(BaseEstimator):\n    n_features_in_ = 2\n"
        "    def predict(self, x):\n        if (x < 100).any(): raise ValueError('too small')\n"
        "        return x.sum(axis=1)\n"
    )
    script = "import picky, joblib; joblib.dump(picky.Picky(), 'm.joblib')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    worker = start("ScikitLearn", tmp_path / "m.joblib")
    assert "example" not in worker.predict["inputs"][0]
    assert worker.contract["incomplete"] == ["No row was found that is sure to work, so inputs have no example."]
    assert worker.infer_rows([[100, 200]])["value"].tolist() == [300.0]
    answer, _ = worker.infer_raw({"input": np.zeros((1, 2))})
    assert answer["error"]["message"] == "too small"
    assert "too small" in worker.output()


def test_a_skops_file_with_types_of_nobody_known_is_refused(start, tmp_path):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        skops.io.dump(FunctionTransformer(func=os.path.join), tmp_path / "model.skops")
    text = message(start("ScikitLearn", tmp_path / "model.skops"))
    assert "types that are of no known package" in text
