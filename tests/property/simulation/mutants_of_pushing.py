"""Owns the mutants that lack a rule between the flush and the final commit.

Never changes a module. Invariant: a mutant differs from the product in its rule only.

Not a mutant, since another rule stands behind it: a decision that lost a partition on its way is not sent again for
those that are left (`Pushes.notes`); it is given up before the next commit goes out, and a revocation sends no intent.
"""

# ruff: noqa: ARG002 - they take what they replace takes

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connector.celonis.pusher import JobPusher
from connector.core.budget import Grant
from connector.core.intents import Committed
from connector.core.loads import Doubtful
from connector.errors import Reaction
from connector.pipeline import Pipeline
from connector.pushes import Pushes
from connector.sink import Stage
from tests.property.simulation.consumer import SimSource
from tests.property.simulation.rebuilt import Rebuilt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from connector.celonis.executing import Attempt
    from connector.core.budget import Claim
    from connector.core.hours import Now
    from connector.core.loads import Done, Load, Prepared, Receipt
    from connector.core.offsets import OffsetRange, TopicPartition
    from connector.errors import CelonisError
    from connector.recovery import OpenJob
    from connector.sink import Push, TableSink


# --- decide ---------------------------------------------------------------------------------------------------


class DecidesForWhatIsLost(Pushes):
    """No ownership check before the intents: the job goes out with the rows of partitions that went away."""

    def _decide(self, sink: TableSink, push: Push, now: Now) -> int:
        lost = set(push.lost)
        if lost >= {r.tp for r in push.load.ranges}:
            return super()._decide(sink, push, now)
        push.lost = set()
        decided = super()._decide(sink, push, now)
        if push.notes:
            push.notes = {tp: note for tp, note in push.notes.items() if tp not in lost}
        else:
            push.lost = lost
        return decided


class DecidesBeforeRejects(Pushes):
    """The intents do not wait for the dead letters below the load's end."""

    def _has_open_rejects(self, push: Push) -> bool:
        return False


class ExecutesWithoutIntents(Pushes):
    """A job is executed as soon as its intents are sent."""

    def _look_at_intents(self, sink: TableSink, push: Push) -> None:
        push.stage = Stage.DECIDED


class ForgetsWhatMayHaveArrived(Pushes):
    """A job is deleted whose intents may have arrived, when nothing of it is left here."""

    def _undecided(self, sink: TableSink, push: Push) -> None:
        if not push.kept_notes and push.prepared:
            self._pusher.forget(push.prepared.job_id)
        super()._undecided(sink, push)


class OneByOne(SimSource):
    """Every partition is committed in a request of its own."""

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        missing = {tp: c for tp, c in sorted(wanted.items()) if self.committed.get(tp) != c}
        for tp, c in missing.items():
            super().commit({tp: c})
        return not missing


class RevokesWithIntents(Pipeline):
    """What is committed at a revocation holds intents that the partitions which stay do not get."""

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self._source.commit({tp: c for tp, c in self._commits().items() if tp in partitions})
        self._forget(partitions)


class RegainsWhatWasLost(Pipeline):
    """No epochs: a partition that comes back is taken for what it was."""

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> Collection[TopicPartition]:
        for sink in self.sinks.values():
            if sink.push:
                sink.push.lost -= committed.keys()
        return super().assigned(committed)


# --- apply ----------------------------------------------------------------------------------------------------


class PushesAgainUnasked(JobPusher):
    """An execute without an answer is followed by another job instead of a question."""

    def _receipt_of(self, error: CelonisError, load: Load, prepared: Prepared | None) -> Receipt:
        if error.reaction is Reaction.ASK:
            return Doubtful(load, None, 1.0, str(error))
        return super()._receipt_of(error, load, prepared)

    def __init__(self, *parts: Any, **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self._executor._execute = self._unasked  # type: ignore[method-assign]

    def _unasked(self, job_id: str, attempt: Attempt) -> bool:
        attempt.sent = True
        self._client.execute(job_id)
        return True


class StartsOver(Pushes):
    """A push in doubt begins again with another job, though its intents stand."""

    def _go_on(self, push: Push) -> None:
        push.prepared = None
        super()._go_on(push)


class UploadsUnverified(JobPusher):
    """Nobody looks whether a job holds each chunk once."""

    def __init__(self, *parts: Any, **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self._preparer.mismatch = self._executor._mismatch = self._fits  # type: ignore[method-assign]

    def _fits(self, job_id: str, expected: int) -> str:
        return ""


class ErasesNotes(Pushes):
    """A commit while the job runs does not repeat the note, which erases it."""

    def notes(self) -> dict[TopicPartition, Committed | None]:
        if any(s.push and s.push.stage is Stage.APPLYING for s in self._sinks.values()):
            return {}
        return super().notes()


# --- finish ---------------------------------------------------------------------------------------------------


class HoldsBuffersOnly(Pipeline):
    """The load in flight holds no offsets: they are committed before its job is DONE."""

    def _held(self) -> Iterator[Iterable[OffsetRange]]:
        in_hand = (messages.ranges for messages in self._in_hand)
        yield from (sink.buffer.held for sink in self.sinks.values())
        yield self._dead_letters.held
        yield from in_hand


class _FinishesAnyway(Pushes):
    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.ends: dict[TopicPartition, int] = {}

    def _done(self, sink: TableSink, push: Push, receipt: Done) -> None:
        self.ends |= {r.tp: r.end for r in push.load.ranges if r.tp in push.lost}
        super()._done(sink, push, receipt)


class FinishesWhatIsLost(Rebuilt):
    """No ownership check before the final commit: the end goes out for partitions that went away, too."""

    pushes_type = _FinishesAnyway

    def _commits(self) -> dict[TopicPartition, Committed]:
        assert isinstance(self.pushes, _FinishesAnyway)
        ends = self.pushes.ends
        for tp in self._source.assigned:
            ends.pop(tp, None)
        return super()._commits() | {tp: Committed(end) for tp, end in ends.items()}


class CommitsForOthers(SimSource):
    """Offers to Kafka what it is told, also for partitions that are not its own."""

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        return self._commits.offer(wanted)


class DeletesBeforeTheCommit(Pushes):
    """A job that is DONE is deleted before its offsets are committed."""

    def _done(self, sink: TableSink, push: Push, receipt: Done) -> None:
        super()._done(sink, push, receipt)
        self._pusher.forget(receipt.job_id)


class DeletesWhatOthersAskFor(Pushes):
    """A job that is DONE is deleted at the next commit, also where others have its partitions and may ask for it."""

    def _done(self, sink: TableSink, push: Push, receipt: Done) -> None:
        push.lost = set()
        super()._done(sink, push, receipt)

    def unneeded(self) -> list[str]:
        jobs = [job for _, job, _ in self._finished]
        self._finished = []
        return jobs


class DeletesWhatWasNotCommitted(Pushes):
    """A job that is DONE is deleted after the next one, without a look whether Kafka has taken its end from us."""

    def unneeded(self) -> list[str]:
        jobs: list[str] = []
        for table, job, _ in self._finished:
            jobs += [self._last_jobs[table]] if table in self._last_jobs else []
            self._last_jobs[table] = job
        self._finished = []
        return jobs


class _Generous:
    """A budget that grants whatever is asked."""

    def acquire(self, claim: Claim, now: Now) -> Grant:
        return Grant(claim.id, float("inf"))


class ExecutesWithoutGrant(Pushes):
    """A job that was found in NEW is executed without a grant."""

    def _move_job(self, job: OpenJob, free: int, now: Now) -> int:
        budget, self._budget = self._budget, _Generous()  # type: ignore[assignment]
        taken = super()._move_job(job, free, now)
        self._budget = budget
        return taken
