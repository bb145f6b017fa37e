"""Owns the database file: its connection, and the bookkeeping of jobs, chunks, executes and columns in it.

Never decides on a status. Invariant: the bookkeeping stands in a schema of its own beside the pushed tables, so that a
job's effect and its final status are one transaction; everything that was answered is committed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import orjson

from connector.core.columns import ColumnType
from connector.core.hours import HOUR, next_hour
from connector.emulator.limits import Counts
from connector.emulator.wire import Chunk, Job, Status
from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    Connection = Any  # duckdb has no usable types

BOOKKEEPING = "_emulator"
_SCHEMA = f"""
CREATE SCHEMA IF NOT EXISTS {BOOKKEEPING};
CREATE TABLE IF NOT EXISTS {BOOKKEEPING}.jobs(id VARCHAR, pool VARCHAR, status VARCHAR, document VARCHAR, duplicate_removal VARCHAR);
CREATE TABLE IF NOT EXISTS {BOOKKEEPING}.chunks(id VARCHAR, job VARCHAR, document VARCHAR, columns VARCHAR);
CREATE TABLE IF NOT EXISTS {BOOKKEEPING}.executes(moment DOUBLE, outcome VARCHAR);
CREATE TABLE IF NOT EXISTS {BOOKKEEPING}.columns(schema VARCHAR, "table" VARCHAR, name VARCHAR, type VARCHAR, length INTEGER);
"""  # noqa: E501


_SQL = {
    ColumnType.STRING: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.FLOAT: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIME: "TIME",
    ColumnType.DATETIME: "TIMESTAMP",
}


class StoredColumn(NamedTuple):
    """A column of a pushed table, or of a chunk. `length` is that of a VARCHAR; a chunk's column has none.

    `type` None: the chunk has nothing but nulls there, and says so in its Parquet type.
    """

    name: str
    type: ColumnType | None
    length: int = 0


class StoredJob(NamedTuple):
    """A job with what its execute said."""

    job: Job
    pool: str
    duplicate_removal: str | None


class StoredChunk(NamedTuple):
    """A chunk with what its upload found out."""

    chunk: Chunk
    columns: tuple[StoredColumn, ...]


class Store:
    """The database. Every thread and every use takes a connection of its own from `connect`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory.resolve()
        try:
            self._root: Connection = duckdb.connect(str(directory / "emulator.duckdb"))
        except duckdb.IOException:
            raise ConfigError([f"{directory}: it is used by another process"], source="emulator") from None
        for setting in (
            f"temp_directory = {text(self.directory / 'temp')}",
            f"allowed_directories = [{text(f'{self.directory}/')}]",
            "enable_external_access = false",  # SQL over HTTP reads and writes nothing outside of the directory
            "preserve_insertion_order = false",
            "memory_limit = '2GB'",
            "timezone = 'UTC'",
        ):
            self._root.execute(f"SET {setting}")
        self._root.execute(_SCHEMA)

    def connect(self) -> Connection:
        """Return a connection for one thread; close it."""
        return self._root.cursor()

    def close(self) -> None:
        """Close the file."""
        self._root.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit what is done inside, or nothing of it."""
        with self.connect() as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one statement of the bookkeeping."""
        with self.connect() as connection:
            return list(connection.execute(sql, parameters).fetchall())

    def job(self, pool: str, job_id: str) -> StoredJob | None:
        """Return the job of `pool` with this id."""
        return next(iter(self._jobs("pool = ? AND id = ?", (pool, job_id.lower()))), None)

    def jobs(self, pool: str) -> list[StoredJob]:
        """Return all jobs of `pool`, the oldest first."""
        return self._jobs("pool = ?", (pool,))

    def jobs_in(self, statuses: Iterable[Status]) -> list[StoredJob]:
        """Return the jobs of all pools with one of `statuses`."""
        return self._jobs("list_contains(?::VARCHAR[], status)", ([s.value for s in statuses],))

    def _jobs(self, where: str, parameters: Sequence[object]) -> list[StoredJob]:
        sql = f"SELECT document, pool, duplicate_removal FROM {BOOKKEEPING}.jobs WHERE {where} ORDER BY rowid"
        return [StoredJob(Job.model_validate_json(d), p, r) for d, p, r in self.rows(sql, parameters)]

    def chunks(self, job_id: str) -> list[StoredChunk]:
        """Return the chunks of a job, in the order in which they came."""
        sql = f"SELECT document, columns FROM {BOOKKEEPING}.chunks WHERE job = ? ORDER BY rowid"
        return [StoredChunk(Chunk.model_validate_json(d), read_columns(c)) for d, c in self.rows(sql, (job_id,))]

    def chunk_ids(self, statuses: Iterable[Status]) -> set[str]:
        """Return the ids of the chunks of all jobs with one of `statuses`."""
        sql = f"""SELECT c.id FROM {BOOKKEEPING}.chunks c JOIN {BOOKKEEPING}.jobs j ON j.id = c.job
                  WHERE list_contains(?::VARCHAR[], j.status)"""
        return {row[0] for row in self.rows(sql, ([s.value for s in statuses],))}

    def executes(self, now: float) -> Counts:
        """Return how many executes came in the hour and in the second of `now`."""
        second, end = int(now), next_hour(now)
        sql = f"""SELECT count(*), count(*) FILTER (moment >= ? AND moment < ?) FROM {BOOKKEEPING}.executes
                  WHERE moment >= ? AND moment < ?"""
        return Counts(*self.rows(sql, (second, second + 1, end - HOUR, end))[0])

    def tables(self, pool: str) -> list[tuple[str, str]]:
        """Return the pushed tables of a pool and its connections, as (schema, table)."""
        sql = f"""SELECT DISTINCT schema, "table" FROM {BOOKKEEPING}.columns
                  WHERE schema = ? OR starts_with(schema, ? || '/') ORDER BY ALL"""
        return [(schema, table) for schema, table in self.rows(sql, (pool, pool))]

    def columns(self, schema: str, table: str) -> list[StoredColumn]:
        """Return the columns of a pushed table; none when it does not exist."""
        sql = f"""SELECT name, type, length FROM {BOOKKEEPING}.columns
                  WHERE schema = ? AND lower("table") = lower(?) ORDER BY rowid"""
        return [StoredColumn(n, ColumnType(t), length) for n, t, length in self.rows(sql, (schema, table))]


def add_job(connection: Connection, pool: str, job: Job) -> None:
    """Write a new job."""
    sql = f"INSERT INTO {BOOKKEEPING}.jobs VALUES (?, ?, ?, ?, NULL)"
    connection.execute(sql, (job.id, pool, job.status.value, job.model_dump_json()))


def set_job(connection: Connection, stored: StoredJob) -> None:
    """Write the new state of a job."""
    sql = f"UPDATE {BOOKKEEPING}.jobs SET status = ?, document = ?, duplicate_removal = ? WHERE id = ?"
    job = stored.job
    connection.execute(sql, (job.status.value, job.model_dump_json(), stored.duplicate_removal, job.id))


def remove_job(connection: Connection, job_id: str) -> None:
    """Remove a job and its chunks."""
    connection.execute(f"DELETE FROM {BOOKKEEPING}.chunks WHERE job = ?", (job_id,))
    connection.execute(f"DELETE FROM {BOOKKEEPING}.jobs WHERE id = ?", (job_id,))


def add_chunk(connection: Connection, stored: StoredChunk) -> None:
    """Write a chunk."""
    chunk, columns = stored
    sql = f"INSERT INTO {BOOKKEEPING}.chunks VALUES (?, ?, ?, ?)"
    connection.execute(sql, (chunk.id, chunk.push_job_id, chunk.model_dump_json(), write_columns(columns)))


def add_execute(connection: Connection, at: float, outcome: str) -> None:
    """Count an execute."""
    connection.execute(f"INSERT INTO {BOOKKEEPING}.executes VALUES (?, ?)", (at, outcome))


def set_columns(connection: Connection, schema: str, table: str, columns: Iterable[StoredColumn]) -> None:
    """Write the columns of a pushed table."""
    connection.execute(
        f'DELETE FROM {BOOKKEEPING}.columns WHERE schema = ? AND lower("table") = lower(?)',
        (schema, table),
    )
    rows = [(schema, table, c.name, c.type, c.length) for c in columns]
    connection.executemany(f"INSERT INTO {BOOKKEEPING}.columns VALUES (?, ?, ?, ?, ?)", rows)


def write_columns(columns: Iterable[StoredColumn]) -> str:
    """Return the columns of a chunk as text."""
    return orjson.dumps([(c.name, c.type) for c in columns]).decode()


def read_columns(written: str) -> tuple[StoredColumn, ...]:
    """Return what `write_columns` was given."""
    return tuple(StoredColumn(name, ColumnType(kind) if kind else None) for name, kind in orjson.loads(written))


def sql_type(column: StoredColumn) -> str:
    """Return the database's type of a column that has one."""
    return _SQL[column.type or ColumnType.INTEGER]


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: object) -> str:
    """Return `value` as a quoted SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def chunk_file(directory: Path, chunk_id: str) -> Path:
    """Return where a chunk's file stands."""
    return directory / "chunks" / chunk_id
