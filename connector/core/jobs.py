"""Owns the states of a job, and what is seen of one that another process may have made. Never asks for them.

Invariant: a final status never changes, so it may be acted on whenever it is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The states of a job (data-push-api.md, "The job")."""

    NEW = "NEW"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    ERROR = "ERROR"
    CANCELED = "CANCELED"

    @property
    def final(self) -> bool:
        """Whether the job will not move any more."""
        return self in (Status.DONE, Status.ERROR, Status.CANCELED)


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the platform knows it; `status` None: it knows no such job. `executed`: we sent an execute for it."""

    job_id: str
    status: Status | None
    logs: tuple[str, ...] = ()
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Unseen:
    """No answer about a job: ask again after `wait` seconds (None: in the next hour).

    `exhausted`: the hour's budget is gone. `fatal`: the credentials are not accepted. `executed`: we sent an execute.
    """

    job_id: str
    wait: float | None
    detail: str
    exhausted: bool = False
    fatal: bool = False
    executed: bool = False
