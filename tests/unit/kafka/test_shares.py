"""How many partitions there are in all: the part of one replica is counted against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from connector.kafka.embedded import EmbeddedCluster
from connector.kafka.shares import ASK_SECONDS, FIRST_SECONDS, PartitionCount, pause_after, takes
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
    assert (count.total, count.absent) == (0, None)


def test_what_is_not_there_is_named_and_written_down_once_until_it_comes(cluster: EmbeddedCluster) -> None:
    with capture_logs() as logs:
        count = PartitionCount(settings(cluster.bootstrap), ["orders", "late", "^later"])
        try:
            assert wait_for(lambda: count.absent) == ("late", "^later")
            cluster.create_topic("late", 4)
            wait_for(lambda: count.absent == ("^later",) and count.total == 7)
        finally:
            count.stop()
    told = [(entry["event"], entry["topic"]) for entry in logs if "topic" in entry]
    assert told == [("found no topic", "late"), ("found no topic", "^later"), ("found topic", "late")]


def test_what_is_not_there_is_asked_for_ever_less_often_and_what_nobody_answers_is_asked_again_soon() -> None:
    pauses = [0.0]
    for _ in range(7):
        pauses.append(pause_after(pauses[-1], 3, ("late",)))
    assert pauses == [0.0, FIRST_SECONDS, 2.0, 4.0, 8.0, 16.0, ASK_SECONDS, ASK_SECONDS]
    assert pause_after(ASK_SECONDS, 0, None) == FIRST_SECONDS
    assert pause_after(FIRST_SECONDS, 3, ()) == ASK_SECONDS


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
