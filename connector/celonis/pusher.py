"""Owns the threads that turn loads into finished jobs, and the receipts that the loop hears of them.

Never decides about budget, order or offsets, and shares nothing with the loop but immutable requests and receipts.
Invariant: every request ends in exactly one receipt, and a job in any doubt before its execute is dropped for another.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from queue import Empty as QueueEmpty
from queue import SimpleQueue
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bound_contextvars

from connector.celonis.calls import UNCOUNTED
from connector.celonis.executing import Attempt, Executor
from connector.celonis.lanes import Workers
from connector.celonis.outcomes import Operation
from connector.celonis.patience import Pace, Patience
from connector.celonis.preparing import Preparer
from connector.core.jobs import Seen, Unseen
from connector.core.loads import Broken, Doubtful, Throttled, Unreadable
from connector.errors import CelonisError, CelonisThrottled, Reaction, SpoolDamaged, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connector.celonis.calls import Calls
    from connector.celonis.client import DataPushClient
    from connector.celonis.lanes import Lane
    from connector.celonis.preparing import BuildChunks
    from connector.core.loads import Load, Prepared, Receipt

log = structlog.get_logger()

_NOT_FOUND, _TOO_MANY = 404, 429
_NO_GRANT = Attempt(float("-inf"))


class JobPusher:
    """Pushes the loads of one process. `workers` loads are built and uploaded at once, `executing` jobs watched.

    `lanes` makes those who do it, of (how many at once, name): threads, unless a test steps them by hand.
    """

    def __init__(
        self,
        client: DataPushClient,
        build: BuildChunks,
        *,
        workers: int = 4,
        executing: int = 1,
        connection_id: str | None = None,
        job_timeout: float = 7200.0,
        pace: Pace | None = None,
        lanes: Callable[[int, str], Lane] | None = None,
        clock: Callable[[], float] = time.monotonic,
        calls: Calls = UNCOUNTED,
    ) -> None:
        self._client = client
        self._pace = pace = pace or Pace()
        self._stop = threading.Event()
        patience = Patience(
            self._stop, first=pace.retry_first, longest=pace.retry_longest, give_back=pace.give_back, calls=calls
        )
        self._preparer = Preparer(client, build, patience, connection_id)
        mismatch = self._preparer.mismatch
        self._executor = Executor(
            client, patience, self._stop, pace, job_timeout=job_timeout, clock=clock, mismatch=mismatch
        )
        self._receipts: SimpleQueue[Receipt | Seen | Unseen] = SimpleQueue()
        make_lane = lanes or Workers
        self._preparing: Lane = make_lane(workers, "prepare")
        self._applying: Lane = make_lane(executing, "apply")

    def prepare(self, load: Load) -> None:
        """Build the chunks, create a job, upload and verify."""
        self._preparing.do(lambda: self._told(lambda _: self._preparer.prepare(load), load, None, _NO_GRANT))

    def apply(self, prepared: Prepared, deadline: float) -> None:
        """Execute the job before `deadline` (monotonic seconds) or not at all, and wait for its end."""
        attempt = Attempt(deadline)
        self._applying.do(
            lambda: self._told(lambda a: self._executor.apply(prepared, a), prepared.load, prepared, attempt)
        )

    def ask(self, job_id: str) -> None:
        """Ask for a job that another process may have made: ends in Seen, or Unseen without an answer."""
        self._preparing.do(lambda: self._told_of(lambda _: self._executor.see(job_id), job_id, _NO_GRANT))

    def resume(self, job_id: str, deadline: float) -> None:
        """Roll such a job forward: execute it if it is NEW, in time, and wait for its end; ends in Seen or Unseen."""
        attempt = Attempt(deadline)
        self._applying.do(lambda: self._told_of(lambda a: self._executor.resume(job_id, a), job_id, attempt))

    def forget(self, job_id: str) -> None:
        """Delete a job that will not be needed again."""
        self._preparing.do(lambda: self._preparer.drop(job_id))

    def finished(self) -> Sequence[Receipt | Seen | Unseen]:
        """Return the receipts that have come in since the last call."""
        receipts: list[Receipt | Seen | Unseen] = []
        with suppress(QueueEmpty):
            while True:
                receipts.append(self._receipts.get_nowait())
        return receipts

    def close(self) -> None:
        """Cut all waits short, and begin nothing more. The threads are daemons: a request never holds the process."""
        self._stop.set()
        self._preparing.end()
        self._applying.end()

    def _told(
        self, work: Callable[[Attempt], Receipt], load: Load, prepared: Prepared | None, attempt: Attempt
    ) -> None:
        """Do `work`; every line that is written meanwhile says for which load."""
        known = {"job": prepared.job_id} if prepared else {}
        with bound_contextvars(table=load.target.table, load=load.id, **known):
            self._answer(work, load, prepared, attempt)

    def _answer(
        self, work: Callable[[Attempt], Receipt], load: Load, prepared: Prepared | None, attempt: Attempt
    ) -> None:
        """Do `work`, and turn whatever comes of it into the one receipt."""
        try:
            receipt = self._closing(load, prepared) if self._stop.is_set() else work(attempt)
        except CelonisError as e:
            receipt = self._receipt_of(e, load, prepared)
        except (SpoolDamaged, FileNotFoundError) as e:
            receipt = Unreadable(load, str(e))
        except (SpoolFull, OSError) as e:
            receipt = Doubtful(load, prepared, self._pace.again, str(e))
        except Exception as e:  # noqa: BLE001 - whatever it is, the loop must hear of it
            receipt = self._unexpected(e, load, prepared)
        if attempt.sent and isinstance(receipt, (Broken, Doubtful, Throttled)):
            receipt = replace(receipt, executed=True)
        self._receipts.put(receipt)

    def _told_of(self, work: Callable[[Attempt], Seen], job_id: str, attempt: Attempt) -> None:
        with bound_contextvars(job=job_id):
            self._answer_about(work, job_id, attempt)

    def _answer_about(self, work: Callable[[Attempt], Seen], job_id: str, attempt: Attempt) -> None:
        """Do `work`, and turn whatever comes of it into the one receipt."""
        receipt: Seen | Unseen
        try:
            closing = Unseen(job_id, self._pace.again, "the service is closing")
            receipt = closing if self._stop.is_set() else work(attempt)
        except CelonisError as e:
            wait = e.wait if isinstance(e, CelonisThrottled) else self._pace.again
            fatal = e.reaction is Reaction.REAUTHORIZE
            receipt = Unseen(job_id, wait, str(e), exhausted=_exhausts(e), fatal=fatal, executed=attempt.sent)
        except Exception as e:  # noqa: BLE001 - whatever it is, the loop must hear of it
            receipt = Unseen(job_id, self._pace.again, f"{type(e).__name__}: {e}", executed=attempt.sent)
        self._receipts.put(receipt)

    def _closing(self, load: Load, prepared: Prepared | None) -> Receipt:
        return Doubtful(load, prepared, self._pace.again, "the service is closing")

    def _unexpected(self, error: Exception, load: Load, prepared: Prepared | None) -> Receipt:
        if self._stop.is_set():  # the client was closed under our hands
            return self._closing(load, prepared)
        log.error("failed push unexpectedly", table=load.target.table, exc_info=error)
        return Broken(load, f"{type(error).__name__}: {error}", "this is a bug: report it with the log")

    def _receipt_of(self, error: CelonisError, load: Load, prepared: Prepared | None) -> Receipt:
        match error.reaction:
            case Reaction.REAUTHORIZE:
                return Broken(load, error.args[0], error.hint, fatal=True)
            case Reaction.STOP if error.status == _NOT_FOUND and error.job_id and error.operation != Operation.TOKEN:
                return self._vanished(error, load)
            case Reaction.STOP:
                return Broken(load, error.args[0], error.hint)
            case Reaction.LATER if isinstance(error, CelonisThrottled):
                return Throttled(load, prepared, error.wait, _exhausts(error), str(error))
        return Doubtful(load, prepared, self._pace.again, str(error))

    def _vanished(self, error: CelonisError, load: Load) -> Receipt:
        """Someone deleted the job: another one is harmless before the execute, and where the table has keys."""
        if error.operation in (Operation.UPLOAD, Operation.CHUNKS) or load.target.keys:
            return Doubtful(load, None, self._pace.again, str(error))
        hint = "nobody knows whether its rows arrived: look into the table, then start again"
        return Broken(load, str(error), hint)


def _exhausts(error: CelonisError) -> bool:
    """Say whether the platform has called the hour's budget spent."""
    return error.status == _TOO_MANY and error.operation == Operation.EXECUTE
