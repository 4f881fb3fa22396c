"""Programs that KEA writes for callers: the samples of a document, run as they are pasted, and `kea client`."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from harness import Kea
from models import SETOSA, ModelShelf

# Names that are none in some language, texts that end others, and all kinds of values.
HOSTILE = '''
from dataclasses import dataclass
from typing import Literal, Optional


@dataclass
class Part:
    """One part."""

    kind: Literal["it's", 'a "b" `c`']
    parts: "list[Part]"
    weight: Optional[float] = None


class Model:
    """Says \\"quoted\\" and \\\\backslashes."""

    def predict(self, lambda_: str, part: Part, deep: Optional[dict[str, list[int]]] = None) -> Part:
        """Gives the part back."""
        return part

    def dict(self, 値: Part, list: float = 1.0, predictions: int = 2) -> list[float]:
        """Has names that are others in a client."""
        return [list, predictions]

    def größe(self, länge: int) -> int:
        """Has a name that URLs spell otherwise."""
        return länge

    def fail(self) -> int:
        """Fails."""
        raise ValueError("it fails")
'''


@pytest.fixture(scope="module")
def served(shared_kea: Kea, models: ModelShelf) -> Kea:
    shared_kea.deploy("iris", models.iris(), wait=False, access={"public": True})
    shared_kea.deploy("hostile", models.custom("hostile", HOSTILE), wait=False)
    for name in ("iris", "hostile"):
        shared_kea.wait_deployed(name)
    return shared_kea


def samples(kea: Kea, service: str) -> dict[str, str]:
    document = kea.request("GET", f"/openapi/{service}").json()
    told = document["paths"][f"/api/v1/k8c/services/{service}/predict"]["post"]["x-codeSamples"]
    return {sample["lang"]: sample["source"] for sample in told}


def run(kea: Kea, folder: Path, command: list[str], file: str, source: str, *, token: bool) -> Any:
    (folder / file).write_text(source)
    env = dict(os.environ)
    env.pop("KEA_TOKEN", None)
    if token:
        env["KEA_TOKEN"] = kea.token
    done = subprocess.run([*command, file], cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{source}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    ("lang", "command", "file"),
    [
        ("Shell", ["sh"], "call.sh"),
        ("Python", [sys.executable], "call.py"),
        ("JavaScript", ["node"], "call.mjs"),
        ("Go", ["go", "run"], "call.go"),
    ],
)
@pytest.mark.parametrize("service", ["iris", "hostile"])
def test_a_sample_works_as_it_is_pasted(
    served: Kea, tmp_path: Path, service: str, lang: str, command: list[str], file: str
) -> None:
    said = run(served, tmp_path, command, file, samples(served, service)[lang], token=service == "hostile")
    assert "predictions" in said
    assert ("label" if service == "iris" else "it's") in said


@pytest.mark.parametrize(
    ("lang", "command", "file"), [("Python", [sys.executable], "call.py"), ("JavaScript", ["node"], "call.mjs")]
)
def test_a_sample_shows_what_is_wrong_with_a_request(
    served: Kea, tmp_path: Path, lang: str, command: list[str], file: str
) -> None:
    wrong, count = re.subn(r'("petal_width": )[0-9.]+', r'\1"wide"', samples(served, "iris")[lang])
    assert count == 1
    (tmp_path / file).write_text(wrong)
    done = subprocess.run([*command, file], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "400" in done.stderr and "/inputs/petal_width" in done.stderr and "a number" in done.stderr


def test_a_sample_of_javascript_asks_for_the_token_where_there_is_no_environment(served: Kea, tmp_path: Path) -> None:
    browser = "const { KEA_TOKEN } = process.env;\ndelete globalThis.process;\nglobalThis.prompt = () => KEA_TOKEN;\n"
    source = browser + samples(served, "hostile")["JavaScript"]
    assert "it's" in run(served, tmp_path, ["node"], "call.mjs", source, token=True)


@pytest.mark.parametrize("service", ["iris", "hostile"])
def test_a_sample_of_rust_is_rust(served: Kea, tmp_path: Path, service: str) -> None:
    """Compiling one takes longer than all other tests of this file."""
    run(served, tmp_path, ["rustfmt", "--edition", "2024"], "call.rs", samples(served, service)["Rust"], token=True)


def module(kea: Kea, folder: Path, service: str, *options: str) -> ModuleType:
    done = kea.cli("client", service, "--lang", "python", *options, env={"KEA_TOKEN": kea.token})
    file = folder / f"{service}_client.py"
    file.write_text(done.stdout)
    spec = importlib.util.spec_from_file_location(f"{service}_client", file)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_client_of_python_calls_with_one_row_and_with_many(served: Kea, tmp_path: Path) -> None:
    iris = module(served, tmp_path, "iris")
    client = iris.Client()
    (one,) = client.predict(**SETOSA)
    assert one["label"] == "setosa" and set(iris.PredictPrediction.__annotations__) == {"label", "probabilities"}
    assert len(client.predict(**{name: [value] * 3 for name, value in SETOSA.items()})) == 3
    with pytest.raises(iris.KeaError) as refused:
        client.predict(**{**SETOSA, "petal_width": "wide"})
    assert (refused.value.status, refused.value.errors[0]["pointer"]) == (400, "/inputs/petal_width")
    with pytest.raises(iris.KeaError, match="version `9`"):
        iris.VERSION = "9"
        client.predict(**SETOSA)


def test_a_client_of_python_takes_what_is_no_name_leaves_out_what_is_not_given_and_tells_failures(
    served: Kea, tmp_path: Path
) -> None:
    hostile = module(served, tmp_path, "hostile", "--version", "1")
    assert 'Says "quoted" and \\backslashes.' in (hostile.__doc__ or "")
    with pytest.raises(hostile.KeaError) as stranger:
        hostile.Client(token="x.y.z").predict(lambda_="", part={})
    assert stranger.value.status == 401
    client = hostile.Client(token=served.token)
    part = {"kind": 'a "b" `c`', "parts": [{"kind": "it's", "parts": []}]}
    (answer,) = client.predict(lambda_="x", part=part)
    assert json.loads(json.dumps(answer))["parts"][0]["kind"] == "it's"
    ((list_, two),) = [answer["result"] for answer in client.dict_2(_=part, list_2=3.5)]
    assert (list_, two) == (3.5, 2)
    with pytest.raises(hostile.KeaError) as failed:
        client.fail()
    assert failed.value.status >= 500 and failed.value.request_id


def test_a_function_is_called_by_a_name_of_any_script(served: Kea, tmp_path: Path) -> None:
    client = module(served, tmp_path, "hostile").Client(token=served.token)
    assert client._call("größe", {"länge": 2}) == [{"result": 2}]
    for path, status in [("gr%C3%B6%C3%9Fe", 200), ("gr%c3%b6%c3%9fe", 200), ("gr%C3%B6%2Fe", 404), ("gr%C3", 400)]:
        given = served.request("POST", f"/services/h%6fstile/{path}", json={"inputs": {"länge": 2}})
        assert given.status_code == status, given.text


def test_a_client_of_python_gives_its_token_to_nobody_else(served: Kea, tmp_path: Path) -> None:
    hostile = module(served, tmp_path, "hostile")
    heard: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(hostile.KeaError) as sent_on:
            hostile.Client(f"http://127.0.0.1:{server.server_port}", token="secret").fail()
        server.shutdown()
    assert (sent_on.value.status, heard) == (302, ["/api/v1/k8c/services/hostile/fail"])


@pytest.mark.parametrize("service", ["iris", "hostile"])
def test_a_client_of_python_is_typed(served: Kea, tmp_path: Path, service: str) -> None:
    module(served, tmp_path, service)
    subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", f"{service}_client.py"], cwd=tmp_path, check=True
    )
