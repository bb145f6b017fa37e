"""Every value of the chart has a reason, an effect and a line in the README; what is made from others is up to date."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from helm.generate import CHART, made
from helm.generate.readme import values
from tests.chart.chart import Refused, Values, at, example, merged, settings, texts

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
VALUES = values(TEXT, SCHEMA)
MOST = 90
CLAIM = {"spool": {"claim": True}}
NETWORK, MONITOR, RULES = (
    at("networkPolicy.enabled", True),
    at("monitoring.podMonitor", True),
    at("prometheusRule.enabled", True),
)
BOARD, SCALE = at("dashboard.enabled", True), at("autoscaling.enabled", True)
REPLAY = {"replay": {"enabled": True, "args": ["ORDERS"]}}
EMULATOR = at("emulator.enabled", True)

# A value → another one than the default, and what it needs to count.
EFFECTS: dict[str, tuple[Any, Values]] = {
    "nameOverride": ("other", {}),
    "fullnameOverride": ("other", {}),
    "commonLabels": ({"a": "b"}, {}),
    "image.repository": ("registry.example.com/other", {}),
    "image.tag": ("9", {}),
    "image.digest": ("sha256:" + "0" * 64, {}),
    "image.pullPolicy": ("Always", {}),
    "image.pullSecrets": ([{"name": "registry"}], {}),
    "workload": ("StatefulSet", {}),
    "replicas": (3, {}),
    "strategy": ({"type": "Recreate"}, {}),
    "config": (example("config-text")["config"], {}),
    "existingSecret": ("other", {}),
    "terminationGracePeriodSeconds": (99, {}),
    "spool.size": ("99Gi", {}),
    "spool.claim": (True, {}),
    "spool.storageClassName": ("fast", CLAIM),
    "resources": ({"limits": {"memory": "9Gi"}}, {}),
    "serviceAccount.create": (False, {}),
    "serviceAccount.name": ("other", {}),
    "serviceAccount.annotations": ({"a": "b"}, {}),
    "podSecurityContext": ({"runAsUser": 5}, {}),
    "securityContext": ({"privileged": False}, {}),
    "probes.startup": ({"periodSeconds": 9}, {}),
    "probes.liveness": ({"periodSeconds": 9}, {}),
    "probes.readiness": ({"periodSeconds": 9}, {}),
    "podDisruptionBudget.enabled": (False, {}),
    "podDisruptionBudget.maxUnavailable": (2, {}),
    "topologySpreadConstraints": ([], {}),
    "affinity": ({"nodeAffinity": {}}, {}),
    "nodeSelector": ({"a": "b"}, {}),
    "tolerations": ([{"operator": "Exists"}], {}),
    "priorityClassName": ("high", {}),
    "networkPolicy.enabled": (True, {}),
    "networkPolicy.scrapeFrom": ([{"podSelector": {}}], NETWORK),
    "networkPolicy.egressPorts": ([1], NETWORK),
    "networkPolicy.egressTo": ([{"podSelector": {}}], NETWORK),
    "monitoring.serviceMonitor": (True, {}),
    "monitoring.podMonitor": (True, {}),
    "monitoring.interval": ("9s", MONITOR),
    "monitoring.labels": ({"a": "b"}, MONITOR),
    "monitoring.selector": ('job="other"', RULES),
    "prometheusRule.enabled": (True, {}),
    "prometheusRule.stalenessSeconds": (9, RULES),
    "prometheusRule.lagMessages": (9, RULES),
    "prometheusRule.without": (["KafkaCelonisStale"], RULES),
    "prometheusRule.runbookUrl": ("https://wiki.example.com", RULES),
    "prometheusRule.labels": ({"a": "b"}, RULES),
    "dashboard.enabled": (True, {}),
    "dashboard.labels": ({"a": "b"}, BOARD),
    "dashboard.annotations": ({"a": "b"}, BOARD),
    "autoscaling.enabled": (True, {}),
    "autoscaling.minReplicas": (2, merged(SCALE, at("autoscaling.partitions", 9))),
    "autoscaling.maxReplicas": (3, merged(SCALE, at("autoscaling.partitions", 9))),
    "autoscaling.partitions": (2, SCALE),
    "autoscaling.lagPerReplica": (9, SCALE),
    "autoscaling.prometheusUrl": ("http://other", SCALE),
    "autoscaling.authentication": ("other", SCALE),
    "autoscaling.cooldownSeconds": (9, SCALE),
    "check.test": (False, {}),
    "check.initContainer": (True, {}),
    "replay.enabled": (True, at("replay.args", ["ORDERS"])),
    "replay.args": (["OTHER"], REPLAY),
    "replay.backoffLimit": (9, REPLAY),
    "replay.keepSeconds": (9, REPLAY),
    "emulator.enabled": (True, {}),
    "emulator.args": (["--lenient"], EMULATOR),
    "emulator.resources": ({"limits": {"memory": "9Gi"}}, EMULATOR),
    "extraEnv": ([{"name": "A", "value": "b"}], {}),
    "extraEnvFrom": ([{"configMapRef": {"name": "other"}}], {}),
    "extraVolumes": ([{"name": "other", "emptyDir": {}}], {}),
    "extraVolumeMounts": ([{"name": "other", "mountPath": "/other"}], {}),
    "extraContainers": ([{"name": "other", "image": "other"}], {}),
    "extraInitContainers": ([{"name": "other", "image": "other"}], {}),
    "podLabels": ({"a": "b"}, {}),
    "podAnnotations": ({"a": "b"}, {}),
    "annotations": ({"a": "b"}, {}),
}  # fmt: skip


def _resources(of: Values) -> dict[str, str]:
    return {name: text for name, text in texts(of).items() if name != "NOTES.txt"}


@pytest.mark.parametrize("path", [value.path for value in VALUES])
def test_every_value_changes_what_kubernetes_is_given(path: str) -> None:
    value, needed = EFFECTS[path]
    assert _resources(needed) != _resources(merged(needed, at(path, value)))


def test_no_effect_is_told_of_a_value_that_is_not_there() -> None:
    assert EFFECTS.keys() == {value.path for value in VALUES}


def test_the_values_and_the_schema_name_the_same() -> None:
    defaults = yaml.safe_load(TEXT)
    listed: set[str] = set()
    for value in VALUES:
        top, _, inner = value.path.partition(".")
        assert inner in defaults[top] if inner else top in defaults
        listed.add(top)
    assert defaults.keys() == listed


def test_there_are_fewer_values_than_anyone_would_lose_sight_of() -> None:
    assert len(VALUES) < MOST


def test_a_value_without_a_comment_stops_the_making_of_the_readme() -> None:
    bare = TEXT.replace("# Number of pods; without meaning while `autoscaling.enabled`.\n", "")
    with pytest.raises(ValueError, match="without a comment: replicas"):
        values(bare, SCHEMA)


@pytest.mark.parametrize("section", ["", *{v.path.partition(".")[0] for v in VALUES if "." in v.path}])
def test_the_schema_is_closed(section: str) -> None:
    with pytest.raises(Refused, match="additional properties 'unheardOf' not allowed"):
        texts(at(f"{section}.unheardOf".strip("."), 1))


def test_the_values_that_the_readme_of_the_chart_shows_are_taken() -> None:
    shown = (CHART / "README.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    for more in ({}, EMULATOR):
        assert settings(merged(yaml.safe_load(shown), more)).tables[0].target == "ORDERS"


@pytest.mark.parametrize("name", made())
def test_what_is_made_is_up_to_date(name: str) -> None:
    assert made()[name] == (CHART / name).read_text(encoding="utf-8"), "run `make chart`"
