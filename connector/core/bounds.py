"""Owns the ends of a replay: what a person may write for one, and the offsets that this means in a partition.

Never asks Kafka and never reads a clock. Invariant: a range lies inside what its partition has, its start is never
behind its end, and whatever had to be moved for that is said in a remark.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from connector.core.units import parse_seconds

_AGO = re.compile(r"\s*\d+(\.\d+)?\s*[a-zA-Z]+\s*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPECTED = (
    "expected an offset such as 1500, earliest, latest, a time with its zone such as 2026-01-31T08:00:00Z, "
    "or a duration ago such as 2h or 30 min"
)


class Kind(StrEnum):
    """What an end is given by."""

    OFFSET = "offset"
    EARLIEST = "earliest"
    LATEST = "latest"
    TIME = "time"


class Bound(NamedTuple):
    """One end of a replay. `value` is an offset, or milliseconds since the epoch, or 0, by its kind.

    As a start it is the first message to read, as an end the first one that is not read any more.
    """

    kind: Kind
    value: int = 0

    @property
    def milliseconds(self) -> int | None:
        """The time to look up, in milliseconds since the epoch; None where it is no time."""
        return self.value if self.kind is Kind.TIME else None

    def __str__(self) -> str:
        if self.kind is Kind.TIME:
            return (_EPOCH + timedelta(milliseconds=self.value)).isoformat()
        return str(self.value) if self.kind is Kind.OFFSET else self.kind.value


class Range(NamedTuple):
    """The offsets `[start, end)` of one partition; `end` is the first that is not read."""

    start: int
    end: int

    @property
    def messages(self) -> int:
        """The most messages that this can be; markers and what compaction took away count, too."""
        return self.end - self.start


class Extent(NamedTuple):
    """What a partition has: its first offset `low`, and the next one to come `high`."""

    low: int
    high: int


class Placed(NamedTuple):
    """The range of one partition, and what a person should know about it."""

    range: Range
    extent: Extent
    remarks: tuple[str, ...] = ()


def parse_bound(text: str, now: int) -> Bound:
    """Return the end that `text` means at `now` (milliseconds since the epoch).

    Raises:
        ValueError: it is not clear what is meant; the message shows how to write it.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return Bound(Kind.OFFSET, int(text))
    if text.lower() in (Kind.EARLIEST, Kind.LATEST):
        return Bound(Kind(text.lower()))
    if _AGO.fullmatch(text):
        return Bound(Kind.TIME, max(0, now - round(_seconds(text) * 1000)))
    return Bound(Kind.TIME, max(0, _milliseconds(text)))  # the protocol gives negative times a meaning of their own


def _seconds(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError:
        raise ValueError(f"{_EXPECTED}, not {text!r}") from None


def _milliseconds(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{_EXPECTED}, not {text!r}") from None
    if at.tzinfo is None:
        plain = at.isoformat()
        raise ValueError(f"{text} names no time zone: write {plain}Z for UTC, or {plain}+01:00 where clocks say so")
    return -(-((at - _EPOCH) // timedelta(microseconds=1)) // 1000)  # up: "at or after" holds for whole milliseconds


def place(start: Bound, end: Bound, extent: Extent, found: tuple[int | None, int | None] = (None, None)) -> Placed:
    """Return the range between `start` and `end` in a partition that has `extent`.

    `found` are the offsets of the first messages at or after the times of both, as Kafka says; None where there is no
    such message, or where an end is no time.
    """
    first, remark_of_first = _offset(start, extent, found[0])
    last, remark_of_last = _offset(end, extent, found[1])
    remarks = [remark_of_first, remark_of_last]
    if first > last:
        remarks.append(f"begins at {first}, which is behind its end at {last}: nothing to read")
    return Placed(Range(min(first, last), last), extent, tuple(r for r in remarks if r))


def _offset(bound: Bound, extent: Extent, found: int | None) -> tuple[int, str]:
    low, high = extent
    if bound.kind is Kind.EARLIEST:
        return low, ""
    if bound.kind is Kind.LATEST:
        return high, ""
    if bound.kind is Kind.TIME:
        return (high if found is None else min(max(found, low), high)), ""
    if bound.value < low:
        return low, f"offset {bound.value} is gone, the first one that is there is {low}: {low - bound.value} missing"
    if bound.value > high:
        return high, f"offset {bound.value} is beyond the end, {high}"
    return bound.value, ""
