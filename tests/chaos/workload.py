"""Owns what is written to Kafka, and what the tables must hold because of it.

Never looks at a table. Invariant: messages are a function of the seed, and the expectation of what was sent grows with
them, message by message.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connector.config_tables import Table
from tests.integration.world import as_json, avro_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from connector.demo.registry import RegistryServer

PARTITIONS = 6
_BROKEN = 0.0005  # the share of messages that cannot become a record
_TOMBSTONES = 0.02
_RECORD: dict[str, Any] = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "n", "type": "long"},
        {"name": "text", "type": "string"},
    ],
}


@dataclass(frozen=True, slots=True)
class Stream:
    """One topic and its table, both named `name`; `table` is its entry in the configuration.

    `keyed` streams write each id to one partition, again and again; the others write each number once.
    """

    name: str
    table: Mapping[str, Any]
    keyed: bool
    tombstones: bool = False

    @property
    def deletes(self) -> bool:
        """Whether a tombstone takes its row away, as the table's settings and their defaults say."""
        return Table.model_validate({"topics": [self.name], **self.table}).tombstones == "delete"


STREAMS = (
    Stream("orders", {"format": "avro", "keys": ["id"]}, keyed=True),
    Stream("customers", {"format": "json", "keys": ["id"]}, keyed=True, tombstones=True),
    Stream("ledger", {"format": "json", "append": True}, keyed=False),
    Stream("events", {"format": "json"}, keyed=False),
)


@dataclass(slots=True)
class Expected:
    """What one table must hold: `rows` of keyed streams as the last number of each id, else how many numbers.

    `broken` are the values that must be dead letters.
    """

    sent: int = 0
    last: dict[str, int] = field(default_factory=dict)
    broken: dict[bytes, int] = field(default_factory=dict)  # value → its number
    tombstones: int = 0

    def rows(self, stream: Stream) -> int:
        """Return the rows of the table."""
        return len(self.last) if stream.keyed else self.sent - len(self.broken)

    def total(self) -> int:
        """Return the sum of the numbers of all records."""
        return self.sent * (self.sent - 1) // 2 - sum(self.broken.values())


def encoder(stream: Stream, registry: RegistryServer) -> Callable[[dict[str, Any]], bytes]:
    """Return how records of `stream` become values."""
    if stream.table["format"] == "json":
        return as_json
    encode: Callable[[dict[str, Any]], bytes] = avro_writer(_RECORD, registry.register(f"{stream.name}-value", _RECORD))
    return encode


def messages(
    stream: Stream, encode: Callable[[dict[str, Any]], bytes], count: int, seed: int, expected: Expected
) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield (partition, key, value), and let `expected` follow."""
    choose, deletes = random.Random(f"{seed}-{stream.name}"), stream.deletes
    ids = max(PARTITIONS, count // 20)
    for n in range(count):
        number = choose.randrange(ids) if stream.keyed else n
        record: dict[str, Any] = {"id": f"{stream.name}-{number}", "n": n, "text": choose.randbytes(24).hex()}
        written = _written(stream, record, choose.random(), expected, deletes=deletes)
        yield number % PARTITIONS, record["id"].encode(), encode(written) if isinstance(written, dict) else written


def _written(
    stream: Stream, record: dict[str, Any], kind: float, expected: Expected, *, deletes: bool
) -> dict[str, Any] | bytes | None:
    """Return the record, or what comes in its place: bytes that are none, or a tombstone."""
    expected.sent += 1
    if kind < _BROKEN:
        value = f'{{"n": {record["n"]}, broken'.encode()
        expected.broken[value] = record["n"]
        return value
    if stream.tombstones and kind < _BROKEN + _TOMBSTONES:
        expected.tombstones += 1
        if deletes:
            expected.last.pop(record["id"], None)
        return None
    if stream.keyed:
        expected.last[record["id"]] = record["n"]
    return record
