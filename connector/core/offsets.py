"""Owns positions in Kafka: half-open ranges and the offsets that may be committed.

Never talks to Kafka. Invariant: an offset here is always the *next* one to read, never the last one read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class OffsetRange(NamedTuple):
    """The messages `[start, end)` of one partition; `end` is the next offset to read."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def tp(self) -> TopicPartition:
        """The partition this range lies in."""
        return TopicPartition(self.topic, self.partition)

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.start}..{self.end}"


def merge_ranges(ranges: Iterable[OffsetRange]) -> tuple[OffsetRange, ...]:
    """Return one range per partition, from its lowest start to its highest end, sorted."""
    merged: dict[TopicPartition, tuple[int, int]] = {}
    for r in ranges:
        start, end = merged.get(r.tp, (r.start, r.end))
        merged[r.tp] = (min(start, r.start), max(end, r.end))
    return tuple(OffsetRange(*tp, *merged[tp]) for tp in sorted(merged))


def safe_offsets(
    positions: Mapping[TopicPartition, int], held: Iterable[Iterable[OffsetRange]]
) -> dict[TopicPartition, int]:
    """Return what may be committed: the lowest offset still held by anyone, else the position.

    Derived at every step, never tracked, so it cannot drift from what is held. A partition without a position is
    not ours, whatever is still held of it.
    """
    safe = dict(positions)
    for ranges in held:
        for r in ranges:
            if r.tp in safe:
                safe[r.tp] = min(safe[r.tp], r.start)
    return safe
