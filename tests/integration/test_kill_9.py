"""Two million messages, a connector that is killed at random, and tables that equal the log."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import World, as_json, avro_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

MESSAGES = 500_000  # a topic; two of them in Avro, two in JSON
PARTITIONS = 4
KEYS = 50_000
KILLS = 6
KEYED, LOGS = ("avro_keyed", "json_keyed"), ("avro_log", "json_log")

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "amount", "type": ["null", "double"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}

pytestmark = pytest.mark.kafka


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000) as made:
        yield made


def _orders() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (partition, order): each id is written about ten times, always to the same partition."""
    choose = random.Random(4)
    for version in range(MESSAGES):
        number = choose.randrange(KEYS)
        at = 1_700_000_000_000 + version
        yield number % PARTITIONS, {"id": f"PO-{number}", "version": version, "amount": number / 7, "at": at}


def _latest() -> dict[str, int]:
    return {order["id"]: order["version"] for _, order in _orders()}


@pytest.mark.timeout(600)
def test_every_row_is_there_and_keyed_tables_equal_the_log(world: World) -> None:
    encode = avro_writer(ORDER, world.registry.register("orders-value", ORDER))
    topics = {name: world.topic(PARTITIONS) for name in (*KEYED, *LOGS)}
    for name, topic in topics.items():
        write = encode if name.startswith("avro") else as_json
        world.produce(topic, ((partition, write(order)) for partition, order in _orders()))
    connector = world.connector(
        *(
            {
                "topics": [topic],
                "target": name,
                "format": name.split("_")[0],
                "keys": ["id"] if name in KEYED else [],
            }
            for name, topic in topics.items()
        )
    )
    choose = random.Random(5)
    with connector:
        for _ in range(KILLS):
            more = choose.randrange(1, MESSAGES // KILLS)
            world.wait_for_rows(min(world.count(*LOGS) + more, MESSAGES * len(LOGS)), *LOGS)
            connector.kill()
            connector.start()
        world.wait_until_committed(240)
        assert connector.stop() == 0, connector.log()

    expected = _latest()
    for name in KEYED:
        found = world.emulator.query(f"SELECT id, version FROM {name}")
        assert len(found) == len(expected)
        assert dict(found) == expected
    total = MESSAGES * (MESSAGES - 1) // 2
    for name in LOGS:
        sums = f"SELECT count(*), count(DISTINCT (_kafka_partition, _kafka_offset)), sum(version) FROM {name}"
        assert world.emulator.query(sums) == [(MESSAGES, MESSAGES, total)]
