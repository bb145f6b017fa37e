"""Owns the simulated Data Push client under the real pusher, and the lanes in which its tasks are stepped.

A task stops between two requests without a thread: it is broken off there, and begun again later with the answers
that it already has. Never decides what a task does. Invariant: a request is made once, and what it answered is what
the task hears every time it is begun again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from connector.celonis.client import DataPushClient
from connector.celonis.jobs import Job, JobSpec, UploadedChunk
from connector.celonis.outcomes import Operation, reaction
from connector.errors import CelonisError, CelonisRefused, CelonisThrottled, CelonisUnreachable, Reaction
from tests.property.simulation.platform import IN_FLIGHT, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from connector.core.jobs import Status
    from tests.property.simulation.platform import Platform, SimJob
    from tests.property.simulation.tables import SimSpool

T = TypeVar("T")


class Fault(Enum):
    """What may happen to one request."""

    CRASH_BEFORE = auto()  # the process dies, and the request was never sent
    CRASH_AFTER = auto()  # the process dies, and the request took effect
    UNCONNECTED = auto()
    LOST = auto()  # no effect, no answer
    UNANSWERED = auto()  # the effect, no answer
    LATE = auto()  # no answer, and the effect comes some time later
    TWICE = auto()  # the effect twice, back to back
    ECHO = auto()  # the effect and its answer, and the effect again some time later
    NOT_NOW = auto()  # 503
    EXHAUSTED = auto()  # 429
    BUSY = auto()  # 409


class BrokenOff(BaseException):
    """The task stops here and is begun again later, or its process is dead."""


class Died(BaseException):
    """The process dies at this very moment."""


class Chance(Protocol):
    """What the world decides."""

    def fault(self, operation: Operation) -> Fault | None:
        """What happens to the next request."""
        ...

    def breaks_off(self) -> bool:
        """Whether others come first."""
        ...

    def later(self, what: str, effect: Callable[[], object]) -> None:
        """Let an effect come later, or never."""
        ...

    def tells(self, what: str) -> None:
        """Write down what happened."""
        ...


@dataclass(slots=True)
class Task:
    """One task of the pusher. `waits`: the status of a job that must change before it is worth going on."""

    work: Callable[[], None]
    answers: list[CelonisError | Any] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)
    waits: tuple[str, Status] | None = None


class Lane:
    """Tasks in their order; `count` of them are begun."""

    def __init__(self, count: int, name: str) -> None:
        self.count, self.name = count, name
        self.tasks: list[Task] = []

    def do(self, task: Callable[[], None]) -> None:
        self.tasks.append(Task(task))

    def end(self) -> None:
        return None


class SimClient(DataPushClient):
    """The client of one process; `executes` is told of every execute that leaves it, `now` is the time."""

    def __init__(
        self,
        platform: Platform,
        spool: SimSpool,
        chance: Chance,
        executes: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._platform, self._spool, self._chance, self._executes = platform, spool, chance, executes
        self._task = Task(lambda: None)
        self._now, self._glances = now, 0  # and readings of the clock that the task was given in this run
        self._heard = 0  # answers that the task was given in this run
        self._fresh = False  # the run has not made a request yet
        self._broken = True
        self._pauses = False
        self._dead = False

    def run(self, task: Task) -> bool:
        """Go on with `task`; return whether it has ended. Raises Died."""
        self._task, self._heard, self._fresh, self._broken, self._pauses = task, 0, True, False, False
        self._glances = 0
        try:
            task.work()
        except BrokenOff:
            if self._dead:
                raise Died from None
            return False
        finally:
            self._broken = True
        return True

    def clock(self) -> float:
        """Return the time, the same one as when this task came by before."""
        if self._glances == len(self._task.readings):
            self._task.readings.append(self._now())
        self._glances += 1
        return self._task.readings[self._glances - 1]

    # --- the operations ---------------------------------------------------------------------------------------

    def create_job(self, spec: JobSpec) -> Job:
        return self._do(Operation.CREATE, "", lambda: _told(self._platform.create(spec.table, keyed=bool(spec.keys))))

    def get_job(self, job_id: str) -> Job:
        job = self._do(Operation.GET, job_id, lambda: _told(self._platform.get(job_id)))
        if job.status in IN_FLIGHT:
            self._task.waits, self._pauses = (job_id, job.status), True
        return job

    def add_upserts(self, job_id: str, path: Path, file_type: str = "PARQUET") -> None:
        assert file_type == "PARQUET"
        rows = self._spool.files[path]
        self._do(Operation.UPLOAD, job_id, lambda: self._platform.upload(job_id, rows))

    def list_chunks(self, job_id: str) -> list[UploadedChunk]:
        return self._do(
            Operation.CHUNKS,
            job_id,
            lambda: [UploadedChunk(str(i), "UPSERT", None) for i, _ in enumerate(self._platform.get(job_id).chunks)],
        )

    def execute(self, job_id: str, duplicate_removal_column: str | None = None) -> None:
        assert duplicate_removal_column is None
        self._do(Operation.EXECUTE, job_id, lambda: self._platform.execute(job_id))

    def delete_job(self, job_id: str) -> None:
        self._do(Operation.DELETE, job_id, lambda: self._platform.delete(job_id))

    # --- one request ------------------------------------------------------------------------------------------

    def _do(self, operation: Operation, job_id: str, effect: Callable[[], T]) -> T:
        """Make a request, or repeat what it answered when this task came by before."""
        task = self._task
        if self._heard == len(task.answers):
            if self._broken or (not self._fresh and (self._pauses or self._chance.breaks_off())):
                self._broken = True
                raise BrokenOff
            self._fresh, task.waits = False, None
            if operation is Operation.EXECUTE:
                self._executes(job_id)
            task.answers.append(self._request(operation, job_id, effect))
        answer = task.answers[self._heard]
        self._heard += 1
        if isinstance(answer, CelonisError):
            self._pauses = True  # whoever tries again does so later
            raise answer
        self._pauses = False
        return answer  # type: ignore[no-any-return]

    def _request(self, operation: Operation, job_id: str, effect: Callable[[], T]) -> T | CelonisError:
        fault = self._chance.fault(operation)
        self._chance.tells(f"{operation} {job_id} {fault.name if fault else ''}")
        if fault is Fault.CRASH_BEFORE:
            self._die()
        if refusal := _UNTOUCHED.get(fault) if fault else None:
            return _refused(operation, refusal, job_id)
        if fault in (Fault.UNCONNECTED, Fault.LOST):
            return _silence(operation, job_id, connected=fault is Fault.LOST)
        if fault is Fault.LATE:
            self._chance.later(f"{operation} {job_id}", effect)
            return _silence(operation, job_id, connected=True)
        answer = self._effect(operation, job_id, effect)
        if fault is Fault.CRASH_AFTER:
            self._die()
        if fault is Fault.TWICE:
            self._effect(operation, job_id, effect)
        if fault is Fault.ECHO:
            self._chance.later(f"{operation} {job_id}", effect)
        return _silence(operation, job_id, connected=True) if fault is Fault.UNANSWERED else answer

    def _die(self) -> NoReturn:
        """Stop here for good; what would still be cleaned up is not."""
        self._broken = self._dead = True
        raise BrokenOff

    @staticmethod
    def _effect(operation: Operation, job_id: str, effect: Callable[[], T]) -> T | CelonisError:
        try:
            return effect()
        except Refusal as e:
            return _refused(operation, e.status, job_id)


_UNTOUCHED = {Fault.NOT_NOW: 503, Fault.EXHAUSTED: 429, Fault.BUSY: 409}
_KINDS = {Reaction.LATER: CelonisThrottled, Reaction.STOP: CelonisRefused}


def _refused(operation: Operation, status: int, job_id: str) -> CelonisError:
    react = reaction(operation, status)
    kind = _KINDS.get(react, CelonisUnreachable)
    return kind(f"{operation}: {status}", reaction=react, operation=operation, status=status, job_id=job_id)


def _silence(operation: Operation, job_id: str, *, connected: bool) -> CelonisError:
    react = reaction(operation, 0, connected=connected)
    return CelonisUnreachable(f"{operation}: no answer", reaction=react, operation=operation, job_id=job_id)


def _told(job: SimJob) -> Job:
    return Job(job.id, job.status, job.table)
