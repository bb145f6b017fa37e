"""Owns what is known of tables before the first record: the columns that earlier jobs gave them.

Never creates a table and never guesses: until the platform has told, it says so. Invariant: only jobs that are DONE
count, the latest of a table wins, lengths never shrink.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from connector.celonis.calls import UNCOUNTED
from connector.celonis.patience import Patience
from connector.core.columns import TableSchema
from connector.core.jobs import Status
from connector.errors import CelonisError, Reaction, TablesUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from connector.celonis.calls import Calls
    from connector.celonis.client import DataPushClient
    from connector.celonis.jobs import Job

log = structlog.get_logger()

_FIRST, _LONGEST = 1.0, 30.0  # seconds between two tries
_ASK_AGAIN = 1.0


def schemas_of(jobs: Iterable[Job], connection_id: str | None) -> Mapping[str, TableSchema]:
    """Return the columns of each table of the connection, by its name in lower case."""
    schemas: dict[str, TableSchema] = {}
    for job in sorted(jobs, key=lambda job: job.last_modified):
        if job.status is Status.DONE and _same(job.connection_id, connection_id) and (schema := _schema_of(job)):
            name = job.table.lower()
            schemas[name] = schema.joined(schemas.get(name, TableSchema()).columns)
    return schemas


def _same(a: str | None, b: str | None) -> bool:
    return (a or "").lower() == (b or "").lower()


def _schema_of(job: Job) -> TableSchema | None:
    try:
        return TableSchema.from_wire(job.table_schema) if job.table_schema else None
    except (KeyError, TypeError, ValueError, AttributeError):  # another client's; what it says cannot be read
        log.warning("skipped unreadable columns", job=job.id, table=job.table)
        return None


class PlatformTables:
    """Asks the platform once, in a thread of its own, for as long as it takes."""

    def __init__(
        self,
        client: DataPushClient,
        connection_id: str | None,
        *,
        first_wait: float = _FIRST,
        calls: Calls = UNCOUNTED,
    ) -> None:
        self._client, self._connection_id = client, connection_id
        self._stop = threading.Event()
        self._patience = Patience(self._stop, first=first_wait, longest=_LONGEST, calls=calls)
        self._found: Mapping[str, TableSchema] | CelonisError | None = None
        self._last_error = "Celonis has not answered yet"
        threading.Thread(target=self._ask, name="tables", daemon=True).start()

    def columns(self, table: str) -> TableSchema:
        """Return the columns of `table`, none where it does not exist.

        Raises:
            TablesUnavailable: the platform has not told yet.
            CelonisUnauthorized: the credentials are not accepted.
        """
        found = self._found
        if found is None:
            raise TablesUnavailable(f"the columns of table {table} are not known: {self._last_error}", wait=_ASK_AGAIN)
        if isinstance(found, CelonisError):
            raise found
        return found.get(table.lower(), TableSchema())

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask(self) -> None:
        try:
            self._found = schemas_of(self._patience.repeat(self._list), self._connection_id)
        except CelonisError as e:
            self._take(e)
        except Exception as e:
            self._last_error = f"{type(e).__name__}: {e}"
            if not self._stop.is_set():  # else the client was closed under our hands
                log.exception("could not read what Celonis says of its jobs")

    def _list(self) -> list[Job]:
        try:
            return self._client.list_jobs()
        except CelonisError as e:
            self._last_error = str(e)
            raise

    def _take(self, error: CelonisError) -> None:
        """Only credentials stop everything; a key that may not list jobs may still push."""
        if error.reaction is Reaction.REAUTHORIZE:
            self._found = error
        elif not self._stop.is_set():
            log.error("could not list jobs, so columns are inferred anew", error=str(error))
            self._found = {}
