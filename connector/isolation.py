"""Owns the search for the records that make a table's jobs fail: smaller and smaller loads, until one is left.

Never pushes and never reads: it says how much the next load may hold, and which records go to the dead letters. The
search reads again from Kafka instead of keeping anything, so a crash only begins it anew. Invariant: the pushes that
a search may cost are bounded, and a record is given up only when a job of this record alone has failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from connector.core.messages import Deletes, MessageBatch, reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from connector.core.loads import Load
    from connector.core.messages import Decoded, Reject
    from connector.core.offsets import OffsetRange, TopicPartition

    Rows = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

GIVEN_UP_IN_A_ROW = 3  # as many records one after the other are not bad rows but a bad column, or a bad table


@dataclass(slots=True)
class Isolation:
    """The search in one table. `pushes` bounds what one search may cost; 0 never searches."""

    pushes: int
    limit: int | None = None  # records that the next load may hold; None: no search is on
    _left: int = 0
    _given_up: int = 0
    _growing: bool = False
    _until: dict[TopicPartition, int] = field(default_factory=dict)  # where the load that failed first ended
    _condemned: list[tuple[OffsetRange, str]] = field(default_factory=list)

    def failed(self, load: Load, why: str) -> str | None:
        """Take in that a job of `load` failed for good; return why the search ends without success, or None.

        What the load held must be read again.
        """
        if self.limit is None:
            self._left = self.pushes
            self._until = {r.tp: r.end for r in load.ranges}
        self._left -= 1
        if self._left < 0:
            return f"no single record was found within {self.pushes} pushes (job_error_pushes)" if self.pushes else why
        if load.rows > 1:
            self.limit, self._growing = load.rows // 2, False
            return None
        self._given_up += 1
        if self._given_up > GIVEN_UP_IN_A_ROW:
            return f"{GIVEN_UP_IN_A_ROW} records in a row failed alone, so it is not the records"
        self._condemned += [(r, why) for r in load.ranges]
        self.limit, self._growing = 1, True
        return None

    def succeeded(self, load: Load) -> None:
        """Take in that a load arrived: the search goes on behind it, and ends behind the load that failed first.

        Halves until a record is given up, then doubles: most often nothing else is wrong.
        """
        self._given_up, self._left = 0, self._left - 1
        self._condemned = [(r, why) for r, why in self._condemned if not _covers(load.ranges, r)]
        for r in load.ranges:
            if r.end >= self._until.get(r.tp, r.end + 1):
                del self._until[r.tp]
        if not self._until:
            self.limit = None
        elif self.limit is not None and self._growing:
            self.limit *= 2

    def drop(self, partitions: set[TopicPartition]) -> None:
        """Search no more in partitions that are no longer ours."""
        self._until = {tp: end for tp, end in self._until.items() if tp not in partitions}
        if not self._until:
            self.limit = None

    def room(self, records: int) -> int | None:
        """Return how many messages more may be taken in beside `records`; None: any number."""
        return None if self.limit is None else max(0, self.limit - records)

    def without_condemned(self, messages: MessageBatch, decoded: Decoded) -> Decoded:
        """Return `decoded` with the records that were given up as rejects, with what their job said."""
        if not any(r.topic == messages.topic for r, _ in self._condemned):
            return decoded
        rejects = list(decoded.rejects)
        good = self._judge(messages, decoded.rows, rejects)
        deletes = decoded.deletes
        if deletes:
            kept = self._judge(messages, deletes.rows, rejects)
            deletes = Deletes(deletes.batch.filter(pa.array(kept)), deletes.rows[kept])
        batch = decoded.batch.filter(pa.array(good))
        return replace(decoded, batch=batch, rows=decoded.rows[good], rejects=rejects, deletes=deletes)

    def _judge(self, messages: MessageBatch, rows: Rows, rejects: list[Reject]) -> Mask:
        """Return which of the messages numbered `rows` may go on, and add the others to `rejects`."""
        partitions, offsets = messages.partitions[rows], messages.offsets[rows]
        good = np.ones(len(rows), np.bool_)
        for r, why in self._condemned:
            bad = good & (partitions == r.partition) & (offsets >= r.start) & (offsets < r.end)
            if r.topic == messages.topic and bad.any():
                rejects += [reject(messages, int(i), "job_error", why) for i in rows[bad]]
                good &= ~bad
        return good


def head(messages: MessageBatch, count: int) -> tuple[MessageBatch, dict[TopicPartition, int]]:
    """Return the first `count` of `messages`, and from which offset each partition of the rest must be read again."""
    if count >= len(messages.values):
        return messages, {}
    rest = MessageBatch.of(messages.topic, messages.messages[count:])
    return MessageBatch.of(messages.topic, messages.messages[:count]), {r.tp: r.start for r in rest.ranges}


def _covers(ranges: Sequence[OffsetRange], wanted: OffsetRange) -> bool:
    return any(r.tp == wanted.tp and r.end >= wanted.end for r in ranges)
