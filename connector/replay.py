"""Owns a replay while it runs: the pipeline over a bounded source, its progress, and its end.

Never decides what may be replayed (core.replays does) and never talks to the running service (connector.handover
does). Invariant: it ends when every message of its ranges is in a job that is DONE, or in the dead letters; what was
interrupted goes on where its own group has committed; a table is replaced by all of its range, or not at all.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from connector.assembly import Origins, TableSinks, calm_the_collector, make_celonis, make_dead_letters
from connector.core.hours import Now, TeamClock
from connector.core.loads import Done
from connector.errors import ConnectorError
from connector.kafka.identity import Identity
from connector.observe.metrics import Metrics
from connector.pipeline import Pipeline
from connector.routing import Routes
from connector.spool.spool import DiskSpool
from connector.spool.whole import WholeSpool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from connector.config import Kafka, Settings
    from connector.core.bounds import Range
    from connector.core.intents import Committed
    from connector.core.loads import Load, Receipt
    from connector.core.messages import Decoded, MessageBatch
    from connector.core.offsets import TopicPartition
    from connector.kafka.bounded import BoundedSource
    from connector.ports import Budget
    from connector.sink import TableSink

log = structlog.get_logger()

_SHOW_SECONDS = 0.5


@dataclass(slots=True)
class Progress:
    """How far a replay is, since this process began; `read` of `messages`, bytes are those of chunks that are DONE.

    `before` of those that are read were done by earlier processes, and `rolled_forward` jobs were begun by them and
    ended here, whose rows are not counted. `lost` messages of each topic were gone before they were read;
    `passed_over` counts by reason what was read and is no message of the replay. `awaited`: no service runs that could
    follow the last order; it stands, and is followed at the next start.
    """

    messages: int
    read: int = 0
    before: int = 0
    records: int = 0
    rejects: int = 0
    pushes: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    awaited: bool = False
    rolled_forward: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)


class Replay:
    """One replay of `ranges` with `settings`, which are those of the service changed for it; a context manager."""

    def __init__(
        self,
        settings: Settings,
        ranges: Mapping[TopicPartition, Range],
        budget: Callable[[TeamClock, ExitStack], Budget],
        *,
        replace: bool,
        source: Callable[[Kafka, Mapping[TopicPartition, Range]], BoundedSource],
    ) -> None:
        self._settings, self._ranges, self._make_budget, self._replace = settings, ranges, budget, replace
        self._make_source = source
        self._clock = TeamClock(settings.budget.clock_speed)
        self.progress = Progress(sum(r.messages for r in ranges.values()))

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self._build(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def _build(self, parts: ExitStack) -> None:
        settings = self._settings
        spool = self._spool()
        parts.callback(spool.close)
        tables, pusher = make_celonis(settings, parts)
        self._dead_letters = make_dead_letters(settings, parts)
        self._source = self._make_source(settings.kafka, self._ranges)
        parts.callback(self._source.close)
        routes = Routes(settings.tables)
        sinks = TableSinks(settings, routes, spool, tables, replay=True, replace=self._replace)
        self._pipeline = Pipeline(
            source=self._source,
            origin_of=Origins(settings, routes, Identity(settings.kafka)).of_topic,
            sink_of=sinks.of_topic,
            spool=spool,
            pusher=pusher,
            dead_letters=self._dead_letters,
            observer=Tally(self.progress),
            budget=self._make_budget(self._clock, parts),
            executing=settings.celonis.executes_in_flight,
            workers=settings.celonis.push_workers,
            commit_interval=settings.kafka.commit_interval,
            delete_finished_jobs=settings.celonis.finished_jobs == "delete",
        )
        self._witness = Witness(self._pipeline)
        self._source.join(self._witness)

    def _spool(self) -> DiskSpool:
        settings = self._settings
        if not self._replace:
            return DiskSpool(settings.spool, settings.memory)
        return WholeSpool(settings.spool, settings.memory, {tp: r.end for tp, r in self._ranges.items()})

    def run(self, stopping: Callable[[], bool], show: Callable[[Progress], None]) -> bool:
        """Run to the end of all ranges; False when it was stopped before, to go on another time.

        Raises:
            ConnectorError: it cannot go on; the next step is in its hint.
        """
        calm_the_collector()
        began = time.monotonic()
        try:
            ended = self._go(stopping, partial(self._tell, began, show))
        finally:
            self._count(began)
        show(self.progress)
        return ended

    def _go(self, stopping: Callable[[], bool], tell: Callable[[], None]) -> bool:
        shown = 0.0
        while not self._done():
            if stopping():
                return False
            now = Now(time.monotonic(), self._clock.of(time.time()))
            self._pipeline.step(now)
            self._end_if_broken()
            if now.mono - shown >= _SHOW_SECONDS:
                shown = now.mono
                tell()
        return True

    def _done(self) -> bool:
        """Return whether all is read, pushed and committed; once all is read, what is left is pushed whatever its age.

        A push that went wrong may be read again. The group's offsets stand at the ends only when Kafka has confirmed
        them.
        """
        finished = self._source.finished
        for sink in self._pipeline.sinks.values():
            sink.policy = replace(sink.policy, age=0.0 if finished else float("inf"))
        if not finished:
            return False
        committed = self._source.committed
        if self._replace:
            return self._nothing_open() and not any(c.metadata for c in committed.values())
        return all(tp in committed and committed[tp].offset >= r.end for tp, r in self._ranges.items())

    def _nothing_open(self) -> bool:
        """Return whether no row, no dead letter and no job is on its way: where no row came no end is committed."""
        pipeline = self._pipeline
        return (
            all(sink.empty for sink in pipeline.sinks.values())
            and not any(self._dead_letters.held)
            and not pipeline.recovery.held
            and not self._source.committing
        )

    def _end_if_broken(self) -> None:
        """A replay does not wait for a person as a service does: it ends, and goes on with the same command."""
        pipeline, again = self._pipeline, "mend it, then give the same command again: it goes on where it was"
        if halted := next((s for s in pipeline.sinks.values() if s.halted), None):
            raise ConnectorError(f"table {halted.table}: {halted.halted}", hint=again)
        for what in (pipeline.unroutable, pipeline.recovery.refused):
            for name, reason in what.items():
                raise ConnectorError(f"{name}: {reason}", hint=again)
        for tp, reason in self._source.gone.items():
            raise ConnectorError(f"{tp}: {reason}", hint=self._source.way_out(tp))
        if self._replace and self._witness.torn(pipeline.sinks.values()):
            problem = "partitions went away in the midst of it, and a part must not replace a table"
            raise ConnectorError(problem, hint="give the same command again: it begins anew, or ends what was executed")

    def _tell(self, began: float, show: Callable[[Progress], None]) -> None:
        self._count(began)
        show(self.progress)

    def _count(self, began: float) -> None:
        positions = self._source.positions
        rest = sum(max(0, r.end - positions.get(tp, r.start)) for tp, r in self._ranges.items())
        self.progress.read = self.progress.messages - rest
        self.progress.before = sum(
            max(0, min(offset, self._ranges[tp].end) - self._ranges[tp].start)
            for tp, offset in self._witness.found.items()
        )
        self.progress.seconds = time.monotonic() - began
        self.progress.rolled_forward = self._pipeline.recovery.rolled_forward
        self.progress.lost, self.progress.passed_over = dict(self._source.lost), dict(self._source.passed_over)


class Witness:
    """Tells `pipeline` of partitions, and remembers what would make a load less than the whole range.

    `found` are the offsets that were committed when this process began.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._left = False
        self._under_intent: set[TopicPartition] = set()
        self.found: dict[TopicPartition, int] = {}

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> Collection[TopicPartition]:
        """Take note of those that a job of an earlier process carries."""
        self._under_intent |= {tp for tp, c in committed.items() if c.metadata}
        self.found = {tp: c.offset for tp, c in committed.items()} | self.found
        return self._pipeline.assigned(committed)

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Take note that some have gone."""
        self._left = True
        self._pipeline.revoked(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """Take note that some have gone."""
        self._left = True
        self._pipeline.lost(partitions)

    def torn(self, sinks: Iterable[TableSink]) -> bool:
        """Return whether a load may lack partitions: some went away, or came by the job of an earlier process."""
        return self._left or any(self._lacks(s.push.load, s.topics) for s in sinks if s.push)

    def _lacks(self, load: Load, topics: Collection[str]) -> bool:
        return not {tp for tp in self._under_intent if tp.topic in topics} <= {r.tp for r in load.ranges}


class Tally(Metrics):
    """The observer of a replay: the log lines of a service, and sums for the progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def decoded(self, table: str, messages: MessageBatch, decoded: Decoded) -> None:
        """Count records and rejects."""
        super().decoded(table, messages, decoded)
        self._progress.records += decoded.batch.num_rows
        self._progress.rejects += len(decoded.rejects)

    def settled(self, receipt: Receipt) -> None:
        """Count what was pushed."""
        super().settled(receipt)
        if isinstance(receipt, Done):
            self._progress.pushes += 1
            self._progress.rows += receipt.rows
            self._progress.bytes += receipt.size
