"""What a pod runs, asks and may do, feature by feature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry

from connector.cli import main
from connector.config import Observe
from connector.emulator.command import APP_KEY, emulator
from connector.emulator.settings import DEFAULT_POOL
from connector.observe.health import Health
from connector.observe.server import ObserveServer
from connector.replay_command import job_manifest, request_of
from helm.generate import CHART
from tests.chart.chart import (
    EXAMPLES,
    NAME,
    Manifest,
    at,
    container,
    example,
    kinds,
    manifests,
    merged,
    one,
    pod,
    pods,
    settings,
    texts,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Iterator


def _ours(values: dict[str, Any]) -> Iterator[Manifest]:
    """Yield the containers that run our image."""
    for spec in pods(values):
        for c in spec.get("initContainers", []) + spec["containers"]:
            if "kafka-celonis-connector" in c["image"]:
                yield c


# --- what is run --------------------------------------------------------------------------------------------------


def test_the_connector_runs_and_is_told_where_its_configuration_is() -> None:
    assert container({})["args"] == ["run"]
    (config,) = (p for p in main.commands["run"].params if p.name == "path")
    assert isinstance(config, click.Option)
    assert config.envvar in {e["name"] for e in container({})["env"]}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_container_of_our_image_runs_a_command_that_exists(name: str) -> None:
    for c in _ours(example(name)):
        assert main.get_command(click.Context(main), c["args"][0])


def test_check_is_a_test_of_the_release_and_by_a_value_an_init_container() -> None:
    test = one({}, "Pod", f"{NAME}-check")
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert test["spec"]["restartPolicy"] == "Never"
    assert test["spec"]["containers"][0]["args"] == ["check"]
    (init,) = pod(example("check"))["spec"]["initContainers"]
    same = ("image", "env", "envFrom", "volumeMounts", "securityContext")
    assert (init["args"], [init[s] for s in same]) == (["check"], [container(example("check"))[s] for s in same])


def test_a_replay_is_a_job_of_its_own_for_each_thing_to_do() -> None:
    def job(values: dict[str, Any]) -> Manifest:
        (found,) = (m for m in manifests(values) if m["kind"] == "Job")
        return found

    values = example("replay")
    (made,) = job(values)["spec"]["template"]["spec"]["containers"]
    options = main.commands["replay"].make_context("replay", made["args"][1:]).params
    assert (options["yes"], options["quiet"]) == (True, True)  # nobody can be asked
    request = request_of(options)
    assert (request.tables, request.into, request.end) == (("ORDERS",), "ORDERS_JANUARY", "2026-02-01T00:00Z")
    other = job(merged(values, at("replay.args", ["OTHER"])))
    assert other["metadata"]["name"] != job(values)["metadata"]["name"]


@pytest.mark.parametrize(
    "change",
    [
        at("image.tag", "9"),
        at("config.kafka.group", "other"),
        at("replay.backoffLimit", 3),
        at("replay.keepSeconds", 60),
        at("spool.size", "99Gi"),
    ],
)
def test_a_replay_does_not_run_again_because_something_else_is_new(change: dict[str, Any]) -> None:
    def name(values: dict[str, Any]) -> str:
        (found,) = (m["metadata"]["name"] for m in manifests(values) if m["kind"] == "Job")
        return str(found)

    assert name(merged(example("replay"), change)) == name(example("replay"))


def test_the_job_of_a_replay_stays_and_the_notes_ask_to_switch_it_off() -> None:
    values = merged(example("replay"), at("replay.keepSeconds", None))
    (made,) = (m for m in manifests(values) if m["kind"] == "Job")
    assert "ttlSecondsAfterFinished" not in made["spec"], "one that is gone would be made again"
    notes = texts(values)["NOTES.txt"]
    assert f"Job/{made['metadata']['name']} replays. Once it is done, set replay.enabled to false." in notes
    assert "replay" not in texts({})["NOTES.txt"]


def test_the_job_that_replay_prints_finds_configuration_and_secret_of_a_release_named_kafka_celonis() -> None:
    options = main.commands["replay"].make_context("replay", ["ORDERS"]).params
    printed = yaml.safe_load(job_manifest(request_of(options), "image", Path("connector.yaml")))["spec"]["template"]
    (volume,) = (v for v in printed["spec"]["volumes"] if "configMap" in v)
    made = {(m["kind"], m["metadata"]["name"]) for m in manifests({}, "kafka-celonis")}
    assert ("ConfigMap", volume["configMap"]["name"]) in made
    assert printed["spec"]["containers"][0]["envFrom"] == container({})["envFrom"]


def test_the_emulator_takes_its_options_and_serves_the_pool_and_the_key_of_the_connector() -> None:
    values = example("emulator")
    (c,) = (c for c in _ours(values) if c["name"] == "emulator")
    options = emulator.make_context("emulator", c["args"][1:]).params
    assert (options["host"], options["port"], options["per_hour"]) == ("0.0.0.0", 9010, 100)
    assert str(options["directory"]) in {m["mountPath"] for m in c["volumeMounts"]}
    assert c["env"] == [{"name": APP_KEY, "valueFrom": {"secretKeyRef": {"name": "trial", "key": "CELONIS_APP_KEY"}}}]
    assert settings(values).celonis.pool_id == DEFAULT_POOL
    (port,) = one(values, "Service", f"{NAME}-emulator")["spec"]["ports"]
    assert settings(values).celonis.team_url.endswith(f":{port['port']}")


# --- probes -------------------------------------------------------------------------------------------------------


def test_probes_ask_what_the_connector_answers_on_the_port_that_it_has() -> None:
    values = example("static-text")
    c = container(values)
    assert c["ports"] == [{"name": "http", "containerPort": settings(values).observe.port}]
    asked = {kind: c[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: get["path"] for kind, get in asked.items()} == {
        "startup": "/livez",  # not /readyz: a broker that is away for a while must not end the pod
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {"http"}
    health = Health(lambda: 0.0)
    server = ObserveServer(Observe(host="127.0.0.1", port=0), health, CollectorRegistry())
    server.start()
    try:
        answers = {
            path: httpx.get(f"http://127.0.0.1:{server.port}{path}", trust_env=False).status_code
            for path in ("/livez", "/readyz", "/metrics")
        }
    finally:
        server.stop()
    assert answers == {"/livez": 200, "/readyz": 503, "/metrics": 200}


# --- credentials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_example_makes_a_secret(name: str) -> None:
    assert "Secret" not in kinds(example(name))


def test_every_key_of_the_secret_is_in_the_environment() -> None:
    for c in _ours(example("check")):
        assert c["envFrom"] == [{"secretRef": {"name": "kafka-celonis"}}]
    assert "envFrom" not in container({"existingSecret": ""})


# --- workload, disk, disruption -----------------------------------------------------------------------------------


def test_a_stateful_set_has_a_claim_for_each_pod_and_pods_that_need_not_wait() -> None:
    spec = one(example("statefulset"), "StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "spool"
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    assert (spec["replicas"], spec["podManagementPolicy"]) == (3, "Parallel")
    service = one(example("statefulset"), "Service", spec["serviceName"])
    assert service["spec"]["clusterIP"] == "None"


def test_the_spool_of_a_deployment_is_on_the_nodes_disk_or_on_a_claim_that_goes_with_the_pod() -> None:
    def spool(values: dict[str, Any]) -> Manifest:
        (found,) = (v for v in pod(values)["spec"]["volumes"] if v["name"] == "spool")
        assert isinstance(found, dict)
        return found

    assert spool({})["emptyDir"] == {"sizeLimit": "12Gi"}
    claim = spool(example("spool-claim"))["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("60Gi", "fast")


def test_a_drain_of_nodes_takes_one_pod_at_a_time_and_is_not_held_up_by_one_that_is_not_ready() -> None:
    spec = one({}, "PodDisruptionBudget")["spec"]
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_pods_are_spread_among_their_own() -> None:
    own = one({}, "Deployment")["spec"]["selector"]
    for constraint in pod({})["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"] == own


def test_one_may_spread_them_among_others() -> None:
    selector = {"matchLabels": {"team": "a"}}
    entry = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    assert pod({"topologySpreadConstraints": [entry]})["spec"]["topologySpreadConstraints"] == [entry]


def test_the_service_account_has_no_token() -> None:
    assert one({}, "ServiceAccount")["automountServiceAccountToken"] is False
    values = example("naming")
    assert "ServiceAccount" not in kinds(values)
    assert {spec["serviceAccountName"] for spec in pods(values)} == {"streams"}


# --- network ------------------------------------------------------------------------------------------------------


def test_the_network_policy_lets_scrapes_in_and_name_service_kafka_and_celonis_out() -> None:
    spec = one(example("network-policy"), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (scrapes,) = spec["ingress"]
    assert [p["port"] for p in scrapes["ports"]] == ["http"]
    assert "namespaceSelector" in scrapes["from"][0]
    names, services = spec["egress"]
    assert {p["port"] for p in names["ports"]} == {53}
    assert [p["port"] for p in services["ports"]] == [443, 9093]
    assert {peer["ipBlock"]["cidr"] for peer in services["to"]} == {"10.0.0.0/8", "203.0.113.0/24"}


def test_the_network_policy_lets_the_connector_to_its_emulator() -> None:
    spec = one(example("emulator"), "NetworkPolicy")["spec"]
    (port,) = spec["egress"][-1]["ports"]
    assert port["port"] == 9010
    chosen = spec["egress"][-1]["to"][0]["podSelector"]["matchLabels"]
    assert chosen["app.kubernetes.io/component"] == "emulator"


# --- autoscaling --------------------------------------------------------------------------------------------------


def test_autoscaling_never_asks_for_more_pods_than_partitions_and_leaves_the_number_to_keda() -> None:
    values = example("autoscaling")
    scaled = one(values, "ScaledObject")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 12)
    assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    assert "replicas" not in one(values, "Deployment")["spec"]
    trigger = scaled["triggers"][0]
    assert (trigger["metadata"]["threshold"], trigger["authenticationRef"]) == ("50000", {"name": "prometheus"})
    static = example("autoscaling-statefulset")
    assert one(static, "ScaledObject")["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    assert "replicas" not in one(static, "StatefulSet")["spec"]


# --- the rest -----------------------------------------------------------------------------------------------------


def test_the_dashboard_arrives_as_it_is() -> None:
    made = one(example("dashboard"), "ConfigMap", f"{NAME}-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = made["data"].values()
    assert json.loads(text) == json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))


def test_a_release_of_a_long_name_still_fits_into_kubernetes_names() -> None:
    values = merged(example("replay"), {"fullnameOverride": "a" * 80})
    assert max(len(m["metadata"]["name"]) for m in manifests(values)) <= 63


def test_the_notes_tell_the_next_three_commands() -> None:
    for values in ({}, example("statefulset"), at("check.test", False)):
        notes = texts(values)["NOTES.txt"]
        steps = [line for line in notes.splitlines() if line.startswith("       ")]
        assert len(steps) == 3
        for command in ("check", "status"):
            assert f"kafka-celonis {command}" in notes or "helm test my" in notes
        assert all(
            main.get_command(click.Context(main), step.split()[-1]) for step in steps if "kafka-celonis " in step
        )
