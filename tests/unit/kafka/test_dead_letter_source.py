"""Dead letters become messages again, on the embedded cluster: who is taken, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from connector.core.bounds import Range
from connector.core.messages import MessageBatch, reject
from connector.core.offsets import OffsetRange, TopicPartition
from connector.core.revived import DROPPED, PREFIX, Revived
from connector.kafka.dead_letter_source import DeadLetterSource
from connector.kafka.dead_letters import KafkaDeadLetters
from connector.kafka.embedded import EmbeddedCluster
from tests.fakes import FakeMessage
from tests.kafka_broker import wait_for
from tests.unit.formats.tables import json_table
from tests.unit.kafka.reader import Listener, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.config import Kafka

DEAD = TopicPartition("dead", 0)


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    with EmbeddedCluster() as cluster:
        cluster.create_topic("dead", 1)
        yield settings(cluster.bootstrap, dead_letter_topic="dead")


def send(kafka: Kafka, *batches: MessageBatch) -> None:
    letters = KafkaDeadLetters(kafka)
    for batch in batches:
        letters.send([reject(batch, row, "broken", "why") for row in range(len(batch.values))])
    assert letters.flush(10)


def rejected(topic: str, partition: int, offset: int, value: bytes | None = b'{"a": 1}') -> MessageBatch:
    message = FakeMessage(topic, partition, offset, value, b"key", [("trace", b"%d" % offset)])
    return MessageBatch.of(topic, [message])


def revived(kafka: Kafka, count: int, topic: str = "orders") -> tuple[DeadLetterSource, list[MessageBatch]]:
    """Return a source that has read `count` letters, and the messages of `topic` among them."""
    source = DeadLetterSource(kafka, {DEAD: Range(0, count)}, lambda name: name == topic)
    source.join(Listener())
    found: list[MessageBatch] = []
    wait_for(lambda: (found.__iadd__(source.poll(0.1)), source.finished)[1])
    source.close()
    return source, found


def test_a_letter_is_the_message_that_it_was_and_its_offsets_are_where_it_stands(kafka: Kafka) -> None:
    send(kafka, rejected("orders", 3, 70), rejected("orders", 1, 5))
    _, batches = revived(kafka, 2)
    letters = [m for batch in batches for m in batch.messages]
    assert [(m.key(), m.value(), m.headers()) for m in letters] == [
        (b"key", b'{"a": 1}', [("trace", b"70")]),
        (b"key", b'{"a": 1}', [("trace", b"5")]),
    ]
    assert [o for batch in batches for o in batch.origins or ()] == [
        OffsetRange("orders", 3, 70, 71),
        OffsetRange("orders", 1, 5, 6),
    ]
    assert (batches[0].topic, batches[0].ranges[0].start, batches[-1].ranges[0].end) == ("dead", 0, 2)


def test_its_row_has_the_coordinates_of_the_message_that_was_rejected(kafka: Kafka) -> None:
    send(kafka, rejected("orders", 3, 70))
    _, (batch,) = revived(kafka, 1)
    decoded = json_table(append=False).decode(batch)
    assert decoded.batch.to_pylist() == [{"a": 1, "_kafka_topic": "orders", "_kafka_partition": 3, "_kafka_offset": 70}]


def test_letters_of_others_and_those_that_are_no_messages_are_counted_and_passed_over(kafka: Kafka) -> None:
    send(kafka, rejected("orders", 0, 1), rejected("clicks", 0, 2))
    producer = Producer({"bootstrap.servers": kafka.brokers})
    producer.produce("dead", b"written by hand")
    headers: list[tuple[str, str | bytes | None]] = [(DROPPED, b"70000000"), (f"{PREFIX}topic", b"orders")]
    headers += [(f"{PREFIX}partition", b"0"), (f"{PREFIX}offset", b"9")]
    producer.produce("dead", None, headers=headers)
    assert producer.flush(10) == 0
    source, batches = revived(kafka, 4)
    assert [o.start for batch in batches for o in batch.origins or ()] == [1]
    assert source.passed_over == {"other_topic": 1, "no_origin": 1, "no_value": 1}


def test_letters_that_are_read_again_are_counted_once(kafka: Kafka) -> None:
    send(kafka, rejected("clicks", 0, 1), rejected("orders", 0, 2), rejected("clicks", 0, 3))
    source = DeadLetterSource(kafka, {DEAD: Range(0, 3)}, lambda name: name == "orders")
    source.join(Listener())
    offsets: list[int] = []

    def read(times: int) -> bool:
        offsets.extend(m.origin.start for batch in source.poll(0.1) for m in batch.messages if isinstance(m, Revived))
        return source.finished and len(offsets) == times

    wait_for(lambda: read(1))
    source.seek({DEAD: 0})
    source.pause(())
    wait_for(lambda: read(2))
    source.close()
    assert (offsets, source.passed_over) == ([2, 2], {"other_topic": 2})


def test_a_tombstone_that_was_rejected_is_a_tombstone_again(kafka: Kafka) -> None:
    send(kafka, rejected("orders", 0, 1, None))
    _, (batch,) = revived(kafka, 1)
    assert batch.values == [None]


def test_what_fails_again_says_again_where_it_came_from_first(kafka: Kafka) -> None:
    send(kafka, rejected("orders", 3, 70))
    _, (once,) = revived(kafka, 1)
    send(kafka, once)
    _, batches = revived(kafka.model_copy(update={"group": "second"}), 2)
    letters = [m for batch in batches for m in batch.messages]
    assert [m.headers() for m in letters] == [[("trace", b"70")]] * 2
    assert {o for batch in batches for o in batch.origins or ()} == {OffsetRange("orders", 3, 70, 71)}
