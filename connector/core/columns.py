"""Owns a table's columns: their types, how they widen, and what is told to the platform about them.

Never touches values. Invariant: a column's type only moves up the lattice, a length only grows, and the type of an
established column (declared in the configuration, or of a table that exists) never moves at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LENGTH = 65_000  # the platform's longest VARCHAR
COORDINATES = ("_kafka_topic", "_kafka_partition", "_kafka_offset")
"""The columns that identify a record where nothing in it does: keys of a table that has none."""
_STEPS = (80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, MAX_LENGTH)


class ColumnType(StrEnum):
    """The column types of the Data Push API."""

    BOOLEAN = "BOOLEAN"
    INTEGER = "INTEGER"
    FLOAT = "FLOAT"
    DATE = "DATE"
    TIME = "TIME"
    DATETIME = "DATETIME"
    STRING = "STRING"


ARROW: dict[ColumnType, pa.DataType] = {
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.DATE: pa.date32(),
    ColumnType.TIME: pa.time32("ms"),
    ColumnType.DATETIME: pa.timestamp("ms"),
    ColumnType.STRING: pa.string(),
}
"""The one Arrow type in which a column of each type is buffered and written."""

OF_ARROW: dict[pa.DataType, ColumnType] = {arrow: column_type for column_type, arrow in ARROW.items()}
"""The column type of each of these Arrow types."""


def widened(a: ColumnType, b: ColumnType) -> ColumnType:
    """Return the narrowest type that holds the values of both: integer → float, date → datetime, else string."""
    if a == b:
        return a
    pair = {a, b}
    if pair == {ColumnType.INTEGER, ColumnType.FLOAT}:
        return ColumnType.FLOAT
    if pair == {ColumnType.DATE, ColumnType.DATETIME}:
        return ColumnType.DATETIME
    return ColumnType.STRING


def length_step(length: int) -> int:
    """Return the VARCHAR length to ask for, so that `length` fits and a table is seldom altered."""
    return next((step for step in _STEPS if step >= length), MAX_LENGTH)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `length` (STRING only) counts characters, an upper bound of all values so far."""

    name: str
    type: ColumnType
    length: int = 0
    established: bool = False

    def joined(self, other: Column) -> Column:
        """Return this column after values of `other` have come in; an established type stays."""
        kind = self.type if self.established else widened(self.type, other.type)
        return replace(self, type=kind, length=max(self.length, other.length))


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of one table, in order; names compare without case."""

    columns: tuple[Column, ...] = ()

    def get(self, name: str) -> Column | None:
        """Return the column called `name` in any case, or None."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    def only(self, names: Iterable[str]) -> TableSchema:
        """Return the columns called `names` in any case, in the order of this schema."""
        wanted = {name.lower() for name in names}
        return TableSchema(tuple(c for c in self.columns if c.name.lower() in wanted))

    def joined(self, columns: Iterable[Column]) -> TableSchema:
        """Return this schema widened by `columns`; new ones stand at the end. Returns self when nothing changes."""
        merged = {c.name.lower(): c for c in self.columns}
        for column in columns:
            known = merged.get(column.name.lower())
            merged[column.name.lower()] = known.joined(column) if known else column
        result = tuple(merged.values())
        return self if result == self.columns else TableSchema(result)

    def established(self) -> TableSchema:
        """Return this schema with every type fixed: the platform's table exists with these columns now."""
        return TableSchema(tuple(replace(c, established=True) for c in self.columns))

    def stands_like(self, other: TableSchema) -> bool:
        """Return whether batches of both have the same columns, in the same types and order."""
        if self is other:
            return True
        return [(c.name, c.type) for c in self.columns] == [(c.name, c.type) for c in other.columns]

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema in which this table's batches and chunks stand."""
        return pa.schema([(c.name, ARROW[c.type]) for c in self.columns])

    def to_wire(self, table: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the `tableSchema` of a job (data-push-api.md, "The job"), with a length for every STRING."""
        wanted = {key.lower() for key in keys}
        return {"tableName": table, "columns": [_column_to_wire(c, wanted) for c in self.columns]}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> TableSchema:
        """Read a `tableSchema` back; its columns are established. Columns of unknown types are left out."""
        known = {t.value for t in ColumnType}
        return cls(
            tuple(
                Column(c["columnName"], ColumnType(c["columnType"]), c.get("fieldLength") or 0, established=True)
                for c in wire.get("columns") or ()
                if c.get("columnType") in known
            )
        )


def _column_to_wire(column: Column, keys: set[str]) -> dict[str, Any]:
    wire: dict[str, Any] = {"columnName": column.name, "columnType": column.type.value}
    if column.type is ColumnType.STRING:
        wire["fieldLength"] = length_step(column.length)
    if column.name.lower() in keys:
        wire["pkField"] = True
    return wire
