"""Owns the conversion of a column from one column type to another, without loss and in columns.

Never drops a row: a value that does not fit becomes null and is marked. Invariant: what comes out stands in the one
Arrow type of the wanted column type.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import ARROW, ColumnType

if TYPE_CHECKING:
    from collections.abc import Callable

_V = TypeVar("_V")
_FIRST_DAY, _LAST_DAY = (date(1400, 1, 1) - date(1970, 1, 1)).days, (date(9999, 12, 31) - date(1970, 1, 1)).days
_DAY = 86_400_000  # milliseconds
_EXACT = 1 << 53  # integers up to here are exact in a double
_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_FLOAT = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


class Converted(NamedTuple):
    """A column in its wanted type; `misfits` marks values that are null now because they do not fit."""

    values: pa.Array
    misfits: pa.Array | None = None


def convert(values: pa.Array, found: ColumnType, wanted: ColumnType) -> Converted:
    """Return `values` of type `found` as `wanted`: integer ↔ float when exact, date ↔ datetime, text both ways.

    Integers are read as milliseconds since the epoch where a datetime is wanted.
    """
    if found is wanted:
        return Converted(values)
    if wanted is ColumnType.STRING:
        return Converted(_to_text(values, found))
    how = _CONVERSIONS.get((found, wanted))
    result = how(values) if how else pa.nulls(len(values), ARROW[wanted])
    misfits = pc.and_(pc.is_valid(values), pc.is_null(result))
    return Converted(result, misfits if pc.any(misfits).as_py() else None)


def in_range(values: pa.Array, kind: ColumnType) -> tuple[pa.Array, int]:
    """Return dates and datetimes with those outside the years 1400 to 9999 as null, and how many they were."""
    if kind is ColumnType.DATE:
        numbers, low, high = values.view(pa.int32()), _FIRST_DAY, _LAST_DAY
    elif kind is ColumnType.DATETIME:
        numbers, low, high = values.view(pa.int64()), _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1
    else:
        return values, 0
    bounds = pc.min_max(numbers).as_py()
    if bounds["min"] is None or (bounds["min"] >= low and bounds["max"] <= high):
        return values, 0
    outside = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
    return pc.if_else(outside, None, values), pc.sum(outside).as_py()


def _to_text(values: pa.Array, found: ColumnType) -> pa.Array:
    if found is ColumnType.FLOAT:  # as Python and JSON write them, not as Arrow does
        return pa.array([None if v is None else repr(v) for v in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _integer_to_float(values: pa.Array) -> pa.Array:
    exact = pc.and_(pc.less_equal(values, _EXACT), pc.greater_equal(values, -_EXACT))
    return pc.if_else(exact, values.cast(pa.float64(), safe=False), None)


def _float_to_integer(values: pa.Array) -> pa.Array:
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less_equal(pc.abs(values), float(_EXACT)))
    return pc.if_else(whole, values, None).cast(pa.int64())


def _datetime_to_date(values: pa.Array) -> pa.Array:
    numbers = values.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    midnight = pa.array(numbers % _DAY == 0)
    days = pa.array((numbers // _DAY).astype(np.int32)).view(pa.date32())
    return pc.if_else(pc.and_(midnight, pc.is_valid(values)), days, None)


def _matching(values: pa.Array, pattern: str, arrow: pa.DataType) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(values, pattern), values, None).cast(arrow)


def _text_to_boolean(values: pa.Array) -> pa.Array:
    true = pc.equal(values, "true")
    return pc.if_else(pc.or_(true, pc.equal(values, "false")), true, None)


def _text_to_datetime(values: pa.Array) -> pa.Array:
    """Read ISO 8601: in columns when all values have a zone or none has; else one by one. Zoneless means UTC."""
    for arrow in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        try:
            micros = values.cast(arrow).view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
        return pc.if_else(pc.is_valid(values), pa.array(micros // 1000).view(pa.timestamp("ms")), None)
    return pa.array([_or_none(_milliseconds, text) for text in values.to_pylist()], pa.int64()).view(pa.timestamp("ms"))


def _milliseconds(text: str) -> int:
    at = datetime.fromisoformat(text)
    delta = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def _text_to_date(values: pa.Array) -> pa.Array:
    return pa.array([_or_none(date.fromisoformat, text) for text in values.to_pylist()], pa.date32())


def _text_to_time(values: pa.Array) -> pa.Array:
    def milliseconds(text: str) -> int:
        t = time.fromisoformat(text)
        return ((t.hour * 60 + t.minute) * 60 + t.second) * 1000 + t.microsecond // 1000

    return pa.array([_or_none(milliseconds, text) for text in values.to_pylist()], pa.int32()).view(pa.time32("ms"))


def _or_none(read: Callable[[str], _V], text: str | None) -> _V | None:
    try:
        return None if text is None else read(text)
    except ValueError:
        return None


_T = ColumnType
_CONVERSIONS: dict[tuple[ColumnType, ColumnType], Callable[[pa.Array], pa.Array]] = {
    (_T.INTEGER, _T.FLOAT): _integer_to_float,
    (_T.FLOAT, _T.INTEGER): _float_to_integer,
    (_T.DATE, _T.DATETIME): lambda values: values.cast(pa.timestamp("ms")),
    (_T.DATETIME, _T.DATE): _datetime_to_date,
    (_T.INTEGER, _T.DATETIME): lambda values: values.view(pa.timestamp("ms")),
    (_T.STRING, _T.INTEGER): lambda values: _matching(values, _INTEGER, pa.int64()),
    (_T.STRING, _T.FLOAT): lambda values: _matching(values, _FLOAT, pa.float64()),
    (_T.STRING, _T.BOOLEAN): _text_to_boolean,
    (_T.STRING, _T.DATETIME): _text_to_datetime,
    (_T.STRING, _T.DATE): _text_to_date,
    (_T.STRING, _T.TIME): _text_to_time,
}
