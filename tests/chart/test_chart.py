"""What Helm and Kubernetes say of the chart: lint, strict schemas of the oldest and the newest version, a snapshot."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from connector import __version__
from helm.generate import CHART
from tests.chart.chart import EXAMPLES, SNAPSHOT, Manifest, example, kinds, lint, manifests, pods, snapshot, texts

META = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
OLDEST = META["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
NEWEST = kubernetes_validate.latest_version()

# What the operators of these kinds need, and what they take at the places that we fill.
OPERATORS: dict[str, tuple[str, dict[str, set[str]]]] = {
    "ServiceMonitor": (
        "monitoring.coreos.com/v1",
        {"spec": {"jobLabel", "selector", "endpoints"}, "spec.endpoints.0": {"port", "path", "interval"}},
    ),
    "PodMonitor": (
        "monitoring.coreos.com/v1",
        {
            "spec": {"jobLabel", "selector", "podMetricsEndpoints"},
            "spec.podMetricsEndpoints.0": {"port", "path", "interval"},
        },
    ),
    "PrometheusRule": ("monitoring.coreos.com/v1", {"spec": {"groups"}, "spec.groups.0": {"name", "rules"}}),
    "ScaledObject": (
        "keda.sh/v1alpha1",
        {
            "spec": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "advanced", "triggers"},
            "spec.scaleTargetRef": {"apiVersion", "kind", "name"},
            "spec.triggers.0": {"type", "metadata", "authenticationRef"},
            "spec.triggers.0.metadata": {"serverAddress", "threshold", "query"},
        },
    ),
}
FEATURES = [(name, version) for name in EXAMPLES for version in (OLDEST, NEWEST)]


def test_lint_finds_nothing() -> None:
    for name in EXAMPLES:
        assert lint(example(name)) == [], name


@pytest.mark.parametrize(("name", "version"), FEATURES)
def test_kubernetes_takes_every_resource_of_every_feature(name: str, version: str) -> None:
    for manifest in manifests(example(name)):
        if manifest["kind"] in OPERATORS:
            continue
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as e:
            pytest.fail(f"{manifest['kind']} at {'.'.join(map(str, e.path))}: {e.message}")


def test_the_judge_of_resources_notices_an_unknown_field() -> None:
    manifest = next(m for m in manifests({}) if m["kind"] == "Deployment")
    manifest["spec"]["template"]["spec"]["containers"][0]["argz"] = ["run"]
    with pytest.raises(kubernetes_validate.ValidationError, match="argz"):
        kubernetes_validate.validate(manifest, NEWEST, strict=True)


@pytest.mark.parametrize("kind", OPERATORS)
def test_resources_of_operators_have_the_shape_that_these_document(kind: str) -> None:
    version, shape = OPERATORS[kind]
    found = [m for name in EXAMPLES for m in manifests(example(name)) if m["kind"] == kind]
    assert found
    for manifest in found:
        assert manifest["apiVersion"] == version
        for path, allowed in shape.items():
            assert _at(manifest, path).keys() <= allowed, path


def _at(node: Any, path: str) -> dict[str, Any]:
    for step in path.split("."):
        node = node[int(step)] if step.isdigit() else node[step]
    assert isinstance(node, dict)
    return node


def test_every_template_is_rendered_by_some_example() -> None:
    made = {str(p.relative_to(CHART / "templates")) for p in (CHART / "templates").rglob("*.yaml")}
    assert made == {t for name in EXAMPLES for t in texts(example(name))} - {"NOTES.txt"}


def test_the_default_rendering_is_the_one_that_was_looked_at() -> None:
    assert snapshot() == SNAPSHOT.read_text(encoding="utf-8"), "look at what changed after `make chart`"


def test_nothing_optional_is_made_by_default() -> None:
    assert kinds({}) == {"ConfigMap", "Deployment", "PodDisruptionBudget", "Pod", "Service", "ServiceAccount"}


def test_the_chart_is_of_the_version_of_the_connector() -> None:
    assert META["appVersion"] == __version__


@pytest.mark.parametrize("name", EXAMPLES)
def test_names_are_unique_and_every_resource_has_the_common_labels(name: str) -> None:
    found = manifests(example(name))
    named = [(m["kind"], m["metadata"]["name"]) for m in found]
    assert len(named) == len(set(named))
    for m in found:
        assert m["metadata"]["labels"].items() >= {
            "app.kubernetes.io/instance": "my",
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/version": __version__,
        }.items() | set(example(name).get("commonLabels", {}).items())


@pytest.mark.parametrize("name", EXAMPLES)
def test_selectors_find_the_pods_they_are_for_and_no_others(name: str) -> None:
    found = manifests(example(name))
    labelled = [_pod_labels(m) for m in found if _pod_labels(m)]
    for m in found:
        for wanted, component in _selectors(m):
            chosen = [labels for labels in labelled if labels.items() >= wanted.items()]
            assert {labels["app.kubernetes.io/component"] for labels in chosen} == {component}, m["kind"]


def _pod_labels(manifest: Manifest) -> dict[str, str]:
    if manifest["kind"] == "Pod":
        return dict(manifest["metadata"]["labels"])
    return dict(manifest.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {}))


def _selectors(manifest: Manifest) -> list[tuple[dict[str, str], str]]:
    component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
    selector = manifest.get("spec", {}).get("selector", {})
    return [(selector.get("matchLabels", selector), component)] if selector else []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_pod_is_as_restricted_as_the_strictest_standard_of_kubernetes_asks(name: str) -> None:
    found = pods(example(name))
    assert found
    for spec in found:
        assert spec["automountServiceAccountToken"] is False
        context = spec["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        ours = [
            c for c in spec["containers"] + spec.get("initContainers", []) if c["name"] not in ("sidecar", "before")
        ]
        for c in ours:
            assert c["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= c["resources"].keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_mounted_is_a_volume_of_the_pod(name: str) -> None:
    for m in manifests(example(name)):
        spec = m["spec"]["template"]["spec"] if "template" in m.get("spec", {}) else m.get("spec", {})
        claims = {c["metadata"]["name"] for c in m.get("spec", {}).get("volumeClaimTemplates", [])}
        volumes = {v["name"] for v in spec.get("volumes", [])} | claims
        for c in spec.get("containers", []) + spec.get("initContainers", []):
            assert {v["name"] for v in c.get("volumeMounts", [])} <= volumes
