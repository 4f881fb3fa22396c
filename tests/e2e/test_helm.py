"""The chart installs what `kea manifests` prints: Helm renders it, and its objects are held against the command's."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from containers import ROOT, run
from test_documents import help_of, own_options

CHART = ROOT / "deploy" / "helm" / "kea"
HELM = ROOT / ".cache" / "helm" / "helm"

# The Kubernetes for which Helm renders: the oldest of the documentation.
KUBERNETES = "1.20"

Object = dict[str, Any]
Values = dict[str, Any]

EVERYTHING = (
    "--namespace ml --operators 1 --routers 5 --registry registry.example/models "
    "--builder-image registry.example/python:3 --url https://models.example --service-type LoadBalancer "
    "--cache-redis-secret answers --rates-redis-secret rates "
    "--replica-ca-secret theirs --replica-certificate-secret ours "
    '--database-secret users --sso-secret corp --env ZONE=north --env FLAG=true --env COUNT=1 --env TEXT=a=\'"{{b}}"=ü'
)
EVERY_VALUE = {
    "operators": {"replicas": 1},
    "routers": {"replicas": 5},
    "registry": "registry.example/models",
    "builderImage": "registry.example/python:3",
    "url": "https://models.example",
    "service": {"type": "LoadBalancer"},
    "databaseSecret": "users",
    "ssoSecret": "corp",
    "cacheRedisSecret": "answers",
    "ratesRedisSecret": "rates",
    "replicaCaSecret": "theirs",
    "replicaCertificateSecret": "ours",
    "env": [
        {"name": "ZONE", "value": "north"},
        {"name": "FLAG", "value": "true"},
        {"name": "COUNT", "value": "1"},
        {"name": "TEXT", "value": 'a=\'"{{b}}"=ü'},
    ],
}

# What is said to `kea manifests`, and the same as values; the namespace is Helm's own.
SAME: list[tuple[str, Values]] = [
    ("", {}),
    ("--namespace ml", {}),
    ("--namespace 2026", {}),
    ("--single-namespace --namespace ml", {"singleNamespace": True}),
    ("--single-namespace", {"singleNamespace": True}),
    ("--operators 0 --routers 0", {"operators": {"replicas": 0}, "routers": {"replicas": 0}}),
    (EVERYTHING, EVERY_VALUE),
    (f"{EVERYTHING} --single-namespace", {**EVERY_VALUE, "singleNamespace": True}),
    ("--ingress-host a.example", {"ingress": {"host": "a.example"}}),
    (
        "--namespace ml --ingress-host a.example --ingress-class nginx --tls-secret web",
        {"ingress": {"host": "a.example", "className": "nginx", "tlsSecret": "web"}},
    ),
    (
        "--ingress-host a.example --tls-secret web --url http://b.example",
        {"ingress": {"host": "a.example", "tlsSecret": "web"}, "url": "http://b.example"},
    ),
    ("--webhook", {"webhook": True}),
    ("--webhook --namespace ml", {"webhook": True}),
    ("--replica-mtls", {"replicaMtls": True}),
    ("--replica-mtls --webhook --namespace ml", {"replicaMtls": True, "webhook": True}),
    ("--replica-mtls --single-namespace", {"replicaMtls": True, "singleNamespace": True}),
    ("--gateway web", {"gateway": {"name": "web"}}),
    ("--namespace ml --gateway web --gateway-host a.example", {"gateway": {"name": "web", "host": "a.example"}}),
    (
        "--gateway edge/web --gateway-host a.example --url https://a.example",
        {"gateway": {"name": "web", "namespace": "edge", "host": "a.example"}, "url": "https://a.example"},
    ),
]
IMAGE = "registry.example/kea@sha256:" + "0" * 64


@pytest.fixture
def helm(tmp_path: Path) -> list[str]:
    """Helm, with nothing of the user's own settings."""
    if not HELM.exists():
        pytest.fail("there is no Helm: run `make e2e`")
    return ["env", f"HOME={tmp_path}", f"XDG_CONFIG_HOME={tmp_path}", "KUBECONFIG=/nowhere", str(HELM)]


def with_values(helm: list[str], values: Values, command: str, *options: str) -> list[str]:
    """A command of Helm on the chart; values are given as a user gives them, in a file."""
    file = Path(helm[1].partition("=")[2]) / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    release = [] if command == "lint" else ["kea"]
    return [*helm, command, *release, str(CHART), "--values", str(file), *options]


def keyed(documents: str) -> dict[tuple[str, ...], Object]:
    """Objects by what tells them apart in a cluster."""
    objects = [one for one in yaml.safe_load_all(documents) if one is not None]
    keyed = {}
    for one in objects:
        meta = one["metadata"]
        keyed[one["apiVersion"], one["kind"], meta.get("namespace", ""), meta["name"]] = one
    assert len(keyed) == len(objects), "an object is there twice"
    return keyed


def rendered(helm: list[str], values: Values, namespace: str = "kea") -> dict[tuple[str, ...], Object]:
    options = ["--include-crds", "--namespace", namespace, "--kube-version", KUBERNETES]
    return keyed(run(*with_values(helm, {"image": IMAGE, **values}, "template", *options)))


def printed(binary: Path, options: str) -> dict[tuple[str, ...], Object]:
    objects = keyed(run(binary, "manifests", "--image", IMAGE, *options.split()))
    # Helm makes it itself, with --create-namespace.
    return {key: one for key, one in objects.items() if key[1] != "Namespace"}


def refused(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize(("options", "values"), SAME, ids=[options or "nothing" for options, _ in SAME])
def test_the_chart_installs_what_the_command_prints(
    binary: Path, helm: list[str], options: str, values: Values
) -> None:
    words = options.split()
    namespace = words[words.index("--namespace") + 1] if "--namespace" in words else "kea"
    ours, theirs = printed(binary, options), rendered(helm, values, namespace)
    assert sorted(theirs) == sorted(ours)
    for key, one in ours.items():
        assert theirs[key] == one, key


def test_every_option_of_the_command_has_a_value(binary: Path) -> None:
    used = {word.removeprefix("--") for options, _ in SAME for word in options.split() if word.startswith("--")}
    assert own_options(help_of(binary, "manifests")) - {"image"} <= used


def test_every_value_has_a_place_in_the_schema_and_the_other_way_round() -> None:
    def places(values: Values, schema: Values, definitions: Values, above: str = "") -> tuple[set[str], set[str]]:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        known = schema.get("properties", {})
        has, may = {above + name for name in values}, {above + name for name in known}
        for name in values.keys() & known.keys():
            # Lists, and what is in Kubernetes' own words, are theirs alone.
            if isinstance(values[name], dict) and name not in {"resources", "nodeSelector", "affinity"}:
                below = places(values[name], known[name], definitions, f"{above}{name}.")
                has, may = has | below[0], may | below[1]
        return has, may

    schema = json.loads((CHART / "values.schema.json").read_text())
    has, may = places(yaml.safe_load((CHART / "values.yaml").read_text()), schema, schema["definitions"])
    assert {"image", "operators.replicas", "gateway.host"} <= has
    assert has == may - {"global"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"imag": "x"}, "'imag' not allowed"),
        ({"ingress": {"hosts": ["x"]}}, "'hosts' not allowed"),
        ({"gateway": {"listener": "x"}}, "'listener' not allowed"),
        ({"operators": {"replica": 1}}, "'replica' not allowed"),
        ({"routers": {"resources": {"limit": {}}}}, "'limit' not allowed"),
        ({"env": [{"name": "A", "key": "b"}]}, "'key' not allowed"),
        ({"env": [{"name": "A", "value": 1}]}, "got number, want string"),
        ({"env": {"A": "b"}}, "got object, want array"),
        ({"routers": {"replicas": "two"}}, "got string, want integer"),
        ({"routers": {"replicas": -1}}, "minimum"),
        ({"singleNamespace": "yes"}, "got string, want boolean"),
        ({"service": {"type": "ExternalName"}}, "LoadBalancer"),
        ({"url": "models.example"}, "does not match pattern"),
        ({"image": ""}, "set it to KEA's own image"),
        ({"ingress": {"host": "a.example"}, "gateway": {"name": "web"}}, "leave one empty"),
        ({"ingress": {"className": "nginx"}}, "set ingress.host too"),
        ({"ingress": {"tlsSecret": "web"}}, "set ingress.host too"),
        ({"webhook": True, "singleNamespace": True}, "exclude each other"),
        ({"gateway": {"host": "a.example"}}, "set gateway.name too"),
        ({"gateway": {"namespace": "edge"}}, "set gateway.name too"),
        ({"ssoSecret": "corp"}, "set url, or a host"),
        ({"env": [{"name": "KEA_CACHE_REDIS", "value": "redis://u:p@host/0"}]}, "keep it in a Secret"),
    ],
    ids=json.dumps,
)
def test_values_that_cannot_be_are_refused(helm: list[str], values: Values, words: str) -> None:
    assert words in refused(with_values(helm, {"image": IMAGE, **values}, "template"))


def pods_of(objects: dict[tuple[str, ...], Object]) -> dict[str, Object]:
    """Specs of the pods of operator and router."""
    return {key[3]: one["spec"]["template"]["spec"] for key, one in objects.items() if key[1] == "Deployment"}


def test_pods_get_what_is_asked_for_them_and_nothing_else_changes(helm: list[str]) -> None:
    both = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "models", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    }
    plain, changed = rendered(helm, {}), rendered(helm, {**both, "routers": {"resources": {"limits": {"cpu": 2}}}})
    before, after = pods_of(plain), pods_of(changed)
    assert {key: one for key, one in plain.items() if key[1] != "Deployment"} == {
        key: one for key, one in changed.items() if key[1] != "Deployment"
    }
    before["kea-router"]["containers"][0]["resources"]["limits"]["cpu"] = 2
    assert after == {name: {**spec, **both} for name, spec in before.items()}


def test_a_variable_can_come_from_a_secret(helm: list[str]) -> None:
    login = {"name": "DOCKER_AUTH_CONFIG", "valueFrom": {"secretKeyRef": {"name": "login", "key": "config"}}}
    for spec in pods_of(rendered(helm, {"env": [login]})).values():
        assert login in spec["containers"][0]["env"]


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"ingress": {"host": "a.example"}}, "http://a.example"),
        ({"ingress": {"host": "a.example", "tlsSecret": "web"}}, "https://a.example"),
        ({"gateway": {"name": "web", "host": "a.example"}}, "http://a.example"),
        ({"gateway": {"name": "web"}, "url": "https://b.example"}, "https://b.example"),
    ],
    ids=json.dumps,
)
def test_the_notes_tell_what_to_call_and_the_password(helm: list[str], values: Values, url: str) -> None:
    options = ["--dry-run=client", "--namespace", "ml"]
    notes = run(*with_values(helm, {"image": IMAGE, **values}, "install", *options)).partition("NOTES:")[2]
    assert f"  kea login {url}\n" in notes
    assert "kubectl -n ml get secret kea-admin -o jsonpath='{.data.password}' | base64 -d\n" in notes
    assert ("port-forward service/kea 8080:80" in notes) == (values == {})


def test_helm_finds_nothing_to_complain_of(helm: list[str]) -> None:
    run(*with_values(helm, {"image": IMAGE}, "lint", "--strict"))


def test_the_chart_has_the_version_of_kea() -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version
