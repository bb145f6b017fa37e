"""Everything that can be wrong with a message, among messages that are right."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import World, as_json, avro_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

RECORD: dict[str, Any] = {
    "type": "record",
    "name": "R",
    "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}],
}
LARGE = random.Random(1).randbytes(10_000_000).hex()  # text that does not compress


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path) as made:
        yield made


def _around(bad: list[bytes | None], good: list[bytes]) -> list[tuple[int, bytes | None]]:
    """Put each bad message between good ones, all in partition 0."""
    mixed: list[bytes | None] = []
    for number, value in enumerate(good):
        mixed += [value, *bad[number : number + 1]]
    return [(0, value) for value in mixed]


def test_broken_json_goes_to_the_dead_letters_and_the_rest_is_stored(world: World) -> None:
    topic = world.topic()
    bad: dict[str, bytes | None] = {
        "truncated": b'{"n": 1, "text": "tru',
        "too deep": b'{"n": 1, "deep": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "twenty megabytes of text": as_json({"n": 1, "text": LARGE}),
        "array": b"[1, 2]",
        "number": b"17",
        "not UTF-8": b'{"n": 1, "text": "\xff\xfe"}',
        "empty": b"",
        "tombstone": None,
        "two objects": b'{"n": 1}\n{"n": 2}',
        "wrong type": as_json({"n": "seventeen", "text": "x"}),
    }
    good = [as_json({"n": n, "text": f"text {n}"}) for n in range(20)]
    world.produce(topic, _around(list(bad.values()), good))
    table = {"topics": [topic], "target": "T", "format": "json", "columns": {"n": {"type": "INTEGER"}}}
    with world.connector(table) as connector:
        world.wait_until_committed()
        assert connector.stop() == 0, connector.log()
    assert world.emulator.query("SELECT n, text FROM T ORDER BY n") == [(n, f"text {n}") for n in range(20)]
    found = world.rejects(len(bad) - 1)
    assert {(reason, offset) for reason, _, offset, _ in found} == {
        ("broken_json", 1),
        ("too_deep", 3),
        ("too_long", 5),
        ("not_an_object", 7),
        ("not_an_object", 9),
        ("not_utf8", 11),
        ("empty", 13),
        ("broken_json", 17),
        ("wrong_type", 19),
    }
    assert {value for _, _, _, value in found} >= {bad["truncated"], bad["array"], b""}
    assert next(value for _, _, offset, value in found if offset == 5) is None, "too large for the dead-letter topic"


def test_an_object_whose_names_stand_twice_is_stored_with_the_last_of_each(world: World) -> None:
    topic = world.topic()
    values = [as_json({"n": 1, "text": "a"}), b'{"n": 2, "n": 3, "text": "b"}', as_json({"n": 4, "text": "c"})]
    world.produce(topic, [(0, v) for v in values])
    with world.connector({"topics": [topic], "target": "T", "format": "json"}):
        world.wait_until_committed()
    assert world.emulator.query("SELECT n, text FROM T ORDER BY n") == [(1, "a"), (3, "b"), (4, "c")]


def test_broken_avro_goes_to_the_dead_letters_and_the_rest_is_stored(world: World) -> None:
    topic = world.topic()
    schema_id = world.registry.register("r-value", RECORD)
    encode = avro_writer(RECORD, schema_id)
    good = [encode({"n": n, "text": f"text {n}"}) for n in range(12)]
    bad: list[bytes | None] = [
        good[0][:7],  # truncated
        b"\x01" + good[0][1:],  # wrong magic byte
        b"\x00" + (schema_id + 1000).to_bytes(4, "big") + good[0][5:],  # unknown schema
        b"\x00\x00",  # shorter than the header
        good[0] + b"trailing",
        b"",
        None,
        encode({"n": 1, "text": LARGE}),
        good[0][:5] + b"\x02\x06\xff\xfe\xfd",  # not UTF-8
    ]
    world.produce(topic, _around(bad, good))
    with world.connector({"topics": [topic], "target": "T", "format": "avro"}) as connector:
        world.wait_until_committed()
        assert connector.stop() == 0, connector.log()
    assert world.emulator.query("SELECT n, text FROM T ORDER BY n") == [(n, f"text {n}") for n in range(12)]
    assert {(reason, offset) for reason, _, offset, _ in world.rejects(len(bad) - 1)} == {
        ("broken_avro", 1),
        ("wrong_magic", 3),
        ("unknown_schema", 5),
        ("broken_avro", 7),
        ("broken_avro", 9),
        ("empty", 11),
        ("too_long", 15),
        ("broken_avro", 17),
    }


def test_a_topic_whose_table_belongs_to_another_entry_stands_still_while_the_others_flow(world: World) -> None:
    first, second = world.topic(), world.topic()
    world.produce(first, [(0, as_json({"n": 1}))])
    tables = [
        {"topics": [first], "target": second, "format": "json"},
        {"topics": [f"^{second}$"], "format": "json"},
    ]
    table = second.replace("-", "_")
    with world.connector(*tables) as connector:
        world.wait_until_committed()
        world.kafka.produce(second, as_json({"n": 2}))
        world.kafka.produce(first, as_json({"n": 3}))
        world.wait_for_rows(2, table)
        assert connector.exit_code is None
        assert world.kafka.committed(world.group, second) in (0, -1001)
        assert connector.stop() == 0
    assert world.emulator.query(f"SELECT n FROM {table} ORDER BY n") == [(1,), (3,)]
