"""The consumer on a real broker: transactions, retention, groups, evictions, outages, large messages."""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as ClientPartition
from structlog.testing import capture_logs

from connector.config import Kafka
from connector.core.intents import Committed
from connector.core.messages import reject
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.dead_letters import KafkaDeadLetters
from connector.kafka.membership import CLOSE_SECONDS
from connector.kafka.source import ASSIGN_SECONDS
from tests.kafka_broker import PASSWORD, USER, wait_for
from tests.unit.kafka.reader import Reader, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kafka_broker import KafkaBroker

    NewReader = Callable[..., Reader]

pytestmark = pytest.mark.kafka


@pytest.fixture
def new_reader(kafka: KafkaBroker) -> Iterator[NewReader]:
    """Readers of one group of this test, closed at its end."""
    readers: list[Reader] = []
    group = uuid.uuid4().hex

    def new(*topics: str, **changes: object) -> Reader:
        readers.append(Reader(settings(kafka.bootstrap, group, **changes), *topics))
        return readers[-1]

    yield new
    for reader in readers:
        reader.source.close()


def transaction(kafka: KafkaBroker, topic: str, *values: bytes, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.flush(30)
    producer.commit_transaction(30) if commit else producer.abort_transaction(30)


# --- transactions and retention ---------------------------------------------------------------------------------


def test_aborted_messages_never_come_and_the_position_passes_them_and_the_markers(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    transaction(kafka, topic, b"a", b"b", commit=True)
    transaction(kafka, topic, b"x", b"y", commit=False)
    reader = new_reader(topic)
    reader.until_at(tp, 6)
    assert reader.values == [b"a", b"b"]
    assert reader.source.lag() == {tp: 0}
    reader.commit()
    transaction(kafka, topic, b"c", commit=True)
    reader.until_at(tp, 8)
    assert reader.values == [b"a", b"b", b"c"]
    assert kafka.committed(reader.source._kafka.group, topic) == 6


def test_data_and_the_end_behind_it_in_one_poll_leave_the_position_at_the_end(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    transaction(kafka, topic, *[b"a"] * 10, commit=True)
    reader = new_reader(topic)
    wait_for(lambda: reader.poll(2.0))  # consume() waits for its whole timeout, so both are in it
    assert reader.source.positions[tp] == 11


def _with_a_gap(kafka: KafkaBroker, new_reader: NewReader, committed: int = 20) -> TopicPartition:
    """Return a partition of offsets 50 to 99, of which the group has committed `committed`."""
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, *[b"x"] * 100)
    first = new_reader(topic)
    first.until_at(tp, 100)
    first.until(lambda: first.source.commit({tp: Committed(committed)}))
    first.source.close()
    at = ClientPartition(topic, 0, 50)
    kafka.admin.delete_records([at])[at].result(30)
    return tp


def test_messages_that_retention_took_hold_the_partition_and_are_counted(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    tp = _with_a_gap(kafka, new_reader)
    second = new_reader(tp.topic)
    second.until(lambda: second.source.gone)
    assert second.source.gone == {tp: "messages 20 to 49 were deleted before they were read"}
    assert second.source.lost == {tp.topic: 30}
    second.polls(5)
    assert (second.offsets, second.source.positions) == ({}, {tp: 20})


@pytest.mark.parametrize(("policy", "first", "lost"), [("earliest", 50, 30), ("latest", 100, 80)])
def test_by_setting_it_goes_on_after_the_gap_and_says_how_large_it_was(
    kafka: KafkaBroker, new_reader: NewReader, policy: str, first: int, lost: int
) -> None:
    tp = _with_a_gap(kafka, new_reader)
    second = new_reader(tp.topic, on_data_loss=policy)
    with capture_logs() as logs:
        second.until_at(tp, 100)
    kafka.produce(tp.topic, b"y")
    second.until_at(tp, 101)
    assert second.offsets[tp] == list(range(first, 101))
    (line,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert (line["at"], line["lost"], line["offset"]) == (f"{tp.topic}[0]", lost, first)
    second.commit()
    assert kafka.committed(second.source._kafka.group, tp.topic) == 101


def test_a_committed_offset_beyond_the_end_holds_the_partition_and_by_setting_commits_go_on(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    tp = _with_a_gap(kafka, new_reader, committed=700)  # as after messages were cut off, or offsets were copied
    holds = new_reader(tp.topic)
    holds.until(lambda: holds.source.gone)
    assert "700 is beyond the end, 100: the topic was made anew" in holds.source.gone[tp]
    holds.source.close()
    goes_on = new_reader(tp.topic, on_data_loss="earliest")
    goes_on.until_at(tp, 100)
    goes_on.commit()
    assert goes_on.offsets[tp] == list(range(50, 100))
    assert kafka.committed(goes_on.source._kafka.group, tp.topic) == 100


def test_messages_deleted_while_they_are_waited_for_are_a_gap_too(kafka: KafkaBroker, new_reader: NewReader) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, *[b"x"] * 10)
    reader = new_reader(topic, on_data_loss="earliest")
    reader.until_at(tp, 10)
    reader.source.pause([tp])
    kafka.produce(topic, *[b"y"] * 10)
    at = ClientPartition(topic, 0, 15)
    kafka.admin.delete_records([at])[at].result(30)
    reader.source.pause([])
    reader.until_at(tp, 20)
    assert reader.offsets[tp] == [*range(10), *range(15, 20)]
    assert reader.source.lost == {topic: 5}


@pytest.mark.parametrize(
    ("start", "expected"), [("earliest", [0, 1, 2]), ("latest", [2]), ("2020-01-01T00:00:00Z", [1, 2])]
)
def test_a_group_begins_where_it_is_told(
    kafka: KafkaBroker, new_reader: NewReader, start: str, expected: list[int]
) -> None:
    topic = kafka.create_topic(config={"retention.ms": "-1"})
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, b"long ago", timestamp=1_000_000_000_000)
    kafka.produce(topic, b"lately")
    reader = new_reader(topic, start=start)
    reader.until_at(tp, 2)
    kafka.produce(topic, b"new")
    reader.until_at(tp, 3)
    assert reader.offsets[tp] == expected


# --- who owns what ----------------------------------------------------------------------------------------------


def test_a_second_member_takes_over_where_the_first_committed_while_it_gave_partitions_up(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic(4)
    for partition in range(4):
        kafka.produce(topic, *[b"x"] * 10, partition=partition)
    first = new_reader(topic)
    first.until(lambda: sum(first.source.positions.values()) == 40)
    first.source.pause([TopicPartition(topic, p) for p in range(4)])
    first.listener.on_revoked = lambda tps: first.source.commit(dict.fromkeys(tps, Committed(7)))
    second = new_reader(topic)
    second.until(lambda: first.poll() or len(second.source.assigned) == 2)
    second.until(lambda: first.poll() or len(second.offsets) == 2)
    assert first.source.assigned.isdisjoint(second.source.assigned)
    assert all(offsets == [7, 8, 9] for offsets in second.offsets.values())
    assert first.source.positions == dict.fromkeys(first.source.assigned, 10), "what stays keeps its position"
    assert first.source._paused == first.source.assigned
    assert first.listener.names() == ["assigned", "revoked"]


def test_a_member_that_was_evicted_cannot_commit_and_is_told_that_it_lost(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, *[b"x"] * 10)
    idle = {"max.poll.interval.ms": 3000}
    stalled = new_reader(topic, properties=idle)
    stalled.until_at(tp, 10)
    heir = new_reader(topic)
    heir.until_at(tp, 10)
    heir.commit()
    stalled.source.commit({tp: Committed(3)})
    stalled.until(lambda: "lost" in stalled.listener.names() or "revoked" in stalled.listener.names())
    assert tp not in stalled.source.positions
    assert kafka.committed(heir.source._kafka.group, topic) == 10


def test_a_static_member_that_comes_back_moves_nobody(kafka: KafkaBroker, new_reader: NewReader) -> None:
    topic = kafka.create_topic(2)
    stays = new_reader(topic, instance_id="a")
    goes = new_reader(topic, instance_id="b")
    stays.until(lambda: goes.poll() or len(stays.source.assigned) == len(goes.source.assigned) == 1)
    owned, moves = set(goes.source.assigned), stays.listener.names()
    goes.source.close()
    back = new_reader(topic, instance_id="b")
    back.until(lambda: stays.poll() or back.source.assigned)
    assert back.source.assigned == owned
    assert stays.listener.names() == moves


def test_a_member_without_partitions_leaves_the_group_too_and_nobody_has_to_wait_for_it(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    long = {"session.timeout.ms": 40_000}  # so long a member that did not leave would hold up everybody who joins
    topic = kafka.create_topic()
    first = new_reader(topic, properties=long)
    first.until(lambda: first.source.joined)
    surplus = new_reader(topic, properties=long)

    def joined() -> bool:
        first.poll(0.02)
        surplus.poll(0.02)
        return surplus.source.joined

    wait_for(joined)
    assert not surplus.source.assigned
    surplus.source.close()
    group = first.source._kafka.group
    assert len(kafka.admin.describe_consumer_groups([group])[group].result(30).members) == 1


def test_where_the_broker_assigns_a_member_without_partitions_has_joined_too(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    shared = Kafka.model_validate({"brokers": kafka.bootstrap, "group": group, "group_protocol": "consumer"})
    first = Reader(shared, topic)
    first.until(lambda: first.source.assigned)
    surplus = Reader(shared, topic)
    surplus.until(lambda: first.poll() or surplus.source.joined)
    assert not surplus.source.assigned
    for reader in (surplus, first):
        reader.source.close()


def test_where_the_broker_assigns_who_was_evicted_is_no_member_until_it_was_taken_in_again(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    shared = {"brokers": kafka.bootstrap, "group": group, "group_protocol": "consumer"}
    quick = {"max.poll.interval.ms": 3000, "statistics.interval.ms": 200}
    stalled = Reader(Kafka.model_validate(shared | {"properties": quick}), topic)
    stalled.until(lambda: stalled.source.assigned)
    heir = Reader(Kafka.model_validate(shared), topic)
    heir.until(lambda: heir.source.assigned)
    stalled.until(lambda: "lost" in stalled.listener.names())
    assert not stalled.source.joined
    stalled.until(lambda: heir.poll() or stalled.source.joined)
    assert not stalled.source.assigned, "it is the member that has nothing now"
    for reader in (stalled, heir):
        reader.source.close()


def test_of_two_members_with_one_instance_id_the_older_is_fenced(kafka: KafkaBroker, new_reader: NewReader) -> None:
    topic = kafka.create_topic()
    older = new_reader(topic, instance_id="same")
    older.until(lambda: older.source.assigned)
    newer = new_reader(topic, instance_id="same")
    with pytest.raises(SourceError, match=r"kafka\.instance_id"):
        older.until(newer.poll)


def test_a_regular_expression_finds_topics_that_come_later_and_no_internal_ones(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    prefix = uuid.uuid4().hex[:8]
    kafka.create_topic(name=f"{prefix}.one")
    reader = new_reader(f"^({prefix}|__consumer)", properties={"topic.metadata.refresh.interval.ms": 500})
    reader.until(lambda: reader.source.assigned)
    kafka.create_topic(name=f"{prefix}.two")
    reader.until(lambda: len(reader.source.assigned) == 2)
    assert {tp.topic for tp in reader.source.assigned} == {f"{prefix}.one", f"{prefix}.two"}


# --- commits ----------------------------------------------------------------------------------------------------


def test_a_commit_may_be_taken_for_one_partition_and_refused_for_another(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    stays, goes = kafka.create_topic(), kafka.create_topic()
    kafka.produce(stays, *[b"x"] * 10)
    kafka.produce(goes, *[b"x"] * 10)
    kept, gone = TopicPartition(stays, 0), TopicPartition(goes, 0)
    reader = new_reader(stays, goes, properties={"topic.metadata.refresh.interval.ms": 60_000})
    reader.until_at(kept, 10)
    reader.until_at(gone, 10)
    kafka.admin.delete_topics([goes])[goes].result(30)
    wait_for(lambda: goes not in kafka.admin.list_topics(timeout=5).topics)
    assert not reader.source.commit({kept: Committed(5), gone: Committed(5)})
    reader.until(lambda: reader.source.commit({kept: Committed(5)}))
    assert gone not in reader.source.committed
    assert kafka.committed(reader.source._kafka.group, stays) == 5


def test_a_broker_that_hangs_holds_up_neither_poll_nor_commit_nor_the_way_out(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, *[b"x"] * 10)
    reader = new_reader(topic)
    reader.until_at(tp, 10)
    kafka.freeze()
    try:
        started = time.monotonic()
        assert not reader.source.commit({tp: Committed(5)})
        reader.source.seek({tp: 5})
        reader.source.pause([tp])
        reader.poll(0.1)
        assert time.monotonic() - started < ASSIGN_SECONDS  # the least that a wait for an answer takes
        reader.source.close()
        assert time.monotonic() - started < ASSIGN_SECONDS + 2 * CLOSE_SECONDS  # a client's own way out takes minutes
    finally:
        kafka.thaw()


def test_a_broker_that_loses_power_is_waited_for_and_nothing_is_lost_or_doubled(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic = kafka.create_topic()
    tp = TopicPartition(topic, 0)
    kafka.produce(topic, *[b"x"] * 10)
    reader = new_reader(topic, properties={"session.timeout.ms": 30_000})
    reader.until_at(tp, 10)
    kafka.kill()
    reader.until(lambda: reader.source.away and "refused" in reader.source.away)
    started = time.monotonic()
    assert not reader.source.commit({tp: Committed(10)})
    reader.poll(0.2)
    assert time.monotonic() - started < ASSIGN_SECONDS  # the least that a wait for an answer takes
    kafka.start()
    reader.until(lambda: reader.source.away is None)
    kafka.produce(topic, *[b"y"] * 10)
    reader.until_at(tp, 20)
    assert reader.offsets[tp] == list(range(20))
    reader.commit()


# --- security and size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_who_logs_in_may_read_and_a_wrong_password_is_final(kafka: KafkaBroker, mechanism: str) -> None:
    topic = kafka.create_topic()
    kafka.produce(topic, b"x")
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": USER}
    right = settings(kafka.sasl_bootstrap, uuid.uuid4().hex, properties=login | {"sasl.password": PASSWORD})
    reader = Reader(right, topic)
    reader.until_at(TopicPartition(topic, 0), 1)
    reader.source.close()
    wrong = Reader(settings(kafka.sasl_bootstrap, properties=login | {"sasl.password": "guessed"}), topic)
    with pytest.raises(SourceError, match=r"sasl\.password") as caught:
        wrong.until(lambda: False)
    assert "guessed" not in str(caught.value)
    wrong.source.close()


def test_a_message_of_20_mb_passes_and_can_be_rejected_with_and_without_its_value(
    kafka: KafkaBroker, new_reader: NewReader
) -> None:
    topic, large = (kafka.create_topic(config={"max.message.bytes": "30000000"}) for _ in range(2))
    small = kafka.create_topic()
    value = random.Random(1).randbytes(20_000_000)  # what cannot be compressed
    kafka.produce(topic, value)
    reader = new_reader(topic)
    (batch,) = wait_for(reader.poll)
    assert reader.values == [value]
    for dead, expected in ((large, value), (small, None)):
        letters = KafkaDeadLetters(settings(kafka.bootstrap, dead_letter_topic=dead))
        letters.send([reject(batch, 0, "broken", "too long for a column")])
        assert letters.flush(30)
        assert kafka.read(dead, 1)[0].value() == expected
