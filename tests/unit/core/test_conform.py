"""Columns from one type to another."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
import pytest

from connector.core.columns import ARROW, ColumnType
from connector.core.conform import convert, dated, in_range

T = ColumnType


def at(*parts: int) -> datetime:
    """Return an instant as a column has it: without a zone."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


BIG = (1 << 53) + 1
CONVERSIONS: list[tuple[T, T, list[tuple[Any, Any]]]] = [
    (T.INTEGER, T.INTEGER, [(1, 1), (None, None)]),
    (T.INTEGER, T.FLOAT, [(1, 1.0), (BIG, 9007199254740992.0), (-(1 << 63), -(2.0**63))]),
    (T.INTEGER, T.STRING, [(BIG, "9007199254740993")]),
    (T.INTEGER, T.DATETIME, [(1, at(1970, 1, 1, 0, 0, 0, 1000))]),
    (T.INTEGER, T.BOOLEAN, [(1, None)]),
    (T.FLOAT, T.INTEGER, [(2.0, 2), (2.5, None), (1e300, None), (float("nan"), None), (-(2.0**53), -(1 << 53))]),
    (T.FLOAT, T.STRING, [(1.0, "1.0"), (1e22, "1e+22"), (0.1, "0.1")]),
    (T.BOOLEAN, T.STRING, [(True, "true"), (False, "false")]),
    (T.DATE, T.DATETIME, [(date(2020, 2, 29), at(2020, 2, 29))]),
    (T.DATETIME, T.DATE, [(at(1969, 12, 31), date(1969, 12, 31)), (at(2020, 1, 1, 1), None)]),
    (T.DATETIME, T.STRING, [(at(2020, 1, 1, 1), "2020-01-01 01:00:00.000")]),
    (
        T.STRING,
        T.INTEGER,
        [("12", 12), ("-0", 0), ("012", None), ("1.0", None), ("", None), (" 1", None), ("1\n", None)],
    ),
    (T.STRING, T.INTEGER, [("9223372036854775807", (1 << 63) - 1), ("5", 5)]),
    (T.STRING, T.INTEGER, [("9223372036854775808", None), ("-9223372036854775808", -(1 << 63)), ("5", 5)]),
    (T.STRING, T.FLOAT, [("1", 1.0), ("-1.5e3", -1500.0), ("nan", None), ("1e999", None), (".5", None), ("0x1", None)]),
    (T.STRING, T.BOOLEAN, [("true", True), ("false", False), ("True", None), ("1", None)]),
    (T.STRING, T.DATE, [("2020-01-31", date(2020, 1, 31)), ("2020-02-31", None), ("yesterday", None)]),
    (T.STRING, T.TIME, [("10:11:12.1239", time(10, 11, 12, 123000)), ("25:00", None), ("10:00+02:00", None)]),
    (T.STRING, T.DATETIME, [("2020-01-31T10:11:12.123456", at(2020, 1, 31, 10, 11, 12, 123000))]),
    (T.STRING, T.DATETIME, [("1969-12-31 23:59:59.9999", at(1969, 12, 31, 23, 59, 59, 999000))]),
    (T.STRING, T.DATETIME, [("2020-01-31T10:00:00+02:00", at(2020, 1, 31, 8)), ("2020-01-31Z", None)]),
    (
        T.STRING,
        T.DATETIME,
        [("2020-01-31T10:00:00Z", at(2020, 1, 31, 10)), ("2020-01-31", at(2020, 1, 31))],
    ),
    (T.STRING, T.DATETIME, [("0000-01-01T00:00:00", None), ("2020-01-31T10:00", at(2020, 1, 31, 10))]),
    (T.TIME, T.INTEGER, [(time(1), None)]),
]


@pytest.mark.parametrize(("found", "wanted", "pairs"), CONVERSIONS, ids=lambda v: v.value if isinstance(v, T) else "")
def test_every_value_becomes_what_it_means_or_is_marked(found: T, wanted: T, pairs: list[tuple[Any, Any]]) -> None:
    values = pa.array([before for before, _ in pairs] + [None], ARROW[found])
    result, misfits = convert(values, found, wanted)
    assert result.type == ARROW[wanted]
    assert result.to_pylist() == [after for _, after in pairs] + [None]
    marks = [before is not None and after is None for before, after in pairs]
    assert (misfits.to_pylist()[:-1] if misfits else [False] * len(pairs)) == marks


@pytest.mark.parametrize(("found", "wanted", "pairs"), CONVERSIONS, ids=lambda v: v.value if isinstance(v, T) else "")
def test_what_becomes_of_a_value_does_not_depend_on_its_neighbours(
    found: T, wanted: T, pairs: list[tuple[Any, Any]]
) -> None:
    for before, after in pairs:
        assert convert(pa.array([before], ARROW[found]), found, wanted).values.to_pylist() == [after]


@pytest.mark.parametrize(
    ("kind", "numbers", "nulled"),
    [
        (T.DATE, [-208_188, -208_189, None, 2_932_896, 2_932_897, 1 << 40], 3),
        (T.DATETIME, [-208_188 * 86_400_000, -208_188 * 86_400_000 - 1, 2_932_897 * 86_400_000 - 1, 1 << 62], 2),
    ],
)
def test_dates_outside_the_years_1400_to_9999_become_null_and_are_counted(
    kind: T, numbers: list[int | None], nulled: int
) -> None:
    values, count = dated(pa.array(numbers, pa.int64()), kind)
    assert values.type == ARROW[kind]
    assert count == nulled == values.null_count - numbers.count(None)
    assert in_range(values, kind) == (values, 0)


def test_dates_before_the_first_year_of_typed_columns_are_found() -> None:
    values, nulled = in_range(pa.array([date(1399, 12, 31), date(1400, 1, 1)], pa.date32()), T.DATE)
    assert (values.to_pylist(), nulled) == ([None, date(1400, 1, 1)], 1)
    instants = pa.array([at(1399, 12, 31), None], pa.timestamp("ms"))
    assert in_range(instants, T.DATETIME)[1] == 1


def test_other_types_have_no_range() -> None:
    values = pa.array(["x"])
    assert in_range(values, T.STRING) == (values, 0)
