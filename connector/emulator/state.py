"""Owns the state machine: which operation is legal in which status, and what it makes of a job. Knows nothing of HTTP.

    NEW ─execute→ QUEUED ─begin→ RUNNING ─finish→ DONE | ERROR         cancel: NEW, QUEUED, RUNNING → CANCELED
    upload: NEW only        delete: NEW, DONE, ERROR, CANCELED         a job runs once

Never applies a load itself. Invariant: one transition at a time, and every one is committed before it is answered; what
a load does to its table is committed together with the status DONE.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

from connector.emulator import store as st
from connector.emulator.answers import invalid, refused, throttled
from connector.emulator.inspect import inspect
from connector.emulator.limits import exceeded
from connector.emulator.store import StoredChunk, StoredJob
from connector.emulator.wire import (
    FINAL,
    IN_FLIGHT,
    Chunk,
    ChunkType,
    Job,
    JobType,
    Status,
    read_job,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from connector.emulator.settings import EmulatorSettings
    from connector.emulator.store import Connection, Store

ACCEPTED, REFUSED, FAULTED = "accepted", "refused", "faulted"


class StateMachine:
    """The jobs of one team. `changed` is notified at every transition; it guards them all."""

    def __init__(self, settings: EmulatorSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.changed = threading.Condition()
        self._files = store.directory / "chunks"
        self._files.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def create(self, pool: str, body: object) -> Job:
        """Make a job in NEW."""
        new = read_job(body, pool, strict=self._settings.strict)
        now = self._milliseconds()
        fields = {name: getattr(new, name) for name in type(new).model_fields} | {"data_pool_id": pool}
        job = Job(**fields, id=str(uuid.uuid4()), last_modified=now, last_ping=now)
        with self.changed, self._store.transaction() as connection:
            st.add_job(connection, pool, job)
        return job

    def jobs(self, pool: str) -> list[Job]:
        """Return the jobs of `pool`."""
        return [stored.job for stored in self._store.jobs(pool)]

    def get(self, pool: str, job_id: str) -> Job:
        """Return one job, or refuse with 404."""
        return self._get(pool, job_id).job

    def begin_upload(self, pool: str, job_id: str, kind: ChunkType) -> Path:
        """Return the file into which a chunk of this job may be written."""
        self._may_upload(self._get(pool, job_id).job, kind)
        return self._files / f"{uuid.uuid4()}.part"

    def end_upload(self, pool: str, job_id: str, kind: ChunkType, part: Path, checksum: str) -> None:
        """Check a chunk that was written to `part`, and add it to its job."""
        job = self._get(pool, job_id).job
        columns = inspect(part, job, strict=self._settings.strict)
        now = self._milliseconds()
        chunk = Chunk(id=part.stem, creation_date=now, type=kind, push_job_id=job.id, checksum=checksum)
        with self.changed:
            stored = self._get(pool, job_id)
            self._may_upload(stored.job, kind)
            part.rename(st.chunk_file(self._store.directory, chunk.id))
            with self._store.transaction() as connection:
                st.add_chunk(connection, StoredChunk(chunk, columns))

    def chunks(self, pool: str, job_id: str) -> Sequence[Chunk]:
        """Return the chunks of a job."""
        return [stored.chunk for stored in self._store.chunks(self._get(pool, job_id).job.id)]

    def execute(self, pool: str, job_id: str, duplicate_removal: str | None) -> Job:
        """Queue a job, within the team's limits; every call counts against them."""
        with self.changed:
            now = self._settings.team_time()
            try:
                stored = self._may_execute(pool, job_id, duplicate_removal, now)
            except BaseException:
                self.count_execute(REFUSED)
                raise
            with self._store.transaction() as connection:
                st.add_execute(connection, now, ACCEPTED)
                return self._move(connection, stored._replace(duplicate_removal=duplicate_removal), Status.QUEUED).job

    def count_execute(self, outcome: str) -> None:
        """Count an execute that took no effect."""
        with self.changed, self._store.transaction() as connection:
            st.add_execute(connection, self._settings.team_time(), outcome)

    def cancel(self, pool: str, job_id: str) -> Job:
        """Cancel a job that is not final."""
        with self.changed:
            stored = self._get(pool, job_id)
            if stored.job.status in FINAL:
                raise _illegal("cancelled", stored.job)
            with self._store.transaction() as connection:
                moved = self._move(connection, stored, Status.CANCELED)
            self.drop_files(moved.job.id)
            return moved.job

    def delete(self, pool: str, job_id: str) -> None:
        """Delete a job that is not in flight; its table stays."""
        with self.changed:
            job = self._get(pool, job_id).job
            if job.status in IN_FLIGHT:
                raise _illegal("deleted", job)
            self.drop_files(job.id)
            with self._store.transaction() as connection:
                st.remove_job(connection, job.id)

    def begin(self) -> list[StoredJob]:
        """Let every queued job run, and return all that run; the caller holds `changed`."""
        for stored in self._store.jobs_in([Status.QUEUED]):
            with self._store.transaction() as connection:
                self._move(connection, stored, Status.RUNNING)
        return self._store.jobs_in([Status.RUNNING])

    def finish(self, connection: Connection, stored: StoredJob, status: Status, logs: Sequence[str] = ()) -> bool:
        """Commit the transaction open on `connection` with the job's final status, if the job still runs."""
        with self.changed:
            current = self._store.job(stored.pool, stored.job.id)
            if current is None or current.job.status is not Status.RUNNING:
                return False
            self._move(connection, current, status, logs)
            connection.commit()
            self.drop_files(stored.job.id)
            return True

    def idle(self) -> bool:
        """Return whether no job is in flight."""
        return not self._store.jobs_in(IN_FLIGHT)

    def drop_files(self, job_id: str) -> None:
        """Remove the chunks' files of a job that will not run any more."""
        for stored in self._store.chunks(job_id):
            st.chunk_file(self._store.directory, stored.chunk.id).unlink(missing_ok=True)

    def _get(self, pool: str, job_id: str) -> StoredJob:
        stored = self._store.job(pool, job_id)
        if stored is None:
            raise refused(404, "The data push job does not exist")
        return stored

    def _may_upload(self, job: Job, kind: ChunkType) -> None:
        if job.status is not Status.NEW:
            raise _illegal("given chunks", job)
        if kind is ChunkType.DELETE and job.type is not JobType.DELTA:
            raise invalid("type", "Only a DELTA job can have chunks to delete", "not-delta")
        if kind is ChunkType.DELETE and not job.keys:
            raise invalid("keys", "A job without keys cannot have chunks to delete", "no-keys")

    def _may_execute(self, pool: str, job_id: str, duplicate_removal: str | None, now: float) -> StoredJob:
        limits = self._settings
        counts = self._store.executes(now)
        if full := exceeded(counts, now, per_hour=limits.per_hour, per_second=limits.per_second):
            raise throttled(full.limit, limits.true_seconds(full.wait), limits.hints)
        stored = self._get(pool, job_id)
        if stored.job.status is not Status.NEW:
            raise _illegal("executed", stored.job)
        if duplicate_removal is not None:
            self._may_remove_duplicates(stored.job, duplicate_removal)
        in_flight = [other for other in self._store.jobs_in(IN_FLIGHT) if other.pool == pool]
        if len(in_flight) >= limits.executes_in_flight:
            raise refused(409, "Another data push job of this data pool is being executed")
        return stored

    def _may_remove_duplicates(self, job: Job, column: str) -> None:
        for stored in self._store.chunks(job.id):
            names = {c.name.lower() for c in stored.columns}
            if stored.chunk.type is ChunkType.UPSERT and column.lower() not in names:
                raise invalid("duplicateRemovalColumn", f"A chunk lacks the column {column}", "missing-column")

    def _move(self, connection: Connection, stored: StoredJob, status: Status, logs: Sequence[str] = ()) -> StoredJob:
        now = self._milliseconds()
        changes = {"status": status, "logs": (*stored.job.logs, *logs), "last_modified": now, "last_ping": now}
        moved = stored._replace(job=stored.job.model_copy(update=changes))
        st.set_job(connection, moved)
        self.changed.notify_all()
        return moved

    def _milliseconds(self) -> int:
        return int(self._settings.team_time() * 1000)

    def _sweep(self) -> None:
        """Remove files that belong to no job which may still run: a killed process leaves some."""
        kept = self._store.chunk_ids([Status.NEW, *IN_FLIGHT])
        for file in self._files.iterdir():
            if file.name not in kept:
                file.unlink()


def _illegal(done: str, job: Job) -> Exception:
    return invalid("status", f"A job in {job.status} cannot be {done}", "illegal-status")
