"""Owns the team's hours: the full UTC hour, and how fast it passes.

Never reads a clock: times are given, in seconds since the epoch. Invariant: at speed 1 the team's time is UTC; at any
other one it is the same for every process that is told the same speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

HOUR = 3600.0
_ANCHOR = 1_767_225_600.0  # 2026-01-01T00:00Z, where fast clocks agree with the true one


def hour_of(at: float) -> int:
    """Return the number of the full UTC hour that `at` lies in."""
    return int(at // HOUR)


def next_hour(at: float) -> float:
    """Return the start of the next full UTC hour, seconds since the epoch."""
    return (hour_of(at) + 1) * HOUR


@dataclass(frozen=True, slots=True)
class TeamClock:
    """The team's time, in which its hours are counted; `speed` above 1 is for trials against an emulator."""

    speed: float = 1.0

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError("a clock goes forward: speed is above 0")

    def of(self, utc: float) -> float:
        """Return the team's time at `utc`, both in seconds since the epoch."""
        return utc if self.speed == 1.0 else _ANCHOR + (utc - _ANCHOR) * self.speed

    def seconds(self, of_team: float) -> float:
        """Return how many true seconds pass while `of_team` seconds pass for the team."""
        return of_team / self.speed


class Now(NamedTuple):
    """One reading of both clocks, in seconds: `mono` for ages and waits, `utc` is the team's time (since the epoch)."""

    mono: float
    utc: float
