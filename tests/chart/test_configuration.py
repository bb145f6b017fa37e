"""What the pod reads is what the product takes, and a wrong value is refused before anything is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from connector import assembly
from connector.config import Settings
from connector.core.units import parse_bytes, parse_seconds
from connector.kafka import ledger_clients, membership, orders
from tests.chart.chart import EXAMPLES, NAME, Refused, at, config_text, container, example, merged, pod, settings, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SHIPPED = (Path(__file__).parents[2] / "config" / "connector.yaml").read_text(encoding="utf-8")
STATIC = {"workload": "StatefulSet"}
LETTING_GO = (  # seconds behind the drain, one after the other, if brokers hang
    membership.CLOSE_SECONDS
    + orders.CLOSE_SECONDS
    + ledger_clients.FLUSH_SECONDS
    + ledger_clients.CLOSE_SECONDS
    + assembly.CLOSE_SECONDS
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_product_takes_the_configuration_of_every_example(name: str) -> None:
    assert settings(example(name)).tables


def test_numbers_and_durations_arrive_as_they_were_written() -> None:
    flush = settings(example("sasl-avro-oauth")).defaults.flush
    assert (flush.records, flush.bytes, flush.age) == (1_000_000, 1 << 30, 300)


def test_a_text_arrives_to_the_letter() -> None:
    text = example("config-text")["config"]
    assert config_text({"config": text}) == text
    assert "# Orders as they come." in text


def test_the_configuration_that_is_shipped_can_be_given_as_it_is() -> None:
    assert config_text({"config": SHIPPED}) == SHIPPED
    assert settings({"config": SHIPPED}).spool.directory == Path("/spool")


def test_the_spool_is_where_the_volume_is() -> None:
    for name in EXAMPLES:
        mounts = {m["name"]: m["mountPath"] for m in container(example(name))["volumeMounts"]}
        assert Path(mounts["spool"]) == settings(example(name)).spool.directory, name


def test_a_member_of_a_deployment_comes_and_goes() -> None:
    assert settings({}).kafka.instance_id is None


def test_a_member_of_a_stateful_set_is_named_like_its_pod() -> None:
    assert settings(STATIC).kafka.instance_id == f"{NAME}-0"
    assert settings(example("static-text")).kafka.instance_id == f"orders-{NAME}-0"
    names = {e["name"]: e.get("valueFrom") for e in container(STATIC)["env"]}
    assert names["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_emulator_is_what_the_placeholders_lead_to() -> None:
    celonis = settings(example("emulator")).celonis
    assert celonis.team_url == f"http://{NAME}-emulator:9010"


def test_a_changed_configuration_rolls_the_pods_and_a_changed_number_of_them_does_not() -> None:
    def checksum(values: dict[str, Any]) -> str:
        return str(pod(values)["metadata"]["annotations"]["checksum/config"])

    assert checksum({}) == checksum({"replicas": 5})
    assert checksum({}) != checksum(at("config.kafka.group", "other"))


# --- what is derived from it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("drain", [0, 30, 45.5, "500 ms", "30", "30s", "2 min", "1.5 m", "1 h", "0.5 d"])
def test_the_grace_period_leaves_time_for_the_drain_and_for_leaving_the_group(drain: float | str) -> None:
    values = at("config.drain_timeout", drain)
    grace = pod(values)["spec"]["terminationGracePeriodSeconds"]
    assert parse_seconds(drain) + 25 <= grace < parse_seconds(drain) + 26
    assert settings(values).drain_timeout == parse_seconds(drain)


def test_the_grace_period_without_a_drain_timeout_is_that_of_the_default() -> None:
    default = Settings.model_fields["drain_timeout"].default
    assert pod({})["spec"]["terminationGracePeriodSeconds"] == default + 25


def test_the_grace_period_has_seconds_to_spare_where_brokers_hang() -> None:
    shown = re.search(r"within `drain_timeout` and up to (\d+) s", README)
    assert shown
    assert float(shown[1]) == LETTING_GO <= 25 - 5


def test_a_grace_period_that_is_given_is_taken() -> None:
    assert pod(example("scheduling"))["spec"]["terminationGracePeriodSeconds"] == 120


@pytest.mark.parametrize("size", [1 << 30, "10 GB", "10 GiB", "1.5gib", "9000 MiB", "500000 KiB", "12345678 kb"])
def test_the_spools_volume_holds_what_the_spool_may_take_and_a_tenth_more(size: float | str) -> None:
    need = parse_bytes(size) * 1.1
    enough, short = -(-need // 2**20) + 1, need // 2**20 - 1
    values = at("config.spool.bytes", size)
    assert pod(merged(values, at("spool.size", f"{enough:.0f}Mi")))
    with pytest.raises(Refused, match=r"spool\.size: .* is too small"):
        texts(merged(values, at("spool.size", f"{short:.0f}Mi")))


def test_the_spool_without_a_size_is_taken_for_the_products_default() -> None:
    default = Settings.model_fields["spool"].default.bytes
    enough, short = default * 1.1 // 2**20 + 1, default * 1.1 // 2**20 - 1
    assert texts(at("spool.size", f"{enough:.0f}Mi"))
    with pytest.raises(Refused):
        texts(at("spool.size", f"{short:.0f}Mi"))


# --- what is refused ----------------------------------------------------------------------------------------------

TEXT = example("config-text")["config"]
REFUSED = {
    "an unknown value": ({"replica": 3}, "additional properties 'replica' not allowed"),
    "an unknown value in a section": (at("image.tags", "1"), "at '/image': additional properties 'tags' not allowed"),
    "a workload that is none": (at("workload", "DaemonSet"), "one of 'Deployment', 'StatefulSet'"),
    "a number as text": (at("replicas", "three"), "at '/replicas': got string, want integer"),
    "an unknown setting": (at("config.kafka.brokrs", "b:9092"), "at '/config/kafka': additional properties 'brokrs'"),
    "a setting out of range": (at("config.budget.pushes_per_hour", 300), "maximum: got 300, want 250"),
    "no tables": (at("config.tables", []), "minItems"),
    "a text that is no YAML": (at("config", "kafka: [}"), "config: the text is not a YAML mapping"),
    "a text without a place for the spool": (at("config", TEXT.partition("spool:")[0]), "config.spool.directory: "),
    "a spool on the read-only root": (at("config.spool.directory", "spool"), "config.spool.directory: "),
    "a spool too small": (at("spool.size", "10Gi"), "spool.size: 10Gi is too small"),
    "a size that depends on a pod": (at("config.spool.bytes", "${SIZE}"), "config.spool.bytes: cannot be read here"),
    "a drain that depends on a pod": (at("config.drain_timeout", "${DRAIN}"), "or set terminationGracePeriodSeconds"),
    "a port that depends on a pod": (at("config.observe.port", "${PORT}"), "config.observe.port: probes need a number"),
    "any free port": (at("config.observe.port", 0), "config.observe.port: probes need a number"),
    "static members without names": ({**STATIC, "config": TEXT}, "config.kafka.instance_id: workload StatefulSet"),
    "static members of one name": ({**STATIC, **at("config.kafka.instance_id", "me")}, "set it to ${POD_NAME}"),
    "a name for members that come and go": (at("config.kafka.instance_id", "me"), "set workload to StatefulSet"),
    "an emulator that nothing reaches": (
        merged(at("emulator.enabled", True), at("config.celonis.team_url", "https://my-team.eu-1.celonis.cloud")),
        "emulator.enabled: nothing would reach it",
    ),
    "an emulator without a key": ({"emulator": {"enabled": True}, "existingSecret": ""}, "name that"),
    "a replay of nothing": (at("replay.enabled", True), "replay.args: say what to replay"),
    "two scrapes of each pod": (
        {"monitoring": {"serviceMonitor": True, "podMonitor": True}},
        "scrape everything twice",
    ),
    "more pods than partitions": (
        {"autoscaling": {"enabled": True, "minReplicas": 3, "partitions": 2}},
        "autoscaling.minReplicas: 3 is more than 2",
    ),
    "no pods, whose lag nobody would know": (at("autoscaling.minReplicas", 0), "minimum: got 0, want 1"),
    "an alert that is none": (
        {"prometheusRule": {"enabled": True, "without": ["Nothing"]}},
        "there is no alert Nothing; there are KafkaCelonis",
    ),
    "a label that is the chart's": (at("commonLabels", {"helm.sh/chart": "x"}), "invalid propertyName 'helm.sh/chart'"),
    "a port that is none": (at("networkPolicy.egressPorts", [70000]), "maximum: got 70,000, want 65,535"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_value_is_refused_with_its_name_and_the_reason(what: str) -> None:
    values, message = REFUSED[what]
    with pytest.raises(Refused) as refused:
        texts(values)
    assert message in str(refused.value)


def _secrets(model: type[BaseModel], path: str) -> Iterator[str]:
    """Yield the paths of all settings that are secrets."""
    for name, field in model.model_fields.items():
        kinds = set(_parts(field.annotation))
        if SecretStr in kinds:
            yield f"{path}.{name}"
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _secrets(kind, f"{path}.{name}")


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


SECRETS = sorted(
    set(_secrets(Settings, "config"))
    | {f"config.kafka.properties.{name}" for name in ("sasl.password", "ssl.key.password", "ssl.key.pem")}
    | {"config.kafka.properties.sasl.oauthbearer.client.secret", "config.budget.ledger.properties.sasl.password"}
)


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_by_value_is_refused_wherever_it_may_stand(path: str) -> None:
    before, _, after = path.partition("properties.")
    names = [*before.strip(".").split("."), *(["properties", after] if after else [])]
    node: object = "topsecret"
    for name in reversed(names[1:]):
        node = {name: node}
    assert isinstance(node, dict)
    config = merged(yaml.safe_load(TEXT), node)
    with pytest.raises(Refused) as refused:
        texts({"config": yaml.safe_dump(config)})
    assert "a secret must not stand in values" in str(refused.value)
    assert path in str(refused.value)
    assert "topsecret" not in str(refused.value)
