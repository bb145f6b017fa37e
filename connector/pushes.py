"""Owns the pushes on their way: what each receipt means, who may execute next, and the intents that decide it.

Never reads messages and never commits by itself: `notes` says what is to stand with the offsets. Invariant: a job is
executed only while its intents stand in Kafka for all its partitions, so whoever reads them later finds the one job
that carries them; a job whose intents may stand is never dropped unless it surely had no effect.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog

from connector.core.budget import Claim, Grant
from connector.core.intents import Committed, Intent
from connector.core.jobs import Seen, Status, Unseen
from connector.core.loads import Broken, Done, Doubtful, Empty, JobFailed, Prepared, Throttled, Unreadable, spent
from connector.core.times import Times
from connector.errors import CelonisUnauthorized, ConnectorError
from connector.sink import FAILURES_BEFORE_HALT, Push, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from connector.core.hours import Now
    from connector.core.intents import Origin
    from connector.core.loads import Receipt
    from connector.core.offsets import OffsetRange, TopicPartition
    from connector.ports import Budget, DeadLetters, Observer, Pusher, Source, Spool
    from connector.recovery import OpenJob, Recovery
    from connector.sink import TableSink

log = structlog.get_logger()

_NOTHING = Committed(-1)
THROTTLED_SECONDS = 5.0  # when the platform gave no hint; a spent hour is the budget's business
_INTENT_SECONDS, _GRANT_SECONDS = 0.01, 0.05  # a wait cut short makes small batches, which cost more
_FIRST = 1e15  # the bid of a job that was found: partitions wait for it


class Pushes:
    """All loads in flight and all jobs found; `forget_records` is told when a table's records must be read again."""

    def __init__(
        self,
        *,
        sinks: Mapping[str, TableSink],
        source: Source,
        spool: Spool,
        pusher: Pusher,
        dead_letters: DeadLetters,
        observer: Observer,
        recovery: Recovery,
        budget: Budget,
        origin_of: Callable[[str], Origin],
        forget_records: Callable[[TableSink, Iterable[OffsetRange]], None],
        executing: int,
        workers: int,
    ) -> None:
        self._sinks, self._source, self._spool, self._pusher = sinks, source, spool, pusher
        self._dead_letters, self._observer, self._recovery = dead_letters, observer, recovery
        self._origin_of, self._forget_records = origin_of, forget_records
        self._executing, self._workers = executing, workers
        self._budget = budget
        self.times = Times()
        self.urgent = False  # something is decided or done: commit at the next occasion
        self._last_jobs: dict[str, str] = {}  # by table, which remember its columns; their ends are committed
        self._finished: list[tuple[str, str, tuple[OffsetRange, ...]]] = []  # table, job, and what it carried

    def notes(self) -> dict[TopicPartition, Committed | None]:
        """Return what must stand in Kafka for partitions of decided pushes; None: leave it as it is."""
        notes: dict[TopicPartition, Committed | None] = {}
        for sink in self._sinks.values():
            if sink.halted:
                notes.update(dict.fromkeys((tp for tp in self._source.assigned if tp.topic in sink.topics), None))
            if sink.push:
                frozen = sink.push.stage is Stage.DECIDING and sink.push.lost
                notes.update({tp: None if frozen else note for tp, note in sink.push.kept_notes.items()})
        return notes

    @property
    def undecided(self) -> set[TopicPartition]:
        """The partitions whose intents do not stand yet: they go to Kafka in one request, or not at all."""
        pushes = (s.push for s in self._sinks.values() if s.push)
        return {tp for push in pushes if push.stage is Stage.DECIDING for tp in push.notes}

    @property
    def intents(self) -> dict[str, int]:
        """How many partitions each job carries that is decided on, and not committed as done yet."""
        pushes = (s.push for s in self._sinks.values() if s.push)
        ours = {p.prepared.job_id: len(p.kept_notes) for p in pushes if p.prepared and p.kept_notes}
        return ours | self._recovery.intents

    def start(self, sink: TableSink, push: Push) -> None:
        """Take in a load that was just sealed."""
        self._spool.keep(push.load)
        sink.push = push
        self._pusher.prepare(push.load)

    def unneeded(self) -> list[str]:
        """Return, once, the jobs that nobody asks for any more; to be asked when Kafka has all that was to commit.

        A job is asked for as long as its intent stands. So it counts only if the end of each of its ranges is known to
        be committed by us; where a partition went away before that, the job is left to whoever has it now.
        """
        jobs: list[str] = []
        for table, job, ranges in self._finished:
            if all(self._source.committed.get(r.tp, _NOTHING).offset >= r.end for r in ranges):
                jobs += [self._last_jobs[table]] if table in self._last_jobs else []
                self._last_jobs[table] = job
        self._finished = []
        return jobs

    # --- what a receipt means ---------------------------------------------------------------------------------

    def settle(self, receipt: Receipt | Seen | Unseen, now: Now) -> None:
        """Take in how a push or a found job went on.

        Raises:
            CelonisUnauthorized: the credentials are not accepted.
        """
        if isinstance(receipt, Unseen):
            self._unseen(receipt, now)
        elif isinstance(receipt, Seen):
            self._seen(receipt)
        else:
            self._observer.settled(receipt)
            self._settle(self._sinks[receipt.load.target.table], receipt, now)

    def _settle(self, sink: TableSink, receipt: Receipt, now: Now) -> None:
        push = sink.push
        if push is None:
            raise ConnectorError(f"a receipt came for table {sink.table}, which has no load in flight")
        if push.stage is Stage.APPLYING:
            self._budget.end(push.load.id, spent=spent(receipt))
        match receipt:
            case Prepared():
                self.times.prepared(receipt.seconds)
                push.stage, push.prepared = Stage.PREPARED, receipt
            case Empty():
                self._release(sink, push)
            case Done():
                self.times.done(receipt.seconds, now.mono - push.applied_at)
                self._done(sink, push, receipt)
            case Throttled():
                if receipt.exhausted:
                    self._budget.throttled(receipt.wait, now)
                push.wait(now.mono + (receipt.wait or THROTTLED_SECONDS), receipt.prepared)
            case Unreadable():
                self._forget_records(sink, sink.held)
                self._release(sink, push)
            case Doubtful():
                push.wait(now.mono + receipt.wait, receipt.prepared)
            case JobFailed():
                self._failed(sink, push, receipt, now)
            case Broken():
                self._broken(sink, push, receipt)

    def _done(self, sink: TableSink, push: Push, receipt: Done) -> None:
        sink.isolation.succeeded(receipt.load)
        self._spool.remember(sink.table, receipt.load.schema)
        if not push.lost:
            self._finished.append((sink.table, receipt.job_id, receipt.load.ranges))
        self._release(sink, push)
        self.urgent = True

    def _failed(self, sink: TableSink, push: Push, receipt: JobFailed, now: Now) -> None:
        """Try once more as a new job; then search for the records that it fails on, or stop the table."""
        push.failures += 1
        push.notes = {}  # the job had no effect: another one may carry these ranges
        if push.failures < FAILURES_BEFORE_HALT and sink.isolation.limit is None:
            push.wait(now.mono, None)
            return
        said = f"job {receipt.job_id} ended {receipt.status}: {'; '.join(receipt.logs)}"
        if reason := sink.isolation.failed(push.load, said):
            told = said if reason == said else f"{said}; {reason}"
            self._halt(sink, push, f"{told} (mend the data or the table in Celonis, then restart)")
            return
        log.warning(
            "searching for bad records",
            table=sink.table,
            load=push.load.id,
            job=receipt.job_id,
            records=sink.isolation.limit,
        )
        self._forget_records(sink, sink.held)
        self._release(sink, push)

    def _broken(self, sink: TableSink, push: Push, receipt: Broken) -> None:
        if receipt.fatal:
            raise CelonisUnauthorized(receipt.error, hint=receipt.hint)
        self._halt(sink, push, f"{receipt.error} ({receipt.hint})")

    def _release(self, sink: TableSink, push: Push) -> None:
        self._budget.end(push.load.id, spent=False)
        self._spool.release(push.load)
        sink.push = None

    def _halt(self, sink: TableSink, push: Push, reason: str) -> None:
        """Stop one table: forget its records, stand again before the first of them, and read nothing more."""
        self._forget_records(sink, sink.held)
        self._release(sink, push)
        sink.halted = reason
        self._observer.halted(sink.table, reason)

    def _seen(self, seen: Seen) -> None:
        self._budget.end(seen.job_id, spent=seen.executed)
        outcome = self._recovery.settle(seen)
        if outcome:
            self._source.seek(dict(outcome.offsets))
            self.urgent = True

    def _unseen(self, unseen: Unseen, now: Now) -> None:
        if unseen.fatal:
            raise CelonisUnauthorized(unseen.detail)
        self._budget.end(unseen.job_id, spent=unseen.executed)
        if unseen.exhausted:
            self._budget.throttled(unseen.wait, now)
        log.warning("waiting for a job that was found", job=unseen.job_id, detail=unseen.detail)
        self._recovery.postpone(unseen, now.mono + (unseen.wait or THROTTLED_SECONDS))

    # --- who goes on ------------------------------------------------------------------------------------------

    def room(self, now: Now) -> int:
        """Return how many loads to seal now: those whose turn comes within the time that preparing them takes.

        What is sealed earlier would wait for its turn without the records that come meanwhile.
        """
        early = self._early(now)
        if early < 0:
            return 0
        turns = max(1 + int(early / self._budget.slot(now)), self._executing)
        ahead = sum(s.push.stage in (Stage.PREPARING, Stage.PREPARED) for s in self._sinks.values() if s.push)
        return max(0, min(self._workers, turns) - ahead)

    def turn_in(self, now: Now) -> float:
        """Return the seconds until a load may be sealed; infinity while enough are on their way: a receipt tells."""
        early = self._early(now)
        return -early if early < 0 else 0.0 if self.room(now) else math.inf

    def _early(self, now: Now) -> float:
        """Return by how many seconds the next turn is nearer than preparing takes; below 0: it is further away."""
        busy = sorted(s.push.applied_at for s in self._sinks.values() if s.push and s.push.executing)
        free_at = busy[0] + self.times.executing if len(busy) >= self._executing else now.mono
        return self.times.preparing - (max(self._budget.next_at(now), free_at) - now.mono)

    def patience(self, now: Now) -> float:
        """Return how long the loop may wait for messages: not long while intents or a grant may come any moment."""
        pushes = [s.push for s in self._sinks.values() if s.push]
        if any(p.stage in (Stage.DECIDING, Stage.DECIDED) for p in pushes):
            return _INTENT_SECONDS
        if any(p.stage is Stage.PREPARED for p in pushes) and sum(p.executing for p in pushes) < self._executing:
            return max(_GRANT_SECONDS, self._budget.next_at(now) - now.mono)
        return math.inf

    def move(self, now: Now) -> None:
        """Move everything on that may move: jobs that were found first, then loads, the highest bid first."""
        pushing = [(s, s.push) for s in self._sinks.values() if s.push]
        free = self._executing - sum(p.executing for _, p in pushing) - self._recovery.executing
        for job in self._recovery.due(now.mono):
            free -= self._move_job(job, free, now)
        for sink, push in sorted(pushing, key=lambda pair: pair[0].bid(now.mono), reverse=True):
            if push.stage is Stage.WAITING and push.retry_at <= now.mono:
                self._go_on(push)
            if push.stage is Stage.PREPARED and free > 0:
                free -= self._decide(sink, push, now)
            if push.stage is Stage.DECIDING:
                self._look_at_intents(sink, push)
            if push.stage is Stage.DECIDED:
                self._apply(sink, push, now)

    def _move_job(self, job: OpenJob, free: int, now: Now) -> int:
        """Return how many executes this took: 1 or 0."""
        if job.status is None:
            job.asked = True
            self._pusher.ask(job.job_id)
            return 0
        deadline = now.mono
        if job.status is Status.NEW:
            if free <= 0:
                return 0
            grant = self._budget.acquire(Claim(job.job_id, self._table_of(job), _FIRST), now)
            if not isinstance(grant, Grant):
                return 0
            deadline = grant.deadline
        job.asked = True
        self._pusher.resume(job.job_id, deadline)
        return 1

    def _table_of(self, job: OpenJob) -> str:
        topics = {tp.topic for tp in job.ends}
        return next((s.table for s in self._sinks.values() if not s.topics.isdisjoint(topics)), min(topics))

    def _go_on(self, push: Push) -> None:
        if push.prepared:
            push.stage = Stage.DECIDED if push.notes else Stage.PREPARED
        else:
            push.start_over()
            self._pusher.prepare(push.load)

    def _decide(self, sink: TableSink, push: Push, now: Now) -> int:
        """Ask that the intents be committed, once a push is granted; return how many executes this will take: 1 or 0.

        All partitions must still be what they were at the flush.
        """
        if push.prepared is None:
            return 0
        if push.lost:
            self._start_over(push, push.prepared)
            return 0
        if self._has_open_rejects(push):
            return 0
        if not self._granted(sink, push, now):
            return 1  # the claim stands: no other push may count on this execute
        job = push.prepared.job_id
        push.notes = {
            r.tp: Committed(r.start, Intent.of(job, r.end, self._origin_of(r.topic)).text()) for r in push.load.ranges
        }
        push.stage, push.applied_at, self.urgent = Stage.DECIDING, now.mono, True
        return 1

    def _granted(self, sink: TableSink, push: Push, now: Now) -> Grant | None:
        claim = Claim(push.load.id, sink.table, sink.bid(now.mono), replay=sink.replay)
        grant = self._budget.acquire(claim, now)
        return grant if isinstance(grant, Grant) else None

    def _start_over(self, push: Push, prepared: Prepared) -> None:
        self._budget.end(push.load.id, spent=False)
        self._pusher.forget(prepared.job_id)
        push.start_over()
        self._pusher.prepare(push.load)

    def _has_open_rejects(self, push: Push) -> bool:
        """Whether the dead letters below the load's end are not all acknowledged, which its end would commit."""
        ends = {r.tp: r.end for r in push.load.ranges}
        return any(r.start < ends.get(r.tp, 0) for r in self._dead_letters.held)

    def _look_at_intents(self, sink: TableSink, push: Push) -> None:
        """See whether the intents stand. They were sent in one request, so Kafka has taken all of them or none."""
        kept = push.kept_notes
        stand = [tp for tp, note in kept.items() if self._source.committed.get(tp) == note]
        if kept and len(stand) == len(kept):
            push.stage = Stage.DECIDED
        elif push.lost and not self._source.committing:
            self._undecided(sink, push)

    def _undecided(self, sink: TableSink, push: Push) -> None:
        """The group moved while the intents were on their way, and Kafka did not take them."""
        if push.kept_notes and push.prepared:
            self._start_over(push, push.prepared)
        else:
            self._release(sink, push)  # nothing of it is ours; the job stays, in case its intents arrived after all

    def _apply(self, sink: TableSink, push: Push, now: Now) -> None:
        if not push.kept_notes:
            self._release(sink, push)  # whoever has the partitions now finds the intents and rolls the job forward
        elif push.prepared and (grant := self._granted(sink, push, now)):
            push.stage, push.applied_at = Stage.APPLYING, now.mono
            self._pusher.apply(push.prepared, grant.deadline)
