"""Owns the hour window: how many pushes this process may still execute in the current UTC hour.

Never sleeps and never reads a clock: `now` is seconds since the epoch, and a denial returns the wait. Invariant: at
most `limit` grants in any full UTC hour, also when the clock goes back, and none after the server said that the hour
is exhausted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

HOUR = 3600.0
_REMEMBERED = 24  # hours whose grants are kept, for clocks that go back; older ones count as spent


def hour_of(now: float) -> int:
    """Return the number of the full UTC hour that `now` lies in."""
    return int(now // HOUR)


def next_hour(now: float) -> float:
    """Return the start of the next full UTC hour, seconds since the epoch."""
    return (hour_of(now) + 1) * HOUR


@dataclass(frozen=True, slots=True)
class HourWindow:
    """What was granted, as (hour, grants), ascending; `closed_until`: the server said that nothing is left before."""

    limit: int
    granted: tuple[tuple[int, int], ...] = ()
    closed_until: float = 0.0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("an hour has at least one push")

    def left(self, now: float) -> int:
        """Return the pushes left in the hour of `now`."""
        hour = hour_of(now)
        if now < self.closed_until or hour < self._remembers_from:
            return 0
        return max(0, self.limit - dict(self.granted).get(hour, 0))

    def wait(self, now: float) -> float:
        """Return the seconds until a push is left; 0 when one is."""
        at = max(now, self.closed_until)
        while not self.left(at):
            at = max(next_hour(at), self._remembers_from * HOUR)
        return at - now

    def take(self, now: float) -> HourWindow:
        """Return the window after one grant; there must be a push left."""
        if not self.left(now):
            raise ValueError("no push is left in this hour: ask left() before take()")
        grants = dict(self.granted)
        grants[hour_of(now)] = grants.get(hour_of(now), 0) + 1
        return replace(self, granted=tuple(sorted(grants.items())[-_REMEMBERED:]))

    def close(self, now: float, wait: float | None) -> HourWindow:
        """Return the window after the server refused: closed for `wait` seconds, or until the next hour."""
        until = next_hour(now) if wait is None else now + wait
        return replace(self, closed_until=max(self.closed_until, until))

    @property
    def _remembers_from(self) -> int:
        """The first hour whose grants are surely known."""
        return self.granted[0][0] if len(self.granted) == _REMEMBERED else 0
