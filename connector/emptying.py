"""Owns the push that leaves a table without rows: one REPLACE job, with a file that has columns and nothing else.

Never runs unless a person has allowed it, and never guesses columns. Invariant: a table that has no rows already may be
emptied again, so a death on the way costs a push at most.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from connector.assembly import make_celonis
from connector.core.budget import Claim, Grant
from connector.core.flush import Trigger
from connector.core.hours import Now, TeamClock
from connector.core.jobs import Seen, Unseen
from connector.core.loads import Broken, Chunk, Done, Doubtful, JobFailed, Load, Prepared, Target, Throttled, spent
from connector.errors import ConnectorError, TablesUnavailable
from connector.formats import effective_keys
from connector.handover import Interrupted
from connector.spool.segments import ParquetFile, check_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.celonis.pusher import JobPusher
    from connector.celonis.schemas import PlatformTables
    from connector.config import Settings, Table
    from connector.core.columns import TableSchema
    from connector.core.loads import Receipt
    from connector.ports import Budget

log = structlog.get_logger()

_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 60.0  # where the platform says not now, and not when


def empty(
    settings: Settings,
    entry: Table,
    table: str,
    budget: Callable[[TeamClock, ExitStack], Budget],
    stopping: Callable[[], bool],
) -> None:
    """Replace all rows of `table` by none, within `budget`.

    Raises:
        Interrupted: `stopping` said so; the job may have been executed.
        ConnectorError: it cannot be done; the hint is the next step.
    """
    waiting = _Waiting(table, stopping)
    with ExitStack() as parts:
        settings.spool.directory.mkdir(parents=True, exist_ok=True)
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(dir=settings.spool.directory)))
        tables, pusher = make_celonis(settings, parts, lambda load: (_chunk(folder, load),))
        schema = _columns(tables, table, waiting)
        target = Target(table, effective_keys(entry), replace=True)
        load = Load(uuid.uuid4().hex, target, schema, (), (), Trigger.DRAIN, opened_at=time.monotonic())
        clock = TeamClock(settings.budget.clock_speed)
        _Push(pusher, budget(clock, parts), clock, waiting).run(load)
    log.info("emptied table", table=table)


class _Waiting:
    """Waits for what `table` needs, until `stopping` says that nobody does any more."""

    def __init__(self, table: str, stopping: Callable[[], bool]) -> None:
        self._table, self._stopping = table, stopping

    def sleep(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass, one look at least; raises Interrupted."""
        end = time.monotonic() + seconds
        while True:
            if self._stopping():
                raise Interrupted(f"stopped while table {self._table} was being emptied")
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() >= end:
                return


def _columns(tables: PlatformTables, table: str, waiting: _Waiting) -> TableSchema:
    """Return the columns that the platform knows of `table`."""
    while True:
        try:
            schema = tables.columns(table)
            break
        except TablesUnavailable as e:
            waiting.sleep(e.wait)
    if not schema.columns:
        problem = f"nothing is known of the columns of {table}: no job of it is on the platform's list"
        raise ConnectorError(problem, hint="empty it in Celonis, or leave it as it is")
    return schema


def _chunk(folder: Path, load: Load) -> Chunk:
    """Return a file that has the columns of `load`, and no rows."""
    path = ParquetFile(folder, load.target.table, f"empty.{uuid.uuid4().hex[:8]}", load.schema.arrow()).close([])
    return Chunk(path, 0, check_file(path, 0))


class _Push:
    """One push, step by step, without a pipeline: there are no messages whose offsets would follow it."""

    def __init__(self, pusher: JobPusher, budget: Budget, clock: TeamClock, waiting: _Waiting) -> None:
        self._pusher, self._budget, self._clock, self._waiting = pusher, budget, clock, waiting

    def run(self, load: Load) -> None:
        """Push `load`, however often the platform says not now; raises ConnectorError."""
        prepared: Prepared | None = None
        while True:
            receipt = self._step(load, prepared)
            match receipt:
                case Prepared():
                    prepared = receipt
                case Done():
                    return
                case Throttled() | Doubtful():
                    prepared = receipt.prepared
                    self._waiting.sleep(receipt.wait or _AGAIN_SECONDS)
                case _:
                    raise _failure(load, receipt)

    def _step(self, load: Load, prepared: Prepared | None) -> Receipt:
        if prepared is None:
            self._pusher.prepare(load)
            return self._receipt()
        self._pusher.apply(prepared, self._granted(load).deadline)
        receipt = self._receipt()
        self._budget.end(load.id, spent=spent(receipt))
        return receipt

    def _receipt(self) -> Receipt:
        while True:
            for receipt in self._pusher.finished():
                if not isinstance(receipt, (Seen, Unseen)):
                    return receipt
            self._waiting.sleep()

    def _granted(self, load: Load) -> Grant:
        while True:
            now = Now(time.monotonic(), self._clock.of(time.time()))
            self._budget.step(now, 1.0)
            answer = self._budget.acquire(Claim(load.id, load.target.table, 1.0, replay=True), now)
            if isinstance(answer, Grant):
                return answer
            self._waiting.sleep()


def _failure(load: Load, receipt: Receipt) -> ConnectorError:
    hint = "mend it, then give the same command again: it goes on where it was"
    why = "its file was lost"
    if isinstance(receipt, JobFailed):
        why = f"job {receipt.job_id} ended {receipt.status}: {'; '.join(receipt.logs)}"
    elif isinstance(receipt, Broken):
        why, hint = receipt.error, receipt.hint or hint
    return ConnectorError(f"table {load.target.table} could not be emptied: {why}", hint=hint)
