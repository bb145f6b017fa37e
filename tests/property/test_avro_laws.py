"""Avro: the columnar decoder, the reference and fastavro say the same of all types, whole or damaged."""

from __future__ import annotations

import base64
import io
import json
import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from connector.config import Table
from connector.core.columns import TableSchema
from connector.formats.avro import AvroFormat
from connector.formats.avro_values import Style
from connector.formats.decoder import TableDecoder
from tests.fakes import message_batch
from tests.unit.formats.tables import Registry, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.core.messages import Decoded

EPOCH, MIDNIGHT = date(1970, 1, 1), datetime(1970, 1, 1)  # noqa: DTZ001 - as a column has it


class Type:
    """An Avro type: its schema, its raw values, and what a column should hold of a raw value (None: is not said)."""

    def __init__(self, schema: Any, values: st.SearchStrategy[Any], column: Callable[[Any], Any] | None = None) -> None:
        self.schema, self.values, self.column = schema, values, column


def same(value: Any) -> Any:
    return value


def millis(divisor: int) -> Callable[[int], datetime | None]:
    def instant(value: int) -> datetime | None:
        try:
            at = MIDNIGHT + timedelta(milliseconds=value // divisor)
        except OverflowError:
            return None
        return at if at.year >= 1400 else None

    return instant


def day(value: int) -> date | None:
    try:
        at = EPOCH + timedelta(days=value)
    except OverflowError:
        return None
    return at if at.year >= 1400 else None


def clock(divisor: int) -> Callable[[int], Any]:
    return lambda value: (MIDNIGHT + timedelta(milliseconds=value // divisor % 86_400_000)).time()


def decimal(scale: int) -> Callable[[bytes], float]:
    return lambda value: float(Decimal(int.from_bytes(value, "big", signed=True)) * Decimal(1).scaleb(-scale))


def logical(underneath: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": underneath, "logicalType": name, **more}


def fixed(size: int, **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": f"F{size}{more.get('logicalType', '')}", "size": size, **more}


INT, LONG = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
RECENT = st.integers(-(10**13), 10**14)


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


SCALARS = [
    Type("boolean", st.booleans(), same),
    Type("int", INT, same),
    Type("long", LONG, same),
    Type("float", st.floats(width=32), same),
    Type("double", st.floats(), same),
    Type("string", st.text(st.characters(exclude_categories=["Cs"]), max_size=8), same),
    Type("bytes", st.binary(max_size=8), b64),
    Type(fixed(3), st.binary(min_size=3, max_size=3), b64),
    Type(fixed(20), st.binary(min_size=20, max_size=20), b64),
    Type({"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}, st.sampled_from("ABC"), same),
    Type(logical("int", "date"), INT | st.integers(-300_000, 3_000_000), day),
    Type(logical("int", "time-millis"), INT, clock(1)),
    Type(logical("long", "time-micros"), LONG, clock(1000)),
    *(
        Type(logical("long", f"{local}timestamp-{unit}"), LONG | RECENT.map(divisor.__mul__), millis(divisor))
        for local in ("", "local-")
        for unit, divisor in (("millis", 1), ("micros", 1000))
    ),
    Type(logical("string", "uuid"), st.uuids().map(str), same),
    Type(fixed(16, logicalType="uuid"), st.binary(min_size=16, max_size=16), lambda v: str(UUID(bytes=v))),
    Type(fixed(12, logicalType="duration"), st.binary(min_size=12, max_size=12)),
    Type(logical("bytes", "decimal", precision=30, scale=4), st.binary(max_size=10), decimal(4)),
    Type(logical("bytes", "decimal", precision=30, scale=0), st.binary(max_size=12), decimal(0)),
    Type(fixed(8, logicalType="decimal", precision=9, scale=2), st.binary(min_size=8, max_size=8), decimal(2)),
    Type(fixed(7, logicalType="decimal", precision=9, scale=2), st.binary(min_size=7, max_size=7), decimal(2)),
]


def either(inner: list[Type]) -> Type:
    """Return a union of null and `inner`."""
    values = st.none() | st.one_of([t.values for t in inner])
    column = inner[0].column if len(inner) == 1 else None
    return Type(["null", *(t.schema for t in inner)], values, column and or_null(column))


def or_null(column: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else column(value)


def grown(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    """Return what can be made of types: arrays, maps, unions, records; anything with a name stands once only."""
    return st.one_of(
        inner.map(lambda t: Type({"type": "array", "items": t.schema}, st.lists(t.values, max_size=3))),
        inner.map(
            lambda t: Type(
                {"type": "map", "values": t.schema}, st.dictionaries(st.text("ab", max_size=2), t.values, max_size=3)
            )
        ),
        inner.filter(lambda t: not isinstance(t.schema, list)).map(lambda t: either([t])),
        st.lists(inner, min_size=1, max_size=3).map(nested),
    )


def nested(types: list[Type]) -> Type:
    fields = {f"f{i}": t for i, t in enumerate(types)}
    return Type(
        record(*((n, t.schema) for n, t in fields.items())),
        st.fixed_dictionaries({n: t.values for n, t in fields.items()}),
    )


SIMPLE_UNIONS = st.sampled_from(
    [
        either([SCALARS[1], SCALARS[4]]),
        either([SCALARS[2], SCALARS[5]]),
        either([SCALARS[0], SCALARS[2], SCALARS[5], SCALARS[6]]),
        Type(["string", "null"], st.none() | SCALARS[5].values, same),
    ]
)
ALL_TYPES = st.recursive(st.sampled_from(SCALARS) | SIMPLE_UNIONS, grown, max_leaves=4)


def renamed(schema: Any, counter: list[int]) -> Any:
    """Give every named type a name of its own."""
    if isinstance(schema, list):
        return [renamed(s, counter) for s in schema]
    if not isinstance(schema, dict):
        return schema
    result = {k: renamed(v, counter) if k in ("items", "values", "type", "fields") else v for k, v in schema.items()}
    if schema.get("type") in ("record", "enum", "fixed"):
        counter[0] += 1
        result["name"] = f"N{counter[0]}"
    return result


@st.composite
def batches(draw: st.DrawFn) -> tuple[Any, list[Type], list[dict[str, Any]]]:
    """Return a schema, the types of its fields, and raw records."""
    types = draw(st.lists(ALL_TYPES, min_size=1, max_size=4))
    schema = renamed(record(*((f"f{i}", t.schema) for i, t in enumerate(types))), [0])
    rows = st.fixed_dictionaries({f"f{i}": t.values for i, t in enumerate(types)})
    return schema, types, draw(st.lists(rows, min_size=1, max_size=4))


def bare(schema: Any) -> Any:
    """Return the schema without logical types, so that raw values can be written and read."""
    if isinstance(schema, list):
        return [bare(s) for s in schema]
    return {k: bare(v) for k, v in schema.items() if k != "logicalType"} if isinstance(schema, dict) else schema


def written(schema: Any, rows: list[dict[str, Any]]) -> list[bytes]:
    parsed = fastavro.parse_schema(bare(schema))
    values = []
    for row in rows:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, row)
        values.append(b"\x00\x00\x00\x00\x01" + out.getvalue())
    return values


def decoders(schema: Any, style: Style) -> tuple[TableDecoder, TableDecoder]:
    table = Table(topics=["t"], format="avro")
    fast, slow = (AvroFormat(Registry(s1=schema), style, columnar=c) for c in (True, False))
    return TableDecoder(table, fast, TableSchema()), TableDecoder(table, slow, TableSchema())


def plain(decoded: Decoded) -> Any:
    """Return all there is to compare; NaN is like NaN."""
    cells = [
        [("NaN" if isinstance(v, float) and math.isnan(v) else v) for v in column.to_pylist()]
        for column in decoded.batch.columns
    ]
    rejects = sorted((r.offset, r.reason) for r in decoded.rejects)
    return decoded.batch.schema, cells, decoded.rows.tolist(), rejects, decoded.nulled_dates


STYLES = st.builds(Style, st.sampled_from(["double", "string"]), st.sampled_from(["base64", "hex"]))


@given(batches(), STYLES)
def test_the_columnar_decoder_is_the_reference_for_every_type(
    batch: tuple[Any, list[Type], list[dict[str, Any]]], style: Style
) -> None:
    schema, _, rows = batch
    messages = message_batch(*written(schema, rows))
    fast, slow = decoders(schema, style)
    assert plain(fast.decode(messages)) == plain(slow.decode(messages))
    assert fast.schema == slow.schema
    assert not slow.decode(messages).rejects


@given(batches())
def test_the_reference_is_what_fastavro_says(batch: tuple[Any, list[Type], list[dict[str, Any]]]) -> None:
    schema, types, rows = batch
    values = written(schema, rows)
    decoded = decoders(schema, Style())[1].decode(message_batch(*values)).batch
    parsed = fastavro.parse_schema(bare(schema))
    for row, value in enumerate(values):
        told: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None)
        for i, t in enumerate(types):
            if t.column is None:
                continue
            expected = t.column(told[f"f{i}"])
            found = decoded.column(f"f{i}")[row].as_py()
            if isinstance(expected, float) and math.isnan(expected):
                assert math.isnan(found)
            else:
                assert found == expected


@given(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=3), st.data())
def test_arrays_of_scalars_are_the_json_text_of_what_fastavro_says(types: list[Type], data: st.DataObject) -> None:
    plain_types = [t for t in types if isinstance(t.schema, str) and t.schema not in ("bytes", "float", "double")]
    schema = renamed(record(*((f"f{i}", {"type": "array", "items": t.schema}) for i, t in enumerate(plain_types))), [0])
    row = {f"f{i}": data.draw(st.lists(t.values, max_size=4)) for i, t in enumerate(plain_types)}
    decoded = decoders(schema, Style())[0].decode(message_batch(*written(schema, [row])))
    for name, items in row.items():
        assert json.loads(decoded.batch.column(name)[0].as_py()) == items


DAMAGE = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 60), st.sampled_from(["cut", "flip", "add", "take"]), st.integers(0, 255)
    ),
    max_size=4,
)


def damaged(values: list[bytes], damage: list[tuple[int, int, str, int]]) -> list[bytes]:
    result = list(values)
    for message, place, how, byte in damage:
        i = message % len(result)
        value, at = result[i], place % (len(result[i]) + 1)
        result[i] = {
            "cut": value[:at],
            "flip": value[:at] + bytes([byte]) + value[at + 1 :],
            "add": value[:at] + bytes([byte]) + value[at:],
            "take": value[:at] + value[at + 1 :],
        }[how]
    return result


@given(batches(), DAMAGE, STYLES)
def test_of_damaged_messages_every_one_is_a_row_or_a_reject_the_same_for_both(
    batch: tuple[Any, list[Type], list[dict[str, Any]]], damage: list[tuple[int, int, str, int]], style: Style
) -> None:
    schema, _, rows = batch
    messages = message_batch(*damaged(written(schema, rows), damage))
    fast, slow = decoders(schema, style)
    ours = fast.decode(messages)
    ours.batch.validate(full=True)
    assert sorted([*ours.rows.tolist(), *(r.offset for r in ours.rejects)]) == list(range(len(rows)))
    assert plain(ours) == plain(slow.decode(messages))


@given(batches(), st.lists(st.binary(max_size=30), min_size=1, max_size=4))
def test_noise_behind_a_right_header_is_a_row_or_a_reject_the_same_for_both(
    batch: tuple[Any, list[Type], list[dict[str, Any]]], noise: list[bytes]
) -> None:
    messages = message_batch(*(b"\x00\x00\x00\x00\x01" + n for n in noise))
    fast, slow = decoders(batch[0], Style())
    ours = fast.decode(messages)
    assert len(ours.rows) + len(ours.rejects) == len(noise)
    assert plain(ours) == plain(slow.decode(messages))
