import joblib
import pytest

from worker_client import Worker


def pytest_configure(config):
    config.addinivalue_line("markers", "tensorflow: needs requirements-tensorflow.txt")
    config.addinivalue_line("markers", "torch: needs requirements-torch.txt")


def starter():
    workers = []

    def start(*arguments, **options):
        workers.append(Worker(*arguments, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def server(start, folder):
    def serve(model, framework="ScikitLearn", **options):
        joblib.dump(model, folder / "model.joblib")
        return start(framework, folder / "model.joblib", **options)

    return serve


@pytest.fixture
def start():
    """Starts workers, and ends them after the test."""
    yield from starter()


@pytest.fixture
def serve(start, tmp_path):
    """Serves an estimator from a joblib file."""
    return server(start, tmp_path)


@pytest.fixture(scope="module")
def start_shared():
    """Starts workers for all tests of a module, since a start takes far longer than a request."""
    yield from starter()


@pytest.fixture(scope="module")
def serve_shared(start_shared, tmp_path_factory):
    """Serves an estimator to all tests of a module."""
    return server(start_shared, tmp_path_factory.mktemp("shared"))
