"""Owns what a flush seals and what becomes of it: segment, chunk, load, and the outcomes of a push.

Never reads a file. Invariant: everything here is immutable, so that one thread may hand it to another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from connector.core.columns import TableSchema
    from connector.core.flush import Trigger
    from connector.core.offsets import OffsetRange, TopicPartition


class Run(NamedTuple):
    """`rows` records, or deletes, that stand together in a segment and come from one partition, in offset order.

    They may be fewer than the offsets in `range`: rejects and gaps leave no record. `live` is False once the partition
    was lost: its records are left out of the chunks. `places` numbers the rows among the messages of `range`, from 0;
    None, where all rows of the range are here and so of one kind: then their order among themselves says enough.
    """

    range: OffsetRange
    rows: int
    live: bool = True
    places: npt.NDArray[np.unsignedinteger] | None = None

    @property
    def tp(self) -> TopicPartition:
        """The partition these records come from."""
        return self.range.tp


@dataclass(frozen=True, slots=True)
class Segment:
    """One finished Parquet file of the spool, and where its rows come from; `runs` in row order.

    `deletes`: its rows are to be deleted, and it has key columns only.
    """

    path: Path
    schema: TableSchema
    rows: int
    size: int
    runs: tuple[Run, ...]
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """One Parquet file as it goes up: `rows` as the footer says, `size` in bytes, always under 1 GB.

    `deletes`: its rows are to be deleted.
    """

    path: Path
    rows: int
    size: int
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The platform's table that a load goes to; without `keys` its records are appended.

    `order_by`: the column whose highest value makes a record the last of its key within a load; None: the offset.
    `replace`: the load takes the place of all that the table holds.
    """

    table: str
    keys: tuple[str, ...]
    order_by: str | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What one flush seals.

    `opened_at` is when its first record came (monotonic seconds), `arrivals` the sum of these times over its rows.
    """

    id: str
    target: Target
    schema: TableSchema
    segments: tuple[Segment, ...]
    ranges: tuple[OffsetRange, ...]
    trigger: Trigger
    opened_at: float
    arrivals: float = 0.0

    @property
    def rows(self) -> int:
        """The records and deletes in all segments, before the last one of each key is chosen."""
        return sum(s.rows for s in self.segments)

    @property
    def size(self) -> int:
        """The bytes of all segments on disk."""
        return sum(s.size for s in self.segments)

    def without(self, partitions: Collection[TopicPartition]) -> Load:
        """Return this load without the records of `partitions`; their rows stay in the segments, but not live."""
        segments = (
            replace(s, runs=tuple(r._replace(live=r.live and r.tp not in partitions) for r in s.runs))
            for s in self.segments
        )
        ranges = tuple(r for r in self.ranges if r.tp not in partitions)
        return replace(self, segments=tuple(segments), ranges=ranges)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The job exists, every chunk is up and verified; nothing has changed in the platform yet.

    `seconds` is all that it took, of which `building` went into the chunks.
    """

    load: Load
    job_id: str
    chunks: tuple[Chunk, ...]
    seconds: float
    building: float = 0.0


@dataclass(frozen=True, slots=True)
class Empty:
    """No record of the load is left to push (all came from lost partitions): there is no job."""

    load: Load


@dataclass(frozen=True, slots=True)
class Done:
    """The job ended DONE: it upserted `rows`, and `deleted` as many keys, which need not have been there.

    `seconds` is all that it took, of which `executing` from the execute to the end, and `queued` of that until it ran.
    """

    load: Load
    job_id: str
    rows: int
    size: int
    seconds: float
    deleted: int = 0
    executing: float = 0.0
    queued: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttled:
    """The platform said not now: come again after `wait` seconds (None: in the next hour).

    `exhausted`: the hour's budget is gone, for every table. `executed`: an execute was sent, which costs a push.
    """

    load: Load
    prepared: Prepared | None
    wait: float | None
    exhausted: bool
    detail: str
    executed: bool = False


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The job ended ERROR or CANCELED, and this is what it said."""

    load: Load
    job_id: str
    status: str
    logs: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Broken:
    """The push failed for good: `error` names the next step. `fatal`: the whole service cannot go on.

    `executed`: an execute was sent, which costs a push.
    """

    load: Load
    error: str
    hint: str
    fatal: bool = False
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Doubtful:
    """No trustworthy answer; the push starts over after `wait` seconds with what is `prepared`, or with another job.

    `executed`: an execute was sent, which costs a push. `late`: none was, since the grant had run out.
    """

    load: Load
    prepared: Prepared | None
    wait: float
    detail: str
    executed: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The disk lost files of the load: its messages must be read again from Kafka."""

    load: Load
    detail: str


Receipt = Prepared | Empty | Done | Throttled | JobFailed | Broken | Doubtful | Unreadable


def spent(receipt: Receipt) -> bool:
    """Return whether a push was spent, or may have been."""
    match receipt:
        case Done() | JobFailed():
            return True
        case Throttled() | Doubtful() | Broken():
            return receipt.executed
    return False
