"""How many partitions there are in all: the part of one replica is counted against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connector.kafka.embedded import EmbeddedCluster
from connector.kafka.shares import PartitionCount, takes
from tests.kafka_broker import wait_for
from tests.unit.kafka.reader import Reader, settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as started:
        started.create_topic("orders", 3)
        started.create_topic("order-items", 2)
        started.create_topic("other", 5)
        yield started


def test_the_partitions_of_all_topics_that_are_read_are_counted(cluster: EmbeddedCluster) -> None:
    count = PartitionCount(settings(cluster.bootstrap), ["orders", "^order-"])
    try:
        assert wait_for(lambda: count.total) == 5
    finally:
        count.stop()


def test_nothing_is_known_while_no_broker_answers() -> None:
    count = PartitionCount(settings("127.0.0.1:1"), ["orders"])
    count.stop()
    assert count.total == 0


def test_a_replica_alone_has_all_and_two_have_their_parts(cluster: EmbeddedCluster) -> None:
    first = Reader(settings(cluster.bootstrap), "orders")
    first.until(lambda: first.source.share == 1.0)
    second = Reader(settings(cluster.bootstrap), "orders")

    def parted() -> bool:
        first.poll(0.02)
        second.poll(0.02)
        return 0 < first.source.share < 1 and 0 < second.source.share < 1

    wait_for(parted)
    assert first.source.share + second.source.share == pytest.approx(1.0)
    for reader in (first, second):
        reader.source.close()


@pytest.mark.parametrize(
    ("pattern", "topic", "taken"),
    [("orders", "orders", True), ("orders", "orders-2", False), ("^ord", "orders", True), ("^x", "orders", False)],
)
def test_a_name_takes_itself_and_an_expression_what_it_matches(pattern: str, topic: str, *, taken: bool) -> None:
    assert takes(pattern, topic) is taken
