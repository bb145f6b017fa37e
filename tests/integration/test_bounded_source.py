"""The consumer of a replay, its ends and its plan on a real broker: times, gaps, transactions, retention, kills."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

from connector.config import Kafka
from connector.core.bounds import Bound, Kind, Range, parse_bound
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.alone import others, wait_until_alone
from connector.kafka.bounded import WholeSource
from connector.kafka.kept import Plan, begin, forget, keep, kept, plan_group
from connector.kafka.ranges import resolve
from tests.integration.replaying import replay_and_die
from tests.kafka_broker import PASSWORD, USER, wait_for
from tests.unit.kafka.reader import QUICK, BoundedReader, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kafka_broker import KafkaBroker

    NewReader = Callable[..., BoundedReader]

pytestmark = pytest.mark.kafka

EARLIEST, LATEST = Bound(Kind.EARLIEST), Bound(Kind.LATEST)


def at(milliseconds: int) -> Bound:
    return Bound(Kind.TIME, milliseconds)


def offset(value: int) -> Bound:
    return Bound(Kind.OFFSET, value)


@pytest.fixture
def group() -> str:
    return f"replay-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def new_reader(kafka: KafkaBroker, group: str) -> Iterator[NewReader]:
    """Readers of one replay of this test, closed at its end."""
    readers: list[BoundedReader] = []

    def new(ranges: dict[TopicPartition, Range], **changes: Any) -> BoundedReader:
        readers.append(BoundedReader(settings(kafka.bootstrap, group, **changes), ranges))
        return readers[-1]

    yield new
    for reader in readers:
        reader.source.close()


def all_of(kafka: KafkaBroker, topic: str) -> dict[TopicPartition, Range]:
    return resolve(settings(kafka.bootstrap), [topic], EARLIEST, LATEST).ranges


def delete_below(kafka: KafkaBroker, tp: TopicPartition, low: int) -> None:
    place = ClientPartition(*tp, low)
    kafka.admin.delete_records([place])[place].result(30)


def transaction(kafka: KafkaBroker, topic: str, *values: bytes, commit: bool) -> None:
    producer = open_transaction(kafka, topic, *values)
    producer.commit_transaction(30) if commit else producer.abort_transaction(30)


def open_transaction(kafka: KafkaBroker, topic: str, *values: bytes) -> Producer:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.flush(30)
    return producer


# --- times ------------------------------------------------------------------------------------------------------

START = 1_700_000_000_000
TIMES = [START + t for t in (100, 200, 200, 200, 400, 300, 500)]  # equal ones, and one out of order


@pytest.fixture(scope="module")
def timed(kafka: KafkaBroker) -> str:
    topic = kafka.create_topic(config={"retention.ms": "-1"})  # their times lie long ago
    for time in TIMES:
        kafka.produce(topic, b"x", timestamp=time)
    return topic


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (at(0), at(START), Range(0, 0)),  # both before the first
        (at(START), LATEST, Range(0, 7)),  # before the first
        (at(START + 501), LATEST, Range(7, 7)),  # after the last
        (EARLIEST, at(START + 501), Range(0, 7)),
        (at(START + 500), LATEST, Range(6, 7)),  # the last one itself
        (at(START + 150), LATEST, Range(1, 7)),  # between two
        (at(START + 200), LATEST, Range(1, 7)),  # the first of equal ones
        (EARLIEST, at(START + 200), Range(0, 1)),  # as an end it is not read
        (at(START + 201), LATEST, Range(4, 7)),
        (at(START + 300), LATEST, Range(4, 7)),  # out of order: the first at or after, which is the later one before it
        (at(START + 450), LATEST, Range(6, 7)),
        (at(START + 400), at(START + 100), Range(0, 0)),  # the wrong way round
    ],
)
def test_a_time_is_the_first_message_at_or_after_it(
    kafka: KafkaBroker, timed: str, start: Bound, end: Bound, expected: Range
) -> None:
    found = resolve(settings(kafka.bootstrap), [timed], start, end)
    assert found.ranges == {TopicPartition(timed, 0): expected}
    assert bool(found.remarks) == (start == at(START + 400))


def test_a_time_as_people_write_it_finds_its_messages(kafka: KafkaBroker, timed: str, new_reader: NewReader) -> None:
    since = parse_bound("2023-11-14T23:13:20.150+01:00", START)  # 1_700_000_000.150
    until = parse_bound("100 ms", START + 500)
    reader = new_reader(resolve(settings(kafka.bootstrap), [timed], since, until).ranges)
    reader.until_finished()
    assert reader.offsets == {TopicPartition(timed, 0): [1, 2, 3]}


def test_every_partition_has_offsets_of_its_own_for_a_time(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic(3, config={"retention.ms": "-1"})
    kafka.produce(topic, b"a", b"b", timestamp=START)
    kafka.produce(topic, b"c", timestamp=START + 10, partition=1)
    found = resolve(settings(kafka.bootstrap), [topic], at(START + 5), LATEST).ranges
    assert [found[TopicPartition(topic, p)] for p in range(3)] == [Range(2, 2), Range(0, 1), Range(0, 0)]


# --- gaps, transactions, retention ------------------------------------------------------------------------------


def test_a_compacted_topic_is_read_across_its_gaps_to_the_end(kafka: KafkaBroker, new_reader: NewReader) -> None:
    compacting = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    topic = kafka.create_topic(config=compacting | {"max.compaction.lag.ms": "100"})
    tp = TopicPartition(topic, 0)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for n in range(100):
        producer.produce(topic, b"%d" % n, key=b"k")
    producer.flush(30)

    def survivors() -> list[int]:
        producer.produce(topic, b"last", key=b"other")  # the open segment is never compacted
        producer.flush(30)
        ranges = all_of(kafka, topic)
        reader = BoundedReader(settings(kafka.bootstrap, uuid.uuid4().hex), ranges)
        reader.until_finished()
        reader.source.close()
        assert reader.source.positions in ({tp: ranges[tp].end}, {})
        return reader.offsets[tp]

    assert wait_for(lambda: survivors()[0] == 99, 60)
    end = all_of(kafka, topic)[tp].end
    reader = new_reader({tp: Range(50, end)})
    reader.until_finished()
    assert (reader.offsets[tp][0], reader.source.positions) == (99, {tp: end})
    reader.source.close()
    empty = new_reader({tp: Range(10, 50)})
    empty.until_finished()
    assert (empty.offsets, empty.source.positions) == ({}, {tp: 50})


@pytest.mark.parametrize("commit", [True, False])
def test_markers_at_the_end_of_the_log_do_not_keep_it_from_ending(
    kafka: KafkaBroker, new_reader: NewReader, *, commit: bool
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    transaction(kafka, topic, b"a", b"b", commit=True)
    transaction(kafka, topic, b"x", b"y", commit=commit)
    ranges = all_of(kafka, topic)
    assert ranges == {tp: Range(0, 6)}
    reader = new_reader(ranges)
    reader.until_finished()
    assert reader.values == [b"a", b"b", *([b"x", b"y"] if commit else [])]
    assert reader.source.positions == {tp: 6}
    reader.commit()
    assert kafka.committed(reader.source._kafka.group, topic) == 6


@pytest.mark.parametrize("end", [3, 4, 5, 6])
def test_an_end_inside_an_aborted_transaction_is_reached_by_what_comes_behind_it(
    kafka: KafkaBroker, new_reader: NewReader, end: int
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    transaction(kafka, topic, b"a", b"b", commit=True)
    transaction(kafka, topic, b"x", b"y", commit=False)
    transaction(kafka, topic, b"c", commit=True)
    reader = new_reader({tp: Range(0, end)})
    reader.until_finished()
    assert (reader.values, reader.source.positions) == ([b"a", b"b"], {tp: end})


def test_the_end_behind_a_marker_is_reached_again_after_reading_again(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    transaction(kafka, topic, b"a", b"b", commit=True)
    reader = new_reader(all_of(kafka, topic))
    reader.until_finished()
    reader.source.seek({tp: 1})
    reader.source.pause([])
    reader.until_finished()
    assert (reader.offsets, reader.source.positions) == ({tp: [0, 1, 1]}, {tp: 3})


def test_an_open_transaction_is_outside_and_not_waited_for(kafka: KafkaBroker, new_reader: NewReader) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, b"a", b"b")
    producer = open_transaction(kafka, topic, b"not yet")
    ranges = all_of(kafka, topic)
    reader = new_reader(ranges)
    reader.until_finished()
    assert (ranges, reader.values) == ({tp: Range(0, 2)}, [b"a", b"b"])
    producer.commit_transaction(30)
    reader.polls(3)
    assert reader.values == [b"a", b"b"]


def test_a_head_that_retention_took_is_said_and_the_rest_is_the_range(kafka: KafkaBroker) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, *[b"x"] * 100)
    delete_below(kafka, TopicPartition(topic, 0), 40)
    found = resolve(settings(kafka.bootstrap), [topic], offset(10), offset(60))
    assert found.ranges == {TopicPartition(topic, 0): Range(40, 60)}
    assert found.remarks == [f"{topic}[0]: offset 10 is gone, the first one that is there is 40: 30 missing"]


@pytest.mark.parametrize("policy", ["earliest", "latest"])
def test_a_head_that_goes_after_the_plan_was_made_is_a_loss_and_what_is_there_is_read(
    kafka: KafkaBroker, new_reader: NewReader, policy: str
) -> None:
    tp = _hundred(kafka)
    delete_below(kafka, tp, 40)
    reader = new_reader({tp: Range(0, 60)}, on_data_loss=policy)
    reader.until_finished()
    assert (reader.offsets, reader.source.lost) == ({tp: list(range(40, 60))}, {tp.topic: 40})
    assert reader.source.positions == {tp: 60}


def test_from_earliest_a_table_is_built_of_what_is_there_once_it_is_read(kafka: KafkaBroker, group: str) -> None:
    tp = _hundred(kafka)
    delete_below(kafka, tp, 40)
    reader = BoundedReader(settings(kafka.bootstrap, group), {tp: Range(0, 60)}, WholeSource, from_earliest=True)
    reader.until_finished()
    reader.source.close()
    assert (reader.offsets, reader.source.lost) == ({tp: list(range(40, 60))}, {tp.topic: 40})
    assert reader.source.gone == {}


def test_a_range_that_is_gone_as_a_whole_ends_by_setting_and_is_held_without_it(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    tp = _hundred(kafka)
    delete_below(kafka, tp, 80)
    holds = new_reader({tp: Range(30, 60)})
    holds.until(lambda: holds.source.gone)
    assert holds.source.gone == {tp: "messages 30 to 59 were deleted before they were read"}
    assert not holds.bounded.finished
    holds.source.close()
    goes_on = new_reader({tp: Range(30, 60)}, on_data_loss="earliest")
    goes_on.until_finished()
    assert (goes_on.offsets, goes_on.source.lost, goes_on.source.gone) == ({}, {tp.topic: 30}, {})


def test_what_is_gone_behind_the_end_of_a_partition_that_was_read_is_nobodys_loss(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    tp = _hundred(kafka)
    ranges = {tp: Range(0, 60)}
    first = new_reader(ranges)
    first.until_finished()
    first.commit()
    first.source.close()
    delete_below(kafka, tp, 80)
    second = new_reader(ranges)
    second.until_finished()
    second.polls(10)
    assert (second.bounded.finished, second.source.gone, second.source.lost) == (True, {}, {})
    assert second.offsets == {}


def _hundred(kafka: KafkaBroker) -> TopicPartition:
    topic = kafka.create_topic()
    kafka.produce(topic, *[b"x"] * 100)
    return TopicPartition(topic, 0)


# --- live traffic, kills, and who else is there -----------------------------------------------------------------


def test_live_traffic_beyond_the_end_is_not_delivered(kafka: KafkaBroker, new_reader: NewReader) -> None:
    topic = kafka.create_topic(2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    for tp in tps:
        kafka.produce(topic, *[b"old"] * 500, partition=tp.partition)
    ranges = all_of(kafka, topic)
    over = threading.Event()

    def live() -> None:
        while not over.is_set():
            kafka.produce(topic, *[b"new"] * 50)
            kafka.produce(topic, *[b"new"] * 50, partition=1)

    traffic = threading.Thread(target=live)
    traffic.start()
    try:
        reader = new_reader(ranges, poll_messages=100)
        reader.until_finished()
        reader.polls(10)
    finally:
        over.set()
        traffic.join()
    assert reader.offsets == {tp: list(range(500)) for tp in tps}
    assert reader.source.positions == dict.fromkeys(tps, 500)


PROTOCOLS: dict[str, dict[str, Any]] = {
    "classic": {"group_protocol": "classic", "properties": dict(QUICK)},
    "consumer": {"group_protocol": "consumer", "properties": {}},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_kill_9_the_same_replay_goes_on_where_it_has_committed(
    kafka: KafkaBroker, group: str, protocol: str
) -> None:
    tp = _hundred(kafka)
    ours = Kafka(brokers=kafka.bootstrap, group=group, poll_messages=7, **PROTOCOLS[protocol])
    ranges = {tp: Range(10, 90)}
    committed = replay_and_die(ours, ranges)
    assert 10 < committed < 90
    assert len(others(ours)) == 1, "its session is not over yet"
    wait_until_alone(ours)
    second = BoundedReader(ours, ranges)
    second.until_finished()
    second.source.close()
    assert second.offsets == {tp: list(range(committed, 90))}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_second_process_that_got_past_the_look_is_refused_and_does_not_harm_the_first(
    kafka: KafkaBroker, group: str, protocol: str
) -> None:
    topic = kafka.create_topic(2)
    tps = [TopicPartition(topic, p) for p in range(2)]
    for tp in tps:
        kafka.produce(topic, *[b"x"] * 50, partition=tp.partition)
    ours = Kafka(brokers=kafka.bootstrap, group=group, **PROTOCOLS[protocol])
    ranges = dict.fromkeys(tps, Range(0, 60))
    first = BoundedReader(ours, ranges)
    first.until(lambda: sum(first.source.positions.values()) == 100)
    second = BoundedReader(ours, ranges)
    with pytest.raises(SourceError, match=f"another process runs this replay: it is in group {group}"):
        second.until(lambda: (first.poll(), second.bounded.finished)[1])
    second.source.close()
    for tp in tps:
        kafka.produce(topic, *[b"x"] * 50, partition=tp.partition)
    first.until_finished()
    first.source.close()
    assert second.offsets == {}
    assert {tp: sorted(set(offsets)) for tp, offsets in first.offsets.items()} == {tp: list(range(60)) for tp in tps}


def test_a_replay_that_runs_elsewhere_is_told_by_its_member(
    kafka: KafkaBroker, new_reader: NewReader, group: str
) -> None:
    tp = _hundred(kafka)
    ours = settings(kafka.bootstrap, group)
    assert others(ours) == []
    wait_until_alone(ours)
    reader = new_reader({tp: Range(0, 200)})
    reader.until(lambda: reader.source.joined)
    with pytest.raises(SourceError, match=r"another process .kafka-celonis at .*127.0.0.1. runs this replay"):
        wait_until_alone(ours, reader.poll)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partitions_that_are_added_while_it_runs_are_not_read(kafka: KafkaBroker, group: str, protocol: str) -> None:
    tp = _hundred(kafka)
    soon = {"topic.metadata.refresh.interval.ms": 500}
    changes = PROTOCOLS[protocol] | {"properties": {**PROTOCOLS[protocol]["properties"], **soon}}
    reader = BoundedReader(Kafka(brokers=kafka.bootstrap, group=group, **changes), {tp: Range(0, 150)})
    reader.until_at(tp, 100)
    kafka.admin.create_partitions([NewPartitions(tp.topic, 3)])[tp.topic].result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(tp.topic, b"new", partition=2)
    assert producer.flush(30) == 0
    reader.until(lambda: _given(kafka, group) == 3)
    kafka.produce(tp.topic, *[b"x"] * 100)
    reader.until_finished()
    reader.commit()
    reader.source.close()
    assert (reader.offsets, reader.source.assigned) == ({tp: list(range(150))}, set())
    assert kafka.committed(group, tp.topic) == 150
    assert kafka.committed(group, tp.topic, 2) < 0


def _given(kafka: KafkaBroker, group: str) -> int:
    found = kafka.admin.describe_consumer_groups([group])[group].result(30)
    return sum(len(m.assignment.topic_partitions) for m in found.members)


# --- the plan ---------------------------------------------------------------------------------------------------


def test_a_plan_is_kept_read_back_and_forgotten_with_the_progress(
    kafka: KafkaBroker, new_reader: NewReader, group: str
) -> None:
    topic, ours = kafka.create_topic(3), settings(kafka.bootstrap, group)
    kafka.produce(topic, *[b"x"] * 10)
    plan = Plan("orders from 2h", {TopicPartition(topic, p): Range(0, 10 if p == 0 else 0) for p in range(3)})
    assert kept(ours, group) is None
    begin(ours, group, plan)
    assert kept(ours, group) == plan
    reader = new_reader(dict(plan.ranges))
    reader.until_finished()
    reader.commit()
    keep(ours, group, plan)
    assert (kept(ours, group), kafka.committed(group, topic)) == (plan, 10)
    reader.source.close()
    forget(ours, group)
    forget(ours, group)
    assert (kept(ours, group), kafka.committed(group, topic)) == (None, -1001)


def test_nobody_begins_anew_or_forgets_what_runs(kafka: KafkaBroker, new_reader: NewReader, group: str) -> None:
    tp, ours = _hundred(kafka), settings(kafka.bootstrap, group)
    plan = Plan("a", {tp: Range(0, 200)})
    begin(ours, group, plan)
    reader = new_reader(dict(plan.ranges))
    reader.until_at(tp, 100)
    taken = f"another process.* runs this replay: it is in group {group}"
    with pytest.raises(SourceError, match=taken):
        begin(ours, group, plan._replace(id="b"))
    with pytest.raises(SourceError, match=taken):
        forget(ours, group)
    assert kept(ours, group) == plan


def test_progress_without_a_plan_does_not_count_for_the_next_replay(kafka: KafkaBroker, new_reader: NewReader) -> None:
    tp = _hundred(kafka)
    ranges = {tp: Range(0, 100)}
    first = new_reader(ranges)
    ours = first.source._kafka
    first.until_finished()
    first.commit()
    first.source.close()
    begin(ours, ours.group, Plan("again", ranges))
    second = new_reader(ranges)
    second.until_finished()
    assert second.offsets == {tp: list(range(100))}


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("", "was not written by this version"),
        ("[]", "was not written by this version"),
        ('{"v":2,"id":"a","start":0,"of":1}', "was not written by this version"),
        ('{"v":1,"id":"a","start":"0","of":1}', "was not written by this version"),
        ('{"v":1,"id":"a","start":0,"of":2}', "is not complete"),
    ],
)
def test_half_a_plan_is_refused_with_the_way_out(kafka: KafkaBroker, group: str, metadata: str, complaint: str) -> None:
    topic, ours = kafka.create_topic(), settings(kafka.bootstrap, group)
    name = plan_group(group)
    written = [ConsumerGroupTopicPartitions(name, [ClientPartition(topic, 0, 5, metadata=metadata)])]
    kafka.admin.alter_consumer_group_offsets(written)[name].result(30)
    with pytest.raises(SourceError, match=f"{complaint}.*--delete --group {name}"):
        kept(ours, group)


# --- rights -----------------------------------------------------------------------------------------------------


def test_what_we_may_not_do_names_topic_or_group_and_the_right(kafka: KafkaBroker, group: str) -> None:
    topic = kafka.create_topic()
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    login |= {"sasl.username": USER, "sasl.password": PASSWORD}
    ours = settings(kafka.sasl_bootstrap, group, properties=login)
    assert resolve(ours, [topic], EARLIEST, LATEST).ranges == {TopicPartition(topic, 0): Range(0, 0)}
    _only_somebody_else(kafka, ResourceType.TOPIC, topic)
    with pytest.raises(SourceError, match=f"topic {topic} does not exist, or we may not see it .*grant DESCRIBE"):
        resolve(ours, [topic], EARLIEST, LATEST)
    _only_somebody_else(kafka, ResourceType.GROUP, group)
    with pytest.raises(SourceError, match=f"grant READ and DESCRIBE on group {group}"):
        others(ours)
    _only_somebody_else(kafka, ResourceType.GROUP, plan_group(group))
    lacking = f"grant READ, DESCRIBE and DELETE on group {plan_group(group)}"
    with pytest.raises(SourceError, match=lacking):
        kept(ours, group)
    with pytest.raises(SourceError, match=lacking):
        keep(ours, group, Plan("a", {TopicPartition(topic, 0): Range(0, 0)}))


def _only_somebody_else(kafka: KafkaBroker, kind: ResourceType, name: str) -> None:
    acl = AclBinding(
        kind, name, ResourcePatternType.LITERAL, "User:bob", "*", AclOperation.ALL, AclPermissionType.ALLOW
    )
    kafka.admin.create_acls([acl])[acl].result(30)
