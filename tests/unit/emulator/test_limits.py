"""The team's limits, as a decision over counts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.hours import HOUR, hour_of
from connector.emulator.limits import Counts, Exceeded, exceeded

START = 1_700_002_800.0


@pytest.mark.parametrize(
    ("counts", "after", "expected"),
    [
        (Counts(249, 9), 0.0, None),
        (Counts(250, 0), 0.0, Exceeded(250, 3600.0)),
        (Counts(250, 0), 3599.5, Exceeded(250, 0.5)),
        (Counts(249, 10), 7.25, Exceeded(10, 0.75)),
        (Counts(250, 10), 1800.0, Exceeded(250, 1800.0)),
    ],
)
def test_a_full_window_refuses_until_the_next_one(counts: Counts, after: float, expected: Exceeded | None) -> None:
    assert exceeded(counts, START + after, per_hour=250, per_second=10) == expected


@given(st.lists(st.floats(0, 3 * HOUR), max_size=60), st.integers(0, 8), st.integers(0, 3))
def test_no_window_ever_accepts_more_than_its_limit(times: list[float], per_hour: int, per_second: int) -> None:
    hours: Counter[int] = Counter()
    seconds: Counter[int] = Counter()
    accepted: list[float] = []
    for now in sorted(times):
        counts = Counts(hours[hour_of(now)], seconds[int(now)])
        if exceeded(counts, now, per_hour=per_hour, per_second=per_second) is None:
            accepted.append(now)
        hours[hour_of(now)] += 1
        seconds[int(now)] += 1
    assert all(n <= per_hour for n in Counter(map(hour_of, accepted)).values())
    assert all(n <= per_second for n in Counter(map(int, accepted)).values())
