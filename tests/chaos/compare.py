"""Owns the judgement: tables and dead letters against what was written, row by row.

Never forgives: one row too many, too few or too old is a difference. Dead letters are delivered at least once, so a
broken message must be there, may be there twice, and nothing else may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from confluent_kafka import Consumer, TopicPartition

from tests.chaos.workload import STREAMS, Expected, Stream
from tests.kafka_broker import SILENT

if TYPE_CHECKING:
    from tests.chaos.ground import Ground

_SHOWN = 10


class Compared(NamedTuple):
    """One stream: how many messages, rows as they should be and are, dead letters the same way, and differences."""

    name: str
    messages: int
    rows: int
    found: int
    broken: int
    dead: int
    repeated: int
    differences: list[str]


def compare(ground: Ground) -> list[Compared]:
    """Compare everything."""
    dead = _dead_letters(ground)
    return [_compare(ground, stream, dead.get(ground.topics[stream.name], [])) for stream in STREAMS]


def _compare(ground: Ground, stream: Stream, dead: list[bytes]) -> Compared:
    expected = ground.producing.expected[stream.name]
    written = ground.ends(stream.name)
    differences = [] if written == expected.sent else [f"Kafka has {written} of {expected.sent} messages"]
    look = _keyed if stream.keyed else _numbers
    found, wrong = look(ground, stream, expected)
    differences += wrong
    if missing := expected.broken.keys() - set(dead):
        differences.append(f"{len(missing)} dead letters are missing, such as {sorted(missing)[:_SHOWN]}")
    if alien := set(dead) - expected.broken.keys():
        differences.append(f"{len(alien)} dead letters are not broken, such as {sorted(alien)[:_SHOWN]}")
    repeated = len(dead) - len(set(dead))
    return Compared(
        stream.name,
        expected.sent,
        expected.rows(stream),
        found,
        len(expected.broken),
        len(set(dead)),
        repeated,
        differences,
    )


def _keyed(ground: Ground, stream: Stream, expected: Expected) -> tuple[int, list[str]]:
    rows = ground.emulator.sql(f"SELECT id, n FROM {stream.name}")
    found = {str(key): int(n) for key, n in rows}
    differences = [] if len(found) == len(rows) else [f"{len(rows) - len(found)} rows are there twice"]
    for what, keys in (
        ("missing", expected.last.keys() - found.keys()),
        ("too many", found.keys() - expected.last.keys()),
        ("not the last", {k for k in expected.last.keys() & found.keys() if expected.last[k] != found[k]}),
    ):
        if keys:
            shown = [(k, expected.last.get(k), found.get(k)) for k in sorted(keys)[:_SHOWN]]
            differences.append(f"{len(keys)} rows are {what}, such as (key, expected, found) {shown}")
    return len(rows), differences


def _numbers(ground: Ground, stream: Stream, expected: Expected) -> tuple[int, list[str]]:
    [(count, distinct, total)] = ground.emulator.sql(f"SELECT count(*), count(DISTINCT n), sum(n) FROM {stream.name}")
    rows = expected.rows(stream)
    if (count, distinct, int(total)) == (rows, rows, expected.total()):
        return count, []
    twice = ground.emulator.sql(f"SELECT n FROM {stream.name} GROUP BY n HAVING count(*) > 1 ORDER BY n")
    absent = ground.emulator.sql(
        f"SELECT range FROM range({expected.sent}) ANTI JOIN {stream.name} ON range = n ORDER BY range"
    )
    missing = sorted({n for (n,) in absent} - set(expected.broken.values()))
    return count, [
        f"{count} rows, {distinct} numbers, sum {total} instead of {rows}, {rows}, {expected.total()}",
        f"{len(twice)} numbers are there twice, such as {[n for (n,) in twice[:_SHOWN]]}",
        f"{len(missing)} numbers are missing, such as {missing[:_SHOWN]}",
    ]


def _dead_letters(ground: Ground) -> dict[str, list[bytes]]:
    """Return the values of all dead letters by the topic that they come from."""
    consumer = Consumer({"bootstrap.servers": ground.broker.bootstrap, "group.id": "look", "logger": SILENT})
    found: dict[str, list[bytes]] = {}
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(ground.dead_letters, 0), timeout=10)
        consumer.assign([TopicPartition(ground.dead_letters, 0, 0)])
        position = 0
        while position < end:
            for message in consumer.consume(10_000, 1.0):
                headers = dict(cast("list[tuple[str, bytes]]", message.headers()))
                value = message.value()
                assert isinstance(value, bytes)
                found.setdefault(headers["__connect.errors.topic"].decode(), []).append(value)
                position = cast("int", message.offset()) + 1
    finally:
        consumer.close()
    return found
