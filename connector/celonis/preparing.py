"""Owns the first half of a push: build the chunks, create a job, upload, verify.

Never executes a job, so nothing here changes the platform's tables. Invariant: a job that is handed on holds each chunk
surely once; one in any doubt is dropped for another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from structlog.contextvars import bound_contextvars

from connector.celonis.jobs import JobSpec
from connector.celonis.outcomes import Operation
from connector.core.loads import Empty, Prepared
from connector.errors import CelonisError, Reaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.celonis.client import DataPushClient
    from connector.celonis.patience import Patience
    from connector.core.loads import Chunk, Load, Receipt

log = structlog.get_logger()

BuildChunks = Callable[["Load"], "tuple[Chunk, ...]"]


class Preparer:
    """Makes jobs out of loads; threads may share it."""

    def __init__(
        self, client: DataPushClient, build: BuildChunks, patience: Patience, connection_id: str | None
    ) -> None:
        self._client, self._build, self._patiently = client, build, patience.repeat
        self._connection_id = connection_id

    def prepare(self, load: Load) -> Receipt:
        """Return Prepared, or Empty; raises CelonisError, SpoolDamaged, OSError."""
        began = time.monotonic()
        chunks = self._build(load)
        building = time.monotonic() - began
        if load.target.replace:  # what is deleted in the end is not there to begin with
            chunks = tuple(chunk for chunk in chunks if not chunk.deletes)
        if not chunks:
            return Empty(load)
        spec = JobSpec(
            table=load.target.table,
            keys=load.target.keys,
            table_schema=load.schema.to_wire(load.target.table, load.target.keys),
            connection_id=self._connection_id,
            type="REPLACE" if load.target.replace else "DELTA",
        )
        in_doubt = (Reaction.REMAKE, Reaction.COMPARE)
        job_id = self._patiently(lambda: self._filled_job(spec, chunks), *in_doubt)
        return Prepared(load, job_id, chunks, time.monotonic() - began, building)

    def _filled_job(self, spec: JobSpec, chunks: Sequence[Chunk]) -> str:
        """Return the id of a new job that surely holds each chunk once; on any doubt drop it and raise."""
        job_id = self._patiently(lambda: self._client.create_job(spec)).id
        with bound_contextvars(job=job_id):
            try:
                for number, chunk in enumerate(chunks, 1):
                    self._upload(job_id, chunk, number)
                self._verify(job_id, len(chunks), "after the upload")
            except BaseException:
                self.drop(job_id)
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
        if wrong := self.mismatch(job_id, expected):
            raise CelonisError(f"{wrong} ({why})", reaction=Reaction.COMPARE, operation=Operation.CHUNKS, job_id=job_id)

    def mismatch(self, job_id: str, expected: int) -> str:
        """Return what is wrong with the number of chunks that a job holds, or nothing."""
        found = len(self._patiently(lambda: self._client.list_chunks(job_id)))
        return "" if found == expected else f"job {job_id} holds {found} chunks instead of {expected}"

    def drop(self, job_id: str) -> None:
        """Delete a job; what cannot be deleted was never executed, or is DONE, and changes nothing."""
        try:
            self._client.delete_job(job_id)
        except Exception as e:  # noqa: BLE001 - a courtesy, which must not hide why the job is dropped
            log.info("kept job that could not be deleted", job=job_id, error=str(e))
