"""Owns the threads that turn loads into finished jobs: build, create, upload, verify; then execute and watch.

Never decides about budget, order or offsets, and shares nothing with the loop but immutable requests and receipts.
Invariant: every request ends in exactly one receipt, and a job in any doubt before its execute is dropped for another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty as QueueEmpty
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, stop_any
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set
from tenacity.wait import wait_exponential

from connector.celonis.jobs import JobSpec
from connector.celonis.outcomes import Operation
from connector.celonis.patience import Patience
from connector.core.jobs import Seen, Status, Unseen
from connector.core.loads import Broken, Done, Doubtful, Empty, JobFailed, Prepared, Throttled, Unreadable
from connector.errors import CelonisError, CelonisThrottled, Reaction, SpoolDamaged, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.celonis.client import DataPushClient
    from connector.celonis.jobs import Job
    from connector.core.loads import Chunk, Load, Receipt

log = structlog.get_logger()

BuildChunks = Callable[["Load"], "tuple[Chunk, ...]"]

_NOT_FOUND, _TOO_MANY = 404, 429


class Pace(NamedTuple):
    """How patient the threads are, in seconds. A test makes it quick."""

    poll_first: float = 0.5  # until the status of a job is asked for the first time
    poll_longest: float = 10.0
    retry_first: float = 1.0
    retry_longest: float = 30.0
    give_back: float = 120.0  # after this a push in trouble goes back to the loop, which comes again
    again: float = 10.0  # the loop's wait before it does
    started: float = 60.0  # an executed job that is still NEW by then was never executed


class Lane(Protocol):
    """Who does tasks, in the order in which they begin, some of them at once."""

    def do(self, task: Callable[[], None]) -> None:
        """Queue `task`, which must not raise."""
        ...

    def end(self) -> None:
        """Begin nothing after what is queued."""
        ...


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
    ) -> None:
        self._client, self._build = client, build
        self._connection_id, self._job_timeout = connection_id, job_timeout
        self._pace = pace or Pace()
        self._stop = threading.Event()
        self._patiently = Patience(
            self._stop, first=self._pace.retry_first, longest=self._pace.retry_longest, give_back=self._pace.give_back
        ).repeat
        self._receipts: SimpleQueue[Receipt | Seen | Unseen] = SimpleQueue()
        make_lane = lanes or _Workers
        self._preparing: Lane = make_lane(workers, "prepare")
        self._applying: Lane = make_lane(executing, "apply")

    def prepare(self, load: Load) -> None:
        """Build the chunks, create a job, upload and verify."""
        self._preparing.do(lambda: self._answer(lambda: self._prepare(load), load, None))

    def apply(self, prepared: Prepared) -> None:
        """Execute the job and wait for its end."""
        self._applying.do(lambda: self._answer(lambda: self._apply(prepared), prepared.load, prepared))

    def ask(self, job_id: str) -> None:
        """Ask for a job that another process may have made: ends in Seen, or Unseen without an answer."""
        self._preparing.do(lambda: self._answer_about(lambda: self._seen(job_id), job_id))

    def resume(self, job_id: str) -> None:
        """Roll such a job forward: execute it if it is NEW, and wait for its end; ends in Seen or Unseen."""
        self._applying.do(lambda: self._answer_about(lambda: self._resume(job_id), job_id))

    def forget(self, job_id: str) -> None:
        """Delete a job that will not be needed again."""
        self._preparing.do(lambda: self._drop(job_id))

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

    def _answer(self, work: Callable[[], Receipt], load: Load, prepared: Prepared | None) -> None:
        """Do `work`, and turn whatever comes of it into the one receipt."""
        try:
            receipt = self._closing(load, prepared) if self._stop.is_set() else work()
        except CelonisError as e:
            receipt = self._receipt_of(e, load, prepared)
        except (SpoolDamaged, FileNotFoundError) as e:
            receipt = Unreadable(load, str(e))
        except (SpoolFull, OSError) as e:
            receipt = Doubtful(load, prepared, self._pace.again, str(e))
        except Exception as e:  # noqa: BLE001 - whatever it is, the loop must hear of it
            receipt = self._unexpected(e, load, prepared)
        self._receipts.put(receipt)

    def _answer_about(self, work: Callable[[], Seen], job_id: str) -> None:
        """Do `work`, and turn whatever comes of it into the one receipt."""
        receipt: Seen | Unseen
        try:
            receipt = Unseen(job_id, self._pace.again, "the service is closing") if self._stop.is_set() else work()
        except CelonisError as e:
            wait = e.wait if isinstance(e, CelonisThrottled) else self._pace.again
            fatal = e.reaction is Reaction.REAUTHORIZE
            receipt = Unseen(job_id, wait, str(e), exhausted=_exhausts(e), fatal=fatal)
        except Exception as e:  # noqa: BLE001 - whatever it is, the loop must hear of it
            receipt = Unseen(job_id, self._pace.again, f"{type(e).__name__}: {e}")
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

    # --- prepare ----------------------------------------------------------------------------------------------

    def _prepare(self, load: Load) -> Receipt:
        began = time.monotonic()
        chunks = self._build(load)
        if not chunks:
            return Empty(load)
        spec = JobSpec(
            table=load.target.table,
            keys=load.target.keys,
            table_schema=load.schema.to_wire(load.target.table, load.target.keys),
            connection_id=self._connection_id,
        )
        in_doubt = (Reaction.REMAKE, Reaction.COMPARE)
        job_id = self._patiently(lambda: self._filled_job(spec, chunks), *in_doubt)
        return Prepared(load, job_id, chunks, time.monotonic() - began)

    def _filled_job(self, spec: JobSpec, chunks: Sequence[Chunk]) -> str:
        """Return the id of a new job that surely holds each chunk once; on any doubt drop it and raise."""
        job_id = self._patiently(lambda: self._client.create_job(spec)).id
        try:
            for number, chunk in enumerate(chunks, 1):
                self._upload(job_id, chunk, number)
            self._verify(job_id, len(chunks), "after the upload")
        except BaseException:
            self._drop(job_id)
            raise
        return job_id

    def _upload(self, job_id: str, chunk: Chunk, number: int) -> None:
        try:
            add = self._client.add_deletes if chunk.deletes else self._client.add_upserts
            self._patiently(lambda: add(job_id, chunk.path))
        except CelonisError as e:
            if e.reaction is not Reaction.COMPARE or number > 1:  # an earlier one that is there twice would pass for it
                raise
            self._verify(job_id, number, str(e))

    def _verify(self, job_id: str, expected: int, why: str) -> None:
        if wrong := self._mismatch(job_id, expected):
            raise CelonisError(f"{wrong} ({why})", reaction=Reaction.COMPARE, operation=Operation.CHUNKS, job_id=job_id)

    def _mismatch(self, job_id: str, expected: int) -> str:
        """Return what is wrong with the number of chunks that a job holds, or nothing."""
        found = len(self._patiently(lambda: self._client.list_chunks(job_id)))
        return "" if found == expected else f"job {job_id} holds {found} chunks instead of {expected}"

    def _drop(self, job_id: str) -> None:
        """Delete a job; what cannot be deleted was never executed, or is DONE, and changes nothing."""
        try:
            self._client.delete_job(job_id)
        except Exception as e:  # noqa: BLE001 - a courtesy, which must not hide why the job is dropped
            log.info("kept job that could not be deleted", job=job_id, error=str(e))

    # --- apply ------------------------------------------------------------------------------------------------

    def _apply(self, prepared: Prepared) -> Receipt:
        """Execute the job if it is still NEW, which an earlier try may have changed, and wait for its end."""
        began = time.monotonic()
        job = self._patiently(lambda: self._client.get_job(prepared.job_id))
        if job.status is Status.NEW:
            if wrong := self._mismatch(prepared.job_id, len(prepared.chunks)):
                return self._given_up(prepared, f"{wrong}: an upload came in late")
            self._execute(prepared.job_id)
            job = self._watched(prepared.job_id)
        elif not job.status.final:
            job = self._watched(prepared.job_id)
        return self._ended(job, prepared, prepared.seconds + time.monotonic() - began)

    def _seen(self, job_id: str) -> Seen:
        try:
            job = self._patiently(lambda: self._client.get_job(job_id))
        except CelonisError as e:
            if e.status == _NOT_FOUND and e.operation == Operation.GET:
                return Seen(job_id, None)
            raise
        return Seen(job_id, job.status, job.logs)

    def _resume(self, job_id: str) -> Seen:
        seen = self._seen(job_id)
        if seen.status is None or seen.status.final:
            return seen
        if seen.status is Status.NEW:
            self._execute(job_id)
        job = self._watched(job_id)
        return Seen(job_id, job.status, job.logs)

    def _given_up(self, prepared: Prepared, why: str) -> Receipt:
        """Give the load back for another job, but only when this one is surely gone and no late execute can find it."""
        try:
            self._patiently(lambda: self._client.delete_job(prepared.job_id))
        except CelonisError as e:
            if e.status != _NOT_FOUND or e.operation != Operation.DELETE:
                return Doubtful(prepared.load, prepared, self._pace.again, f"{why}; {e}")
        return Doubtful(prepared.load, None, self._pace.again, why)

    def _execute(self, job_id: str) -> None:
        """Execute a job; one that is not NEW afterwards was executed, also where the answer is lost or a refusal."""
        try:
            self._client.execute(job_id)
        except CelonisError as e:
            unclear = e.reaction in (Reaction.ASK, Reaction.STOP)  # a refusal may mean that an earlier one came in late
            if not unclear or self._patiently(lambda: self._client.get_job(job_id)).status is Status.NEW:
                raise

    def _watched(self, job_id: str) -> Job:
        """Return the job at its end; still NEW after a while it was never executed, whatever the answer was."""
        began = time.monotonic()

        def waits(job: Job) -> bool:
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
        return watching(lambda: self._patiently(lambda: self._client.get_job(job_id)))

    def _ended(self, job: Job, prepared: Prepared, seconds: float) -> Receipt:
        load = prepared.load
        if job.status is Status.DONE:
            rows = sum(c.rows for c in prepared.chunks if not c.deletes)
            deleted = sum(c.rows for c in prepared.chunks if c.deletes)
            return Done(load, job.id, rows, sum(c.size for c in prepared.chunks), seconds, deleted)
        if job.status.final:
            return JobFailed(load, job.id, job.status, job.logs)
        if job.status is Status.NEW or self._stop.is_set():
            return Doubtful(load, prepared, self._pace.again, f"job {job.id} is still {job.status}")
        hint = "look at the job in Celonis; raise celonis.job_timeout if it needs longer"
        return Broken(load, f"job {job.id} is {job.status} after {self._job_timeout:.0f} s", hint)


class _Workers:
    """Daemon threads that do what they are given, one thing after the other."""

    def __init__(self, count: int, name: str) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def do(self, task: Callable[[], None]) -> None:
        """Queue `task`, which must not raise."""
        self._tasks.put(task)

    def end(self) -> None:
        """Let the threads end after what is queued."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        for task in iter(self._tasks.get, None):
            task()


def _last_result(state: RetryCallState) -> Job:
    if state.outcome is None:
        raise RuntimeError("nothing was asked")
    return state.outcome.result()  # type: ignore[no-any-return]


def _exhausts(error: CelonisError) -> bool:
    """Say whether the platform has called the hour's budget spent."""
    return error.status == _TOO_MANY and error.operation == Operation.EXECUTE
