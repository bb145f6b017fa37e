"""Owns the hour window: how many pushes this process may still execute in the current UTC hour.

Never sleeps and never reads a clock: `now` is seconds since the epoch, and a denial returns the wait. Invariant: at
most `limit` grants in any full UTC hour, and none after the server said that the hour is exhausted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

HOUR = 3600.0


def hour_of(now: float) -> int:
    """Return the number of the full UTC hour that `now` lies in."""
    return int(now // HOUR)


def next_hour(now: float) -> float:
    """Return the start of the next full UTC hour, seconds since the epoch."""
    return (hour_of(now) + 1) * HOUR


@dataclass(frozen=True, slots=True)
class HourWindow:
    """What was granted in `hour`; `closed_until` is the server's word that nothing is left before then."""

    limit: int
    hour: int = -1
    granted: int = 0
    closed_until: float = 0.0

    def left(self, now: float) -> int:
        """Return the pushes left in the hour of `now`. An hour that has gone back in time is still the spent one."""
        if now < self.closed_until:
            return 0
        return self.limit if hour_of(now) > self.hour else max(0, self.limit - self.granted)

    def wait(self, now: float) -> float:
        """Return the seconds until a push is left; 0 when one is."""
        if self.left(now):
            return 0.0
        turn = next_hour(max(now, self.hour * HOUR)) if now >= self.closed_until else self.closed_until
        return turn - now

    def take(self, now: float) -> HourWindow:
        """Return the window after one grant; there must be a push left."""
        if not self.left(now):
            raise ValueError("no push is left in this hour: ask left() before take()")
        hour = hour_of(now)
        return replace(self, hour=hour, granted=1) if hour > self.hour else replace(self, granted=self.granted + 1)

    def close(self, now: float, wait: float | None) -> HourWindow:
        """Return the window after the server refused: closed for `wait` seconds, or until the next hour."""
        until = next_hour(now) if wait is None else now + wait
        return replace(self, closed_until=max(self.closed_until, until))
