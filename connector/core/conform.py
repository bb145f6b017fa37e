"""Owns the conversion of a column from one column type to another, in columns.

Never drops a row: a value that does not fit becomes null and is marked. Invariant: what comes out stands in the one
Arrow type of the wanted column type, what becomes of a value does not depend on the values beside it, and a
conversion to a wider type (`columns.widened`) has no misfits.
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY, _LAST_DAY = (date(1400, 1, 1) - date(1970, 1, 1)).days, (date(9999, 12, 31) - date(1970, 1, 1)).days
_DAY = 86_400_000  # milliseconds
_YEAR_1 = (date(1, 1, 1) - date(1970, 1, 1)).days * _DAY * 1000  # microseconds
_EXACT = float(1 << 53)  # integers up to here are exact in a double
_INTEGER = r"^-?(0|[1-9][0-9]{0,18})$"
_FLOAT = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


class Converted(NamedTuple):
    """A column in its wanted type; `misfits` marks values that are null now because they do not fit."""

    values: pa.Array
    misfits: pa.Array | None = None


def convert(values: pa.Array, found: ColumnType, wanted: ColumnType) -> Converted:
    """Return `values` of type `found` as `wanted`: integer ↔ float, date ↔ datetime, text both ways.

    An integer becomes the nearest double (as Avro and JSON have it), a double an integer only when it is exactly
    one. Integers are read as milliseconds since the epoch where a datetime is wanted.
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
        return dated(values.view(pa.int32()).cast(pa.int64()), kind)
    return dated(values.view(pa.int64()), kind) if kind is ColumnType.DATETIME else (values, 0)


def dated(numbers: pa.Array, kind: ColumnType) -> tuple[pa.Array, int]:
    """Return days (DATE) or milliseconds (DATETIME) since the epoch, int64, as `in_range` returns dates."""
    low, high = (_FIRST_DAY, _LAST_DAY) if kind is ColumnType.DATE else (_FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1)
    bounds = pc.min_max(numbers).as_py()
    nulled = 0
    if bounds["min"] is not None and (bounds["min"] < low or bounds["max"] > high):
        outside = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
        numbers, nulled = pc.if_else(outside, None, numbers), pc.sum(outside).as_py()
    return (numbers.cast(pa.int32()) if kind is ColumnType.DATE else numbers).view(ARROW[kind]), nulled


def _to_text(values: pa.Array, found: ColumnType) -> pa.Array:
    if found is ColumnType.FLOAT:  # as Python and JSON write them, not as Arrow does
        return pa.array([None if v is None else repr(v) for v in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _float_to_integer(values: pa.Array) -> pa.Array:
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less_equal(pc.abs(values), _EXACT))
    return pc.if_else(whole, values, None).cast(pa.int64())


def _datetime_to_date(values: pa.Array) -> pa.Array:
    numbers = values.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    midnight = pa.array(numbers % _DAY == 0)
    days = pa.array((numbers // _DAY).astype(np.int32)).view(pa.date32())
    return pc.if_else(pc.and_(midnight, pc.is_valid(values)), days, None)


def _text_to_integer(values: pa.Array) -> pa.Array:
    numerals = pc.if_else(pc.match_substring_regex(values, _INTEGER), values, None)
    try:
        return numerals.cast(pa.int64())
    except pa.ArrowInvalid:  # one of them has more than 64 bits
        return pa.array([_or_none(_int64, text) for text in numerals.to_pylist()], pa.int64())


def _int64(text: str) -> int:
    number = int(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("more than 64 bits")
    return number


def _text_to_float(values: pa.Array) -> pa.Array:
    numbers = pc.if_else(pc.match_substring_regex(values, _FLOAT), values, None).cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _text_to_boolean(values: pa.Array) -> pa.Array:
    true = pc.equal(values, "true")
    return pc.if_else(pc.or_(true, pc.equal(values, "false")), true, None)


def _text_to_datetime(values: pa.Array) -> pa.Array:
    """Read ISO 8601: in columns when all values have a zone or none has; else one by one. Zoneless means UTC."""
    for arrow in (pa.timestamp("us"), pa.timestamp("us", tz="UTC")):
        try:
            micros = values.cast(arrow).view(pa.int64())
        except pa.ArrowInvalid:
            continue
        if (pc.min(micros).as_py() or 0) < _YEAR_1:
            break  # Arrow has a year 0
        millis = micros.fill_null(0).to_numpy(zero_copy_only=False) // 1000
        return pc.if_else(pc.is_valid(values), pa.array(millis).view(pa.timestamp("ms")), None)
    return pa.array([_or_none(_milliseconds, text) for text in values.to_pylist()], pa.int64()).view(pa.timestamp("ms"))


def _milliseconds(text: str) -> int:
    at = datetime.fromisoformat(text)
    delta = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def _text_to_date(values: pa.Array) -> pa.Array:
    return pa.array([_or_none(date.fromisoformat, text) for text in values.to_pylist()], pa.date32())


def _text_to_time(values: pa.Array) -> pa.Array:
    def milliseconds(text: str) -> int:
        t = time.fromisoformat(text)
        if t.tzinfo:
            raise ValueError("a TIME has no zone")
        return ((t.hour * 60 + t.minute) * 60 + t.second) * 1000 + t.microsecond // 1000

    return pa.array([_or_none(milliseconds, text) for text in values.to_pylist()], pa.int32()).view(pa.time32("ms"))


def _or_none(read: Callable[[str], _V], text: str | None) -> _V | None:
    try:
        return None if text is None else read(text)
    except ValueError:
        return None


_T = ColumnType
_CONVERSIONS: dict[tuple[ColumnType, ColumnType], Callable[[pa.Array], pa.Array]] = {
    (_T.INTEGER, _T.FLOAT): lambda values: values.cast(pa.float64(), safe=False),
    (_T.FLOAT, _T.INTEGER): _float_to_integer,
    (_T.DATE, _T.DATETIME): lambda values: values.cast(pa.timestamp("ms")),
    (_T.DATETIME, _T.DATE): _datetime_to_date,
    (_T.INTEGER, _T.DATETIME): lambda values: values.view(pa.timestamp("ms")),
    (_T.STRING, _T.INTEGER): _text_to_integer,
    (_T.STRING, _T.FLOAT): _text_to_float,
    (_T.STRING, _T.BOOLEAN): _text_to_boolean,
    (_T.STRING, _T.DATETIME): _text_to_datetime,
    (_T.STRING, _T.DATE): _text_to_date,
    (_T.STRING, _T.TIME): _text_to_time,
}
