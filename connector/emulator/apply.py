"""Owns what a load does to its table: one plan, then SQL over the chunks' files inside the caller's transaction.

    REPLACE              a new table in place of the old one
    DELTA                append
    DELTA with keys      upsert and delete, in an order that nobody has promised: it is drawn at random

Never commits, and never holds a row in Python. Invariant: a load is applied as a whole or raises `JobError`, whose text
names columns and types but no value.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb

from connector.emulator import store as st
from connector.emulator.plan import JobError, Plan, make_plan
from connector.emulator.read import FAILED, source_of
from connector.emulator.store import identifier as q
from connector.emulator.store import sql_type
from connector.emulator.wire import ChunkType, JobType, UpsertStrategy

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from connector.emulator.store import Connection, Store, StoredChunk, StoredJob

_STAGE = "temp.staged"
_GROUP = "__group"  # which of the load's column sets a staged row has


def apply(connection: Connection, store: Store, stored: StoredJob, dice: random.Random) -> None:
    """Apply a job in the transaction that is open on `connection`.

    Raises:
        JobError: why the job ends in ERROR; the transaction must be rolled back.
    """
    chunks = store.chunks(stored.job.id)
    dice.shuffle(chunks)
    plan = replace(make_plan(stored, store, chunks), nulls_match=dice.random() < 0.5)  # noqa: PLR2004 - a coin
    try:
        if plan.columns:
            _prepare_table(connection, plan)
            _Load(connection, store, plan, stored.duplicate_removal, dice).run(chunks)
    except duckdb.InterruptException:
        raise
    except duckdb.Error as e:
        raise JobError(_reason(e)) from e


def _prepare_table(connection: Connection, plan: Plan) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {q(plan.schema)}")
    if plan.replaces or not plan.existing:
        columns = ", ".join(f"{q(c.name)} {sql_type(c)}" for c in plan.final)
        connection.execute(f"CREATE OR REPLACE TABLE {plan.table} ({columns})")
    else:
        for column in plan.added:
            connection.execute(f"ALTER TABLE {plan.table} ADD COLUMN {q(column.name)} {sql_type(column)}")
    st.set_columns(connection, plan.schema, plan.name, plan.final)


class _Load:
    def __init__(
        self, connection: Connection, store: Store, plan: Plan, duplicate_removal: str | None, dice: random.Random
    ) -> None:
        self._connection = connection
        self._store = store
        self._plan = plan
        self._duplicate_removal = duplicate_removal
        self._dice = dice

    def run(self, chunks: Sequence[StoredChunk]) -> None:
        upserts = [c for c in chunks if c.chunk.type is ChunkType.UPSERT]
        deletes = [c for c in chunks if c.chunk.type is ChunkType.DELETE]
        steps = [(self._upsert, upserts), (self._delete, deletes)]
        self._dice.shuffle(steps)
        for step, part in steps:
            if part:
                step(part)

    def _upsert(self, chunks: Sequence[StoredChunk]) -> None:
        if not self._plan.keys:
            for group in _groups(chunks):
                self._insert(source_of(self._store.directory, self._plan, group))
            return
        self._stage(chunks)
        self._remove_duplicates()
        if self._plan.job.type is JobType.DELTA:
            self._keep_stored_values(chunks)
            self._delete_matches(_STAGE)
        self._insert(f"SELECT * EXCLUDE ({_GROUP}) FROM {_STAGE}")
        self._connection.execute(f"DROP TABLE {_STAGE}")

    def _delete(self, chunks: Sequence[StoredChunk]) -> None:
        for group in _groups(chunks):
            source = source_of(self._store.directory, self._plan, group, keys_only=True)
            self._delete_matches(f"({source})")

    def _stage(self, chunks: Sequence[StoredChunk]) -> None:
        directory, groups = self._store.directory, _groups(chunks)
        parts = [
            f"SELECT *, {i} AS {_GROUP} FROM ({source_of(directory, self._plan, g)})" for i, g in enumerate(groups)
        ]
        self._connection.execute(f"CREATE TEMP TABLE staged AS {' UNION ALL BY NAME '.join(parts)}")

    def _remove_duplicates(self) -> None:
        """Leave one row of each key: the highest by the column asked for, else any."""
        keys = ", ".join(q(k) for k in self._plan.keys)
        twice = f"SELECT {keys} FROM {_STAGE} GROUP BY ALL HAVING count(*) > 1"
        if not self._connection.execute(f"SELECT 1 FROM ({twice}) LIMIT 1").fetchall():
            return
        chance = f"hash(s, {self._dice.getrandbits(62)})"  # of the row: where it stands in the stage differs each time
        wanted = f"{q(self._duplicate_removal)} DESC NULLS LAST, {chance}" if self._duplicate_removal else chance
        self._connection.execute(
            f"""DELETE FROM {_STAGE} WHERE rowid IN (
                SELECT r FROM (SELECT s.rowid AS r, row_number() OVER (PARTITION BY {keys} ORDER BY {wanted}) AS place
                               FROM {_STAGE} AS s SEMI JOIN ({twice}) USING ({keys}))
                WHERE place > 1)"""
        )

    def _keep_stored_values(self, chunks: Sequence[StoredChunk]) -> None:
        """Bring stored values into staged rows whose chunk leaves a column out, where the job wants that."""
        if self._plan.job.upsert_strategy is UpsertStrategy.NULLIFICATION:
            return  # ours: without a strategy stored values are kept
        lacking = [self._plan.lacking(group) for group in _groups(chunks)]
        staged = {c.name.lower() for chunk in chunks for c in chunk.columns}
        for column in self._plan.existing:
            groups = [i for i, names in enumerate(lacking) if column.name.lower() in names]
            if not groups:
                continue
            name = q(column.name)
            if column.name.lower() not in staged:
                kind = sql_type(column)
                self._connection.execute(f"ALTER TABLE {_STAGE} ADD COLUMN {name} {kind}")
            numbers = ", ".join(map(str, groups))
            self._connection.execute(
                f"""UPDATE {_STAGE} AS s SET {name} = t.{name} FROM {self._plan.table} AS t
                    WHERE s.{_GROUP} IN ({numbers}) AND {self._matches("s", "t")}"""
            )

    def _delete_matches(self, source: str) -> None:
        self._connection.execute(
            f"DELETE FROM {self._plan.table} AS t USING {source} AS s WHERE {self._matches('s', 't')}"
        )

    def _matches(self, a: str, b: str) -> str:
        equals = "IS NOT DISTINCT FROM" if self._plan.nulls_match else "="
        return " AND ".join(f"{a}.{q(k)} {equals} {b}.{q(k)}" for k in self._plan.keys)

    def _insert(self, source: str) -> None:
        self._connection.execute(f"INSERT INTO {self._plan.table} BY NAME {source}")


def _groups(chunks: Sequence[StoredChunk]) -> list[list[StoredChunk]]:
    """Return the chunks put together by their columns, which one read can take."""
    groups: dict[tuple[object, ...], list[StoredChunk]] = {}
    for chunk in chunks:
        groups.setdefault(chunk.columns, []).append(chunk)
    return list(groups.values())


def _reason(error: duckdb.Error) -> str:
    """Return what may be said about a database error: its own text can hold values."""
    message = str(error)
    if FAILED in message:
        return message.split(FAILED, 1)[1].strip().splitlines()[0]
    return f"The data could not be loaded ({type(error).__name__})"
