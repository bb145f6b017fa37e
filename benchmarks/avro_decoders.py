"""Owns the comparison of two columnar ways to read Avro messages; decides nothing by itself.

One way goes from datums straight to Arrow (pyruhvro). The other makes an Avro container file of the datums of one
schema and lets a columnar reader take it whole (polars; Avro specification, "Object Container Files"). fastavro judges.
Needs the extra `bench`. Run with `python -m benchmarks.avro_decoders`.
"""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import polars as pl
import pyarrow as pa
from pyruhvro import deserialize_array

from benchmarks.decode import MESSAGES, SCHEMA, events
from connector.formats.avro_schema import plan

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[dict[str, Any], list[bytes]], list[dict[str, Any]]]

_SYNC = bytes(range(16))
NOON = datetime(2020, 1, 31, 12, tzinfo=UTC)
FIXED = {"type": "fixed", "name": "F", "size": 16}
INNER = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}
NODE = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}


def logical(underneath: str, name: str, **more: int) -> dict[str, Any]:
    """Return a logical type."""
    return {"type": underneath, "logicalType": name, **more}


TYPES: dict[str, tuple[Any, Any]] = {
    "null": ("null", None),
    "boolean": ("boolean", True),
    "int": ("int", -7),
    "long": ("long", 1 << 62),
    "float": ("float", 0.5),
    "double": ("double", 0.1),
    "string": ("string", "ü"),
    "bytes": ("bytes", b"\xff"),
    "fixed": (FIXED, b"\xff" * 16),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
    "date": (logical("int", "date"), date(2020, 1, 31)),
    "time-millis": (logical("int", "time-millis"), clock(1, 2, 3)),
    "time-micros": (logical("long", "time-micros"), clock(1, 2, 3)),
    "timestamp-millis": (logical("long", "timestamp-millis"), NOON),
    "timestamp-micros": (logical("long", "timestamp-micros"), NOON),
    "local-timestamp-millis": (logical("long", "local-timestamp-millis"), NOON.replace(tzinfo=None)),
    "local-timestamp-micros": (logical("long", "local-timestamp-micros"), NOON.replace(tzinfo=None)),
    "uuid (string)": (logical("string", "uuid"), UUID(int=1)),
    "decimal (bytes)": (logical("bytes", "decimal", precision=9, scale=2), Decimal("-12.34")),
    "decimal (fixed)": ({**FIXED, "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-12.34")),
    "array": ({"type": "array", "items": "long"}, [1, 2]),
    "map": ({"type": "map", "values": "long"}, {"k": 1}),
    "record": (INNER, {"x": 1}),
    "nullable": (["null", "string"], "x"),
    "nullable record": (["null", INNER], {"x": 1}),
    "union of several": (["null", "long", "string"], "x"),
    "recursive record": (NODE, {"next": {"next": None}}),
}


def one_field(schema: object) -> dict[str, Any]:
    """Return a record schema with one field."""
    return {"type": "record", "name": "R", "fields": [{"name": "a", "type": schema}]}


def datums_of(schema: dict[str, Any], rows: list[dict[str, Any]]) -> list[bytes]:
    """Return the rows in Avro, without any header."""
    parsed, datums = fastavro.parse_schema(schema), []
    for row in rows:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row)
        datums.append(out.getvalue())
    return datums


def by_fastavro(schema: dict[str, Any], datums: list[bytes]) -> list[dict[str, Any]]:
    """Read one by one, as the judge does."""
    parsed = fastavro.parse_schema(schema)
    return [fastavro.schemaless_reader(io.BytesIO(d), parsed, None) for d in datums]  # type: ignore[misc]


def pyruhvro_arrow(schema: dict[str, Any], datums: list[bytes]) -> pa.RecordBatch:
    """Read datums straight into Arrow."""
    return deserialize_array(datums, json.dumps(schema))


def container(schema: dict[str, Any], datums: list[bytes]) -> bytes:
    """Return an Avro container file whose one block is the datums."""
    text, block = json.dumps(schema).encode(), b"".join(datums)
    metadata = varint(1) + varint(11) + b"avro.schema" + varint(len(text)) + text + b"\x00"
    return b"Obj\x01" + metadata + _SYNC + varint(len(datums)) + varint(len(block)) + block + _SYNC


def varint(number: int) -> bytes:
    """Return a natural number as Avro writes a long."""
    number, out = number << 1, b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def polars_frame(schema: dict[str, Any], datums: list[bytes]) -> pl.DataFrame:
    """Read a container whole."""
    return pl.read_avro(io.BytesIO(container(schema, datums)))


def plain(value: object) -> object:
    """Return a value as all readers can mean it: no zones, maps as objects, UUIDs as text."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        pairs = bool(value) and all(isinstance(v, tuple) for v in value)
        return {k: plain(v) for k, v in value} if pairs else [plain(v) for v in value]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return str(value) if isinstance(value, UUID) else value


def verdict(read: Reader, schema: dict[str, Any], datums: list[bytes], told: object) -> str:
    """Return how a reader does with a schema."""
    try:
        return "right" if plain(read(schema, datums)) == told else "WRONG"
    except BaseException as e:  # noqa: BLE001 - a panic of Rust is no Exception
        return "panics" if "Panic" in type(e).__name__ else type(e).__name__


def ours(schema: dict[str, Any]) -> str:
    """Return which way the connector goes for a schema."""
    return "columns" if plan(json.dumps(schema)).text else "fastavro"


def rate(work: Callable[[], object], records: int, rounds: int = 9) -> float:
    """Return records per second of CPU time, the best of some rounds."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return records / min(seconds)


def main() -> None:
    """Print what each way gets right, and how fast it is."""
    print(f"{'type':24}{'pyruhvro':20}{'polars':20}connector")
    for name, (avro, value) in TYPES.items():
        schema = one_field(avro)
        datums = datums_of(schema, [{"a": value}] * 3)
        told = plain(by_fastavro(schema, datums))
        readers: list[Reader] = [
            lambda s, d: pyruhvro_arrow(s, d).to_pylist(),
            lambda s, d: polars_frame(s, d).to_dicts(),
        ]
        verdicts = [verdict(read, schema, datums, told) for read in readers]
        print(f"{name:24}{verdicts[0]:20}{verdicts[1]:20}{ours(schema)}")
    flat = datums_of(SCHEMA, events(MESSAGES))
    print(f"\nflat records of {len(SCHEMA['fields'])} fields, millions a second of CPU time")
    for name, work in (
        ("pyruhvro", lambda: pyruhvro_arrow(SCHEMA, flat)),
        ("polars", lambda: polars_frame(SCHEMA, flat)),
        ("fastavro and from_pylist", lambda: pa.Table.from_pylist(by_fastavro(SCHEMA, flat))),
    ):
        print(f"{name:28}{rate(work, len(flat)) / 1e6:6.2f}")


if __name__ == "__main__":
    main()
