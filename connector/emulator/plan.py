"""Owns the plan of a load: the table it goes to, the columns it brings, and how the table's columns change.

Pure, but for the look at what the table is now. Invariant: an existing column keeps its type and never gets shorter,
and a load without a length for a STRING means VARCHAR(80), each time anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.core.columns import ColumnType
from connector.emulator.store import StoredColumn
from connector.emulator.store import identifier as q
from connector.emulator.wire import ChunkType, JobType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from connector.emulator.store import Store, StoredChunk, StoredJob
    from connector.emulator.wire import ColumnTransport, Job

DEFAULT_LENGTH = 80
_CONVERTIBLE = {(ColumnType.INTEGER, ColumnType.FLOAT), (ColumnType.DATE, ColumnType.DATETIME)}


class JobError(Exception):
    """Why a job ends in ERROR; its text goes to the job's `logs`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One load. `columns` are the load's, `existing` the table's before it, `final` the table's after it."""

    job: Job
    schema: str
    name: str
    columns: tuple[StoredColumn, ...]
    existing: tuple[StoredColumn, ...]
    final: tuple[StoredColumn, ...]
    nulls_match: bool = True

    @property
    def table(self) -> str:
        """The table as SQL names it."""
        return f"{q(self.schema)}.{q(self.name)}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns."""
        return tuple(dict.fromkeys(self.job.keys or ()))

    @property
    def replaces(self) -> bool:
        """Whether a new table takes the old one's place."""
        return self.job.type is JobType.REPLACE

    @property
    def added(self) -> tuple[StoredColumn, ...]:
        """The columns that the table does not have yet."""
        known = {c.name.lower() for c in self.existing}
        return tuple(c for c in self.final if c.name.lower() not in known)

    def column(self, name: str) -> StoredColumn:
        """Return the load's column called `name` in any case."""
        return next(c for c in self.columns if c.name.lower() == name.lower())

    def lacking(self, group: Sequence[StoredChunk]) -> set[str]:
        """Return the names, in lower case, of the table's columns that the chunks of `group` leave out."""
        return {c.name.lower() for c in self.final} - {c.name.lower() for c in group[0].columns}


def make_plan(stored: StoredJob, store: Store, chunks: Sequence[StoredChunk]) -> Plan:
    """Return the plan of a job with these chunks.

    Raises:
        JobError: the types do not fit together, or nothing says what a table is to be replaced with.
    """
    job = stored.job
    schema = schema_of(stored.pool, job.connection_id)
    existing = tuple(store.columns(schema, job.target_name))
    columns = _columns(job, chunks)
    if not columns and job.type is JobType.REPLACE:
        raise JobError("There is neither a chunk nor a tableSchema to replace the table with")
    if job.type is JobType.REPLACE:
        return Plan(job, schema, job.target_name, columns, existing, columns)
    if not existing and not any(c.chunk.type is ChunkType.UPSERT for c in chunks):
        columns = ()  # there is nothing to make a table of, and nothing to delete
    return Plan(job, schema, job.target_name, columns, existing, _merged(existing, columns))


def schema_of(pool: str, connection: str | None) -> str:
    """Return the schema in which the tables of a pool, or of one of its connections, stand."""
    return f"{pool}/{connection}" if connection else pool


def _columns(job: Job, chunks: Sequence[StoredChunk]) -> tuple[StoredColumn, ...]:
    """Return the load's columns, typed by the tableSchema where it names them, else by the chunks."""
    declared = {c.column_name.lower(): c for c in job.columns}
    keys = {key.lower() for key in job.keys or ()}
    found: dict[str, StoredColumn] = {}
    for stored in chunks:
        wanted = keys if stored.chunk.type is ChunkType.DELETE else None  # of a row to delete only the key matters
        for column in stored.columns:
            name = column.name.lower()
            if wanted is None or name in wanted:
                typed = _typed(column, declared.get(name))
                found[name] = _agreed(found.get(name, typed), typed)
    fallback = job.fallback_varchar_length or DEFAULT_LENGTH
    columns = [_declared(c, found.get(name)) for name, c in declared.items()]
    columns += [c for name, c in found.items() if name not in declared]
    return tuple(_with_length(c, declared.get(c.name.lower()), fallback) for c in columns)


def _typed(column: StoredColumn, declared: ColumnTransport | None) -> StoredColumn:
    if column.type is None:  # nothing but nulls: an integer for who does not look at a declaration
        return column._replace(type=declared.column_type if declared else ColumnType.INTEGER)
    return column


def _agreed(a: StoredColumn, b: StoredColumn) -> StoredColumn:
    if a.type is not b.type:
        raise JobError(f"Column {a.name}: the chunks disagree on its type, {a.type} and {b.type}")
    return a


def _declared(declared: ColumnTransport, found: StoredColumn | None) -> StoredColumn:
    kind = declared.column_type
    if found and found.type is not kind and (found.type, kind) not in _CONVERTIBLE:
        raise JobError(f"Column {declared.column_name}: the tableSchema says {kind}, the file holds {found.type}")
    return StoredColumn(declared.column_name, kind)


def _with_length(column: StoredColumn, declared: ColumnTransport | None, fallback: int) -> StoredColumn:
    if column.type is not ColumnType.STRING:
        return column
    return column._replace(length=(declared and declared.field_length) or fallback)


def _merged(existing: Iterable[StoredColumn], columns: Iterable[StoredColumn]) -> tuple[StoredColumn, ...]:
    merged = {c.name.lower(): c for c in existing}
    for column in columns:
        known = merged.get(column.name.lower())
        if known and known.type is not column.type:
            raise JobError(f"Column {known.name}: its type cannot change from {known.type} to {column.type}")
        merged[column.name.lower()] = known._replace(length=max(known.length, column.length)) if known else column
    return tuple(merged.values())
