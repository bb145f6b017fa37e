"""What `kafka-celonis check` finds out about a real Kafka, and what it says where something is wrong."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from connector.config import Kafka
from connector.core.bounds import Range
from connector.core.offsets import TopicPartition
from connector.errors import ConfigError, SourceError
from connector.kafka import kept, probe
from connector.kafka.asking import PROBE_SECONDS
from tests.kafka_broker import PASSWORD, USER, KafkaBroker
from tests.unit.kafka.reader import Reader, settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kafka


def logged_in(kafka: KafkaBroker, group: str = "group", **changes: Any) -> Kafka:
    properties = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": USER, "sasl.password": PASSWORD,
    } | changes.pop("properties", {})  # fmt: skip
    return Kafka.model_validate({"brokers": kafka.sasl_bootstrap, "group": group, "properties": properties} | changes)


def allow_only(kafka: KafkaBroker, kind: ResourceType, name: str, operation: AclOperation) -> None:
    """Let the user do `operation` and nothing else: whatever has an ACL is closed to what no ACL allows."""
    acl = AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)
    kafka.admin.create_acls([acl])[acl].result(30)


def test_brokers_that_answer_are_counted(kafka: KafkaBroker) -> None:
    assert probe.brokers_answer(Kafka(brokers=kafka.bootstrap)).startswith("1 broker(s) of cluster ")
    assert probe.brokers_answer(logged_in(kafka)).startswith("1 broker(s)")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"brokers": "127.0.0.1:1"}, "refused"),
        ({"brokers": "nobody.invalid:9092"}, "resolve"),
        ({"properties": {"sasl.password": "guessed"}}, r"Authentication failed.*sasl\.password"),
        ({"properties": {"security.protocol": "SASL_SSL"}}, "(SSL|ssl)"),
        ({"properties": {"security.protocol": "PLAINTEXT"}}, r"security\.protocol"),
    ],
)
def test_why_no_broker_answers_is_said_within_seconds(kafka: KafkaBroker, changes: dict[str, Any], cause: str) -> None:
    started = time.monotonic()
    with pytest.raises(SourceError, match=cause) as caught:
        probe.brokers_answer(logged_in(kafka, **changes))
    assert time.monotonic() - started < PROBE_SECONDS
    assert "guessed" not in str(caught.value)


def test_a_property_that_does_not_exist_is_a_problem_of_the_configuration(kafka: KafkaBroker) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.properties"):
        probe.brokers_answer(Kafka(brokers=kafka.bootstrap, properties={"no.such": 1}))


def test_a_topic_is_there_or_not_and_asking_does_not_create_it(kafka: KafkaBroker) -> None:
    asked = Kafka(brokers=kafka.bootstrap)
    assert probe.topic_exists(asked, kafka.create_topic(3)) == "3 partition(s)"
    missing = uuid.uuid4().hex
    for _ in range(2):
        with pytest.raises(SourceError, match="does not exist"):
            probe.topic_exists(asked, missing)
    assert missing not in kafka.admin.list_topics(timeout=10).topics


def test_a_regular_expression_must_match_a_topic(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    asked = Kafka(brokers=kafka.bootstrap)
    assert probe.topic_exists(asked, f"^{topic}") == f"1 topic(s) match: {topic}"
    with pytest.raises(SourceError, match="no topic matches"):
        probe.topic_exists(asked, "^nothing-like-this")


def test_the_right_that_is_missing_is_named(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    asked = logged_in(kafka, group, dead_letter_topic=topic)
    allow_only(kafka, ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    allow_only(kafka, ResourceType.GROUP, group, AclOperation.DESCRIBE)
    with pytest.raises(SourceError, match=f"grant READ on topic {topic}"):
        probe.topic_exists(asked, topic)
    with pytest.raises(SourceError, match=f"grant WRITE on topic {topic}"):
        probe.dead_letter_topic(asked)
    with pytest.raises(SourceError, match=f"grant READ on group {group}"):
        probe.group_readable(asked, group)


def test_a_topic_that_may_not_be_read_is_named_and_stops_no_other(kafka: KafkaBroker) -> None:
    closed, opened, group = kafka.create_topic(), kafka.create_topic(), uuid.uuid4().hex
    allow_only(kafka, ResourceType.TOPIC, closed, AclOperation.DESCRIBE)
    kafka.produce(opened, b"x")
    reader = Reader(logged_in(kafka, group), closed, opened)
    reader.until(lambda: closed in reader.source.forbidden and reader.values)
    assert "grant READ and DESCRIBE on the topic" in reader.source.forbidden[closed]
    assert reader.values == [b"x"]
    reader.source.close()


def test_a_group_is_described_and_need_not_exist(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    asked = settings(kafka.bootstrap, group)
    assert "0 member(s)" in probe.group_readable(asked, group)
    reader = Reader(asked, topic)
    reader.until(lambda: reader.source.assigned)
    assert probe.group_readable(asked, group) == "stable, 1 member(s)"
    reader.source.close()


def test_the_coordinator_of_a_clusters_first_groups_is_waited_for(kafka: KafkaBroker, tmp_path: Path) -> None:
    with KafkaBroker(tmp_path, version=kafka.version) as fresh, ThreadPoolExecutor() as threads:
        asked = settings(fresh.bootstrap)
        answers = threads.map(lambda group: probe.group_readable(asked, group), ["one", "another"])
        assert all("0 member(s)" in answer for answer in answers)


def test_the_coordinator_of_a_clusters_first_plan_is_waited_for(kafka: KafkaBroker, tmp_path: Path) -> None:
    plan = kept.Plan("plan", {TopicPartition("orders", 0): Range(0, 1)})
    with KafkaBroker(tmp_path, version=kafka.version) as fresh:
        fresh.create_topic(name="orders")
        kept.keep(settings(fresh.bootstrap), "group", plan)
        assert kept.kept(settings(fresh.bootstrap), "group") == plan


def test_a_dead_letter_topic_may_be_left_to_the_brokers_where_they_create_topics(kafka: KafkaBroker) -> None:
    name = uuid.uuid4().hex
    asked = Kafka(brokers=kafka.bootstrap, dead_letter_topic=name)
    assert "auto.create.topics.enable" in probe.dead_letter_topic(asked)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(name, b"x")
    assert producer.flush(30) == 0
    assert probe.dead_letter_topic(asked) == "1 partition(s)"


def test_a_dead_letter_topic_that_nobody_creates_comes_with_the_command_to_create_it(kafka: KafkaBroker) -> None:
    allow_only(kafka, ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE)
    asked = logged_in(kafka, dead_letter_topic=uuid.uuid4().hex)  # whose brokers do not tell whether they would
    with pytest.raises(SourceError, match=r"kafka-topics.sh .* --create"):
        probe.dead_letter_topic(asked)
