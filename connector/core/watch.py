"""Owns the watch over partitions: which have messages to read, are not held back, and do not move all the same.

Never reads a clock, logs or restarts anything. Invariant: only time in which a partition could have moved counts: none
in which it was held back, nothing to read was known, or nobody looked.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from connector.core.offsets import TopicPartition

PATIENCE = 60.0  # seconds; a leader that moves away and a client that finds it again take less
_LONGEST_GAP = 5.0  # seconds between two looks: a loop that stood still longer says nothing of the partitions


class Stuck(NamedTuple):
    """A partition that does not move: the next offset to read, and the messages between it and the end."""

    position: int
    lag: int


class Changes(NamedTuple):
    """What a look found new: who is stuck since now, and who is stuck no longer."""

    stuck: Mapping[TopicPartition, Stuck]
    healed: Collection[TopicPartition]


class _Seen(NamedTuple):
    position: int
    still: float  # seconds without movement


class Watch:
    """The partitions of one consumer, to be looked at about once a second."""

    def __init__(self) -> None:
        self._seen: dict[TopicPartition, _Seen] = {}
        self._paused: frozenset[TopicPartition] = frozenset()  # at the last look
        self._at: float | None = None
        self._stuck: dict[TopicPartition, Stuck] = {}

    @property
    def stuck(self) -> Mapping[TopicPartition, Stuck]:
        """Who does not move, as of the last look."""
        return MappingProxyType(self._stuck)

    def look(
        self,
        positions: Mapping[TopicPartition, int],
        lags: Mapping[TopicPartition, int],
        paused: Collection[TopicPartition],
        now: float,
    ) -> Changes:
        """Take in how the partitions stand at `now` (monotonic seconds); what is not in `positions` is forgotten."""
        elapsed = 0.0 if self._at is None else min(now - self._at, _LONGEST_GAP)
        held, self._at, self._paused = self._paused.union(paused), now, frozenset(paused)
        self._seen = {
            tp: self._next(tp, position, 0.0 if tp in held else elapsed) if lags.get(tp) else _Seen(position, 0.0)
            for tp, position in positions.items()
        }
        before, self._stuck = (
            self._stuck,
            {tp: Stuck(seen.position, lags[tp]) for tp, seen in self._seen.items() if seen.still >= PATIENCE},
        )
        fresh = {tp: found for tp, found in self._stuck.items() if tp not in before}
        return Changes(fresh, [tp for tp in before if tp in positions and tp not in self._stuck])

    def _next(self, tp: TopicPartition, position: int, elapsed: float) -> _Seen:
        before = self._seen.get(tp)
        return _Seen(position, before.still + elapsed if before and before.position == position else 0.0)
