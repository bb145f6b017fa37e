"""Owns the intents that are found when partitions are assigned: who waits for which job, and what comes of it.

Never executes a job itself and never commits: it says what to do next, and the pipeline does it. Invariant: a
partition under an intent does not flow and is not committed until its job is final; one whose intent cannot be acted
on stands still until a person moves its offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from connector.core.intents import UnreadableIntent, objection, parse
from connector.core.jobs import Status
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from connector.core.intents import Committed, Intent, Origin
    from connector.core.jobs import Seen, Unseen
    from connector.core.offsets import TopicPartition

log = structlog.get_logger()

_RESET = "look into the table, then move the group's offset of it with kafka-consumer-groups.sh --reset-offsets"


@dataclass(slots=True)
class OpenJob:
    """A job that partitions wait for: `ends` says up to which offset (the next one) it carries each."""

    job_id: str
    ends: dict[TopicPartition, int]
    status: Status | None = None  # None: not asked yet
    asked: bool = False  # an answer is still to come
    retry_at: float = 0.0


class Outcome(NamedTuple):
    """What a final job means: partitions go on from `offsets`, those without one from where they are."""

    offsets: Mapping[TopicPartition, int]
    partitions: Collection[TopicPartition]


class Recovery:
    """The open intents of the partitions that are ours. `origin_of` tells of a topic what an intent must agree with.

    `rolled_forward` counts the jobs that were found DONE, or came to that.
    """

    def __init__(self, origin_of: Callable[[str], Origin]) -> None:
        self._origin_of = origin_of
        self._jobs: dict[str, OpenJob] = {}
        self.refused: dict[TopicPartition, str] = {}
        self.rolled_forward = 0

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> None:
        """Take in what stands with the committed offsets of partitions that are ours from now on."""
        for tp, known in committed.items():
            try:
                intent = parse(known.metadata)
                reason = objection(intent, self._origin_of(tp.topic), known.offset) if intent else None
            except (UnreadableIntent, ConfigError) as e:
                intent, reason = None, str(e)
            if reason:
                self._refuse(tp, reason)
            elif intent:
                self._wait_for(intent, tp)

    def _refuse(self, tp: TopicPartition, reason: str) -> None:
        self.refused[tp] = f"{reason} ({_RESET})"
        log.error("held partition", at=str(tp), reason=reason, hint=_RESET)

    def _wait_for(self, intent: Intent, tp: TopicPartition) -> None:
        job = self._jobs.setdefault(intent.job, OpenJob(intent.job, {}))
        job.ends[tp] = intent.end
        log.info("found intent", at=str(tp), job=intent.job, end=intent.end)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that are no longer ours."""
        for tp in partitions:
            self.refused.pop(tp, None)
        for job in list(self._jobs.values()):
            job.ends = {tp: end for tp, end in job.ends.items() if tp not in partitions}
            if not job.ends:
                del self._jobs[job.job_id]

    @property
    def held(self) -> dict[TopicPartition, str]:
        """The partitions that must not flow, and why: `intent` heals by itself, `refused` does not."""
        waiting = {tp: "intent" for job in self._jobs.values() for tp in job.ends}
        return waiting | dict.fromkeys(self.refused, "refused")

    @property
    def intents(self) -> dict[str, int]:
        """How many partitions wait for each job."""
        return {job.job_id: len(job.ends) for job in self._jobs.values()}

    @property
    def executing(self) -> int:
        """How many of the jobs run, or are about to."""
        return sum(job.asked and job.status is not None for job in self._jobs.values())

    @property
    def topics(self) -> set[str]:
        """The topics with a partition that waits for a job."""
        return {tp.topic for job in self._jobs.values() for tp in job.ends}

    def due(self, now: float) -> Iterator[OpenJob]:
        """Yield the jobs about which something can be done at `now` (monotonic seconds)."""
        yield from [job for job in self._jobs.values() if not job.asked and job.retry_at <= now]

    def postpone(self, unseen: Unseen, until: float) -> None:
        """Take in that there was no answer; ask again at `until` (monotonic seconds)."""
        if job := self._jobs.get(unseen.job_id):
            job.asked, job.retry_at = False, until

    def settle(self, seen: Seen) -> Outcome | None:
        """Take in what was seen of a job; return what follows once it is final, else None."""
        job = self._jobs.get(seen.job_id)
        if job is None:
            return None
        if seen.status is not None and not seen.status.final:
            job.asked, job.status = False, seen.status
            return None
        del self._jobs[job.job_id]
        if seen.status is Status.DONE:
            self.rolled_forward += 1
            log.info("rolled forward", job=job.job_id, partitions=len(job.ends))
            return Outcome(job.ends, job.ends)
        if seen.status is None:
            self._unknown(job)
        log.warning("went back before a job without effect", job=job.job_id, status=seen.status, logs=list(seen.logs))
        return Outcome({}, job.ends)

    def _unknown(self, job: OpenJob) -> None:
        """A deleted job may have arrived: pushing its rows again is harmless where the table has keys."""
        for tp in job.ends:
            if not self._origin_of(tp.topic).keyed:
                self._refuse(
                    tp, f"its intent names job {job.job_id}, which Celonis does not know: were its rows stored?"
                )
