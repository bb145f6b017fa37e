"""The ends of a replay: what may be written, and which offsets it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.bounds import Bound, Extent, Kind, Placed, Range, parse_bound, place

NOW = 1_800_000_000_000
EARLIEST, LATEST = Bound(Kind.EARLIEST), Bound(Kind.LATEST)


def offset(value: int) -> Bound:
    return Bound(Kind.OFFSET, value)


def at(milliseconds: int) -> Bound:
    return Bound(Kind.TIME, milliseconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", offset(0)),
        (" 1500 ", offset(1500)),
        ("earliest", EARLIEST),
        ("Latest", LATEST),
        ("2h", at(NOW - 7_200_000)),
        ("30 min", at(NOW - 1_800_000)),
        ("1.5 s", at(NOW - 1500)),
        ("9000000d", at(0)),
        ("2026-01-31T08:00:00Z", at(1_769_846_400_000)),
        ("2026-01-31T08:00:00+01:00", at(1_769_842_800_000)),
        ("2026-01-31 08:00:00.0001Z", at(1_769_846_400_001)),
        ("1960-01-01T00:00Z", at(0)),
    ],
)
def test_an_end_is_an_offset_a_name_a_time_or_a_duration_ago(text: str, expected: Bound) -> None:
    assert parse_bound(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2026-01-31T08:00", "names no time zone: write 2026-01-31T08:00:00Z for UTC, or 2026-01-31T08:00:00+01:00"),
        ("2026-01-31", "names no time zone: write 2026-01-31T00:00:00Z"),
        ("yesterday", "expected an offset such as 1500, earliest, latest, a time with its zone .*, not 'yesterday'"),
        ("2 weeks", "a duration ago such as 2h or 30 min, not '2 weeks'"),
        ("-5", "expected an offset"),
        ("1.5", "expected an offset"),
        ("", "expected an offset"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_way_to_write_it(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("+", r"\+")):
        parse_bound(text, NOW)


@pytest.mark.parametrize(
    ("bound", "text"),
    [(offset(7), "7"), (EARLIEST, "earliest"), (LATEST, "latest"), (at(1_769_846_400_500), "2026-01-31T08:00:00.500")],
)
def test_an_end_says_what_it_is(bound: Bound, text: str) -> None:
    assert str(bound).startswith(text)
    assert bound.milliseconds == (bound.value if bound.kind is Kind.TIME else None)


HAS = Extent(20, 100)


@pytest.mark.parametrize(
    ("start", "end", "found", "expected"),
    [
        (EARLIEST, LATEST, (None, None), Range(20, 100)),
        (LATEST, LATEST, (None, None), Range(100, 100)),
        (EARLIEST, EARLIEST, (None, None), Range(20, 20)),
        (offset(20), offset(100), (None, None), Range(20, 100)),
        (offset(30), offset(40), (None, None), Range(30, 40)),
        (at(5), LATEST, (20, None), Range(20, 100)),
        (at(5), at(6), (33, 44), Range(33, 44)),
        (EARLIEST, at(9), (None, None), Range(20, 100)),
        (at(9), LATEST, (None, None), Range(100, 100)),
        (at(5), at(9), (7, 120), Range(20, 100)),
    ],
)
def test_ends_that_the_partition_has_stand_without_a_remark(
    start: Bound, end: Bound, found: tuple[int | None, int | None], expected: Range
) -> None:
    assert place(start, end, HAS, found) == Placed(expected, HAS)


def test_what_is_gone_and_what_is_not_there_yet_is_said() -> None:
    placed = place(offset(5), offset(500), HAS)
    assert placed.range == Range(20, 100)
    assert placed.range.messages == 80
    assert placed.remarks == (
        "offset 5 is gone, the first one that is there is 20: 15 missing",
        "offset 500 is beyond the end, 100",
    )


def test_a_start_behind_the_end_is_an_empty_range_that_says_so() -> None:
    placed = place(offset(50), offset(30), HAS)
    assert placed.range == Range(30, 30)
    assert placed.remarks == ("begins at 50, which is behind its end at 30: nothing to read",)


EXTENTS = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda t: Extent(t[0], t[0] + t[1]))
BOUNDS = st.one_of(
    st.just(EARLIEST), st.just(LATEST), st.builds(offset, st.integers(0, 150)), st.builds(at, st.integers(0, 150))
)
FOUND = st.one_of(st.none(), st.integers(0, 150))


@given(BOUNDS, BOUNDS, EXTENTS, FOUND, FOUND)
def test_a_range_lies_in_what_the_partition_has_and_every_moved_offset_is_told(
    start: Bound, end: Bound, extent: Extent, first: int | None, last: int | None
) -> None:
    placed = place(start, end, extent, (first, last))
    assert extent.low <= placed.range.start <= placed.range.end <= extent.high
    moved = [b for b in (start, end) if b.kind is Kind.OFFSET and not extent.low <= b.value <= extent.high]
    assert sum("gone" in r or "beyond" in r for r in placed.remarks) == len(moved)
    if not placed.remarks and start.kind is Kind.OFFSET:
        assert placed.range.start == start.value


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(0, 110), st.integers(0, 110))
def test_between_two_times_is_what_lies_between_them_in_a_log_in_order(log: list[int], since: int, until: int) -> None:
    log.sort()
    since, until = sorted((since, until))
    first, last = (next((i for i, t in enumerate(log) if t >= wanted), None) for wanted in (since, until))
    start, end = place(at(since), at(until), Extent(0, len(log)), (first, last)).range
    assert log[start:end] == [t for t in log if since <= t < until]


@given(st.datetimes().map(lambda d: d.isoformat()))
def test_a_time_without_a_zone_is_never_guessed(text: str) -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        parse_bound(text, NOW)
