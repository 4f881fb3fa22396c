"""Mutual TLS between gateway and replicas: turned on and off under load, and good for who has a certificate alone."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import GROUP, NAMESPACE, Cluster, Gateway, Object, Space, wait_for
from cryptography import x509
from load import Load

SETOSA = {"X": [5.1, 3.5, 1.4, 0.2]}


def speak_tls(space: Space, name: str) -> list[bool]:
    """Of each pod that serves a model, whether it speaks TLS."""
    return [pod["metadata"].get("annotations", {}).get(f"{GROUP}/tls") == "mutual" for pod in space.pods(name)]


def parts(secret: Object | None) -> dict[str, bytes]:
    assert secret is not None
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}


class Caller:
    """Who calls a pod past the gateway."""

    def __init__(self, space: Space, folder: Path, own: bool) -> None:
        gateway = parts(space.cluster.find("secrets", NAMESPACE, "kea-replica-client"))
        for name, part in gateway.items():
            (folder / name).write_bytes(part)
        self.space = space
        self.context = ssl.create_default_context(cafile=folder / "ca.crt")
        if own:
            self.context.load_cert_chain(folder / "tls.crt", folder / "tls.key")

    def asks(self, pod: Object, service: str, path: str = "/readyz") -> tuple[str, int]:
        """The first line of the answer, and the number of the certificate that was shown."""
        name = f"{service}.{self.space.name}.svc"
        tcp = socket.create_connection((pod["status"]["podIP"], port(pod, "kea")), timeout=10)
        with tcp, self.context.wrap_socket(tcp, server_hostname=name) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            line = stream.recv(1000).decode().partition("\r\n")[0]
            shown = stream.getpeercert(binary_form=True)
        assert shown is not None
        return line, x509.load_der_x509_certificate(shown).serial_number


def port(pod: Object, name: str) -> int:
    ports = [one for container in pod["spec"]["containers"] for one in container.get("ports", [])]
    return next(int(one["containerPort"]) for one in ports if one.get("name") == name)


def plain(pod: Object, name: str, line: str) -> bytes:
    """What comes back where somebody speaks HTTP without TLS."""
    with socket.create_connection((pod["status"]["podIP"], port(pod, name)), timeout=10) as stream:
        stream.sendall(f"{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        try:
            return stream.recv(1000)
        except ConnectionResetError:
            return b""


@pytest.fixture(scope="module")
def turned(
    cluster: Cluster, kea: Gateway, shared: Space, installed: str, print_manifests: Callable[..., str]
) -> Iterator[None]:
    """Mutual TLS for these tests; it is turned on, and off again, while models are called."""
    shared.run("secret", "iris", replicas=2)
    shared.run("web", "web")
    for name in ("secret", "web"):
        shared.deployed(name)
        kea.answers(name)
    on = print_manifests("--replica-mtls")

    def turn(manifests: str, wanted: bool) -> None:
        routers = {pod["metadata"]["name"] for pod in cluster.of_kea("router")}
        with Load(kea, "secret", SETOSA, {"label": 0}, threads=2) as load:
            cluster.kubectl("apply", "-f", "-", stdin=manifests)
            cluster.wait_ready("operator")
            for name, count in (("secret", 2), ("web", 1)):
                is_turned = lambda name=name, count=count: speak_tls(shared, name) == [wanted] * count  # noqa: E731
                wait_for(is_turned, lambda name=name: shared.told(name), 120)
                shared.deployed(name)
            load.more(100)
        load.assert_all_answered()
        assert {pod["metadata"]["name"] for pod in cluster.of_kea("router")} == routers, "no router starts anew"

    try:
        turn(on, True)
        yield
        turn(installed, False)
    finally:
        cluster.kubectl("apply", "-f", "-", stdin=installed)
        cluster.kubectl("-n", NAMESPACE, "delete", "secret", "kea-replica-authority", "--ignore-not-found")
        cluster.wait_ready("operator")


@pytest.mark.usefixtures("turned")
def test_a_pod_answers_who_has_the_certificate_of_the_gateway_and_nobody_else(
    shared: Space, kea: Gateway, tmp_path: Path
) -> None:
    gateway, stranger = Caller(shared, tmp_path, True), Caller(shared, tmp_path, False)
    for name in ("secret", "web"):
        pod = shared.pods(name)[0]
        assert gateway.asks(pod, name)[0].startswith("HTTP/1.1 200")
        with pytest.raises(ssl.SSLError):
            stranger.asks(pod, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            gateway.asks(pod, "other")
        assert not plain(pod, "kea", "GET /readyz").startswith(b"HTTP/1.1 200")
        # What Kubernetes asks is answered without, and nothing besides.
        assert plain(pod, "probes", "GET /readyz").startswith(b"HTTP/1.1 200")
        assert plain(pod, "probes", "GET /kea/replica").startswith(b"HTTP/1.1 404")
        assert plain(pod, "probes", "GET /items").startswith(b"HTTP/1.1 404")
    assert kea.predictions("secret", SETOSA)[0]["label"] == 0
    assert kea.request("GET", "/services/web/items").status_code == 200


@pytest.mark.usefixtures("turned")
def test_a_new_version_is_asked_by_tls_what_it_offers(shared: Space, kea: Gateway) -> None:
    shared.run("asked", "iris")
    shared.deployed("asked")
    kea.answers("asked")
    assert speak_tls(shared, "asked") == [True]
    secret = shared.find("secrets", "asked-kea-tls")
    assert secret is not None and secret["metadata"]["ownerReferences"][0]["kind"] == "MLDeployment"
    shared.kubectl("delete", "mld", "asked")
    wait_for(lambda: shared.find("secrets", "asked-kea-tls") is None, "its certificate to be gone")


@pytest.mark.usefixtures("turned")
def test_another_certificate_is_shown_without_a_restart(shared: Space, kea: Gateway, tmp_path: Path) -> None:
    gateway = Caller(shared, tmp_path, True)
    before = shared.pods("secret")
    serials = {pod["metadata"]["name"]: gateway.asks(pod, "secret")[1] for pod in before}
    with Load(kea, "secret", SETOSA, {"label": 0}, threads=2) as load:
        shared.kubectl("delete", "secret", "secret-kea-tls")
        shared.kubectl("label", "mld", "secret", "looked-at=again")
        wait_for(lambda: shared.find("secrets", "secret-kea-tls"), "another certificate")
        for pod in before:
            # A node looks at a pod that has changed at once, and else once a minute.
            shared.kubectl("annotate", "pod", pod["metadata"]["name"], "looked-at=again")
        for pod in before:
            told = serials[pod["metadata"]["name"]]
            wait_for(lambda pod=pod, told=told: gateway.asks(pod, "secret")[1] != told, "it to be shown", 120, 1)
        load.more(50)
    load.assert_all_answered()
    after = shared.pods("secret")
    assert [pod["metadata"]["uid"] for pod in after] == [pod["metadata"]["uid"] for pod in before]
    assert all(status["restartCount"] == 0 for pod in after for status in pod["status"]["containerStatuses"])
