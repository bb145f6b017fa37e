"""Owns the decoder of one table: leaves of any format become a batch in the table's schema.

Never knows a wire format. Invariant: the schema only widens; a row whose value does not fit a fixed type, has no key,
or is longer than the platform allows becomes a reject, and all other rows of its batch go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import ARROW, COORDINATES, MAX_LENGTH, Column, ColumnType, TableSchema
from connector.core.conform import convert, in_range
from connector.core.messages import Decoded, reject
from connector.core.names import column_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from connector.config import Table
    from connector.core.messages import MessageBatch, Reject
    from connector.formats.leaves import Format, Leaf, Part, Path


def effective_keys(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row: those configured, else the Kafka coordinates, or none to append."""
    return () if table.append else tuple(table.keys) or COORDINATES


class TableDecoder:
    """Decodes messages of one table. `base` holds the columns that the platform's table has already."""

    def __init__(self, table: Table, wire: Format, base: TableSchema) -> None:
        self._wire = wire
        self._rules = _Rules(
            keys=tuple(table.keys),
            coordinates=effective_keys(table) == COORDINATES,
            cuts_long_strings=table.long_strings == "truncate",
        )
        self._excluded = {name.lower() for name, c in table.columns.items() if c.exclude}
        self._lengths = {name.lower(): c.length for name, c in table.columns.items() if c.length}
        self._names: dict[Path, str] = {}
        self._types: dict[Path, ColumnType] = {}
        declared = [
            Column(name, c.type, c.length or 0, established=True) for name, c in table.columns.items() if c.type
        ]
        if self._rules.coordinates:
            kinds = (ColumnType.STRING, ColumnType.INTEGER, ColumnType.INTEGER)
            declared += [Column(n, k, established=True) for n, k in zip(COORDINATES, kinds, strict=True)]
        replaced = {c.name.lower() for c in declared} | self._excluded
        kept = tuple(c for c in base.columns if c.name.lower() not in replaced)
        self.schema = TableSchema(kept).joined(declared)

    def establish(self) -> None:
        """Fix the types of all columns seen so far."""
        established = self.schema.established()
        if established != self.schema:
            self.schema = established

    def decode(self, messages: MessageBatch) -> Decoded:
        """Decode `messages`; raises RegistryUnavailable, and nothing of them was taken in."""
        values = messages.values
        rows: Sequence[int] = range(len(values))
        rejects: list[Reject] = []
        if not all(values):
            rows = [i for i, value in enumerate(values) if value]
            empty = [i for i, value in enumerate(values) if value == b""]
            rejects += [reject(messages, i, "empty", "the value has no bytes") for i in empty]
        parts, broken = self._wire.read(messages, rows, self._types) if rows else ([], [])
        rejects += broken
        named = [self._named(part) for part in parts]
        self._widen(named)
        pieces = [_Piece(self._rules, messages, part, columns) for part, columns in zip(parts, named, strict=True)]
        for piece in pieces:
            piece.conform(self.schema, rejects)
        self._lengthen(pieces)
        batch, numbers = _joined(pieces, self.schema)
        tombstones = 0 if len(rows) == len(values) else values.count(None)
        return Decoded(batch, numbers, rejects, tombstones, sum(p.nulled for p in pieces), sum(p.cut for p in pieces))

    def _named(self, part: Part) -> dict[str, Leaf]:
        """Return the leaves of `part` by the name of their column; a name once given to a path stays."""
        if any(leaf.path not in self._names for leaf in part.leaves):
            standing = [c.name for c in self.schema.columns]
            reserved = COORDINATES if self._rules.coordinates else ()
            paths = [leaf.path for leaf in part.leaves]
            self._names = column_names(paths, self._names, columns=standing, reserved=reserved)
        columns = {self._names[leaf.path]: leaf for leaf in part.leaves}
        if self._excluded:
            columns = {name: leaf for name, leaf in columns.items() if name.lower() not in self._excluded}
        return columns

    def _widen(self, named: list[dict[str, Leaf]]) -> None:
        """Take new columns and wider types in."""
        known = {c.name.lower(): c for c in self.schema.columns}
        found: dict[str, Column] = {}
        for columns in named:
            for name, leaf in columns.items():
                column = known.get(name.lower())
                if column is None or not (column.established or column.type is leaf.type):
                    fresh = Column(name, leaf.type, self._lengths.get(name.lower(), 0))
                    before = found.get(name)
                    found[name] = before.joined(fresh) if before else fresh
        self.schema = self.schema.joined(found.values())
        types = {c.name.lower(): c.type for c in self.schema.columns}
        fresh_types = {p: types[n.lower()] for p, n in self._names.items() if n.lower() in types}
        if fresh_types != self._types:
            self._types = fresh_types

    def _lengthen(self, pieces: list[_Piece]) -> None:
        longest: dict[str, int] = {}
        for piece in pieces:
            for name, length in piece.lengths.items():
                longest[name] = max(length, longest.get(name, 0))
        grown = [
            Column(c.name, c.type, longest[c.name]) for c in self.schema.columns if longest.get(c.name, 0) > c.length
        ]
        if grown:
            self.schema = self.schema.joined(grown)


class _Rules(NamedTuple):
    """What a table asks of its rows: key columns, whether Kafka's coordinates are columns, what long strings meet."""

    keys: tuple[str, ...]
    coordinates: bool
    cuts_long_strings: bool


class _Piece:
    """One part on its way into the table's schema."""

    def __init__(self, rules: _Rules, messages: MessageBatch, part: Part, columns: dict[str, Leaf]) -> None:
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


def _joined(pieces: list[_Piece], schema: TableSchema) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
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
