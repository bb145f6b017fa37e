"""The consumer on the embedded cluster: reading, seeking, pausing, outages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.errors import ConfigError
from connector.kafka.embedded import EmbeddedCluster
from connector.kafka.source import ASSIGN_SECONDS, KafkaSource
from tests.unit.kafka.reader import Reader, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

TP = TopicPartition("orders", 0)


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as cluster:
        cluster.create_topic("orders", 2)
        yield cluster


@pytest.fixture
def reader(cluster: EmbeddedCluster) -> Iterator[Reader]:
    reader = Reader(settings(cluster.bootstrap), "orders")
    yield reader
    reader.source.close()


def produce(cluster: EmbeddedCluster, count: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for _ in range(count):
        producer.produce("orders", b"x", partition=partition)
    assert producer.flush(10) == 0


def test_every_message_comes_once_and_the_position_stands_behind_it(cluster: EmbeddedCluster, reader: Reader) -> None:
    produce(cluster, 100)
    produce(cluster, 50, partition=1)
    reader.until(lambda: sum(reader.source.positions.values()) == 150)
    assert reader.offsets == {TP: list(range(100)), TopicPartition("orders", 1): list(range(50))}
    assert reader.source.lag() == {TP: 0, TopicPartition("orders", 1): 0}


def test_an_empty_partition_has_a_position_as_soon_as_its_end_is_known(reader: Reader) -> None:
    reader.until_at(TP, 0)


def test_a_seek_reads_again_from_there(cluster: EmbeddedCluster, reader: Reader) -> None:
    produce(cluster, 10)
    reader.until_at(TP, 10)
    reader.source.seek({TP: 4})
    assert reader.source.positions[TP] == 4
    reader.until_at(TP, 10)
    assert reader.offsets[TP] == [*range(10), *range(4, 10)]


def test_a_seek_before_the_client_fetches_is_done_as_soon_as_it_can_be(
    cluster: EmbeddedCluster, reader: Reader
) -> None:
    produce(cluster, 10)
    reader.listener.on_assigned = lambda _: reader.source.seek({TP: 4})
    reader.until_at(TP, 10)
    assert reader.offsets[TP] == list(range(4, 10))


def test_a_seek_while_paused_holds_after_the_pause(cluster: EmbeddedCluster, reader: Reader) -> None:
    produce(cluster, 10)
    reader.until_at(TP, 10)
    reader.source.pause([TP])
    reader.source.seek({TP: 7})
    reader.polls(4)
    assert reader.offsets[TP] == list(range(10))
    reader.source.pause([])
    reader.until_at(TP, 10)
    assert reader.offsets[TP][10:] == [7, 8, 9]


def test_what_was_fetched_ahead_of_a_pause_comes_once_and_after_it(cluster: EmbeddedCluster) -> None:
    produce(cluster, 100)
    reader = Reader(settings(cluster.bootstrap, poll_messages=10), "orders")
    reader.until(lambda: reader.offsets)
    reader.source.pause([TP])
    taken = len(reader.offsets[TP])
    reader.polls(4)
    assert len(reader.offsets[TP]) == taken
    reader.source.pause([])
    reader.until_at(TP, 100)
    assert reader.offsets[TP] == list(range(100))
    reader.source.close()


def test_pausing_partitions_that_are_not_ours_is_nothing(reader: Reader) -> None:
    reader.until_at(TP, 0)
    reader.source.pause([TP, TopicPartition("orders", 9), TopicPartition("other", 0)])
    reader.source.pause([])


def test_a_commit_is_true_once_kafka_has_it_and_the_next_start_goes_on_there(
    cluster: EmbeddedCluster, reader: Reader
) -> None:
    produce(cluster, 10)
    reader.until_at(TP, 10)
    assert not reader.source.commit({TP: Committed(6)})
    reader.until(lambda: reader.source.commit({TP: Committed(6)}))
    reader.source.close()
    again = Reader(settings(cluster.bootstrap), "orders")
    again.until_at(TP, 10)
    assert again.offsets[TP] == [6, 7, 8, 9]
    again.source.close()


def test_a_commit_of_what_is_not_ours_is_left_out(reader: Reader) -> None:
    reader.until_at(TP, 0)
    assert reader.source.commit({TopicPartition("other", 0): Committed(5)})


def test_a_commit_that_was_refused_is_sent_again(cluster: EmbeddedCluster, reader: Reader) -> None:
    produce(cluster, 10)
    reader.until_at(TP, 10)
    cluster.fail(8, 28)  # OffsetCommit: INVALID_COMMIT_OFFSET_SIZE
    assert not reader.source.commit({TP: Committed(6)})
    reader.until(lambda: not reader.source.committing)
    reader.until(lambda: reader.source.commit({TP: Committed(6)}))


def test_offsets_are_committed_on_the_way_out(cluster: EmbeddedCluster, reader: Reader) -> None:
    produce(cluster, 10)
    reader.until_at(TP, 10)
    reader.listener.on_revoked = lambda _: reader.source.commit(reader.at_positions())
    reader.source.close()
    again = Reader(settings(cluster.bootstrap, start="latest"), "orders")
    again.until_at(TP, 10)
    assert again.source.committed[TP] == Committed(10)
    again.source.close()


def test_an_outage_says_why_and_heals_by_itself(cluster: EmbeddedCluster, reader: Reader) -> None:
    produce(cluster, 10)
    reader.until_at(TP, 10)
    cluster.down()
    reader.until(lambda: reader.source.away)
    assert reader.source.away
    assert not reader.source.commit({TP: Committed(10)}) or TP not in reader.source.assigned
    cluster.up()
    reader.until(lambda: reader.source.away is None)
    reader.until(lambda: TP in reader.source.assigned and reader.source.commit({TP: Committed(10)}))
    produce(cluster, 5)
    reader.until_at(TP, 15)
    # What was not committed before the group was lost comes a second time; nothing is left out.
    assert sorted(set(reader.offsets[TP])) == list(range(15))
    assert reader.offsets[TP][-5:] == list(range(10, 15))


def test_brokers_that_are_away_at_the_start_are_waited_for_and_named() -> None:
    reader = Reader(settings("127.0.0.1:1"), "orders")
    reader.until(lambda: reader.source.away and "refused" in reader.source.away)
    started = time.monotonic()
    reader.poll(0.2)
    assert time.monotonic() - started < ASSIGN_SECONDS  # the least that a wait for an answer takes
    reader.source.close()


def test_a_property_that_does_not_exist_is_a_problem_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"kafka\.properties"):
        KafkaSource(settings("127.0.0.1:1", properties={"no.such": 1}))
