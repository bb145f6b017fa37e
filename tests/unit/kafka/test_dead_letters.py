"""Rejects on their way to the dead-letter topic, on the embedded cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from connector.core.messages import reject
from connector.core.offsets import OffsetRange
from connector.core.offsets import TopicPartition as Partition
from connector.kafka.dead_letters import MOST_BYTES, MOST_HELD, DiscardedRejects, KafkaDeadLetters
from connector.kafka.embedded import EmbeddedCluster
from tests.fakes import message_batch
from tests.kafka_broker import wait_for
from tests.unit.kafka.reader import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

    from connector.core.messages import Reject


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as cluster:
        cluster.create_topic("dead", 1)
        yield cluster


def rejects(*values: bytes | None, start: int = 0) -> list[Reject]:
    batch = message_batch(*values, start=start)
    return [reject(batch, i, "broken", "not an integer") for i in range(len(values))]


def read(cluster: EmbeddedCluster, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "read"})
    consumer.assign([TopicPartition("dead", 0, 0)])
    found: list[Message] = []
    wait_for(lambda: len(found.__iadd__(consumer.consume(count, 0.2))) >= count)
    consumer.close()
    return found


def test_a_reject_is_held_until_it_is_acknowledged_and_says_where_it_came_from(cluster: EmbeddedCluster) -> None:
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    letters.send(rejects(b"x", start=7))
    assert list(letters.held) == [OffsetRange("orders", 0, 7, 8)]
    assert letters.flush(10)
    assert not list(letters.held)
    (message,) = read(cluster, 1)
    headers = dict(message.headers() or ())
    assert message.value() == b"x"
    assert headers["__connect.errors.topic"] == b"orders"
    assert headers["__connect.errors.offset"] == b"7"
    assert headers["__connect.errors.exception.class.name"] == b"broken"


def test_many_rejects_are_all_sent_once(cluster: EmbeddedCluster) -> None:
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    letters.send(rejects(*[b"%d" % i for i in range(5000)]))
    assert letters.flush(20)
    assert {m.value() for m in read(cluster, 5000)} == {b"%d" % i for i in range(5000)}


def test_a_message_that_was_rejected_twice_is_held_until_both_are_acknowledged(cluster: EmbeddedCluster) -> None:
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    letters.send([*rejects(b"x"), *rejects(b"x")])
    assert letters.flush(10)
    assert len(read(cluster, 2)) == 2


def test_what_is_too_large_for_the_topic_goes_without_its_value(cluster: EmbeddedCluster) -> None:
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    letters.send(rejects(b"small", bytes(65 << 20)))  # more than the producer takes at all
    assert letters.flush(20)
    found = {m.value(): dict(m.headers() or ()) for m in read(cluster, 2)}
    assert b"small" in found
    assert found[None]["kafka_celonis.value.dropped.bytes"] == b"%d" % (65 << 20)


def test_rejects_of_partitions_that_went_away_are_forgotten(cluster: EmbeddedCluster) -> None:
    cluster.down()
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    letters.send(rejects(b"x"))
    assert not letters.flush(0.3)
    letters.drop({Partition("orders", 0)})
    assert letters.flush(0)


def test_what_waits_is_bounded_in_number_and_in_bytes_and_room_comes_with_acknowledgements(
    cluster: EmbeddedCluster,
) -> None:
    cluster.down()
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    letters.send(rejects(*[b"x"] * (MOST_HELD - 1)))
    assert not letters.full
    letters.send(rejects(b"x", start=MOST_HELD))
    assert letters.full
    letters.drop({Partition("orders", 0)})
    assert not letters.full
    letters.send(rejects(b"x" * (MOST_BYTES // 2), b"y" * (MOST_BYTES // 2)))
    assert letters.full
    letters.drop({Partition("orders", 0)})
    cluster.up()
    letters.send(rejects(*[b"x"] * MOST_HELD))
    assert wait_for(lambda: letters.flush(0.5))
    assert not letters.full


def test_a_delivery_that_failed_is_tried_again(cluster: EmbeddedCluster) -> None:
    letters = KafkaDeadLetters(settings(cluster.bootstrap, dead_letter_topic="dead"))
    cluster.fail(0, 29)  # Produce: TOPIC_AUTHORIZATION_FAILED
    letters.send(rejects(b"x"))
    assert wait_for(lambda: letters.flush(0.5))
    assert read(cluster, 1)[0].value() == b"x"


def test_without_a_topic_nothing_is_held() -> None:
    letters = DiscardedRejects()
    letters.send(rejects(b"x"))
    assert not list(letters.held)
