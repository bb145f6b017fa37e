"""Tombstones through the whole product: what was deleted is gone, what came again is there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import World, as_json, avro_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.world import Sent
    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

MESSAGES, KEYS, PARTITIONS = 60_000, 3_000, 3
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "string"}, {"name": "version", "type": "long"}],
}
KEY: dict[str, Any] = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "string"}]}

Change = tuple[str, int | None]  # id → version, None: deleted
Encode = tuple["Callable[[Any], bytes]", "Callable[[Any], bytes]"]  # of values, of keys


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000) as made:
        yield made


def _changes() -> list[Change]:
    """Return versions of few orders, a third of them deletes."""
    choose = random.Random(6)
    return [
        (f"PO-{choose.randrange(KEYS)}", None if choose.random() < 0.33 else version) for version in range(MESSAGES)
    ]


def _sent(changes: list[Change], encode: Encode) -> Iterator[Sent]:
    value, key = encode
    for order, version in changes:
        record = None if version is None else value({"id": order, "version": version})
        yield int(order.removeprefix("PO-")) % PARTITIONS, record, key({"id": order})


def _encoders(world: World) -> dict[str, Encode]:
    schemas = (ORDER, world.registry.register("o-value", ORDER)), (KEY, world.registry.register("o-key", KEY))
    avro_value, avro_key = (avro_writer(schema, number) for schema, number in schemas)
    return {"avro": (avro_value, avro_key), "json": (as_json, lambda key: str(key["id"]).encode())}


def _tables(topics: dict[str, str], **settings: Any) -> list[dict[str, Any]]:
    return [
        {"topics": [t], "target": f"T_{name}", "format": name, "keys": ["id"]} | settings for name, t in topics.items()
    ]


@pytest.mark.timeout(300)
def test_tables_equal_the_log_of_upserts_and_deletes_over_many_loads_and_a_kill(world: World) -> None:
    encoders = _encoders(world)
    topics = {name: world.topic(PARTITIONS) for name in encoders}
    changes = _changes()
    connector = world.connector(*_tables(topics, flush={"records": 7_000, "age": "300 ms"}))
    with connector:
        for half, kill in ((changes[: MESSAGES // 2], True), (changes[MESSAGES // 2 :], False)):
            for name, topic in topics.items():
                world.produce(topic, _sent(half, encoders[name]))
            if kill:
                world.wait_for_rows(500, "T_avro")
                connector.kill()
                connector.start()
        world.wait_until_committed(120)
        metrics = connector.metrics()
        assert connector.stop() == 0, connector.log()
    expected = {order: version for order, version in dict(changes).items() if version is not None}
    for name in encoders:
        found = world.emulator.query(f"SELECT id, version FROM T_{name}")
        assert len(found) == len(expected)
        assert dict(found) == expected
    assert sum(v for k, v in metrics.items() if k.startswith("kafka_celonis_deleted_rows_total")) > 0, metrics.keys()
    assert not sum(v for k, v in metrics.items() if k.startswith("kafka_celonis_rejects_total"))


def test_the_last_of_insert_and_delete_counts_in_one_load_and_over_loads(world: World) -> None:
    encoders = _encoders(world)
    topics = {name: world.topic(PARTITIONS) for name in encoders}
    loads: list[list[Change]] = [
        [("PO-1", 1), ("PO-2", 2), ("PO-3", 3), ("PO-4", 4)],
        [("PO-1", None), ("PO-1", 5), ("PO-2", 6), ("PO-2", None), ("PO-3", None), ("PO-9", None)],
        [("PO-3", 7), ("PO-4", None), ("PO-5", 8), ("PO-5", None), ("PO-5", 9)],
    ]
    with world.connector(*_tables(topics)) as connector:
        for load in loads:
            for name, topic in topics.items():
                world.produce(topic, _sent(load, encoders[name]))
            world.wait_until_committed()
        assert connector.stop() == 0, connector.log()
    for name in encoders:
        assert world.emulator.query(f"SELECT id, version FROM T_{name} ORDER BY id") == [
            ("PO-1", 5),
            ("PO-3", 7),
            ("PO-5", 9),
        ]


def test_a_table_that_begins_with_tombstones_takes_the_records_behind_them(world: World) -> None:
    encoders = _encoders(world)
    topics = {name: world.topic(PARTITIONS) for name in encoders}
    with world.connector(*_tables(topics)):
        loads: list[list[Change]] = [[("PO-1", None), ("PO-2", None)], [("PO-1", 1)]]
        for load in loads:
            for name, topic in topics.items():
                world.produce(topic, _sent(load, encoders[name]))
            world.wait_until_committed()
    for name in encoders:
        assert world.emulator.query(f"SELECT id, version FROM T_{name}") == [("PO-1", 1)]


def test_tombstones_are_ignored_or_rejected_where_that_is_set_and_so_are_keys_that_say_nothing(world: World) -> None:
    ignoring, rejecting, deleting = (world.topic() for _ in range(3))
    values: list[Sent] = [
        (0, as_json({"id": 1}), b"1"),
        (0, None, b"1"),
        (0, as_json({"id": 2}), b"2"),
        (0, None, None),
        (0, None, b"two"),
    ]
    for topic in (ignoring, rejecting, deleting):
        world.produce(topic, values)
    tables = [
        {"topics": [topic], "target": target, "format": "json", "keys": ["id"], "on_tombstone": target}
        for topic, target in ((ignoring, "ignore"), (rejecting, "reject"), (deleting, "delete"))
    ]
    with world.connector(*tables) as connector:
        world.wait_until_committed()
        assert connector.metrics()["kafka_celonis_tombstones_total"] == 3
        assert connector.stop() == 0, connector.log()
    for target, rows in (("ignore", [(1,), (2,)]), ("reject", [(1,), (2,)]), ("delete", [(2,)])):
        assert world.emulator.query(f'SELECT id FROM "{target}" ORDER BY id') == rows
    assert {(reason, topic, offset) for reason, topic, offset, _ in world.rejects(5)} == {
        *(("tombstone", rejecting, offset) for offset in (1, 3, 4)),
        ("null_key", deleting, 3),
        ("bad_key", deleting, 4),
    }
