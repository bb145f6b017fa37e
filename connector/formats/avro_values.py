"""Owns what Avro values mean: raw numbers, text and bytes become values of the column types; the rest JSON text.

Never reads a schema's structure. Invariant: both decoders hand over raw values and share every line here, so that
they cannot differ in what a logical type means.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import ARROW, ColumnType
from connector.core.conform import dated
from connector.formats.avro_schema import Scalar, branches, kind_of, resolved, scalar_of, union_type
from connector.formats.leaves import Leaf

if TYPE_CHECKING:
    import numpy.typing as npt

    from connector.formats.avro_schema import LeafPlan, Schema

_RAW = {
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
}
_AVRO_OF: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("int", "long"),
    float: ("float", "double"),
    str: ("string",),
    bytes: ("bytes",),
    list: ("array",),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000  # milliseconds
_EXACT, _EXACT_POWER = 1 << 53, 22  # up to here integers, and powers of ten, are exact in a double
_TO_MILLIS = {"micros": 1_000, "nanos": 1_000_000}


@dataclass(frozen=True, slots=True)
class Style:
    """What becomes of what the platform does not know."""

    decimals: Literal["double", "string"] = "double"
    binary: Literal["base64", "hex"] = "base64"


def raw_type(scalar: Scalar) -> pa.DataType:
    """Return the Arrow type of a scalar as it is on the wire."""
    return _RAW.get(scalar.avro, pa.string())


def finish(leaf: LeafPlan, values: pa.Array, named: dict[str, Any], style: Style) -> Leaf:
    """Return the leaf of raw `values`: of a scalar, or text that `textual` has made."""
    scalar = leaf.scalar
    if scalar is None:
        kind = _union_kind(leaf.schema, named, style) if isinstance(leaf.schema, list) else ColumnType.STRING
        return Leaf(leaf.path, kind, values if kind is ColumnType.STRING else values.cast(ARROW[kind]))
    if scalar.avro in ("bytes", "fixed"):
        return _bytes_leaf(leaf, scalar, values, style)
    if scalar.type is ColumnType.TIME:
        clock = _arithmetic(_as_millis(values, scalar.logical), lambda numbers: numbers % _DAY)
        return Leaf(leaf.path, scalar.type, clock.cast(pa.int32()).view(ARROW[scalar.type]))
    if scalar.type in (ColumnType.DATETIME, ColumnType.DATE):
        return Leaf(leaf.path, scalar.type, *dated(_as_millis(values, scalar.logical), scalar.type))
    return Leaf(leaf.path, scalar.type, values)


def textual(values: list[Any], schema: Schema, named: dict[str, Any], style: Style) -> pa.Array:
    """Return JSON text of arrays, maps, records and unions; of a union of scalars their plain text."""
    plain = isinstance(schema, list) and union_type(schema, named) is not None
    texts = (None if v is None else jsonable(v, schema, named, style) for v in values)
    if plain:
        return pa.array([None if t is None else t if isinstance(t, str) else _plain(t) for t in texts], pa.string())
    return pa.array([None if t is None else orjson.dumps(t).decode() for t in texts], pa.string())


def jsonable(value: Any, schema: Any, named: dict[str, Any], style: Style) -> Any:  # noqa: ANN401 - one case a type
    """Return a raw value as JSON has it: dates as ISO text, bytes by setting, maps and records as objects."""
    schema = resolved(schema, named)
    if value is None:
        return None
    if isinstance(schema, list):
        return _branch(value, schema, named, style)
    scalar = scalar_of(schema)
    if scalar:
        return _scalar(value, scalar, style)
    kind = kind_of(schema)
    if kind == "array":
        return [jsonable(v, schema["items"], named, style) for v in value]
    if kind == "map":
        return {k: jsonable(v, schema["values"], named, style) for k, v in dict(value).items()}
    return {f["name"]: jsonable(value[f["name"]], f["type"], named, style) for f in schema["fields"]}


def _branch(value: Any, union: list[Any], named: dict[str, Any], style: Style) -> Any:  # noqa: ANN401
    """Return the value as the first branch that can hold it; which one was written is not kept by the decoders."""
    options = [resolved(s, named) for s in branches(union)]
    fitting = next((s for s in options if _fits(value, s)), options[0])
    return jsonable(value, fitting, named, style)


def _fits(value: Any, schema: Schema) -> bool:  # noqa: ANN401
    kind = kind_of(schema)
    if isinstance(value, dict):
        names = {f["name"] for f in schema["fields"]} if isinstance(schema, dict) and "fields" in schema else None
        return kind == "map" if names is None else names == value.keys()
    if isinstance(schema, dict) and kind in ("enum", "fixed"):
        return (
            value in schema["symbols"] if kind == "enum" else isinstance(value, bytes) and len(value) == schema["size"]
        )
    return kind in _AVRO_OF.get(type(value), ())


def _scalar(value: Any, scalar: Scalar, style: Style) -> Any:  # noqa: ANN401
    if isinstance(value, bytes):
        return _from_bytes(value, scalar, style)
    if scalar.type is ColumnType.DATE:
        return _iso_date(value)
    if scalar.type is ColumnType.TIME:
        millis = _floor(value, scalar.logical)
        return (_EPOCH + timedelta(milliseconds=millis % _DAY)).time().isoformat("milliseconds")
    if scalar.type is ColumnType.DATETIME:
        return _iso_datetime(_floor(value, scalar.logical))
    return value


def _floor(value: int, logical: str) -> int:
    return value // _TO_MILLIS.get(logical.rpartition("-")[2], 1)


def _iso_date(days: int) -> str | None:
    try:
        return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        return None


def _iso_datetime(millis: int) -> str | None:
    try:
        at = _EPOCH + timedelta(milliseconds=millis)
    except OverflowError:
        return None
    return at.replace(tzinfo=None).isoformat("T", "milliseconds")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _union_kind(union: list[Any], named: dict[str, Any], style: Style) -> ColumnType:
    """Return the type of a union's column: one of numbers stays numeric, every other one is text."""
    if style.decimals == "string" and any(_is_decimal(resolved(s, named)) for s in union):
        return ColumnType.STRING
    kind = union_type(union, named)
    return kind if kind in (ColumnType.INTEGER, ColumnType.FLOAT) else ColumnType.STRING


def _is_decimal(schema: Schema) -> bool:
    scalar = scalar_of(schema)
    return scalar is not None and scalar.logical == "scaled"


def _bytes_leaf(leaf: LeafPlan, scalar: Scalar, values: pa.Array, style: Style) -> Leaf:
    if scalar.logical == "scaled" and style.decimals == "double":
        return Leaf(leaf.path, ColumnType.FLOAT, _doubles(values, scalar))
    decoded = [None if v is None else _from_bytes(v, scalar, style) for v in values.to_pylist()]
    return Leaf(leaf.path, ColumnType.STRING, pa.array(decoded, pa.string()))


def _doubles(values: pa.Array, scalar: Scalar) -> pa.Array:
    """Return decimals, big-endian two's complement in bytes, as the nearest doubles.

    In columns where the quotient of two exact doubles is the nearest one: below 2^53, and 10^22.
    """
    unscaled = _small_integers(values) if scalar.scale <= _EXACT_POWER else None
    if unscaled is None:
        slowly = (None if v is None else _from_bytes(v, scalar, Style()) for v in values.to_pylist())
        return pa.array(slowly, pa.float64())
    null = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    return pa.array(unscaled / 10.0**scalar.scale, mask=null)


def _small_integers(values: pa.Array) -> npt.NDArray[np.int64] | None:
    """Return the integers in `values`, 0 for null, or None when one of them has over 53 bits."""
    lengths = pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    longest = int(lengths.max(initial=0))
    if longest > 8:  # noqa: PLR2004 - bytes of an int64
        return None
    _, offsets, data = values.buffers()
    starts = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values)]
    content = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    number = np.zeros(len(values), np.int64)
    for k in range(longest):
        here = np.flatnonzero(lengths > k)
        byte = content[starts[here] + k].astype(np.int64)
        number[here] = (number[here] << 8) + (byte if k else byte - ((byte >> 7) << 8))
    return number if ((number <= _EXACT) & (number >= -_EXACT)).all() else None


def _from_bytes(value: bytes, scalar: Scalar, style: Style) -> str | float:
    if scalar.logical == "scaled":
        number = Decimal(f"{int.from_bytes(value, 'big', signed=True)}E{-scalar.scale}")
        return f"{number:f}" if style.decimals == "string" else float(number)
    if scalar.logical == "uuid":
        return str(uuid.UUID(bytes=value))
    if scalar.logical == "duration":
        months, days, millis = (int.from_bytes(value[i : i + 4], "little") for i in (0, 4, 8))
        return f"P{months}M{days}DT{millis / 1000:.3f}S"
    return base64.b64encode(value).decode() if style.binary == "base64" else value.hex()


def _as_millis(values: pa.Array, logical: str) -> pa.Array:
    divisor = _TO_MILLIS.get(logical.rpartition("-")[2])
    return values if divisor is None else _arithmetic(values, lambda numbers: numbers // divisor)


def _arithmetic(values: pa.Array, formula: Any) -> pa.Array:  # noqa: ANN401 - numpy in, numpy out
    """Apply an integer formula that rounds towards the past, which Arrow's own division does not."""
    null = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    numbers = (values.fill_null(0) if values.null_count else values).to_numpy()
    return pa.array(formula(numbers).astype(np.int64), mask=null)
