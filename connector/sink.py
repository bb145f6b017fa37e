"""Owns one table on its way to the platform: its decoder, its buffer, and its one load in flight.

Never talks to Kafka or to the platform, and never knows the budget. Invariant: at most one load is in flight, and
`held` names every offset whose record is in the buffer or in that load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING

from connector.core.flush import Trigger
from connector.core.schedule import Candidate, bid
from connector.isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from connector.core.flush import FlushPolicy
    from connector.core.intents import Committed
    from connector.core.loads import Load, Prepared, Target
    from connector.core.offsets import OffsetRange, TopicPartition
    from connector.ports import Buffer, Decoder

FAILURES_BEFORE_HALT = 2  # a job that failed is tried once more, as a new job


class Stage(Enum):
    """Where a push stands."""

    PREPARING = auto()  # in the pusher: chunks, job, upload
    PREPARED = auto()  # waits for its turn and for the budget
    DECIDING = auto()  # its intents are on their way to Kafka
    DECIDED = auto()  # its intents stand: this job is the only one that may carry its ranges
    APPLYING = auto()  # in the pusher: the job executes
    WAITING = auto()  # for `retry_at`, then on with `prepared`, or from the start without it


@dataclass(slots=True)
class Push:
    """What turns one load into a finished job.

    `lost`: partitions that were taken from us since the flush; one that came back is still not what it was.
    `notes`: what is committed for each partition once the job is decided on. `applied_at`: when its execute was asked
    for (monotonic seconds).
    """

    load: Load
    stage: Stage = Stage.PREPARING
    prepared: Prepared | None = None
    retry_at: float = 0.0
    failures: int = 0
    applied_at: float = 0.0
    lost: set[TopicPartition] = field(default_factory=set)
    notes: dict[TopicPartition, Committed] = field(default_factory=dict)

    @property
    def in_pusher(self) -> bool:
        """Whether a receipt is still to come."""
        return self.stage in (Stage.PREPARING, Stage.APPLYING)

    @property
    def executing(self) -> bool:
        """Whether it takes one of the executes that may be in flight."""
        return self.stage in (Stage.DECIDING, Stage.DECIDED, Stage.APPLYING)

    @property
    def held(self) -> Iterable[OffsetRange]:
        """The ranges of the load, without those of partitions that were taken from us."""
        return (r for r in self.load.ranges if r.tp not in self.lost)

    @property
    def kept_notes(self) -> dict[TopicPartition, Committed]:
        """The notes of partitions that are still as they were."""
        return {tp: note for tp, note in self.notes.items() if tp not in self.lost}

    def wait(self, until: float, prepared: Prepared | None) -> None:
        """Go on at `until` (monotonic seconds) with what is prepared, or from the start."""
        self.stage, self.retry_at, self.prepared = Stage.WAITING, until, prepared

    def start_over(self) -> None:
        """Begin again with another job, without the partitions that were taken from us."""
        if self.lost:
            self.load = self.load.without(self.lost)
        self.stage, self.prepared, self.notes, self.lost = Stage.PREPARING, None, {}, set()


@dataclass(slots=True)
class TableSink:
    """One table. `halted` says why nothing of it moves any more, and what to do.

    `ordered`: a partition of it is under an order, so nothing new of it is pushed. `weight` and `max_staleness`
    (seconds) say who goes first when pushes are scarce; `replay`: live tables go first.
    """

    target: Target
    decoder: Decoder
    buffer: Buffer
    policy: FlushPolicy
    isolation: Isolation = field(default_factory=lambda: Isolation(0))
    weight: float = 1.0
    max_staleness: float | None = None
    replay: bool = False
    topics: set[str] = field(default_factory=set)
    push: Push | None = None
    halted: str | None = None
    ordered: bool = False

    @property
    def table(self) -> str:
        """The name of the platform's table."""
        return self.target.table

    @property
    def held(self) -> Iterable[OffsetRange]:
        """The ranges whose records are here, in the buffer or in the load in flight."""
        return chain(self.buffer.held, self.push.held if self.push else ())

    @property
    def empty(self) -> bool:
        """Whether nothing is left to push."""
        return not self.buffer.fill.records and self.push is None

    @property
    def may_flush(self) -> bool:
        """Whether there is something to push and nothing in the way."""
        return self.push is None and not self.halted and not self.ordered and self.buffer.fill.records > 0

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it moves any more by itself."""
        return self.empty or bool(self.halted) or (self.ordered and self.push is None)

    def due(self, now: float) -> Trigger | None:
        """Return what makes the buffer eligible for a push, or None."""
        return Trigger.ISOLATE if self.full_for_search else self.policy.due(self.buffer.fill, now)

    def candidate(self, trigger: Trigger | None) -> Candidate:
        """Return how the buffer stands, for whoever gives the next push away."""
        fill = self.buffer.fill
        return Candidate(
            self.table,
            rows=fill.records,
            arrivals=fill.arrivals,
            opened_at=fill.opened_at,
            size=fill.size,
            trigger=trigger,
            weight=self.weight,
            max_staleness=self.max_staleness,
            replay=self.replay,
        )

    def bid(self, now: float) -> float:
        """Return what a push of the load in flight is worth at `now`, in weighted record-seconds; 0 without one."""
        load = self.push.load if self.push else None
        return bid(self.weight, load.rows, load.arrivals, load.opened_at, now) if load else 0.0

    @property
    def full_for_search(self) -> bool:
        """Whether the buffer holds all that the search for bad records lets the next load hold."""
        return self.isolation.room(self.buffer.fill.records) == 0

    def wait(self, now: float) -> float:
        """Return the seconds until something falls due here."""
        if self.push:
            return max(0.0, self.push.retry_at - now) if self.push.stage is Stage.WAITING else float("inf")
        return float("inf") if self.halted else self.policy.wait(self.buffer.fill, now)

    def flush(self, trigger: Trigger) -> Push:
        """Seal the buffer into a load; raises SpoolFull.

        The types of its columns are fixed here, not when the job is done: what comes next must fit the same table.
        """
        load = self.buffer.flush(self.decoder.schema, trigger)
        self.decoder.establish()
        return Push(load)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what the buffer holds of `partitions`, and note for the load in flight that they are gone."""
        self.buffer.drop(partitions)
        self.isolation.drop(set(partitions))
        if self.push:
            self.push.lost.update(partitions)
