"""Owns the decoder of one table: leaves of any format become a batch in the table's schema.

Never knows a wire format. Invariant: the schema only widens; a row whose value does not fit a fixed type, has no key,
or is longer than the platform allows becomes a reject, and all other rows of its batch go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import ARROW, COORDINATES, MAX_LENGTH, Column, ColumnType, TableSchema
from connector.core.messages import Decoded, reject
from connector.core.names import safe_names
from connector.formats.conform import convert, in_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from connector.config import Table
    from connector.core.messages import MessageBatch, Reject
    from connector.formats.leaves import Format, Leaf, Part


def effective_keys(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row: those configured, else the Kafka coordinates, or none to append."""
    return () if table.append else tuple(table.keys) or COORDINATES


class TableDecoder:
    """Decodes messages of one table. `base` holds the columns that the platform's table has already."""

    def __init__(self, table: Table, wire: Format, base: TableSchema) -> None:
        self._wire = wire
        self._keys = tuple(table.keys)
        self._coordinates = effective_keys(table) == COORDINATES
        self._cut_long = table.long_strings == "truncate"
        self._excluded = {name.lower() for name, c in table.columns.items() if c.exclude}
        self._names: dict[str, str] = {}
        declared = [
            Column(name, c.type, c.length or 0, established=True) for name, c in table.columns.items() if c.type
        ]
        declared_names = {c.name.lower() for c in declared}
        kept = [c for c in base.columns if c.name.lower() not in declared_names | self._excluded]
        self.schema = TableSchema(tuple(kept)).joined(declared)
        self._lengths = {name.lower(): c.length for name, c in table.columns.items() if c.length}
        if self._coordinates:
            kinds = (ColumnType.STRING, ColumnType.INTEGER, ColumnType.INTEGER)
            self.schema = self.schema.joined(
                Column(n, k, established=True) for n, k in zip(COORDINATES, kinds, strict=True)
            )

    def establish(self) -> None:
        """Fix the types of all columns seen so far."""
        established = self.schema.established()
        if established != self.schema:
            self.schema = established

    def decode(self, messages: MessageBatch) -> Decoded:
        """Decode `messages`; raises RegistryUnavailable, and nothing of them was taken in."""
        values = messages.values
        rows: Sequence[int] = range(len(values))
        if not all(values):
            rows = [i for i, value in enumerate(values) if value]
        rejects: list[Reject] = []
        tombstones = 0
        if len(rows) < len(values):
            tombstones = values.count(None)
            rejects += [
                reject(messages, i, "empty", "the value has no bytes") for i, v in enumerate(values) if v == b""
            ]
        parts, broken = self._wire.read(messages, rows) if rows else ([], [])
        rejects += broken
        named = [self._named(part) for part in parts]
        self._widen(named)
        pieces = [_Piece(self, messages, part, columns) for part, columns in zip(parts, named, strict=True)]
        for piece in pieces:
            piece.conform(rejects)
        self._lengthen(pieces)
        batch, numbers = _joined(pieces, self.schema)
        return Decoded(batch, numbers, rejects, tombstones, sum(p.nulled for p in pieces), sum(p.cut for p in pieces))

    def _named(self, part: Part) -> dict[str, Leaf]:
        """Return the leaves of `part` by the name of their column; a name once given to a path stays."""
        originals = {".".join(leaf.path): leaf for leaf in part.leaves}
        if not originals.keys() <= self._names.keys():
            self._names = safe_names(originals, self._names)
        columns = {self._names[original]: leaf for original, leaf in originals.items()}
        if self._excluded:
            columns = {name: leaf for name, leaf in columns.items() if name.lower() not in self._excluded}
        return columns

    def _widen(self, named: list[dict[str, Leaf]]) -> None:
        """Take new columns and wider types in; a column without any value yet stays out until it has one."""
        for columns in named:
            for name, leaf in columns.items():
                known = self.schema.get(name)
                if known is None:
                    length = self._lengths.get(name.lower(), 0)
                    self.schema = self.schema.joined([Column(name, leaf.type, length)])
                elif not known.established and known.type is not leaf.type:
                    self.schema = self.schema.joined([Column(known.name, leaf.type)])

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

    @property
    def keys(self) -> tuple[str, ...]:
        """The configured key columns."""
        return self._keys

    @property
    def cuts_long_strings(self) -> bool:
        """Whether strings over the limit are cut instead of rejected."""
        return self._cut_long

    @property
    def adds_coordinates(self) -> bool:
        """Whether the Kafka coordinates are columns."""
        return self._coordinates


class _Piece:
    """One part on its way into the table's schema."""

    def __init__(self, decoder: TableDecoder, messages: MessageBatch, part: Part, columns: dict[str, Leaf]) -> None:
        self._decoder, self._messages = decoder, messages
        self._columns = {name.lower(): leaf for name, leaf in columns.items()}
        self.rows = part.rows
        self.nulled = sum(leaf.nulled for leaf in columns.values())
        self.cut = 0
        self.lengths: dict[str, int] = {}
        self.arrays: list[pa.Array] = []
        self._bad: npt.NDArray[np.bool_] | None = None

    def conform(self, rejects: list[Reject]) -> None:
        """Bring every column of the schema into its type, and add the rows that do not fit to `rejects`."""
        coordinates = self._coordinates() if self._decoder.adds_coordinates else {}
        keys = {key.lower() for key in self._decoder.keys}
        for column in self._decoder.schema.columns:
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
                keys.discard(name)
                self._reject(pc.is_null(values), rejects, "null_key", f"key column {column.name} has no value")
            keys.discard(name)
            self.arrays.append(values)
        for missing in keys:
            everything = pa.array(np.ones(len(self.rows), np.bool_))
            self._reject(everything, rejects, "null_key", f"key column {missing} has no value")
        self._drop_bad_rows()

    def _coordinates(self) -> dict[str, pa.Array]:
        topic, partition, offset = COORDINATES
        return {
            topic: pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(len(self.rows), np.int8)), [self._messages.topic]
            ).cast(pa.string()),
            partition: pa.array(self._messages.partitions[self.rows].astype(np.int64)),
            offset: pa.array(self._messages.offsets[self.rows]),
        }

    def _typed(self, column: Column, leaf: Leaf, rejects: list[Reject]) -> pa.Array:
        values, misfits = convert(leaf.values, leaf.type, column.type)
        if misfits is not None:
            hint = f"set columns.{column.name}.type, or load the table anew"
            detail = f"column {column.name} is {column.type}, the value is {leaf.type} ({hint})"
            self._reject(misfits, rejects, "wrong_type", detail)
        if leaf.type is not column.type:
            values, nulled = in_range(values, column.type)
            self.nulled += nulled
        return values

    def _fitting(self, column: Column, values: pa.Array, rejects: list[Reject]) -> pa.Array:
        """Measure the strings in bytes, an upper bound of their characters, and deal with those beyond the limit."""
        lengths = pc.binary_length(values)
        longest = pc.max(lengths).as_py() or 0
        if longest > MAX_LENGTH:
            over = pc.fill_null(pc.greater(lengths, MAX_LENGTH), fill_value=False)
            if self._decoder.cuts_long_strings:
                self.cut += pc.sum(over).as_py()
                values = pa.array([_cut(text) for text in values.to_pylist()], pa.string())
            else:
                self._reject(over, rejects, "too_long", f"column {column.name} takes {MAX_LENGTH} bytes of text")
                values = pc.if_else(over, None, values)
            longest = pc.max(pc.binary_length(values)).as_py() or 0
        self.lengths[column.name] = longest
        return values

    def _reject(self, rows: pa.Array, rejects: list[Reject], reason: str, detail: str) -> None:
        """Mark `rows` as bad; a row is rejected once, for the first reason found."""
        mask = rows.to_numpy(zero_copy_only=False)
        fresh = mask if self._bad is None else mask & ~self._bad
        rejects += [reject(self._messages, int(i), reason, detail) for i in self.rows[fresh]]
        self._bad = mask if self._bad is None else mask | self._bad

    def _drop_bad_rows(self) -> None:
        if self._bad is not None and self._bad.any():
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
