"""Owns the speed of decoding, as ratios to a reference in the same run; never judges right or wrong."""

from __future__ import annotations

import io
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import fastavro
import orjson
import pyarrow as pa

from connector.config import Table
from connector.core.columns import TableSchema
from connector.core.messages import MessageBatch
from connector.formats import make_decoder
from tests.fakes import FakeMessage

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = 10_000
ROUNDS = 15

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "activity", "type": "string"},
        {"name": "amount", "type": "double"},
        {"name": "quantity", "type": "int"},
        {"name": "vendor", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "paid", "type": "boolean"},
        {"name": "user", "type": ["null", "string"]},
        {"name": "weight", "type": "float"},
        {"name": "note", "type": ["null", "string"]},
    ],
}


def events(count: int) -> list[dict[str, Any]]:
    """Return flat events of ten fields, about 75 bytes each in Avro."""
    choose = random.Random(1)
    return [
        {
            "id": f"PO-{choose.randrange(10**8):08d}",
            "activity": choose.choice(["Create Purchase Order", "Receive Goods", "Clear Invoice"]),
            "amount": round(choose.uniform(1, 1e5), 2),
            "quantity": choose.randrange(100),
            "vendor": choose.randrange(10**6),
            "at": 1_700_000_000_000 + choose.randrange(10**9),
            "paid": choose.random() < 0.5,
            "user": f"user-{choose.randrange(100)}" if choose.random() < 0.9 else None,
            "weight": float(choose.randrange(1000)),
            "note": "checked twice" if choose.random() < 0.3 else None,
        }
        for _ in range(count)
    ]


class OneSchema:
    """A registry that knows one schema."""

    def get(self, schema_id: int) -> tuple[str, tuple[str, ...]]:
        """Return the schema, whatever the id."""
        del schema_id
        return orjson.dumps(SCHEMA).decode(), ()


def avro_values(records: list[dict[str, Any]]) -> list[bytes]:
    """Return the records in Avro, with the header of a schema registry."""
    parsed = fastavro.parse_schema(SCHEMA)
    values = []
    for record in records:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, record)
        values.append(b"\x00\x00\x00\x00\x01" + out.getvalue())
    return values


def ratio(work: Callable[[], object], reference: Callable[[], object]) -> float:
    """Return how many times faster `work` is than `reference`: CPU seconds, medians of rounds in turn."""
    work(), reference()
    pairs = [(_seconds(work), _seconds(reference)) for _ in range(ROUNDS)]
    return statistics.median(r for _, r in pairs) / statistics.median(w for w, _ in pairs)


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _batch(values: list[bytes]) -> MessageBatch:
    return MessageBatch.of("events", [FakeMessage("events", 0, i, v) for i, v in enumerate(values)])


def avro_decode_to_reference() -> float:
    """Return our decode() against fastavro per record and `Table.from_pylist`."""
    values = avro_values(events(MESSAGES))
    batch = _batch(values)
    decoder = make_decoder(Table(topics=["events"], format="avro"), TableSchema(), OneSchema())
    parsed = fastavro.parse_schema(SCHEMA)

    def reference() -> pa.Table:
        return pa.Table.from_pylist([fastavro.schemaless_reader(io.BytesIO(v[5:]), parsed) for v in values])

    return ratio(lambda: decoder.decode(batch), reference)


def json_decode_to_orjson() -> float:
    """Return our decode() against `orjson.loads` of every message and nothing else."""
    values = [orjson.dumps(e) for e in events(MESSAGES)]
    batch = _batch(values)
    decoder = make_decoder(Table(topics=["events"], format="json"), TableSchema(), None)
    return ratio(lambda: decoder.decode(batch), lambda: [orjson.loads(v) for v in values])


if __name__ == "__main__":
    print(f"avro_decode_to_reference {avro_decode_to_reference():.1f}")
    print(f"json_decode_to_orjson {json_decode_to_orjson():.2f}")
