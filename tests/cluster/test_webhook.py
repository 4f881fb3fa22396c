"""The validating webhook: what cannot be is refused by `kubectl` at once, and nothing depends on it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import GROUP, NAMESPACE, Cluster, Gateway, Object, Space, deployment, model, wait_for

OPERATOR = f"system:serviceaccount:{NAMESPACE}:kea-operator"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kea"
BROKEN = {"timeout": "0s"}

# What an operator does once a minute, and what API servers need to hear of it.
A_LOOK = 90


def authorities(cluster: Cluster) -> str:
    """The authorities that Kubernetes trusts to be the webhook's, in PEM."""
    found = cluster.get(CONFIGURATION)
    bundle = found["webhooks"][0]["clientConfig"].get("caBundle", "") if found else ""
    return base64.b64decode(bundle).decode()


def refusal(space: Space, *objects: Object) -> str:
    """What `kubectl` says where the webhook refuses; nothing where it does not, or is not asked. Nothing is stored."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    said = space.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text, check=False).stderr
    return said if "denied the request" in said else ""


def is_asked(space: Space) -> bool:
    return bool(refusal(space, model("is-asked")))


@pytest.fixture(scope="module")
def stored_before(shared: Space) -> str:
    """An MLDeployment that cannot be, from when nobody refused it."""
    shared.apply(model("stored-before", image=shared.images["iris"]), deployment("stored-before", **BROKEN))
    shared.failed("stored-before", "`spec.timeout`")
    return "stored-before"


@pytest.fixture(scope="module")
def off(cluster: Cluster, installed: str) -> Callable[[], None]:
    """Installs KEA without the webhook."""

    def off() -> None:
        cluster.kubectl("apply", "-f", "-", stdin=installed)
        cluster.wait_ready("operator")
        wait_for(lambda: cluster.get(CONFIGURATION) is None, "the configuration to be removed", 30)

    return off


@pytest.fixture(scope="module")
def webhook(
    cluster: Cluster,
    kea: Gateway,
    shared: Space,
    stored_before: str,
    print_manifests: Callable[..., str],
    off: Callable[[], None],
) -> Iterator[None]:
    """KEA with the webhook, and without it after this file's tests."""
    cluster.kubectl("apply", "-f", "-", stdin=print_manifests("--webhook"))
    try:
        cluster.wait_ready("operator")
        wait_for(lambda: is_asked(shared), lambda: f"the webhook; {cluster.said_by('operator')}", A_LOOK)
        yield
    finally:
        off()
        cluster.kubectl("-n", NAMESPACE, "delete", "service,secret", "kea-webhook", "--ignore-not-found")


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([model("bad")], "neither `source`"),
        ([model("bad", source="./iris.joblib")], "a path, which a cluster cannot read"),
        ([model("bad", image="registry.example/iris:1"), deployment("bad", **BROKEN)], "`spec.timeout`"),
        ([deployment("bad", timeout="0s", modelName="good")], "`spec.timeout`"),
        ([deployment("bad", version="7", modelName="good")], "no version `7` has run"),
    ],
)
@pytest.mark.usefixtures("webhook")
def test_what_cannot_be_is_refused_with_what_to_do(shared: Space, objects: list[Object], words: str) -> None:
    shared.apply(model("good", image=shared.images["iris"], version="1"))
    refused = shared.apply(*objects, check=False)
    assert refused.returncode == 1
    assert f'webhook "validate.{GROUP}" denied the request' in refused.stderr and words in refused.stderr
    assert shared.find("mldeployments", "bad") is None
    shared.kubectl("delete", "mlm", "bad", "--ignore-not-found")


@pytest.mark.usefixtures("webhook")
def test_a_changed_model_under_a_version_that_has_run_is_refused(space: Space, kea: Gateway) -> None:
    space.run("conflicting", "iris", version="1")
    space.deployed("conflicting", "1")
    changed = model("conflicting", image=space.images["iris-2"], version="1")
    refused = space.apply(changed, check=False)
    assert refused.returncode == 1, refused.stdout
    assert "MLDeployment `conflicting`: version `1` exists with another model" in refused.stderr
    assert (space.find("mlmodels", "conflicting") or {})["spec"]["image"] == space.images["iris"]
    assert space.deployed("conflicting")["liveVersion"] == "1"
    # As the next version it is welcome.
    space.patch("mlm", "conflicting", {"image": space.images["iris-2"], "version": "2"})
    space.deployed("conflicting", "2")


@pytest.mark.usefixtures("webhook")
def test_both_documents_may_come_in_any_order(space: Space) -> None:
    early = space.apply(deployment("early"))
    assert "Warning: there is no MLModel `early`" in early.stderr
    space.apply(model("early", image=space.images["iris"]))
    space.deployed("early")
    # In one go, a hundredth of a second apart, and without a warning.
    for version in ("2", "3", "4"):
        spec = {"image": space.images["iris"], "version": version}
        together = space.apply(
            model(f"late-{version}", **spec), deployment(f"late-{version}", replicas=0, version=version)
        )
        assert "Warning" not in together.stderr


@pytest.mark.usefixtures("webhook")
def test_a_name_is_one_for_all_namespaces(space: Space, shared: Space) -> None:
    shared.apply(model("taken", image=shared.images["iris"]), deployment("taken", replicas=0))
    asked = model("taken", image=space.images["iris"]), deployment("taken")
    said = wait_for(lambda: refusal(space, *asked), "the name to be known", 10)
    assert f"an older MLDeployment in namespace `{shared.name}`" in said
    shared.kubectl("delete", "mld,mlm", "taken")


@pytest.mark.usefixtures("webhook")
def test_what_was_stored_before_stays_editable_and_can_go(shared: Space, stored_before: str) -> None:
    shared.kubectl("label", "mld", stored_before, "team=a")
    refused = shared.kubectl(
        "patch", "mld", stored_before, "--type=merge", "-p", '{"spec": {"replicas": 2}}', check=False
    )
    assert refused.returncode == 1 and "`spec.timeout`" in refused.stderr
    shared.kubectl("delete", "mld", stored_before, "--timeout=30s")
    assert shared.find("mldeployments", stored_before) is None


@pytest.mark.usefixtures("webhook")
def test_scaling_and_the_status_are_not_asked_about(space: Space, kea: Gateway) -> None:
    space.run("scaled-on", "iris")
    space.deployed("scaled-on")
    space.kubectl("scale", "mld/scaled-on", "--replicas=2")
    assert space.deployed("scaled-on")["ready"] == "2/2"


@pytest.mark.usefixtures("webhook")
def test_the_api_tells_the_refusal(kea: Gateway) -> None:
    body: dict[str, Any] = {"modelName": "of-api", "sourceCode": "./iris.joblib"}
    refused = kea.request("POST", "/services", json=body)
    assert refused.status_code == 400, refused.text
    assert "a path, which a cluster cannot read" in refused.text


@pytest.mark.usefixtures("webhook")
def test_changes_go_on_without_operators(cluster: Cluster, space: Space) -> None:
    cluster.kubectl("-n", NAMESPACE, "scale", "deployment/kea-operator", "--replicas=0")
    try:
        wait_for(lambda: not cluster.of_kea("operator", going=True), "the operators to be gone", 150)
        began = time.monotonic()
        space.apply(model("alone", image=space.images["iris"]), deployment("alone", **BROKEN))
        assert time.monotonic() - began < 20, "Kubernetes waits at most five seconds for each"
    finally:
        cluster.kubectl("-n", NAMESPACE, "scale", "deployment/kea-operator", "--replicas=2")
        cluster.wait_ready("operator")
    # The status says what nobody refused, and changes are refused again.
    space.failed("alone", "`spec.timeout`")
    wait_for(lambda: is_asked(space), "the webhook", 30)


@pytest.mark.usefixtures("webhook")
def test_every_operator_answers_and_their_restart_hinders_nobody(cluster: Cluster, space: Space) -> None:
    def ends() -> set[str]:
        found = cluster.find("endpoints", NAMESPACE, "kea-webhook") or {}
        return {one["ip"] for part in found.get("subsets") or [] for one in part.get("addresses") or []}

    operators = {pod["status"]["podIP"] for pod in cluster.of_kea("operator")}
    assert len(operators) == 2 and ends() == operators
    cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/kea-operator")
    good = model("restarted", image=space.images["iris"])
    while not ends().isdisjoint(operators):
        began = time.monotonic()
        space.apply(good)
        assert time.monotonic() - began < 10
    cluster.wait_ready("operator")
    assert is_asked(space)


@pytest.mark.usefixtures("webhook")
def test_what_is_removed_by_hand_comes_back(cluster: Cluster, space: Space) -> None:
    before = authorities(cluster)
    assert before.count("BEGIN CERTIFICATE") == 1
    cluster.kubectl("delete", "validatingwebhookconfiguration", "kea")
    wait_for(lambda: authorities(cluster) == before, "the same authority in a new configuration", A_LOOK)
    cluster.kubectl("-n", NAMESPACE, "delete", "secret", "kea-webhook")
    wait_for(lambda: authorities(cluster) not in ("", before), "another authority", A_LOOK)
    # Each operator hears of the new certificate at its next look.
    time.sleep(A_LOOK)
    assert all(is_asked(space) for _ in range(10))


@pytest.mark.usefixtures("webhook")
def test_the_rights_are_for_its_own_objects_alone(cluster: Cluster) -> None:
    configurations = "validatingwebhookconfigurations.admissionregistration.k8s.io"
    allowed = [
        ["create", configurations],
        ["get", f"{configurations}/kea"],
        ["patch", f"{configurations}/kea"],
        ["get", "clusterroles.rbac.authorization.k8s.io/kea-operator"],
        ["update", "secrets/kea-webhook", "-n", NAMESPACE],
    ]
    forbidden = [
        ["patch", f"{configurations}/other"],
        ["list", configurations],
        ["delete", f"{configurations}/other"],
        ["get", "clusterroles.rbac.authorization.k8s.io/cluster-admin"],
        ["update", "secrets/kea-admin", "-n", NAMESPACE],
        ["delete", "secrets/kea-webhook", "-n", NAMESPACE],
        ["update", "secrets/kea-webhook", "-n", "default"],
    ]

    def may(question: list[str]) -> bool:
        asked = cluster.kubectl("auth", "can-i", *question, "--as", OPERATOR, check=False)
        answer = asked.stdout.strip().splitlines()[-1:]
        assert answer in (["yes"], ["no"]), asked.stdout + asked.stderr
        return answer == ["yes"]

    assert [" ".join(question) for question in allowed if not may(question)] == [], "is needed"
    assert [" ".join(question) for question in forbidden if may(question)] == [], "is too much"


@pytest.mark.usefixtures("webhook")
def test_switched_off_it_leaves_nothing_that_asks(cluster: Cluster, space: Space, off: Callable[[], None]) -> None:
    off()
    space.apply(model("again", image=space.images["iris"]), deployment("again", **BROKEN))
    space.failed("again", "`spec.timeout`")
