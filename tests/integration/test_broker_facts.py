"""What the intent protocol leans on, asked of the newest and of the oldest broker that the tests run.

Each fact is a commit that a broker takes or refuses. Where one changes with a new version, the protocol must be
thought through again before that version is supported.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.integration.group_member import GroupMember
from tests.kafka_broker import OLDEST, SILENT, KafkaBroker, MissingTool, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

pytestmark = pytest.mark.kafka

SESSION = {"session.timeout.ms": 30_000, "heartbeat.interval.ms": 300}  # no test waits for its end
STRATEGIES = ("range", "cooperative-sticky")
LONGEST = 4095  # characters of metadata


@pytest.fixture(scope="module", params=["newest", OLDEST])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    if request.param == "newest":
        yield request.getfixturevalue("kafka")
        return
    try:
        oldest = KafkaBroker(tmp_path_factory.mktemp("oldest"), version=OLDEST)
    except MissingTool as e:
        if os.environ.get("CI"):
            pytest.fail(str(e))
        pytest.skip(str(e))
    with oldest:
        yield oldest


class Member:
    """A plain consumer of one topic."""

    def __init__(self, node: KafkaBroker, group: str, topic: str, **properties: Any) -> None:
        self.errors: list[KafkaError] = []
        settings: dict[str, Any] = {"bootstrap.servers": node.bootstrap, "group.id": group, "logger": SILENT}
        settings |= {"enable.auto.commit": False, "enable.auto.offset.store": False, "error_cb": self.errors.append}
        self.consumer = Consumer(settings | (properties or SESSION))
        self.topic = topic
        self.consumer.subscribe([topic])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.close()

    def fenced(self) -> bool:
        """Poll, and return whether the client has given up for good."""
        event = self.consumer.poll(0.05)
        said = event.error() if event else None
        return any(e.fatal() or e.code() == KafkaError._FATAL for e in [*self.errors, *([said] if said else [])])

    @property
    def owned(self) -> set[int]:
        return {p.partition for p in self.consumer.assignment()}

    def commit(self, offset: int, metadata: str | None = None, partition: int = 0) -> str | None:
        """Commit, and return the name of the error."""
        at = TopicPartition(self.topic, partition, offset)
        if metadata is not None:
            at = TopicPartition(self.topic, partition, offset, metadata)
        try:
            self.consumer.commit(offsets=[at], asynchronous=False)
        except KafkaException as e:
            return str(e.args[0].name())
        return None

    def committed(self, partition: int = 0, seconds: float = 30.0) -> tuple[int, str]:
        """Return offset and metadata."""
        [found] = self.consumer.committed([TopicPartition(self.topic, partition)], timeout=seconds)
        return found.offset, found.metadata or ""


def _settled(*members: Member, partitions: int) -> None:
    """Poll all members until all partitions are owned and everybody has some."""

    def balanced() -> bool:
        for member in members:
            member.consumer.poll(0.05)
        owned = [m.owned for m in members]
        return all(owned) and sorted(p for some in owned for p in some) == list(range(partitions))

    wait_for(balanced)


def _named(strategy: str) -> dict[str, Any]:
    return {**SESSION, "partition.assignment.strategy": strategy}


# --- ownership and direction are nobody's business but ours -------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_member_may_commit_a_partition_that_another_one_owns(node: KafkaBroker, strategy: str) -> None:
    topic, group = node.create_topic(2), uuid.uuid4().hex
    with Member(node, group, topic, **_named(strategy)) as one:
        _settled(one, partitions=2)
        with Member(node, group, topic, **_named(strategy)) as other:
            _settled(one, other, partitions=2)
            [given_away] = other.owned
            assert one.commit(7, "by the one who gave it away", given_away) is None
            assert other.committed(given_away) == (7, "by the one who gave it away")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_commits_go_backwards_and_beyond_the_end(node: KafkaBroker, strategy: str) -> None:
    topic = node.create_topic()
    node.produce(topic, b"a", b"b")
    with Member(node, uuid.uuid4().hex, topic, **_named(strategy)) as member:
        _settled(member, partitions=1)
        for offset in (2, 0, 1_000):
            assert member.commit(offset) is None
            assert member.committed() == (offset, "")


# --- what stands with an offset -----------------------------------------------------------------------------------


def test_metadata_has_a_longest_length_and_longer_ones_are_refused(node: KafkaBroker) -> None:
    topic = node.create_topic()
    with Member(node, uuid.uuid4().hex, topic) as member:
        _settled(member, partitions=1)
        longest = 0
        for length in range(4090, 4100):
            if member.commit(length, "x" * length) is None:
                longest = length
        assert longest == LONGEST
        assert member.committed() == (longest, "x" * longest)


def test_a_commit_without_metadata_erases_what_stood_there(node: KafkaBroker) -> None:
    topic = node.create_topic()
    with Member(node, uuid.uuid4().hex, topic) as member:
        _settled(member, partitions=1)
        assert member.commit(1, "an intent") is None
        assert member.commit(1) is None
        assert member.committed() == (1, "")


def test_a_request_may_be_taken_for_one_partition_and_refused_for_another(node: KafkaBroker) -> None:
    topic = node.create_topic(2)
    with Member(node, uuid.uuid4().hex, topic) as member:
        _settled(member, partitions=2)
        both = [TopicPartition(topic, 0, 5, "fits"), TopicPartition(topic, 1, 5, "x" * 5000)]
        with pytest.raises(KafkaException, match="metadata string too large"):
            member.consumer.commit(offsets=both, asynchronous=False)
        assert member.committed(0) == (5, "fits")
        if node.version != OLDEST:
            assert member.committed(1)[0] < 0
            return
        with pytest.raises(KafkaException) as unanswered:  # 3.5 keeps it "pending" for good; mended by 3.7
            member.committed(1, 0.5)
        assert unanswered.value.args[0].code() == KafkaError._TIMED_OUT


# --- who may commit -----------------------------------------------------------------------------------------------


def test_a_group_without_members_takes_commits_of_anybody_and_one_with_members_only_of_them(node: KafkaBroker) -> None:
    topic, group = node.create_topic(), uuid.uuid4().hex
    outsider = Consumer({"bootstrap.servers": node.bootstrap, "group.id": group, "logger": SILENT})
    at = [TopicPartition(topic, 0, 3, "by hand")]
    try:
        outsider.commit(offsets=at, asynchronous=False)
        with Member(node, group, topic) as member:
            _settled(member, partitions=1)
            assert member.committed() == (3, "by hand")
            with pytest.raises(KafkaException) as refused:
                outsider.commit(offsets=[TopicPartition(topic, 0, 9)], asynchronous=False)
            assert refused.value.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
        outsider.commit(offsets=[TopicPartition(topic, 0, 9)], asynchronous=False)
        assert node.committed(group, topic) == 9
    finally:
        outsider.close()


def test_a_group_that_nobody_ever_joins_keeps_notes_that_anybody_replaces_moves_back_and_erases(
    node: KafkaBroker,
) -> None:
    topic, group = node.create_topic(2), uuid.uuid4().hex
    clients = [Consumer({"bootstrap.servers": node.bootstrap, "group.id": group, "logger": SILENT}) for _ in range(2)]
    one, other = clients
    asked = [TopicPartition(topic, p) for p in (0, 1)]
    try:
        wait_for(lambda: _answers(one, asked))
        assert [(p.offset < 0, p.metadata or "") for p in one.committed(asked, timeout=30)] == [(True, "")] * 2
        one.commit(offsets=[TopicPartition(topic, p, 7, f"asked {p}") for p in (0, 1)], asynchronous=False)
        assert [(p.offset, p.metadata) for p in other.committed(asked, timeout=30)] == [(7, "asked 0"), (7, "asked 1")]
        other.commit(offsets=[TopicPartition(topic, 0, 3, "done")], asynchronous=False)
        one.commit(offsets=[TopicPartition(topic, 1, 0)], asynchronous=False)
        assert [(p.offset, p.metadata or "") for p in one.committed(asked, timeout=30)] == [(3, "done"), (0, "")]
    finally:
        for client in clients:
            client.close()


def _answers(consumer: Consumer, asked: list[TopicPartition]) -> bool:
    """Return whether the group's coordinator is there; on a new node it comes a moment later."""
    try:
        return bool(consumer.committed(asked, timeout=1))
    except KafkaException:
        return False


def test_a_commit_of_an_earlier_generation_is_refused(node: KafkaBroker) -> None:
    topic, group = node.create_topic(), uuid.uuid4().hex
    with GroupMember(node.bootstrap, group, 10_000) as member:
        member.join()
        assert member.commit(topic, 1) == 0
        earlier = member.generation
        member.join()
        assert member.generation > earlier
        assert member.commit(topic, 2) == 0
        member.generation = earlier
        assert member.commit(topic, 3) == KafkaError.ILLEGAL_GENERATION
    assert node.committed(group, topic) == 2


def test_commits_of_a_silent_member_are_taken_until_it_is_evicted(node: KafkaBroker) -> None:
    topic, group = node.create_topic(), uuid.uuid4().hex
    with GroupMember(node.bootstrap, group) as silent:
        wait_for(lambda: _joins_and_commits(silent, topic))
        wait_for(lambda: _members(node, group) == 0)
        assert silent.commit(topic, 2) == KafkaError.UNKNOWN_MEMBER_ID
    assert node.committed(group, topic) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_static_member_is_fenced_by_its_newer_twin(node: KafkaBroker, strategy: str) -> None:
    topic, group = node.create_topic(), uuid.uuid4().hex
    static = {**_named(strategy), "group.instance.id": "pod-0"}
    with Member(node, group, topic, **static) as older:
        _settled(older, partitions=1)
        assert older.commit(1) is None
        with Member(node, group, topic, **static) as newer:
            _settled(newer, partitions=1)
            wait_for(older.fenced)
            assert older.commit(2) is not None
            assert newer.committed() == (1, "")
            assert newer.commit(3) is None


# --- the new protocol, KIP-848 ------------------------------------------------------------------------------------


def _new(**more: str) -> dict[str, Any]:
    return {"group.protocol": "consumer", **more}


def test_the_new_protocol_takes_commits_of_a_member_that_owns_nothing(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    with Member(kafka, group, topic, **_new()) as one, Member(kafka, group, topic, **_new()) as other:
        wait_for(lambda: _poll_both(one, other) and one.owned | other.owned == {0} and _members(kafka, group) == 2)
        [idle] = [m for m in (one, other) if not m.owned]
        assert idle.commit(7, "by the one who owns nothing") is None
        assert one.committed() == (7, "by the one who owns nothing")
        assert idle.commit(3) is None
        assert one.committed() == (3, "")


def test_the_new_protocol_refuses_a_newer_twin_while_the_older_one_lives(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(), uuid.uuid4().hex
    static = _new(**{"group.instance.id": "pod-0"})
    with Member(kafka, group, topic, **static) as older:
        _settled(older, partitions=1)
        with Member(kafka, group, topic, **static) as newer:
            wait_for(newer.fenced)
            assert older.commit(1) is None
            assert not older.fenced()


def _poll_both(one: Member, other: Member) -> bool:
    one.consumer.poll(0.05)
    other.consumer.poll(0.05)
    return True


def _joins_and_commits(member: GroupMember, topic: str) -> bool:
    """Join as a new member and commit offset 1; on a slow machine its session may end before that."""
    member.member = ""
    member.join()
    return member.commit(topic, 1) == 0


def _members(node: KafkaBroker, group: str) -> int:
    return len(node.admin.describe_consumer_groups([group])[group].result(10).members)
