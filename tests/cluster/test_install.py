"""What `kea manifests` installs: everything KEA needs, and no rights beyond."""

from __future__ import annotations

import json

import pytest
import yaml
from cluster import GROUP, NAMESPACE, Cluster, Gateway, Space, deployment, model

ACCOUNTS = {"operator": f"system:serviceaccount:{NAMESPACE}:kea-operator",
            "router": f"system:serviceaccount:{NAMESPACE}:kea-router"}  # fmt: skip


@pytest.mark.parametrize("component", ["operator", "router"])
def test_operators_and_routers_run_with_their_labels(cluster: Cluster, installed: str, component: str) -> None:
    labels = {"app.kubernetes.io/name": "kea", "app.kubernetes.io/component": component}
    found = cluster.list("deployments", NAMESPACE, **labels)
    assert [one["metadata"]["name"] for one in found] == [f"kea-{component}"]
    assert found[0]["status"]["readyReplicas"] == found[0]["spec"]["replicas"] == 2
    pods = cluster.of_kea(component)
    assert len(pods) == 2
    for pod in pods:
        assert pod["spec"]["serviceAccountName"] == f"kea-{component}"
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["spec"]["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        assert all(status["restartCount"] == 0 for status in pod["status"]["containerStatuses"])


def test_everything_that_is_printed_is_there_and_applying_it_again_changes_nothing(
    cluster: Cluster, installed: str
) -> None:
    objects = list(yaml.safe_load_all(installed))
    assert {one["kind"] for one in objects} >= {"CustomResourceDefinition", "ClusterRole", "Service", "Deployment"}
    again = cluster.kubectl("apply", "-f", "-", stdin=installed)
    lines = again.stdout.splitlines()
    assert len(lines) == len(objects)
    assert [line for line in lines if not line.endswith("unchanged")] == []


@pytest.mark.parametrize(("plural", "short"), [("mlmodels", "mlm"), ("mldeployments", "mld")])
def test_the_definitions_are_established(cluster: Cluster, installed: str, plural: str, short: str) -> None:
    name = f"{plural}.{GROUP}"
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
    found = cluster.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    assert found is not None
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions.get("NonStructuralSchema") != "True", found["status"]
    cluster.kubectl("get", short, "--all-namespaces")


def test_the_fields_are_explained(cluster: Cluster, installed: str) -> None:
    told = cluster.kubectl("explain", "mldeployment.spec").stdout
    for field in ("modelName", "replicas", "resources", "pod", "paused"):
        assert field in told
    assert "How many replicas" in cluster.kubectl("explain", "mldeployment.spec.replicas").stdout
    assert "Why it is not" in cluster.kubectl("explain", "mld.status.reason").stdout
    assert "An image that serves it" in cluster.kubectl("explain", "mlmodel.spec").stdout


def test_the_columns_tell_how_a_service_is(space: Space) -> None:
    space.run("columns", "iris")
    space.deployed("columns")
    header, row = space.kubectl("get", "mld").stdout.splitlines()
    assert header.split() == ["NAME", "MODEL", "VERSION", "READY", "STATUS", "URL", "AGE"]
    assert {"columns", "1", "1/1", "deployed"} <= set(row.split())
    wide = space.kubectl("get", "mld", "-o", "wide").stdout
    assert "REASON" in wide and "@sha256:" in wide
    header = space.kubectl("get", "mlm").stdout.splitlines()[0]
    assert header.split() == ["NAME", "VERSION", "FRAMEWORK", "SOURCE", "IMAGE", "AGE"]
    space.kubectl("wait", "--for=condition=Ready", "mld/columns", "--timeout=10s")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"relicas": 2}, "relicas"),
        ({"replicas": 1001}, "1000"),
        ({"replicas": -1}, "replicas"),
        ({"replicas": "x"}, "integer"),
        ({"loadBalancer": {"algorithm": "lottery"}}, "lottery"),
        ({"env": {"A": 1}}, "string"),
    ],
)
def test_what_cannot_be_is_refused_by_kubectl(space: Space, spec: dict[str, object], words: str) -> None:
    refused = space.kubectl("apply", "-f", "-", stdin=json.dumps(deployment("refused", **spec)), check=False)
    assert refused.returncode == 1 and words in refused.stderr, refused.stdout + refused.stderr
    assert space.find("mldeployments", "refused") is None


def test_a_model_with_an_unknown_field_is_refused_by_kubectl(space: Space) -> None:
    refused = space.kubectl("apply", "-f", "-", stdin=json.dumps(model("refused", sauce="x")), check=False)
    assert refused.returncode == 1 and "sauce" in refused.stderr
    assert space.find("mlmodels", "refused") is None


def test_what_gets_past_kubectl_is_told_by_the_status(space: Space) -> None:
    document = json.dumps(model("past", image=space.images["iris"], build={"base": "slim"}))
    space.kubectl("apply", "--validate=false", "-f", "-", stdin=document)
    space.apply(deployment("past"))
    status = space.failed("past", "`build` is not supported")
    assert {one["type"]: one["status"] for one in status["conditions"]}["Ready"] == "False"


OWN, ANY = ["-n", NAMESPACE], ["-n", "default"]
RIGHTS = {
    "operator": (
        [
            ["watch", "mldeployments", "-A"],
            ["watch", "mlmodels", "-A"],
            ["patch", "mldeployments", "--subresource=status", *ANY],
            ["create", "deployments.apps", *ANY],
            ["delete", "deployments.apps", *ANY],
            ["create", "jobs.batch", *ANY],
            ["patch", "services", *ANY],
            ["create", "serviceaccounts", *ANY],
            ["create", "networkpolicies.networking.k8s.io", *ANY],
            ["patch", "horizontalpodautoscalers.autoscaling", *ANY],
            ["create", "poddisruptionbudgets.policy", *ANY],
            ["delete", "poddisruptionbudgets.policy", *ANY],
            ["watch", "poddisruptionbudgets.policy", "-A"],
            ["watch", "pods", "-A"],
            ["get", "secrets", *ANY],
            ["update", "leases.coordination.k8s.io", *OWN],
            ["patch", "secrets/kea-admin", *OWN],
            ["create", "events.events.k8s.io", *ANY],
            ["delete", "validatingwebhookconfigurations.admissionregistration.k8s.io/kea"],
        ],
        [
            ["update", "mldeployments", *ANY],
            ["patch", "mldeployments", *ANY],
            ["delete", "mldeployments", *ANY],
            ["create", "mlmodels", *ANY],
            ["list", "secrets", *ANY],
            ["create", "secrets", *ANY],
            ["patch", "secrets", *ANY],
            ["delete", "secrets", *ANY],
            ["create", "pods", *ANY],
            ["delete", "pods", *ANY],
            ["create", "pods", "--subresource=exec", *ANY],
            ["get", "pods", "--subresource=log", *ANY],
            ["delete", "services", *ANY],
            ["update", "leases.coordination.k8s.io", *ANY],
            ["get", "nodes"],
            ["list", "namespaces"],
            ["delete", "namespaces"],
            ["create", "clusterrolebindings.rbac.authorization.k8s.io"],
            ["create", "rolebindings.rbac.authorization.k8s.io", *OWN],
            ["escalate", "roles.rbac.authorization.k8s.io", *OWN],
            ["impersonate", "users"],
            ["update", "customresourcedefinitions.apiextensions.k8s.io"],
            ["create", "validatingwebhookconfigurations.admissionregistration.k8s.io"],
            ["delete", "validatingwebhookconfigurations.admissionregistration.k8s.io/other"],
        ],
    ),
    "router": (
        [
            *[[verb, kind, *ANY] for verb in ("get", "watch", "create", "update", "delete")
              for kind in ("mlmodels", "mldeployments")],
            ["watch", "deployments.apps", "-A"],
            ["watch", "pods", "-A"],
            ["watch", "services", "-A"],
            ["get", "pods", "--subresource=log", *ANY],
            ["create", "secrets", *OWN],
            ["update", "secrets/kea-users", *OWN],
            ["get", "secrets/kea-keys", *OWN],
            ["update", "secrets/kea-policies", *OWN],
        ],
        [
            ["patch", "mldeployments", "--subresource=status", *ANY],
            ["update", "mldeployments", "--subresource=status", *ANY],
            ["get", "secrets", *ANY],
            ["list", "secrets", *OWN],
            ["get", "secrets/kea-admin", *OWN],
            ["delete", "secrets/kea-users", *OWN],
            ["create", "deployments.apps", *ANY],
            ["patch", "deployments.apps", *ANY],
            ["delete", "deployments.apps", *ANY],
            ["create", "services", *ANY],
            ["create", "jobs.batch", *ANY],
            ["create", "pods", *ANY],
            ["delete", "pods", *ANY],
            ["create", "pods", "--subresource=exec", *ANY],
            ["create", "pods", "--subresource=portforward", *ANY],
            ["update", "leases.coordination.k8s.io", *OWN],
            ["get", "configmaps", *ANY],
            ["get", "nodes"],
            ["create", "clusterrolebindings.rbac.authorization.k8s.io"],
            ["impersonate", "users"],
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("component", ["operator", "router"])
def test_rights_are_what_is_needed_and_no_more(cluster: Cluster, installed: str, component: str) -> None:
    def may(question: list[str]) -> bool:
        asked = cluster.kubectl("auth", "can-i", *question, "--as", ACCOUNTS[component], check=False)
        answer = asked.stdout.strip().splitlines()[-1:]
        assert answer in (["yes"], ["no"]), asked.stdout + asked.stderr
        return answer == ["yes"]

    allowed, forbidden = RIGHTS[component]
    assert [" ".join(question) for question in allowed if not may(question)] == [], "is needed"
    assert [" ".join(question) for question in forbidden if may(question)] == [], "is too much"


def test_the_routers_have_a_budget_so_that_one_stays(cluster: Cluster, kea: Gateway) -> None:
    found = cluster.list("poddisruptionbudgets", NAMESPACE)
    assert [one["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] for one in found] == ["router"]
    assert found[0]["status"]["disruptionsAllowed"] == 1


def test_the_passwords_and_keys_are_in_secrets_alone(cluster: Cluster, kea: Gateway, password: str) -> None:
    names = {one["metadata"]["name"] for one in cluster.list("secrets", NAMESPACE)}
    assert {"kea-admin", "kea-users", "kea-keys"} <= names
    logs = cluster.kubectl("-n", NAMESPACE, "logs", "--tail=-1", "-l", "app.kubernetes.io/name=kea").stdout
    assert logs and password not in logs
