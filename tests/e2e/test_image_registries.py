"""Pushes to registries that ask for logins, keep their tags, refuse chunks, fail now and then, or are not there."""

from __future__ import annotations

import base64
import itertools
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builds import RUN_SERVICE, Build, Builder, service
from containers import Registry, free_port, run
from registries import DROPPED, Answer, Call, Front, TokenServer, error, self_signed

LOGIN = ("ada", "correct-horse")
COMMAND = ["--command", RUN_SERVICE]
DOCUMENTATION_ADDRESS = "198.51.100.77"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model that differs from test to test, so that none finds what another one pushed."""
    return service(tmp_path / "model", size=1 << 16)


@pytest.fixture
def small(builder: Builder, registry: Registry) -> Builder:
    """Builds upon a base that is almost empty."""
    return builder.with_env(KEA_BASE_IMAGE_PYTHON=f"{registry.host}/small:x")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that knows one login."""
    registry = Registry(tmp_path_factory.mktemp("closed"), LOGIN)
    registry.start()
    yield registry
    registry.kill()


def docker_config(registry: str, login: tuple[str, str] = LOGIN) -> str:
    return json.dumps({"auths": {registry: {"auth": base64.b64encode(":".join(login).encode()).decode()}}})


def write_config(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(text)
    return folder


# Logins


def from_config(builder: Builder, folder: Path, registry: str) -> Builder:
    return builder.with_env(DOCKER_CONFIG=str(write_config(folder / "docker", docker_config(registry))))


def from_helper(builder: Builder, folder: Path, registry: str) -> Builder:
    config = json.dumps({"credHelpers": {registry: "kea-tests"}})
    helper = folder / "bin" / "docker-credential-kea-tests"
    helper.parent.mkdir()
    answer = json.dumps({"ServerURL": registry, "Username": LOGIN[0], "Secret": LOGIN[1]})
    helper.write_text(f"#!/bin/sh\ncat >{folder}/asked\necho '{answer}'\n")
    helper.chmod(0o755)
    path = f"{helper.parent}:{os.environ['PATH']}"
    return builder.with_env(DOCKER_CONFIG=str(write_config(folder / "docker", config)), PATH=path)


def from_variable(builder: Builder, folder: Path, registry: str) -> Builder:
    return builder.with_env(DOCKER_AUTH_CONFIG=docker_config(registry))


@pytest.mark.parametrize("way", [from_config, from_helper, from_variable])
def test_a_login_is_found_where_docker_keeps_it(
    way: Callable[[Builder, Path, str], Builder], small: Builder, closed: Registry, source: Path, tmp_path: Path
) -> None:
    build = way(small, tmp_path, closed.host).push(source, f"{closed.host}/team/logins:{way.__name__}", *COMMAND)
    assert closed.digest("team/logins", way.__name__) == build.digest
    assert LOGIN[1] not in build.stdout + build.stderr
    if way is from_helper:
        assert (tmp_path / "asked").read_text().strip() == closed.host


def check_refused(build: Build, registry: str) -> None:
    assert f"{registry} does not let KEA in" in build.error
    assert f"`docker login {registry}`" in build.error and "DOCKER_AUTH_CONFIG" in build.error
    assert build.says("push", "failed")


def test_no_login_and_a_wrong_one_are_told_with_how_to_log_in(
    small: Builder, closed: Registry, source: Path, tmp_path: Path
) -> None:
    image = f"{closed.host}/team/refused:1"
    check_refused(small.push(source, image, *COMMAND, check=False), closed.host)
    wrong = docker_config(closed.host, (LOGIN[0], "guessed-wrong"))
    refused = small.with_env(DOCKER_AUTH_CONFIG=wrong).push(source, image, *COMMAND, check=False)
    check_refused(refused, closed.host)
    assert "guessed-wrong" not in refused.stderr
    elsewhere = small.with_env(DOCKER_AUTH_CONFIG=docker_config("other.example"))
    check_refused(elsewhere.push(source, image, *COMMAND, check=False), closed.host)
    assert closed.tags("team/refused") == []


def test_a_login_that_cannot_be_read_is_told(small: Builder, closed: Registry, source: Path, tmp_path: Path) -> None:
    config = json.dumps({"credHelpers": {closed.host: "not-installed"}})
    builder = small.with_env(DOCKER_CONFIG=str(write_config(tmp_path / "docker", config)))
    build = builder.push(source, f"{closed.host}/team/refused:1", *COMMAND, check=False)
    assert f"the login for {closed.host} cannot be read" in build.error


@pytest.fixture(scope="module")
def guarded(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants tokens of another server, and has a base image."""
    folder = tmp_path_factory.mktemp("guarded")
    with TokenServer(folder / "tokens", LOGIN) as tokens:
        guarded = Registry(folder, auth=tokens.config())
        guarded.start()
        try:
            base = f"docker://{guarded.host}/bases/debian:slim"
            run("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false",
                "--dest-creds", ":".join(LOGIN), f"docker://{registry.host}/debian:slim", base)  # fmt: skip
            yield guarded
        finally:
            guarded.kill()


def test_a_registry_that_gives_tokens_is_pulled_from_and_pushed_to(
    builder: Builder, guarded: Registry, source: Path, tmp_path: Path
) -> None:
    options = ["--base", f"{guarded.host}/bases/debian:slim", *COMMAND]
    image = f"{guarded.host}/team/app:1"
    nobody = builder.push(source, image, *options, check=False)
    assert f"{guarded.host} does not let KEA in" in nobody.error
    wrong = builder.with_env(DOCKER_AUTH_CONFIG=docker_config(guarded.host, (LOGIN[0], "guessed-wrong")))
    refused = wrong.push(source, image, *options, check=False)
    assert f"{guarded.host} does not let KEA in" in refused.error and "guessed-wrong" not in refused.stderr
    build = builder.with_env(DOCKER_AUTH_CONFIG=docker_config(guarded.host)).push(source, image, *options)
    login = ["--creds", ":".join(LOGIN)]
    inspected = json.loads(run("skopeo", "inspect", "--tls-verify=false", *login, f"docker://{image}"))
    assert inspected["Digest"] == build.digest
    run("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "--src-creds", ":".join(LOGIN),
        f"docker://{image}", f"dir:{tmp_path / 'copied'}")  # fmt: skip


def test_layers_are_taken_over_where_tokens_are_asked_for(builder: Builder, guarded: Registry, source: Path) -> None:
    known = builder.with_env(DOCKER_AUTH_CONFIG=docker_config(guarded.host))
    build = known.push(source, f"{guarded.host}/team/mounts:1", "--base", f"{guarded.host}/bases/debian:slim", *COMMAND)
    assert build.sent < 200_000 < sum(layer["bytes"] for layer in build.data["layers"])


# Registries at another address than the one in names of images

ELSEWHERE = "registry.invalid:5000"


def test_a_registry_is_reached_at_its_endpoint_and_keeps_its_name(
    builder: Builder, registry: Registry, source: Path
) -> None:
    there = builder.with_env(KEA_REGISTRY_ENDPOINTS=f"other.invalid=127.0.0.1:1,{ELSEWHERE}=http://{registry.host}")
    build = there.push(source, f"{ELSEWHERE}/endpoint:1", "--base", f"{ELSEWHERE}/debian:slim", *COMMAND)
    assert build.reference == f"{ELSEWHERE}/endpoint@{build.digest}"
    assert registry.digest("endpoint", "1") == build.digest
    labels = registry.config("endpoint", "1")["config"]["Labels"]
    assert labels["org.opencontainers.image.base.name"] == f"{ELSEWHERE}/debian:slim"
    # The base's layers were taken over, and the bill of materials is attached.
    assert build.sent < 200_000 < sum(layer["bytes"] for layer in build.data["layers"])
    assert registry.digest("endpoint", build.digest.replace(":", "-"))
    # An option goes before the variable, and what has the name by its own address is the same registry.
    option = ["--registry-endpoint", f"{ELSEWHERE}={registry.host}"]
    nowhere = builder.with_env(KEA_REGISTRY_ENDPOINTS=f"{ELSEWHERE}=127.0.0.1:1")
    again = nowhere.push(source, f"{ELSEWHERE}/endpoint:2", "--base", f"{registry.host}/debian:slim", *option, *COMMAND)
    assert again.sent < 200_000


@pytest.mark.parametrize("known", ["name", "endpoint"])
def test_a_login_for_the_name_or_the_endpoint_is_used(
    small: Builder, closed: Registry, source: Path, known: str
) -> None:
    config = docker_config(ELSEWHERE if known == "name" else closed.host)
    there = small.with_env(DOCKER_AUTH_CONFIG=config, KEA_REGISTRY_ENDPOINTS=f"{ELSEWHERE}={closed.host}")
    build = there.push(source, f"{ELSEWHERE}/team/endpoint:{known}", *COMMAND)
    assert closed.digest("team/endpoint", known) == build.digest


def test_what_is_wrong_with_an_endpoint_is_told(small: Builder, registry: Registry, source: Path) -> None:
    image = f"{ELSEWHERE}/endpoint:3"
    told = small.push(
        source, image, "--registry-endpoint", f"{ELSEWHERE}=https://{registry.host}", *COMMAND, check=False
    )
    assert f"{ELSEWHERE} (at {registry.host}) does not speak TLS" in told.error
    malformed = small.with_env(KEA_REGISTRY_ENDPOINTS="registry.invalid").push(source, image, *COMMAND, check=False)
    assert malformed.code == 2 and "write NAME=ENDPOINT" in malformed.stderr


# What is sent


def test_layers_of_a_base_in_the_same_registry_are_not_sent(builder: Builder, registry: Registry, source: Path) -> None:
    build = builder.push(source, f"{registry.host}/mounts:1", "--base", f"{registry.host}/debian:slim", *COMMAND)
    assert build.sent < 200_000 < sum(layer["bytes"] for layer in build.data["layers"])
    again = builder.push(source, f"{registry.host}/mounts:2", "--base", f"{registry.host}/debian:slim", *COMMAND)
    assert again.sent == 0


def test_layers_of_a_base_in_another_registry_are_brought_along(
    builder: Builder, registry: Registry, closed: Registry, source: Path, tmp_path: Path
) -> None:
    known = builder.with_env(DOCKER_AUTH_CONFIG=docker_config(closed.host))
    image = f"{closed.host}/brought:1"
    build = known.push(source, image, "--base", f"{registry.host}/debian:slim", *COMMAND)
    assert build.sent > sum(layer["bytes"] for layer in build.data["layers"])
    run("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "--src-creds", ":".join(LOGIN),
        f"docker://{image}", f"dir:{tmp_path / 'copied'}")  # fmt: skip
    assert known.push(source, image, "--base", f"{registry.host}/debian:slim", *COMMAND).sent == 0


# Registries that are particular


def keeps_tags(registry: Registry, status: int, code: str) -> Callable[[Call], Answer | None]:
    """Refuses to change a tag that there is."""

    def rule(call: Call) -> Answer | None:
        name, _, reference = call.path.removeprefix("/v2/").partition("/manifests/")
        if call.method == "PUT" and not reference.startswith("sha256") and registry.digest(name, reference):
            return error(status, code, f"the tag {reference} is immutable")
        return None

    return rule


@pytest.mark.parametrize(
    ("status", "code"), [(409, "CONFLICT"), (412, "PRECONDITION"), (400, "TAG_INVALID"), (403, "DENIED")]
)
def test_a_tag_that_may_not_be_changed_is_told_and_stays(
    status: int, code: str, small: Builder, registry: Registry, source: Path, tmp_path: Path
) -> None:
    name = f"kept-{status}"
    with Front(keeps_tags(registry, status, code), registry.host) as front:
        image = f"{front.host}/{name}:1"
        build = small.push(source, image, *COMMAND)
        assert small.push(source, image, *COMMAND).sent == 0, "the same image under the same tag is no change"
        other = service(tmp_path / "other", "other")
        refused = small.push(other, image, *COMMAND, check=False)
        assert f"`{image}` exists with other content" in refused.error
        assert "lets no tag be changed" in refused.error and "give another tag" in refused.error
        assert status == 403 or "the tag 1 is immutable" in refused.error, "the registry's own words are told"
        assert registry.digest(name, "1") == build.digest
        assert registry.digest(name, "2") is None
        small.push(other, f"{front.host}/{name}:2", *COMMAND)


@pytest.mark.parametrize(
    "answer",
    [
        error(405, "UNSUPPORTED", "the operation is unsupported"),
        error(501, "UNSUPPORTED", "chunks are not implemented"),
        error(400, "BLOB_UPLOAD_INVALID", "no chunks here"),
        Answer(200),
    ],
    ids=["405", "501", "400", "200"],
)
def test_a_registry_that_takes_no_chunks_gets_blobs_whole(
    answer: Answer, small: Builder, registry: Registry, tmp_path: Path
) -> None:
    source = service(tmp_path / "model", size=10 << 20)
    with Front(lambda call: answer if call.method == "PATCH" else None, registry.host) as front:
        build = small.push(source, f"{front.host}/whole:1", *COMMAND)
        assert registry.digest("whole", "1") == build.digest
        assert front.count("PATCH") == 1, "it is not asked again and again"


def test_a_registry_that_fails_now_and_then_gets_the_image_all_the_same(
    small: Builder, registry: Registry, tmp_path: Path
) -> None:
    failures = [error(500, "UNKNOWN", "a moment"), DROPPED, error(429, "TOOMANYREQUESTS", "slower"), Answer(503)]
    # Sending a blob in three chunks takes five calls, so each second try gets through.
    answers = itertools.cycle([answer for failure in failures for answer in [failure, *[None] * 8]])
    source = service(tmp_path / "model", size=10 << 20)
    with Front(lambda _: next(answers), registry.host) as front:
        builder = small.with_env(KEA_BASE_IMAGE_PYTHON=f"{front.host}/small:x")
        build = builder.push(source, f"{front.host}/flaky:1", *COMMAND)
    assert registry.digest("flaky", "1") == build.digest
    assert registry.digest("flaky", build.digest.replace(":", "-")), "the bill of materials is attached as well"
    run("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false",
        f"docker://{registry.host}/flaky:1", f"dir:{tmp_path / 'copied'}")  # fmt: skip


def test_a_registry_that_is_not_there_is_told_in_bounded_time(small: Builder, registry: Registry, source: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    pushing = small.start(source, f"{nowhere}/away:1", "--push", *COMMAND)
    asking = small.start(source, f"{registry.host}/away:1", "--push", "--base", f"{nowhere}/a:1", *COMMAND)
    build, base = pushing.end(), asking.end()
    assert f"{nowhere} cannot be reached" in build.error and build.says("push", "failed")
    assert f"{nowhere} cannot be reached" in base.error and base.says("base", "failed")
    assert time.monotonic() - started < 30


def test_a_base_that_does_not_exist_is_told(small: Builder, registry: Registry, source: Path) -> None:
    base = f"{registry.host}/no/such:1"
    build = small.push(source, f"{registry.host}/away:1", "--base", base, *COMMAND, check=False)
    assert f"`{base}` does not exist" in build.error


# Registries of other machines


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An address of this machine that does not look like one: no packet to it leaves the machine."""
    change = lambda verb: subprocess.run(  # noqa: E731
        ["ip", "address", verb, f"{DOCUMENTATION_ADDRESS}/32", "dev", "lo"], capture_output=True, text=True
    )
    added = change("add")
    if added.returncode != 0 and "File exists" not in added.stderr:
        pytest.skip(f"an address needs the right to add it: {added.stderr}")
    yield DOCUMENTATION_ADDRESS
    change("del")


def test_a_registry_of_another_machine_is_not_spoken_to_without_tls(
    address: str, small: Builder, registry: Registry, source: Path
) -> None:
    with Front(lambda _: None, registry.host, address) as front:
        image = f"{front.host}/plain:1"
        refused = small.push(source, image, *COMMAND, check=False)
        assert f"{front.host} does not speak TLS" in refused.error and "--plain-http" in refused.error
        assert front.calls == [], "nothing was sent to it"
        asked = small.push(source, image, "--plain-http", front.host, *COMMAND)
        assert registry.digest("plain", "1") == asked.digest
        by_variable = small.with_env(KEA_PLAIN_HTTP_REGISTRIES=f"other.example, {front.host}")
        assert by_variable.push(source, image, *COMMAND).sent == 0


def test_a_certificate_must_be_of_an_authority_that_is_trusted(
    address: str, small: Builder, registry: Registry, source: Path, tmp_path: Path
) -> None:
    key, certificate = self_signed(tmp_path / "tls", "kea-tests", address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def rule(call: Call) -> None:
        call.headers["X-Forwarded-Proto"] = "https"

    with Front(rule, registry.host, address, context) as front:
        image = f"{front.host}/trusted:1"
        refused = small.push(source, image, *COMMAND, check=False)
        assert front.host in refused.error and "certificate" in refused.error.lower()
        assert front.calls == []
        build = small.with_env(SSL_CERT_FILE=str(certificate)).push(source, image, *COMMAND)
        assert registry.digest("trusted", "1") == build.digest


def test_a_machine_without_certificates_is_told(small: Builder, registry: Registry, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (nothing / "empty.pem").touch()
    bare = small.with_env(SSL_CERT_FILE=str(nothing / "empty.pem"), SSL_CERT_DIR=str(nothing / "certs"))
    build = bare.push(service(tmp_path / "m"), f"{registry.host}/bare:1", *COMMAND, check=False)
    assert "certificates cannot be read" in build.error and "ca-certificates" in build.error
