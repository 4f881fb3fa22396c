"""The commands as a user types them, with the real binary against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import PASSWORD, Kea
from models import NAMES, SETOSA, VIRGINICA, ModelShelf

ROW = json.dumps(SETOSA)


@pytest.fixture(scope="module")
def kea(shared_kea: Kea, models: ModelShelf) -> Kea:
    """A server with `iris` deployed from the command line, by a user who has logged in."""
    shared_kea.cli("login", shared_kea.url, "--username", "admin", env={"KEA_PASSWORD": PASSWORD})
    shared_kea.cli("deploy", "iris", "--source", str(models.iris()))
    return shared_kea


@pytest.fixture
def named(kea: Kea) -> Iterator[Callable[[str], str]]:
    """Names of services that a test deploys, which are deleted after it."""
    names: list[str] = []

    def named(name: str) -> str:
        names.append(name)
        return name

    yield named
    for name in names:
        kea.cli("delete", name, check=False)


def failed(kea: Kea, *arguments: str, **options: Any) -> str:
    """What a command that does not succeed says on standard error; it says nothing else."""
    done = kea.cli(*arguments, check=False, **options)
    assert done.returncode != 0, f"{arguments} succeeded: {done.stdout}"
    assert done.stdout == "", done.stdout
    assert done.stderr.strip(), arguments
    assert "panicked" not in done.stderr, done.stderr
    return done.stderr


# login


def test_login_keeps_a_token_that_only_its_owner_can_read(kea: Kea, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    done = kea.cli("login", kea.url, "--username", "admin", env={**home, "KEA_PASSWORD": PASSWORD})
    assert f"logged in to {kea.url} as admin until" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.stat().st_mode & 0o077 == 0
    assert PASSWORD not in file.read_text()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("KEA_")}
        env["XDG_CONFIG_HOME"] = str(tmp_path)
        return subprocess.run([kea.binary, *arguments], capture_output=True, text=True, env=env, timeout=60)

    assert "iris" in run("list").stdout, "the server of the last login is the default"
    token = run("token").stdout.strip()
    assert token.count(".") == 2 and token in file.read_text()
    assert run("logout").returncode == 0
    again = run("--server", kea.url, "list")
    assert again.returncode == 1 and f"kea login {kea.url}" in again.stderr


def test_the_password_can_come_from_standard_input(kea: Kea, tmp_path: Path) -> None:
    arguments = ("--output", "json", "login", kea.url, "--username", "admin", "--password-stdin")
    done = kea.cli(*arguments, input=PASSWORD + "\n", env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert json.loads(done.stdout).keys() == {"server", "username", "expiresAt"}


def test_a_wrong_password_is_told(kea: Kea) -> None:
    told = failed(kea, "login", kea.url, env={"KEA_PASSWORD": "wrong"})
    assert "password is wrong" in told and "kea login" not in told


def test_a_login_without_a_password_says_where_one_can_come_from(kea: Kea) -> None:
    told = failed(kea, "login", kea.url, stdin=subprocess.DEVNULL)
    assert "KEA_PASSWORD" in told and "--password-stdin" in told


# init


@pytest.mark.parametrize(
    ("framework", "inputs"),
    [
        ("custom", SETOSA),
        ("sklearn", SETOSA),
        ("onnx", {"flowers": [list(SETOSA.values()), list(VIRGINICA.values())]}),
    ],
)
def test_a_folder_of_init_deploys_as_it_is(
    kea: Kea, named: Callable[[str], str], tmp_path: Path, framework: str, inputs: dict[str, Any]
) -> None:
    name = named(f"my-{framework}")
    made = kea.cli("init", name, "--framework", framework, cwd=tmp_path)
    assert f"kea deploy -f {name}/kea.yaml" in made.stdout
    files = {path.name for path in (tmp_path / name).iterdir()}
    assert {"kea.yaml", "requirements.txt", "test_model.py", "README.md"} < files
    documents = list(yaml.safe_load_all((tmp_path / name / "kea.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["MLModel", "MLDeployment"]

    done = kea.cli("deploy", "-f", f"{name}/kea.yaml", cwd=tmp_path)
    assert f"{name} is deployed" in done.stdout
    predictions = kea.cli_json("predict", name, json.dumps(inputs))["predictions"]
    assert [prediction["label"] for prediction in predictions] == ["setosa", "virginica"][: len(predictions)]
    assert predictions[0].keys() == {"label", "probabilities"}


def test_the_default_of_init_is_a_class_with_functions(kea: Kea, named: Callable[[str], str], tmp_path: Path) -> None:
    name = named("my-model")
    made = json.loads(kea.cli("--output", "json", "init", name, cwd=tmp_path).stdout)
    assert made["service"] == name and "model.py" in made["files"]
    kea.cli("deploy", "-f", f"{name}/kea.yaml", cwd=tmp_path)
    done = kea.cli_json("predict", name, "--function", "centroid", '{"species": "setosa"}')
    assert done["predictions"][0].keys() == set(NAMES)
    told = failed(kea, "predict", name, "--function", "centroid", '{"species": "rose"}')
    assert "'rose' is not a species of this model" in told


def test_init_overwrites_nothing(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    assert "not empty" in failed(kea, "init", "taken", cwd=tmp_path)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]


# deploy


def test_deploy_shows_steps_urls_and_a_curl_line_that_works(
    kea: Kea, models: ModelShelf, named: Callable[[str], str]
) -> None:
    name = named("shown")
    done = kea.cli("deploy", name, "--source", str(models.iris()), "--replicas", "2")
    for step in ("fetch the model", "recognise the framework", "make the environment"):
        assert step in done.stderr, done.stderr
    assert "version 1, 2 of 2 replicas ready" in done.stdout
    assert f"{kea.url}/api/v1/k8c/services/{name}/predict" in done.stdout
    assert f"{kea.url}/docs/{name}" in done.stdout
    curl = next(line for line in done.stdout.splitlines() if "curl" in line).partition("Try")[2]
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    env = {**os.environ, "XDG_CONFIG_HOME": str(kea.folder / "config")}
    called = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, env=env, timeout=60)
    assert "predictions" in json.loads(called.stdout), (curl, called)


def test_deploy_without_waiting_returns_at_once(kea: Kea, models: ModelShelf, named: Callable[[str], str]) -> None:
    name = named("later")
    answer = json.loads(kea.cli("--output", "json", "deploy", name, "--source", str(models.iris()), "--no-wait").stdout)
    assert answer["serviceId"] == name and answer["kubernetesService"]["name"] == name
    kea.wait_deployed(name)


def test_documents_on_standard_input_are_deployed(kea: Kea, models: ModelShelf, named: Callable[[str], str]) -> None:
    model = {"modelName": "Piped", "source": str(models.iris())}
    head = {"apiVersion": "ml.kea-project.io/v1alpha1", "metadata": {"name": named("piped")}}
    documents = [{**head, "kind": "MLModel", "spec": model}, {**head, "kind": "MLDeployment", "spec": {"replicas": 2}}]
    done = kea.cli("--output", "json", "deploy", "-f", "-", input=yaml.safe_dump_all(documents))
    details = json.loads(done.stdout)
    assert (details["serviceId"], details["readyReplicas"], details["status"]) == ("piped", 2, "deployed")


def test_a_relative_source_is_the_users_own(kea: Kea, models: ModelShelf, named: Callable[[str], str]) -> None:
    name = named("relative")
    source = models.iris()
    done = kea.cli("deploy", name, "--source", f"./{source.name}", cwd=source.parent)
    assert f"{name} is deployed" in done.stdout


def test_a_failing_deploy_fails_with_the_reason_and_what_to_look_at(
    kea: Kea, named: Callable[[str], str], tmp_path: Path
) -> None:
    name = named("broken")
    (tmp_path / "model.py").write_text(
        "class Broken:\n    def load(self):\n        raise OSError('weights.bin is missing')\n\n"
        "    def predict(self, x: float) -> float:\n        return x\n"
    )
    told = failed(kea, "deploy", name, "--source", str(tmp_path))
    assert "could not be deployed" in told and "weights.bin is missing" in told
    assert f"kea status {name}" in told and f"kea logs {name}" in told
    status = kea.cli("status", name).stdout
    assert "failed" in status and "weights.bin is missing" in status


def test_requirements_that_do_not_exist_fail_with_the_tools_own_words(
    kea: Kea, named: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text("class M:\n    def predict(self, x: float) -> float:\n        return x\n")
    (tmp_path / "requirements.txt").write_text("numpy==0.0.999\n")
    told = failed(kea, "deploy", named("unmet"), "--source", str(tmp_path))
    assert "make the environment" in told and "numpy==0.0.999" in told


def test_a_source_that_is_not_there_is_told_before_anything_is_sent(kea: Kea, tmp_path: Path) -> None:
    told = failed(kea, "deploy", "absent", "--source", "./absent.joblib", cwd=tmp_path)
    assert "absent.joblib" in told and "there is no file or folder" in told
    assert "absent" not in kea.cli("list").stdout


def test_a_file_that_is_no_model_is_told_with_what_would_be(
    kea: Kea, named: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "notes.dat").write_text("not a model")
    told = failed(kea, "deploy", named("notes"), "--source", str(tmp_path / "notes.dat"))
    assert "notes.dat" in told and ".onnx" in told and ".joblib" in told


def test_what_a_document_gets_wrong_is_told_with_its_file(kea: Kea, tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    head = "apiVersion: ml.kea-project.io/v1alpha1\nkind: MLModel\nmetadata: {name: x}\n"
    for text, part in [
        (head + "spec: {sauce: here}\n", "unknown field `sauce`"),
        (head + "spec: [\n", "YAML"),
        ("kind: Pod\n", "Pod"),
        ("", "MLModel"),
    ]:
        file.write_text(text)
        told = failed(kea, "deploy", "-f", str(file))
        assert str(file) in told and part in told
    assert "nowhere.yaml" in failed(kea, "deploy", "-f", "nowhere.yaml", cwd=tmp_path)


# What there is


def test_list_shows_a_line_a_service(kea: Kea) -> None:
    header, *lines = kea.cli("list").stdout.splitlines()
    assert header.split()[:2] == ["SERVICE", "MODEL"] or "STATUS" in header
    assert any(line.split()[0] == "iris" and "deployed" in line for line in lines)
    (iris,) = [service for service in kea.cli_json("list") if service["serviceId"] == "iris"]
    assert iris["status"] == "deployed" and iris["modelName"] == "iris"


def test_get_shows_the_service(kea: Kea) -> None:
    shown = kea.cli("get", "iris").stdout
    for part in ("iris", "deployed", "ScikitLearn", "python", "1 of 1 ready", f"{kea.url}/docs/iris"):
        assert part in shown
    assert kea.cli_json("get", "iris") == kea.details("iris")


def test_status_shows_step_by_step_how_far_it_is(kea: Kea) -> None:
    shown = kea.cli("status", "iris").stdout
    for part in ("fetch the model", "recognise the framework", "make the environment", "iris-1-0", "ready"):
        assert part in shown
    assert {step["state"] for step in kea.cli_json("status", "iris")["steps"]} == {"done"}


def test_methods_shows_inputs_and_outputs(kea: Kea) -> None:
    shown = kea.cli("methods", "iris").stdout
    for part in ("predict", "POST", *NAMES, "label", "probabilities"):
        assert part in shown
    (method,) = kea.cli_json("methods", "iris")
    assert [field["name"] for field in method["inputs"]] == NAMES


def test_docs_prints_the_openapi_document(kea: Kea) -> None:
    document = json.loads(kea.cli("docs", "iris").stdout)
    assert document["openapi"].startswith("3.0.") and "/api/v1/k8c/services/iris/predict" in document["paths"]
    assert yaml.safe_load(kea.cli("docs", "iris", "--format", "yaml").stdout) == document
    assert kea.cli_json("docs", "iris") == document


def test_versions_lists_them(kea: Kea) -> None:
    assert "ScikitLearn" in kea.cli("versions", "iris").stdout
    assert [version["version"] for version in kea.cli_json("versions", "iris")] == ["1"]


# predict


def test_predict_takes_an_object(kea: Kea) -> None:
    done = kea.cli("predict", "iris", ROW)
    header, row = done.stdout.splitlines()[:2]
    assert header.split() == ["LABEL", "PROBABILITIES"] and row.split()[0] == "setosa"
    assert kea.cli_json("predict", "iris", ROW)["predictions"] == kea.predictions("iris", SETOSA)


def test_predict_takes_an_array_of_rows(kea: Kea) -> None:
    rows = kea.cli_json("predict", "iris", json.dumps([SETOSA, VIRGINICA]))["predictions"]
    assert [row["label"] for row in rows] == ["setosa", "virginica"]


def test_predict_takes_a_file(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([VIRGINICA, SETOSA]))
    rows = json.loads(kea.cli("--output", "json", "predict", "iris", "-f", "rows.json", cwd=tmp_path).stdout)
    assert [row["label"] for row in rows["predictions"]] == ["virginica", "setosa"]


def test_predict_takes_standard_input(kea: Kea) -> None:
    done = kea.cli("predict", "iris", "-f", "-", input=ROW)
    assert "setosa" in done.stdout


def test_predict_tells_what_is_wrong_with_the_inputs(kea: Kea, tmp_path: Path) -> None:
    told = failed(kea, "predict", "iris", json.dumps({**SETOSA, "petal_width": "wide"}))
    assert "/inputs/petal_width" in told and "expected" in told and "wide" in told and "request id" in told
    assert "not JSON" in failed(kea, "predict", "iris", "{sepal_length: 5}")
    assert "row 2" in failed(kea, "predict", "iris", json.dumps([SETOSA, {"sepal_length": 1}]))
    assert "none.json" in failed(kea, "predict", "iris", "-f", "none.json", cwd=tmp_path)
    assert "forecast" in failed(kea, "predict", "iris", ROW, "--function", "forecast")
    assert "running: 1" in failed(kea, "predict", "iris", ROW, "--version", "9")


# logs


def test_logs_prints_the_last_lines_and_follows(kea: Kea, named: Callable[[str], str], tmp_path: Path) -> None:
    name = named("talker")
    (tmp_path / "model.py").write_text(
        "class Talker:\n    def predict(self, text: str) -> str:\n        print(text)\n        return text\n"
    )
    kea.cli("deploy", name, "--source", str(tmp_path))
    for word in ("one", "two", "three"):
        kea.cli("predict", name, json.dumps({"text": word}))

    def last(*options: str) -> list[str]:
        return kea.cli("logs", name, *options).stdout.splitlines()

    kea.wait_for(lambda: last()[-1:] and last()[-1].endswith("three"), "the last line")
    tail = last("--tail", "2")
    assert [line.split()[-1] for line in tail] == ["two", "three"]
    assert kea.cli_json("logs", name, "--tail", "1") == {"logEntries": tail[1:]}
    assert last("--replica", "nobody") == []

    env = {**os.environ, "XDG_CONFIG_HOME": str(kea.folder / "config"), "KEA_SERVER": kea.url}
    follow = subprocess.Popen(
        [kea.binary, "logs", name, "-f", "--tail", "1"], stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        assert follow.stdout is not None
        assert follow.stdout.readline().endswith("three\n")
        kea.cli("predict", name, '{"text": "four"}')
        assert follow.stdout.readline().endswith("four\n")
    finally:
        follow.terminate()
        follow.wait(10)


# scale, update, rollback, delete


def test_a_service_is_scaled_updated_rolled_back_and_deleted(kea: Kea, models: ModelShelf) -> None:
    kea.cli("deploy", "life", "--source", str(models.iris()))
    first = kea.predictions("life", SETOSA)

    assert "2 of 2 replicas ready" in kea.cli("scale", "life", "2").stdout
    assert len(kea.replica_pids("life")) == 2
    details = kea.cli_json("scale", "life", "1")
    assert (details["replicas"], details["readyReplicas"]) == (1, 1)

    done = kea.cli("update", "life", "--source", str(models.iris(2)), "--version", "2")
    assert "life is deployed: version 2" in done.stdout
    second = kea.predictions("life", SETOSA)
    assert second != first
    assert [version["live"] for version in kea.cli_json("versions", "life")] == [False, True]
    assert "`2`" in failed(kea, "update", "life", "--source", str(models.iris(3)), "--version", "2")

    assert "life is deployed: version 1" in kea.cli("rollback", "life").stdout
    assert kea.predictions("life", SETOSA) == first
    answer = kea.cli_json("update", "life", "--version", "2", "--no-wait")
    assert answer["version"] == "2"
    kea.wait_for(lambda: kea.details("life")["liveVersion"] == "2", "version 2")
    assert kea.cli_json("rollback", "life")["liveVersion"] == "1"
    kea.wait_deployed("life")

    assert "life is deleted" in kea.cli("delete", "life").stdout
    assert "life" not in [service["serviceId"] for service in kea.cli_json("list")]
    assert "no service `life`" in failed(kea, "delete", "life")


def test_an_update_that_fails_says_that_the_old_version_goes_on(
    kea: Kea, models: ModelShelf, named: Callable[[str], str], tmp_path: Path
) -> None:
    name = named("steady")
    kea.cli("deploy", name, "--source", str(models.iris()))
    (tmp_path / "bad.joblib").write_bytes(models.iris().read_bytes()[:500])
    told = failed(kea, "update", name, "--source", str(tmp_path / "bad.joblib"))
    assert "version 1 keeps serving" in told
    assert kea.predictions(name, SETOSA)[0]["label"] == "setosa"
    assert "version 1 keeps serving" in kea.cli("status", name).stdout
    assert kea.cli("rollback", name, check=False).returncode in (0, 1)


def test_delete_as_json_and_without_waiting(kea: Kea, models: ModelShelf) -> None:
    kea.cli("deploy", "brief", "--source", str(models.iris()))
    assert kea.cli_json("delete", "brief", "--no-wait")["serviceId"] == "brief"
    kea.wait_for(lambda: kea.request("GET", "/services/brief").status_code == 404, "brief to be gone")


# Failures


@pytest.mark.parametrize(
    "command",
    ["get", "status", "methods", "docs", "logs", "versions", "rollback", "delete", "scale", "predict", "update"],
)
def test_a_service_that_is_not_there_is_told(kea: Kea, command: str) -> None:
    more = {"scale": ["2"], "predict": [ROW], "update": ["--replicas", "2"]}.get(command, [])
    told = failed(kea, command, "nope", *more)
    assert "no service `nope`" in told
    assert failed(kea, "--output", "json", command, "nope", *more)


COMMANDS = [["list"], ["get", "iris"], ["predict", "iris", ROW], ["logs", "iris", "-f"], ["delete", "iris"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_server_it_is_told_how_to_start_one(kea: Kea, command: list[str]) -> None:
    told = failed(kea, *command, env={"KEA_SERVER": "http://127.0.0.1:9", "KEA_TOKEN": "x"})
    assert "no KEA answers at http://127.0.0.1:9" in told and "kea serve" in told


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_login_it_is_told_how_to_log_in(kea: Kea, tmp_path: Path, command: list[str]) -> None:
    told = failed(kea, *command, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert f"kea login {kea.url} --username admin" in told


def test_a_token_that_is_not_valid_is_told_with_how_to_log_in(kea: Kea) -> None:
    assert "kea login" in failed(kea, "list", env={"KEA_TOKEN": "nonsense"})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "frobnicate",
        "deploy",
        "deploy x",
        "predict iris",
        "scale iris many",
        "update iris",
        "get Iris_1",
        "list --x",
    ],
)
def test_a_command_line_that_cannot_be_meant_exits_with_2(kea: Kea, line: str) -> None:
    done = kea.cli(*line.split(), check=False)
    assert done.returncode == 2 and done.stderr.strip() and not done.stdout


def test_help_and_version_succeed(kea: Kea) -> None:
    shown = kea.cli("--help").stdout
    commands = (
        "serve login init deploy list get status methods docs logs predict scale update rollback delete completions"
    )
    assert all(f"  {command} " in shown for command in commands.split())
    assert "model-server" not in shown
    assert kea.cli("--version").stdout.startswith("kea ")


# Shells


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_scripts_of_the_shell(kea: Kea, shell: str, tmp_path: Path) -> None:
    script = kea.cli("completions", shell).stdout
    assert "rollback" in script and "--replicas" in script or "replicas" in script
    if shutil.which(shell):
        (tmp_path / "completions").write_text(script)
        checked = subprocess.run([shell, "-n", tmp_path / "completions"], capture_output=True, text=True, timeout=30)
        assert checked.returncode == 0, checked.stderr


def test_bash_completes_commands(kea: Kea, tmp_path: Path) -> None:
    (tmp_path / "completions").write_text(kea.cli("completions", "bash").stdout)
    script = 'source "$1"; COMP_WORDS=(kea rol); COMP_CWORD=1; _kea kea rol kea; echo "${COMPREPLY[*]}"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", tmp_path / "completions"], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["rollback"], done


@pytest.mark.parametrize("command", [["docs", "iris"], ["list"], ["completions", "bash"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_failure(kea: Kea, command: list[str]) -> None:
    env = {**os.environ, "XDG_CONFIG_HOME": str(kea.folder / "config"), "KEA_SERVER": kea.url}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([kea.binary, *command], stdout=writer, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
    os.close(writer)
    assert done.returncode == 0 and done.stderr == "", done


def test_a_full_disk_under_standard_output_is_a_failure(kea: Kea) -> None:
    env = {**os.environ, "XDG_CONFIG_HOME": str(kea.folder / "config"), "KEA_SERVER": kea.url}
    with open("/dev/full", "w") as full:
        done = subprocess.run([kea.binary, "list"], stdout=full, stderr=subprocess.PIPE, text=True, env=env, timeout=60)
    assert done.returncode == 1 and "output failed" in done.stderr


# serve


def test_serve_makes_a_password_once_where_none_is_given(binary: Path, environments: Path, tmp_path: Path) -> None:
    server = Kea(binary, tmp_path / "own", environments, env={"KEA_ADMIN_PASSWORD": ""})
    server.login = lambda: None  # type: ignore[method-assign]
    server.start()
    try:
        text = server.log_file.read_text()
        (line,) = [line for line in text.splitlines() if "password" in line.lower()]
        candidates = [word.strip(".,;`'\"") for word in line.split()]
        found = [
            word
            for word in candidates
            if len(word) >= 12
            and server.cli("login", server.url, check=False, env={"KEA_PASSWORD": word}).returncode == 0
        ]
        assert len(found) == 1, line
        server.kill()
        before = len(server.log_file.read_text())
        server.start()
        assert "password" not in server.log_file.read_text()[before:].lower()
    finally:
        server.stop()


def test_serve_refuses_what_it_cannot_use(kea: Kea, tmp_path: Path) -> None:
    port = kea.url.rpartition(":")[2]
    for arguments, part in [
        (["--listen", f"127.0.0.1:{port}"], "in use"),
        (["--listen", "here"], "here"),
        (["--token-ttl", "soon"], "soon"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ]:
        done = kea.cli("serve", "--data-dir", str(tmp_path / "data"), *arguments, check=False, cwd=tmp_path, timeout=60)
        assert done.returncode != 0 and part in done.stderr.lower(), (arguments, done)
