"""Owns the way of decoded rows into a table's columns: types, limits, and rejects for what does not fit.

Never widens a schema. Invariant: a row whose value does not fit a fixed type, has no key, or is longer than the
platform allows becomes a reject, once and for the first reason found, and all other rows of its batch go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import ARROW, COORDINATES, MAX_LENGTH, Column, ColumnType, TableSchema
from connector.core.conform import convert, in_range
from connector.core.messages import reject

if TYPE_CHECKING:
    import numpy.typing as npt

    from connector.core.messages import MessageBatch, Reject
    from connector.formats.leaves import Leaf, Part


class Rules(NamedTuple):
    """What a table asks of its rows: key columns, whether Kafka's coordinates are columns, what long strings meet."""

    keys: tuple[str, ...]
    coordinates: bool
    cuts_long_strings: bool


class Piece:
    """One part on its way into the table's schema."""

    def __init__(self, rules: Rules, messages: MessageBatch, part: Part, columns: dict[str, Leaf]) -> None:
        self._rules, self._messages = rules, messages
        self._columns = {name.lower(): leaf for name, leaf in columns.items()}
        self.rows = part.rows
        self.nulled = sum(leaf.nulled for leaf in columns.values())
        self.cut = 0
        self.lengths: dict[str, int] = {}
        self.arrays: list[pa.Array] = []
        self._bad: npt.NDArray[np.bool_] | None = None

    def conform(self, schema: TableSchema, rejects: list[Reject]) -> None:
        """Bring every column of `schema` into its type, and add the rows that do not fit to `rejects`."""
        coordinates = self._coordinates() if self._rules.coordinates else {}
        keys = {key.lower() for key in self._rules.keys}
        for column in schema.columns:
            name = column.name.lower()
            leaf = self._columns.get(name)
            if name in coordinates:
                values = coordinates[name]
            elif leaf is None:
                values = pa.nulls(len(self.rows), ARROW[column.type])
            else:
                values = self._typed(column, leaf, rejects)
            if column.type is ColumnType.STRING:
                values = self._fitting(column, values, rejects)
            if name in keys and values.null_count:
                self._reject(pc.is_null(values), rejects, "null_key", f"key column {column.name} has no value")
            keys.discard(name)
            self.arrays.append(values)
        for missing in sorted(keys):
            self._reject(self._all_rows(), rejects, "null_key", f"key column {missing} has no value")
        if not schema.columns:
            self._reject(self._all_rows(), rejects, "no_columns", "the record has no value, and the table no column")
        self._drop_bad_rows()

    def _coordinates(self) -> dict[str, pa.Array]:
        topic, partition, offset = COORDINATES
        if origins := self._messages.origins:
            of_rows = [origins[i] for i in self.rows.tolist()]
            return {
                topic: pa.array([r.topic for r in of_rows], pa.string()),
                partition: pa.array([r.partition for r in of_rows], pa.int64()),
                offset: pa.array([r.start for r in of_rows], pa.int64()),
            }
        return {
            topic: pa.repeat(self._messages.topic, len(self.rows)),
            partition: pa.array(self._messages.partitions[self.rows].astype(np.int64)),
            offset: pa.array(self._messages.offsets[self.rows]),
        }

    def _typed(self, column: Column, leaf: Leaf, rejects: list[Reject]) -> pa.Array:
        """Return the values of a leaf in the type of its column, each sort converted on its own."""
        if leaf.type is column.type:
            return leaf.values
        converted = []
        for sort in leaf.sorts or (leaf,):
            values, misfits = convert(sort.values, sort.type, column.type)
            if misfits is not None:
                hint = f"set columns.{column.name}.type, or load the table anew"
                detail = f"column {column.name} is {column.type}, the value is {sort.type} ({hint})"
                self._reject(misfits, rejects, "wrong_type", detail)
            converted.append(values)
        values, nulled = in_range(pc.coalesce(*converted), column.type)
        self.nulled += nulled
        return values

    def _fitting(self, column: Column, values: pa.Array, rejects: list[Reject]) -> pa.Array:
        """Measure the strings in bytes, an upper bound of their characters, and deal with those beyond the limit."""
        lengths = pc.binary_length(values)
        longest = pc.max(lengths).as_py() or 0
        if longest > MAX_LENGTH:
            over = pc.fill_null(pc.greater(lengths, MAX_LENGTH), fill_value=False)
            if self._rules.cuts_long_strings:
                self.cut += pc.sum(over).as_py()
                values = pa.array([_cut(text) for text in values.to_pylist()], pa.string())
            else:
                self._reject(over, rejects, "too_long", f"column {column.name} takes {MAX_LENGTH} bytes of text")
                values = pc.if_else(over, None, values)
            longest = pc.max(pc.binary_length(values)).as_py() or 0
        self.lengths[column.name] = longest
        return values

    def _all_rows(self) -> pa.Array:
        return pa.array(np.ones(len(self.rows), np.bool_))

    def _reject(self, rows: pa.Array, rejects: list[Reject], reason: str, detail: str) -> None:
        """Mark `rows` as bad; a row is rejected once, for the first reason found."""
        mask = rows.to_numpy(zero_copy_only=False)
        fresh = mask if self._bad is None else mask & ~self._bad
        rejects += [reject(self._messages, int(i), reason, detail) for i in self.rows[fresh]]
        self._bad = mask if self._bad is None else mask | self._bad

    def _drop_bad_rows(self) -> None:
        if self._bad is not None:
            good = pa.array(~self._bad)
            self.arrays = [a.filter(good) for a in self.arrays]
            self.rows = self.rows[~self._bad]


def _cut(text: str | None) -> str | None:
    return None if text is None else text.encode()[:MAX_LENGTH].decode(errors="ignore")


def joined(pieces: list[Piece], schema: TableSchema) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
    """Return the rows of all pieces in the order of their messages."""
    arrow = schema.arrow()
    if not pieces:
        return pa.RecordBatch.from_pylist([], arrow), np.empty(0, np.int64)
    batches = [pa.RecordBatch.from_arrays(p.arrays, schema=arrow) for p in pieces]
    if len(batches) == 1:
        return batches[0], pieces[0].rows
    numbers = np.concatenate([p.rows for p in pieces])
    order = np.argsort(numbers)
    return pa.concat_batches(batches).take(pa.array(order)), numbers[order]
