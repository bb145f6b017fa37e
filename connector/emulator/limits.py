"""Owns the team's limits on executes: a pure decision over counts; never counts itself.

Invariant: windows are the full UTC second and the full UTC hour, and every execute counts, a refused one too.
"""

from __future__ import annotations

from typing import NamedTuple

HOUR = 3600


class Counts(NamedTuple):
    """Executes that came before this one, in its hour and in its second."""

    hour: int
    second: int


class Exceeded(NamedTuple):
    """The window that is full: its limit, and the seconds until the next one opens."""

    limit: int
    wait: float


def hour_of(now: float) -> int:
    """Return the start of the UTC hour of `now`, in seconds."""
    return int(now // HOUR) * HOUR


def exceeded(counts: Counts, now: float, *, per_hour: int, per_second: int) -> Exceeded | None:
    """Return the window that refuses an execute at `now`, the longer one first, or None."""
    if counts.hour >= per_hour:
        return Exceeded(per_hour, hour_of(now) + HOUR - now)
    if counts.second >= per_second:
        return Exceeded(per_second, int(now) + 1 - now)
    return None
