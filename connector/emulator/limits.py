"""Owns the team's limits on executes: a pure decision over counts; never counts itself.

Invariant: windows are the full second and the full hour of the team's time, UTC unless its clock is made faster, and
every execute counts, a refused one too.
"""

from __future__ import annotations

from typing import NamedTuple

from connector.core.hours import next_hour


class Counts(NamedTuple):
    """Executes that came before this one, in its hour and in its second."""

    hour: int
    second: int


class Exceeded(NamedTuple):
    """The window that is full: its limit, and the team's seconds until the next one opens."""

    limit: int
    wait: float


def exceeded(counts: Counts, now: float, *, per_hour: int, per_second: int) -> Exceeded | None:
    """Return the window that refuses an execute at `now`, the longer one first, or None."""
    if counts.hour >= per_hour:
        return Exceeded(per_hour, next_hour(now) - now)
    if counts.second >= per_second:
        return Exceeded(per_second, int(now) + 1 - now)
    return None
