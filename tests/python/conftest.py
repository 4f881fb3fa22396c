import joblib
import pytest

from worker_client import Worker


def pytest_configure(config):
    config.addinivalue_line("markers", "tensorflow: needs requirements-tensorflow.txt")
    config.addinivalue_line("markers", "torch: needs requirements-torch.txt")


@pytest.fixture
def start():
    """Starts workers, and ends them after the test."""
    workers = []

    def start(*arguments, **options):
        workers.append(Worker(*arguments, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def serve(start, tmp_path):
    """Serves an estimator from a joblib file."""

    def serve(model, framework="ScikitLearn", **options):
        joblib.dump(model, tmp_path / "model.joblib")
        return start(framework, tmp_path / "model.joblib", **options)

    return serve
