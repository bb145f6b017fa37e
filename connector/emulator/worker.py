"""Owns the thread that runs the jobs: it begins them, lets their time pass, and applies them one after the other.

Never answers a request. Invariant: a job that a stopped or killed process left in QUEUED or RUNNING is run again, and
its effect is in the tables exactly when its status is DONE.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import duckdb
import structlog

from connector.emulator.apply import apply
from connector.emulator.plan import JobError
from connector.emulator.settings import RUN
from connector.emulator.wire import Status

if TYPE_CHECKING:
    from connector.emulator.settings import EmulatorSettings
    from connector.emulator.state import StateMachine
    from connector.emulator.store import Connection, Store, StoredJob

STOP_SECONDS = 10.0


class Worker:
    """Runs the jobs of `state` between `start` and `stop`."""

    def __init__(self, settings: EmulatorSettings, store: Store, state: StateMachine) -> None:
        self._seconds = settings.latencies.get(RUN, 0.0)
        self._store = store
        self._state = state
        self._dice = random.Random(settings.seed)  # noqa: S311 - chance, not a secret
        self._ready: dict[str, float] = {}
        self._stopping = False
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="emulator-worker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a job that runs is broken off without an effect, and goes on at the next start."""
        with self._state.changed:
            self._stopping = True
            if self._connection is not None:
                self._connection.interrupt()
            self._state.changed.notify_all()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while (stored := self._next()) is not None:
            self._apply(stored)

    def _next(self) -> StoredJob | None:
        """Return one of the jobs whose time has passed, drawn at random, or None at the end."""
        with self._state.changed:
            while not self._stopping:
                now = time.monotonic()
                running = {stored.job.id: stored for stored in self._state.begin()}
                self._ready = {job_id: self._ready.get(job_id, now + self._seconds) for job_id in running}
                if due := [job_id for job_id, at in self._ready.items() if at <= now]:
                    return running[self._dice.choice(due)]
                self._state.changed.wait(min(self._ready.values()) - now if self._ready else None)
        return None

    def _apply(self, stored: StoredJob) -> None:
        with self._store.connect() as connection:
            with self._state.changed:
                self._connection = connection
            try:
                self._try(connection, stored)
            finally:
                with self._state.changed:
                    self._connection = None

    def _try(self, connection: Connection, stored: StoredJob) -> None:
        connection.begin()
        try:
            apply(connection, self._store, stored, self._dice)
            done = self._state.finish(connection, stored, Status.DONE)
        except duckdb.InterruptException:
            done = False
        except JobError as e:
            connection.rollback()
            self._fail(connection, stored, str(e))
            return
        except Exception as e:  # noqa: BLE001 - whatever happens, the job ends
            structlog.get_logger().warning("apply job failed", job=stored.job.id, error=type(e).__name__)
            connection.rollback()
            self._fail(connection, stored, f"The data could not be loaded ({type(e).__name__})")
            return
        if not done:
            connection.rollback()

    def _fail(self, connection: Connection, stored: StoredJob, reason: str) -> None:
        connection.begin()
        if not self._state.finish(connection, stored, Status.ERROR, [reason]):
            connection.rollback()
