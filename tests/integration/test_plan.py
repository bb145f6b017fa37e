"""What `kafka-celonis plan` measures on a real Kafka: rates, sizes, and topics that do not answer."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from connector.cli import main
from connector.config import Kafka
from connector.errors import SourceError
from connector.kafka.rates import TopicRate, measure
from tests.kafka_broker import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

HOUR = 3600.0


def spread(
    kafka: KafkaBroker, topic: str, ages: Iterable[float], *, value: bytes | None = b"x" * 120, partitions: int = 1
) -> None:
    """Produce a message of each age in seconds, the oldest first, to the partitions in turn."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    now = time.time()
    for n, age in enumerate(sorted(ages, reverse=True)):
        producer.produce(topic, value, partition=n % partitions, timestamp=round((now - age) * 1000))
    assert producer.flush(30) == 0


def evenly(count: int, seconds: float) -> list[float]:
    return [seconds * (n + 0.5) / count for n in range(count)]


def measured(kafka: KafkaBroker, *topics: str, window: float = HOUR) -> list[TopicRate]:
    rates, troubles = measure(Kafka(brokers=kafka.bootstrap), topics, window)
    assert troubles == {}
    return rates


def test_the_rate_is_what_came_within_the_window(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic(3)
    spread(kafka, topic, [*evenly(3600, HOUR), *(HOUR + age for age in evenly(500, HOUR))], partitions=3)
    ((name, rate, size),) = measured(kafka, topic)
    assert (name, size) == (topic, 120)
    assert rate == pytest.approx(1.0, rel=0.01)
    (recent,) = measured(kafka, topic, window=600)
    assert recent.rate == pytest.approx(1.0, rel=0.02)


def test_a_topic_younger_than_the_window_has_the_rate_of_its_life(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    spread(kafka, topic, evenly(1200, 600))
    assert measured(kafka, topic)[0].rate == pytest.approx(2.0, rel=0.02)


def test_a_topic_that_begins_now_is_not_taken_for_a_flood(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    spread(kafka, topic, [0.0] * 60)
    assert measured(kafka, topic)[0].rate <= 1


def test_what_is_older_than_the_window_counts_as_nothing_and_still_has_a_size(kafka: KafkaBroker) -> None:
    old, empty = kafka.create_topic(2), kafka.create_topic()
    spread(kafka, old, [2 * HOUR])
    assert measured(kafka, old, empty) == [TopicRate(old, 0, 120), TopicRate(empty, 0, None)]


def test_the_size_is_that_of_the_latest_messages_and_a_tombstone_has_none(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    spread(kafka, topic, [100.0] * 1000, value=b"x" * 10_000)
    spread(kafka, topic, [50.0] * 100, value=b"x" * 100)
    spread(kafka, topic, [10.0] * 100, value=None)
    assert measured(kafka, topic)[0].message_bytes == 50


def test_markers_of_transactions_end_the_sample(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    for value in (b"x" * 10, b"x" * 30):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(topic, b"x" * 1000)
    producer.abort_transaction(30)
    assert measured(kafka, topic)[0].message_bytes == 20


def test_topics_that_are_not_there_are_named_with_the_next_step_and_stop_no_other(kafka: KafkaBroker) -> None:
    topic, missing = kafka.create_topic(), uuid.uuid4().hex
    rates, troubles = measure(Kafka(brokers=kafka.bootstrap), [missing, f"^{topic}$", "^nothing-like-this"], HOUR)
    assert [r.topic for r in rates] == [topic]
    assert {name: str(e.args[0]) for name, e in troubles.items()} == {
        missing: f"topic {missing} does not exist, or we may not see it",
        "^nothing-like-this": "no topic matches ^nothing-like-this",
    }
    assert all(e.hint for e in troubles.values())
    assert missing not in kafka.admin.list_topics(timeout=10).topics


def test_a_topic_that_may_be_seen_but_not_read_is_named_with_the_right(kafka: KafkaBroker) -> None:
    closed, opened = kafka.create_topic(), kafka.create_topic()
    spread(kafka, closed, [60.0])
    spread(kafka, opened, [60.0])
    acl = AclBinding(
        ResourceType.TOPIC, closed, ResourcePatternType.LITERAL, f"User:{USER}", "*",
        AclOperation.DESCRIBE, AclPermissionType.ALLOW,
    )  # fmt: skip
    kafka.admin.create_acls([acl])[acl].result(30)
    login: dict[str, str | int | float | bool] = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": USER, "sasl.password": PASSWORD,
    }  # fmt: skip
    rates, troubles = measure(Kafka(brokers=kafka.sasl_bootstrap, properties=login), [closed, opened], HOUR)
    assert [r.topic for r in rates] == [opened]
    assert troubles[closed].hint == f"grant READ and DESCRIBE on topic {closed}"


def test_without_a_broker_the_cause_is_said() -> None:
    with pytest.raises(SourceError, match="refused"):
        measure(Kafka(brokers="127.0.0.1:1"), ["orders"], HOUR)


def test_nothing_is_left_behind_at_the_broker(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    spread(kafka, topic, [60.0] * 10)
    measure(Kafka(brokers=kafka.bootstrap, group=group), [topic], HOUR)
    assert group not in {g.group_id for g in kafka.admin.list_consumer_groups().result(30).valid}


def test_the_command_plans_by_what_it_measures_and_ends_with_3_where_a_topic_is_missing(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    one, two, given, missing = kafka.create_topic(), kafka.create_topic(), kafka.create_topic(), uuid.uuid4().hex
    spread(kafka, one, evenly(1800, HOUR), value=b"{}" * 100)
    spread(kafka, two, evenly(3600, HOUR), value=b"{}" * 50)
    document = {
        "kafka": {"brokers": kafka.bootstrap},
        "celonis": {
            "team_url": "https://team.eu-1.celonis.cloud",
            "pool_id": "11111111-2222-3333-4444-555555555555",
            "auth": {"app_key": "${KEY}"},
        },
        "tables": [
            {"topics": [one, f"^{two}"], "target": "T", "format": "json"},
            {"topics": [given], "target": "GIVEN", "format": "json"},
            {"topics": [missing], "target": "MISSING", "format": "json"},
        ],
    }
    path = tmp_path / "connector.yaml"
    path.write_text(yaml.safe_dump(document))
    result = CliRunner(env={"KEY": "k"}).invoke(main, ["plan", "-c", str(path), "--rate", f"{given}=7", "--json"])
    assert result.exit_code == 3, result.output
    found = json.loads(result.stdout)
    table, told, lost = found["tables"]
    assert table["records_per_second"] == pytest.approx(1.5, rel=0.02)
    assert table["record_bytes"] == pytest.approx(0.2 * 400 / 3, rel=0.02)
    assert told["records_per_second"] == 7
    assert lost["set_by"] == "idle"
    assert f"topic {missing} does not exist" in found["findings"][0]["text"]
