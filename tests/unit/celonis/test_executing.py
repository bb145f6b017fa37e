"""How long a job waited and ran, as seen from outside."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

import pytest

from connector.celonis.executing import Attempt, Executor
from connector.celonis.jobs import Job
from connector.celonis.patience import Pace, Patience
from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.jobs import Status
from connector.core.loads import Done, Load, Prepared, Target

if TYPE_CHECKING:
    from connector.celonis.client import DataPushClient

LOAD = Load("load-1", Target("T", ()), TableSchema(), (), (), Trigger.AGE, 0.0)
PACE = Pace(poll_first=0.0, poll_longest=0.0, retry_first=0.0, retry_longest=0.0)


class Platform:
    """Tells these statuses of its one job, one at each question, the last for ever."""

    def __init__(self, *statuses: Status) -> None:
        self._statuses = list(statuses)
        self.executes = 0

    def get_job(self, job_id: str) -> Job:
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return Job(job_id, status, "T")

    def execute(self, job_id: str) -> None:
        assert job_id == "job-1"
        self.executes += 1


def applied(*statuses: Status) -> Done:
    stop = threading.Event()
    executor = Executor(
        cast("DataPushClient", Platform(*statuses)),
        Patience(stop, first=0.0, longest=0.0),
        stop,
        PACE,
        job_timeout=30.0,
        clock=lambda: 0.0,
        mismatch=lambda _job, _expected: "",
    )
    receipt = executor.apply(Prepared(LOAD, "job-1", (), 1.0), Attempt(1.0))
    assert isinstance(receipt, Done)
    return receipt


def test_a_job_that_was_seen_to_wait_was_queued_until_then() -> None:
    done = applied(Status.NEW, Status.QUEUED, Status.QUEUED, Status.RUNNING, Status.DONE)
    assert 0 < done.queued < done.executing


@pytest.mark.parametrize("statuses", [(Status.NEW, Status.RUNNING, Status.DONE), (Status.NEW, Status.DONE)])
def test_a_job_that_runs_at_once_was_not_queued(statuses: tuple[Status, ...]) -> None:
    assert applied(*statuses).queued == 0


def test_of_a_job_that_an_earlier_try_executed_nothing_is_known_but_its_end() -> None:
    assert applied(Status.DONE).queued == 0
