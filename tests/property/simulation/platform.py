"""Owns the platform of the simulation: jobs, their legal transitions, and tables as rows.

Never delays or loses anything by itself: the client in front of it does. Invariant: the transitions are those of
`connector.emulator.state` (a test holds both to each other), and a job is applied once, as a whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from connector.core.jobs import Status

IN_FLIGHT = (Status.QUEUED, Status.RUNNING)


class Broken(BaseException):
    """A law is broken. No product code catches it, wherever it comes up."""


class Row(NamedTuple):
    """One record: where it comes from, and what it says."""

    topic: str
    partition: int
    offset: int
    key: str
    value: str


class Refusal(Exception):  # noqa: N818
    """The platform refuses with an HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(slots=True)
class SimJob:
    """One job and the rows of its chunks."""

    id: str
    table: str
    keyed: bool
    status: Status = Status.NEW
    chunks: list[list[Row]] = field(default_factory=list)


class Platform:
    """Jobs by id; `appended` and `upserted` are the tables."""

    def __init__(self) -> None:
        self.jobs: dict[str, SimJob] = {}
        self.appended: dict[str, Counter[Row]] = {}
        self.upserted: dict[str, dict[str, Row]] = {}
        self.deleted: set[str] = set()
        self._born = 0

    def create(self, table: str, *, keyed: bool) -> SimJob:
        """Make a job in NEW."""
        self._born += 1
        job = SimJob(f"job-{self._born}", table, keyed)
        self.jobs[job.id] = job
        return job

    def get(self, job_id: str) -> SimJob:
        """Return one job, or refuse with 404."""
        if job_id not in self.jobs:
            raise Refusal(404)
        return self.jobs[job_id]

    def upload(self, job_id: str, rows: list[Row]) -> None:
        """Add a chunk."""
        self._in(job_id, Status.NEW).chunks.append(rows)

    def execute(self, job_id: str) -> None:
        """Queue a job."""
        self._in(job_id, Status.NEW).status = Status.QUEUED

    def cancel(self, job_id: str) -> None:
        """Cancel a job that is not final."""
        self._in(job_id, Status.NEW, *IN_FLIGHT).status = Status.CANCELED

    def delete(self, job_id: str) -> None:
        """Delete a job that is not in flight."""
        self._in(job_id, Status.NEW, Status.DONE, Status.ERROR, Status.CANCELED)
        del self.jobs[job_id]
        self.deleted.add(job_id)

    def begin(self, job_id: str) -> None:
        """Let a queued job run."""
        self._in(job_id, Status.QUEUED).status = Status.RUNNING

    def finish(self, job_id: str, status: Status) -> None:
        """End a job that runs; DONE applies it."""
        job = self._in(job_id, Status.RUNNING)
        job.status = status
        if status is Status.DONE:
            self._apply(job)

    def in_flight(self) -> list[SimJob]:
        """Return the jobs that wait or run."""
        return [job for job in self.jobs.values() if job.status in IN_FLIGHT]

    def _in(self, job_id: str, *legal: Status) -> SimJob:
        job = self.get(job_id)
        if job.status not in legal:
            raise Refusal(400)
        return job

    def _apply(self, job: SimJob) -> None:
        for rows in job.chunks:
            if job.keyed:
                self.upserted.setdefault(job.table, {}).update({row.key: row for row in rows})
            else:
                self.appended.setdefault(job.table, Counter()).update(rows)
