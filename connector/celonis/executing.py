"""Owns the second half of a push: execute a job within its grant, and watch it to its end.

Never makes or fills a job. Invariant: no execute is sent after the grant's deadline, a job is executed again only
while it is still NEW, and only a final status is an end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, stop_any
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_exponential

from connector.celonis.outcomes import Operation
from connector.core.jobs import Seen, Status
from connector.core.loads import Broken, Done, Doubtful, JobFailed
from connector.errors import CelonisError, Reaction

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from connector.celonis.client import DataPushClient
    from connector.celonis.jobs import Job
    from connector.celonis.patience import Pace, Patience
    from connector.core.loads import Prepared, Receipt

_NOT_FOUND = 404


@dataclass(slots=True)
class Attempt:
    """One grant in use: `deadline` by the executor's clock; `sent` once an execute is on its way, which costs it."""

    deadline: float
    sent: bool = False


class _Watched(NamedTuple):
    """A job at its end, as far as it was waited for; `queued`: seconds until it was seen to run."""

    job: Job
    queued: float


class Executor:
    """Executes jobs; threads may share it. `clock` gives monotonic seconds, those of the deadlines."""

    def __init__(
        self,
        client: DataPushClient,
        patience: Patience,
        stop: threading.Event,
        pace: Pace,
        *,
        job_timeout: float,
        clock: Callable[[], float],
        mismatch: Callable[[str, int], str],
    ) -> None:
        self._client, self._patiently, self._stop, self._pace = client, patience.repeat, stop, pace
        self._job_timeout, self._clock, self._mismatch = job_timeout, clock, mismatch

    def apply(self, prepared: Prepared, attempt: Attempt) -> Receipt:
        """Execute the job if it is still NEW, which an earlier try may have changed, and wait for its end."""
        began = time.monotonic()
        job = self._patiently(lambda: self._client.get_job(prepared.job_id))
        if job.status is Status.NEW:
            if wrong := self._mismatch(prepared.job_id, len(prepared.chunks)):
                return self._given_up(prepared, f"{wrong}: an upload came in late")
            if not self._execute(prepared.job_id, attempt):
                return Doubtful(prepared.load, prepared, 0.0, "the grant ran out before the execute", late=True)
        watched = _Watched(job, 0.0) if job.status.final else self._watched(prepared.job_id)
        return self._ended(watched, prepared, time.monotonic() - began)

    def see(self, job_id: str) -> Seen:
        """Return what the platform knows of a job."""
        try:
            job = self._patiently(lambda: self._client.get_job(job_id))
        except CelonisError as e:
            if e.status == _NOT_FOUND and e.operation == Operation.GET:
                return Seen(job_id, None)
            raise
        return Seen(job_id, job.status, job.logs)

    def resume(self, job_id: str, attempt: Attempt) -> Seen:
        """Execute a job if it is NEW, and wait for its end; NEW again where the grant ran out."""
        seen = self.see(job_id)
        if seen.status is None or seen.status.final:
            return seen
        if seen.status is Status.NEW and not self._execute(job_id, attempt):
            return seen
        job, _ = self._watched(job_id)
        return Seen(job_id, job.status, job.logs, executed=attempt.sent)

    def _given_up(self, prepared: Prepared, why: str) -> Receipt:
        """Give the load back for another job, but only when this one is surely gone and no late execute can find it."""
        try:
            self._patiently(lambda: self._client.delete_job(prepared.job_id))
        except CelonisError as e:
            if e.status != _NOT_FOUND or e.operation != Operation.DELETE:
                return Doubtful(prepared.load, prepared, self._pace.again, f"{why}; {e}")
        return Doubtful(prepared.load, None, self._pace.again, why)

    def _execute(self, job_id: str, attempt: Attempt) -> bool:
        """Execute a job; False when it is too late for that.

        One that is not NEW afterwards was executed, also where the answer is lost or a refusal.
        """
        if self._clock() >= attempt.deadline:
            return False
        attempt.sent = True
        try:
            self._client.execute(job_id)
        except CelonisError as e:
            unclear = e.reaction in (Reaction.ASK, Reaction.STOP)  # a refusal may mean that an earlier one came in late
            if not unclear or self._patiently(lambda: self._client.get_job(job_id)).status is Status.NEW:
                raise
        return True

    def _watched(self, job_id: str) -> _Watched:
        """Return the job at its end; still NEW after a while it was never executed, whatever the answer was."""
        began, queued = time.monotonic(), 0.0

        def waits(job: Job) -> bool:
            nonlocal queued
            if job.status in (Status.NEW, Status.QUEUED):
                queued = time.monotonic() - began
            started = job.status is not Status.NEW
            return not job.status.final and (started or time.monotonic() - began < self._pace.started)

        watching: Retrying = Retrying(
            sleep=sleep_using_event(self._stop),
            wait=wait_exponential(multiplier=self._pace.poll_first, max=self._pace.poll_longest, exp_base=1.5),
            stop=stop_any(stop_after_delay(self._job_timeout), stop_when_event_set(self._stop)),
            retry=retry_if_result(waits),
            retry_error_callback=_last_result,
        )
        sleep_using_event(self._stop)(self._pace.poll_first)
        job = watching(lambda: self._patiently(lambda: self._client.get_job(job_id)))
        return _Watched(job, queued)

    def _ended(self, watched: _Watched, prepared: Prepared, executing: float) -> Receipt:
        job, load = watched.job, prepared.load
        if job.status is Status.DONE:
            rows = sum(c.rows for c in prepared.chunks if not c.deletes)
            deleted = sum(c.rows for c in prepared.chunks if c.deletes)
            seconds, size = prepared.seconds + executing, sum(c.size for c in prepared.chunks)
            return Done(load, job.id, rows, size, seconds, deleted, executing, watched.queued)
        if job.status.final:
            return JobFailed(load, job.id, job.status, job.logs)
        if job.status is Status.NEW or self._stop.is_set():
            why = f"job {job.id} is still {job.status}"
            return Doubtful(load, prepared, self._pace.again, why)
        hint = "look at the job in Celonis; raise celonis.job_timeout if it needs longer"
        why = f"job {job.id} is {job.status} after {self._job_timeout:.0f} s"
        return Broken(load, why, hint)


def _last_result(state: RetryCallState) -> Job:
    if state.outcome is None:
        raise RuntimeError("nothing was asked")
    return state.outcome.result()  # type: ignore[no-any-return]
