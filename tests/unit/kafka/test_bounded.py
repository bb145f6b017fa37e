"""The consumer of a replay on the embedded cluster: it begins, resumes, and stops at its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from connector.core.bounds import Bound, Kind, Range
from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.alone import SESSION_SECONDS, replay_settings
from connector.kafka.embedded import EmbeddedCluster
from connector.kafka.ranges import resolve
from tests.unit.kafka.reader import BoundedReader, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    NewReader = Callable[..., BoundedReader]

TP, OTHER = TopicPartition("orders", 0), TopicPartition("orders", 1)
EARLIEST, LATEST = Bound(Kind.EARLIEST), Bound(Kind.LATEST)


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as cluster:
        cluster.create_topic("orders", 2)
        produce(cluster, 20)
        produce(cluster, 10, partition=1)
        yield cluster


@pytest.fixture
def new_reader(cluster: EmbeddedCluster) -> Iterator[NewReader]:
    readers: list[BoundedReader] = []

    def new(*ranges: Range, **changes: Any) -> BoundedReader:
        wanted = dict(zip((TP, OTHER), ranges, strict=False))
        readers.append(BoundedReader(settings(cluster.bootstrap, **changes), wanted))
        return readers[-1]

    yield new
    for reader in readers:
        reader.source.close()


def produce(cluster: EmbeddedCluster, count: int, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for _ in range(count):
        producer.produce("orders", b"x", partition=partition)
    assert producer.flush(10) == 0


def test_exactly_the_ranges_come_and_then_it_is_finished(new_reader: NewReader) -> None:
    reader = new_reader(Range(5, 15), Range(0, 10))
    assert not reader.bounded.finished
    reader.until_finished()
    reader.polls(3)
    assert reader.offsets == {TP: list(range(5, 15)), OTHER: list(range(10))}
    assert (reader.source.positions, reader.source.lag()) == ({TP: 15, OTHER: 10}, {TP: 0, OTHER: 0})
    assert (reader.source.joined, reader.source.share) == (True, 1.0)


def test_what_comes_while_it_runs_is_not_read(cluster: EmbeddedCluster, new_reader: NewReader) -> None:
    reader = new_reader(Range(0, 20), Range(0, 10), poll_messages=5)
    reader.until(lambda: reader.offsets)
    produce(cluster, 50)
    reader.until_finished()
    produce(cluster, 50)
    reader.polls(5)
    assert reader.offsets[TP] == list(range(20))


def test_an_empty_range_is_finished_as_soon_as_it_is_ours(new_reader: NewReader) -> None:
    reader = new_reader(Range(7, 7), Range(10, 10))
    reader.until_finished()
    assert (reader.offsets, reader.source.positions) == ({}, {TP: 7, OTHER: 10})


def test_a_partition_outside_the_ranges_is_not_read(new_reader: NewReader) -> None:
    reader = new_reader(Range(0, 20))
    reader.until_finished()
    assert (reader.source.assigned, reader.offsets) == ({TP}, {TP: list(range(20))})


def test_another_source_of_the_same_group_goes_on_where_the_first_has_committed(new_reader: NewReader) -> None:
    first = new_reader(Range(0, 20), Range(0, 10), poll_messages=4)
    first.until(lambda: first.source.positions.get(TP, 0) >= 8)
    first.until(lambda: first.source.commit({TP: Committed(8), OTHER: Committed(0, "job")}))
    first.source.close()
    second = new_reader(Range(0, 20), Range(0, 10))
    second.until(lambda: second.source.positions.get(TP) == 20)
    assert second.offsets == {TP: list(range(8, 20))}, "what stands under an intent does not flow"
    assert second.source.committed == {TP: Committed(8), OTHER: Committed(0, "job")}
    second.source.seek({OTHER: 10})
    second.until_finished()


def test_what_was_read_can_be_read_again_after_the_end(new_reader: NewReader) -> None:
    reader = new_reader(Range(0, 20), Range(0, 10))
    reader.until_finished()
    reader.source.seek({TP: 17})
    assert not reader.bounded.finished
    reader.source.pause([])
    reader.until_finished()
    assert reader.offsets[TP] == [*range(20), 17, 18, 19]


def test_what_is_held_back_stands_still_and_the_rest_is_read(new_reader: NewReader) -> None:
    reader = new_reader(Range(0, 20), Range(0, 10), poll_messages=1)
    reader.until(lambda: reader.source.assigned)
    reader.source.pause([OTHER])
    read = len(reader.offsets.get(OTHER, []))
    reader.until(lambda: reader.source.positions.get(TP) == 20)
    reader.polls(3)
    assert len(reader.offsets.get(OTHER, [])) == read
    reader.source.pause([])
    reader.until_finished()
    assert reader.offsets == {TP: list(range(20)), OTHER: list(range(10))}


def test_a_partition_that_ends_below_its_range_is_named_instead_of_waited_for(new_reader: NewReader) -> None:
    reader = new_reader(Range(0, 30), Range(0, 10))
    reader.until(lambda: reader.source.gone)
    assert reader.source.gone == {TP: "it ends at 20, below 30: the topic was made anew, or cut"}
    assert not reader.bounded.finished


def test_a_second_process_of_the_same_replay_is_refused_and_does_not_harm_the_first(
    cluster: EmbeddedCluster, new_reader: NewReader
) -> None:
    first = new_reader(Range(0, 25), Range(0, 10))
    first.until_at(OTHER, 10)
    second = new_reader(Range(0, 25), Range(0, 10))
    with pytest.raises(SourceError, match="another process runs this replay: it is in group group"):
        second.until(lambda: (first.poll(), second.bounded.finished)[1])
    second.source.close()
    produce(cluster, 5)
    first.until_finished()
    assert sorted(set(first.offsets[TP])) == list(range(25))
    assert second.offsets == {}


def test_a_replay_has_a_group_of_its_own_without_the_name_of_the_service(cluster: EmbeddedCluster) -> None:
    service = settings(cluster.bootstrap, instance_id="pod-0", properties={"fetch.min.bytes": 7})
    service = service.model_copy(update={"properties": {"fetch.min.bytes": 7}})
    ours = replay_settings(service, "replay")
    assert (ours.group, ours.instance_id) == ("replay", None)
    assert ours.properties == {"fetch.min.bytes": 7, "session.timeout.ms": SESSION_SECONDS * 1000}
    by_broker = replay_settings(service.model_copy(update={"group_protocol": "consumer"}), "replay")
    assert by_broker.properties == {"fetch.min.bytes": 7}


def test_ends_become_offsets_of_every_partition(cluster: EmbeddedCluster) -> None:
    found = resolve(settings(cluster.bootstrap), ["^ord"], Bound(Kind.OFFSET, 5), Bound(Kind.OFFSET, 15))
    assert found.ranges == {TP: Range(5, 15), OTHER: Range(5, 10)}
    assert (found.messages, found.remarks) == (15, ["orders[1]: offset 15 is beyond the end, 10"])
    assert found.partitions[TP].extent == (0, 20)


def test_topics_that_belong_to_another_table_are_left_out(cluster: EmbeddedCluster) -> None:
    assert resolve(settings(cluster.bootstrap), ["^ord"], EARLIEST, LATEST, lambda t: t != "orders").ranges == {}


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [("nothing", "topic nothing does not exist, or we may not see it .create it"), ("^x", "no topic matches .x")],
)
def test_topics_that_are_not_there_are_named_with_the_next_step(
    cluster: EmbeddedCluster, wanted: str, complaint: str
) -> None:
    with pytest.raises(SourceError, match=complaint):
        resolve(settings(cluster.bootstrap), [wanted], EARLIEST, LATEST)
