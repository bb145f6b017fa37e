"""Orders on a real broker: what a running connector makes of them, through kills, and what the desk sees."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType
from structlog.testing import capture_logs

from connector.core.bounds import Range
from connector.core.offsets import TopicPartition
from connector.core.orders import Order, OrderKind, OrderState, group_of_orders
from connector.errors import SourceError
from connector.kafka import kept
from connector.kafka.crowd import Crowd, Lookout, crowd
from connector.kafka.orders import OrderDesk, give_orders, read_orders, withdraw_orders
from connector.replaying import group_of_replay
from tests.integration.world import World, as_json
from tests.kafka_broker import PASSWORD, USER, wait_for
from tests.unit.kafka.reader import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from connector.config import Kafka
    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

REWIND, HOLD, RESUME = OrderKind.REWIND, OrderKind.HOLD, OrderKind.RESUME
ASKED, HELD, DONE = OrderState.ASKED, OrderState.HELD, OrderState.DONE
KEYS = 10


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path) as made:
        yield made


def _keyed(topic: str) -> dict[str, object]:
    return {"topics": [topic], "target": "T", "format": "json", "keys": ["id"]}


def _asked(kind: OrderKind, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, Order]:
    return {tp: Order(kind, ASKED, "r1", offset) for tp, offset in offsets.items()}


def _reach(kafka: Kafka, state: OrderState, *partitions: TopicPartition) -> list[int]:
    """Wait until all orders are in `state`, and return their offsets."""
    found: dict[TopicPartition, Order] = {}

    def reached() -> bool:
        found.update(read_orders(kafka, partitions))
        return all(tp in found and found[tp].state is state for tp in partitions)

    wait_for(reached, 60)
    return [found[tp].offset for tp in partitions]


# --- a running connector --------------------------------------------------------------------------------------------


class Streaming:
    """Messages that keep coming to both partitions of one topic; the table's `v` is the offset of a key's last one."""

    def __init__(self, world: World) -> None:
        self.world, self.topic = world, world.topic(2)
        self.kafka = settings(world.kafka.bootstrap, world.group)
        self.partitions = [TopicPartition(self.topic, p) for p in (0, 1)]
        self.produced = 0
        assert read_orders(self.kafka, self.partitions) == {}, "and the coordinator is there"

    def more(self, count: int = KEYS) -> None:
        """Send `count` messages to each partition."""
        first, self.produced = self.produced, self.produced + count
        self.world.produce(
            self.topic,
            [(p, as_json({"id": f"{p}-{n % KEYS}", "v": n})) for n in range(first, first + count) for p in (0, 1)],
        )

    def committed(self) -> list[int]:
        return [self.world.kafka.committed(self.world.group, self.topic, p) for p in (0, 1)]

    def assert_equal(self) -> None:
        last = range(self.produced - KEYS, self.produced)
        expected = sorted((f"{p}-{n % KEYS}", n) for p in (0, 1) for n in last)
        assert self.world.emulator.query("SELECT id, v FROM T ORDER BY id") == expected


def test_a_rewound_range_is_pushed_again_while_messages_flow_and_through_a_kill(world: World) -> None:
    stream = Streaming(world)
    with world.connector(_keyed(stream.topic)) as connector:
        stream.more(50)
        world.wait_until_committed()
        pushes = len(world.emulator.query("SELECT 1 FROM _emulator.jobs"))
        give_orders(stream.kafka, _asked(REWIND, dict.fromkeys(stream.partitions, 20)))
        stream.more()
        wait_for(lambda: "took order" in connector.log(100), 60)
        connector.kill()
        stream.more()
        connector.start()
        while any(order.open for order in read_orders(stream.kafka, stream.partitions).values()):
            stream.more()
        world.wait_until_committed()
        stream.assert_equal()
        assert connector.log(1000).count('"finished order"') >= 2
        assert len(world.emulator.query("SELECT 1 FROM _emulator.jobs")) > pushes
        assert connector.stop() == 0, connector.log()


def test_a_rewind_carries_what_was_pushed_before_once_more(world: World) -> None:
    stream = Streaming(world)
    with world.connector(_keyed(stream.topic)) as connector:
        stream.more(50)
        world.wait_until_committed()
        connector.stop()
        give_orders(stream.kafka, _asked(REWIND, {stream.partitions[0]: 40}))
        connector.start()
        assert _reach(stream.kafka, DONE, stream.partitions[0]) == [40]
        wait_for(lambda: stream.committed() == [50, 50])
        assert connector.metrics()["kafka_celonis_pushed_rows_total"] == 10
        stream.assert_equal()


def test_a_held_table_stands_still_through_a_kill_and_goes_on_where_it_is_told(world: World) -> None:
    stream = Streaming(world)
    with world.connector(_keyed(stream.topic)) as connector:
        stream.more(30)
        world.wait_until_committed()
        give_orders(stream.kafka, _asked(HOLD, dict.fromkeys(stream.partitions, 0)))
        held = _reach(stream.kafka, HELD, *stream.partitions)
        assert held == stream.committed() == [30, 30]
        stream.more(30)
        connector.kill()
        connector.start()
        wait_for(lambda: 'partitions{reason="replay"} 2.0' in connector.get("/metrics"), 60)
        jobs = world.emulator.query("SELECT count(*) FROM _emulator.jobs")
        assert stream.committed() == held
        give_orders(stream.kafka, _asked(RESUME, {stream.partitions[0]: 55, stream.partitions[1]: 30}))
        assert _reach(stream.kafka, DONE, *stream.partitions) == [55, 30]
        world.wait_until_committed()
        assert world.emulator.query("SELECT count(*) FROM _emulator.jobs") > jobs
        expected = sorted([(f"0-{n % KEYS}", n) for n in [*range(20, 25), *range(55, 60)]])
        assert world.emulator.query("SELECT id, v FROM T WHERE id LIKE '0-%' ORDER BY id") == expected
        assert connector.stop() == 0, connector.log()


# --- the desk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk_of() -> Iterator[Callable[..., OrderDesk]]:
    made: list[OrderDesk] = []

    def new(kafka: Kafka, **more: float) -> OrderDesk:
        made.append(OrderDesk(kafka, **more))
        return made[-1]

    yield new
    for desk in made:
        desk.close()


def test_a_desk_sees_what_stands_and_answers_it(kafka: KafkaBroker, desk_of: Callable[[Kafka], OrderDesk]) -> None:
    there, tp = settings(kafka.bootstrap, uuid.uuid4().hex), TopicPartition(kafka.create_topic(), 0)
    give_orders(there, _asked(HOLD, {tp: 3}))
    desk = desk_of(there)
    desk.watch([tp])
    assert desk.unread == {tp}
    assert not desk.found
    wait_for(lambda: not desk.unread)
    assert desk.found == {tp: Order(HOLD, ASKED, "r1", 3)}
    desk.answer(tp, Order(HOLD, HELD, "r1", 5))
    wait_for(lambda: desk.found == {tp: Order(HOLD, HELD, "r1", 5)})
    assert read_orders(there, [tp]) == desk.found
    desk.forget([tp])
    assert desk.found == {}
    desk.answer(tp, Order(HOLD, ASKED, "r1", 5))
    desk.watch([tp])
    wait_for(lambda: not desk.unread)
    assert read_orders(there, [tp])[tp].state is HELD, "it was not ours when we answered"


def test_an_answer_to_an_order_that_was_withdrawn_or_replaced_is_not_given(
    kafka: KafkaBroker, desk_of: Callable[[Kafka], OrderDesk]
) -> None:
    there, topic = settings(kafka.bootstrap, uuid.uuid4().hex), kafka.create_topic(2)
    gone, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    give_orders(there, _asked(HOLD, {gone: 3, other: 3}))
    desk = desk_of(there)
    desk.watch([gone, other])
    wait_for(lambda: len(desk.found) == 2)
    withdraw_orders(there, [gone, other])
    give_orders(there, {other: Order(HOLD, ASKED, "r2", 3)})
    desk.answer(gone, Order(HOLD, HELD, "r1", 5))
    desk.answer(other, Order(HOLD, HELD, "r1", 5))
    wait_for(lambda: desk.found == {other: Order(HOLD, ASKED, "r2", 3)})
    assert read_orders(there, [gone, other]) == desk.found


def test_an_order_of_another_version_is_told_once_and_lets_its_partition_flow(
    kafka: KafkaBroker, desk_of: Callable[[Kafka], OrderDesk]
) -> None:
    there, tp = settings(kafka.bootstrap, uuid.uuid4().hex), TopicPartition(kafka.create_topic(), 0)
    _write(there, tp, '{"v":2}')
    with capture_logs() as logs:
        desk = desk_of(there)
        for _ in range(2):
            desk.watch([tp])
            wait_for(lambda: not desk.unread)
    assert desk.found == {}
    assert ["another version" in line["reason"] for line in logs if line["event"] == "ignored order"] == [True]
    with pytest.raises(SourceError, match="another version"):
        read_orders(there, [tp])
    withdraw_orders(there, [tp])
    assert read_orders(there, [tp]) == {}


@pytest.mark.parametrize("plan", [True, False])
def test_an_order_of_another_version_is_withdrawn_by_abandon_unless_a_plan_says_that_it_may_hold_a_table(
    world: World,
    plan: bool,  # noqa: FBT001
) -> None:
    topic = world.topic()
    world.produce(topic, [(0, as_json({"id": "K", "v": 0}))])
    there, tp = settings(world.kafka.bootstrap, world.group), TopicPartition(topic, 0)
    connector = world.connector(_keyed(topic))
    _write(there, tp, '{"v":2,"id":"r9","new":true}')
    if plan:
        kept.keep(there, group_of_replay(world.group, "r9"), kept.Plan("r9", {tp: Range(0, 1)}))
    code, said = connector.ask("replay", "T", "--abandon")
    if plan:
        assert (code, "with the version that began it" in said) == (6, True), said
        with pytest.raises(SourceError, match="another version"):
            read_orders(there, [tp])
    else:
        assert (code, f"{tp}: withdrew an order that was not followed" in said) == (0, True), said
        assert read_orders(there, [tp]) == {}


def test_orders_that_stand_and_the_plans_of_held_tables_are_written_again_before_brokers_forget_them(
    kafka: KafkaBroker, desk_of: Callable[..., OrderDesk]
) -> None:
    there, tp = settings(kafka.bootstrap, uuid.uuid4().hex), TopicPartition(kafka.create_topic(), 0)
    replay = group_of_replay(there.group, "r1")
    give_orders(there, {tp: Order(HOLD, HELD, "r1", 3)})
    kept.keep(there, replay, kept.Plan("r1", {tp: Range(0, 3)}))
    desk_of(there, keep=0.1).watch([tp])
    groups = {name.encode(): 0 for name in (group_of_orders(there.group), kept.plan_group(replay))}
    reader = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "any", "enable.auto.commit": False})
    try:
        reader.assign([ClientPartition("__consumer_offsets", 0, OFFSET_BEGINNING)])

        def written_again() -> bool:
            for message in reader.consume(100, 0.2):
                for name in groups:
                    groups[name] += name in bytes(message.key() or b"")
            return min(groups.values()) > 2

        wait_for(written_again)
    finally:
        reader.close()
    assert read_orders(there, [tp]) == {tp: Order(HOLD, HELD, "r1", 3)}
    assert kept.kept(there, replay) == kept.Plan("r1", {tp: Range(0, 3)})


def _write(kafka: Kafka, tp: TopicPartition, text: str) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.brokers, "group.id": group_of_orders(kafka.group)})
    try:
        consumer.commit(offsets=[ClientPartition(*tp, 0, text)], asynchronous=False)
    finally:
        consumer.close()


def test_an_open_order_of_another_replay_is_not_replaced(kafka: KafkaBroker) -> None:
    there, tp = settings(kafka.bootstrap, uuid.uuid4().hex), TopicPartition(kafka.create_topic(), 0)
    give_orders(there, _asked(HOLD, {tp: 3}))
    give_orders(there, _asked(RESUME, {tp: 3}))
    with pytest.raises(SourceError, match="replay r1 has a resume open"):
        give_orders(there, {tp: Order(REWIND, ASKED, "r2", 0)})
    give_orders(there, {tp: Order(RESUME, DONE, "r1", 3)})
    give_orders(there, {tp: Order(REWIND, ASKED, "r2", 0)})
    assert read_orders(there, [tp])[tp].id == "r2"


def test_without_the_right_orders_are_off_and_partitions_flow(
    kafka: KafkaBroker, desk_of: Callable[[Kafka], OrderDesk]
) -> None:
    group, tp = uuid.uuid4().hex, TopicPartition(kafka.create_topic(), 0)
    login = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
    }
    closed = AclBinding(
        ResourceType.GROUP,
        group_of_orders(group),
        ResourcePatternType.LITERAL,
        f"User:{USER}",
        "*",
        AclOperation.ALL,
        AclPermissionType.DENY,
    )
    kafka.admin.create_acls([closed])[closed].result(30)
    there = settings(kafka.sasl_bootstrap, group, properties=login)
    with capture_logs() as logs:
        desk = desk_of(there)
        desk.watch([tp])
        wait_for(lambda: not desk.unread)
        desk.watch([TopicPartition(tp.topic, 1)])
        assert not desk.unread
    [told] = [line for line in logs if line["event"] == "could not see or answer orders of replays"]
    assert told["hint"] == f"grant READ on the group {group}.orders"
    with pytest.raises(SourceError, match=f"grant READ on the group {group}.orders"):
        read_orders(there, [tp])


def test_a_broker_that_does_not_answer_holds_up_neither_the_pipeline_nor_its_end(
    kafka: KafkaBroker, desk_of: Callable[[Kafka], OrderDesk]
) -> None:
    there, tp = settings(kafka.bootstrap, uuid.uuid4().hex), TopicPartition(kafka.create_topic(), 0)
    give_orders(there, _asked(HOLD, {tp: 3}))
    desk = desk_of(there)
    kafka.freeze()
    try:
        desk.watch([tp])
        assert desk.unread == {tp}
    finally:
        kafka.thaw()
    wait_for(lambda: not desk.unread, 60)
    assert desk.found == {tp: Order(HOLD, ASKED, "r1", 3)}


def test_who_else_pushes_is_told_by_the_members_of_groups(kafka: KafkaBroker) -> None:
    there, topic = settings(kafka.bootstrap, uuid.uuid4().hex), kafka.create_topic()
    names = [there.group, *(group_of_replay(there.group, name) for name in ("a", "b"))]
    kept.keep(there, group_of_replay(there.group, "c"), kept.Plan("c", {TopicPartition(topic, 0): Range(0, 1)}))
    assert crowd(there, names[1]) == Crowd(service=False, replays=0, ours=False)
    common = {"bootstrap.servers": kafka.bootstrap, "session.timeout.ms": 6000}
    members = [Consumer({**common, "group.id": name}) for name in names]
    try:
        for member in members:
            member.subscribe([topic])
            wait_for(partial(_joined, member))
        assert crowd(there, names[1]) == Crowd(service=True, replays=1, ours=True)
        assert crowd(there) == Crowd(service=True, replays=2, ours=False)
        lookout = Lookout(there, names[2], 0.1)
        wait_for(lambda: lookout.seen() == Crowd(service=True, replays=1, ours=True))
        members.pop().close()
        wait_for(lambda: lookout.seen() == Crowd(service=True, replays=1, ours=False))
        lookout.close()
    finally:
        for member in members:
            member.close()


def _joined(member: Consumer) -> bool:
    member.poll(0.1)
    return bool(member.assignment())
