"""Owns the flush policy: is a buffer due, in how many seconds will it be, and why.

Never reads a clock: `now` and `opened_at` are seconds on one monotonic clock. Invariant: the age counts from the
first row of the buffer and is not restarted by later rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Trigger(StrEnum):
    """Why a buffer was flushed; a metric label."""

    RECORDS = "records"
    BYTES = "bytes"
    AGE = "age"
    STALENESS = "staleness"
    SPOOL = "spool"
    DRAIN = "drain"
    ISOLATE = "isolate"


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a buffer is: records, bytes in memory and on disk, and when its first record came (seconds).

    `arrivals` is the sum of the times at which its records came.
    """

    records: int
    size: int
    opened_at: float
    arrivals: float = 0.0


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """Flush at this many records, bytes, or seconds after the first record, whichever comes first."""

    records: int
    size: int
    age: float

    def due(self, fill: Fill, now: float) -> Trigger | None:
        """Return the reason to flush now, or None. An empty buffer is never due."""
        if not fill.records:
            return None
        if fill.records >= self.records:
            return Trigger.RECORDS
        if fill.size >= self.size:
            return Trigger.BYTES
        if now - fill.opened_at >= self.age:
            return Trigger.AGE
        return None

    def wait(self, fill: Fill, now: float) -> float:
        """Return the seconds until the age makes the buffer due: 0 when it is due, infinity when it is empty."""
        if not fill.records:
            return float("inf")
        return max(0.0, fill.opened_at + self.age - now)
