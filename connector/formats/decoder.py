"""Owns the decoder of one table: leaves of any format become a batch in the table's schema, tombstones its deletes.

Never knows a wire format. Invariant: the schema only widens, and never by the key of a tombstone where records have
told a column's type; every message becomes a row, a delete, a reject, or an ignored tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.columns import COORDINATES, Column, ColumnType, TableSchema
from connector.core.messages import Decoded, Deletes, reject
from connector.core.names import column_names
from connector.formats.keys import bad_key
from connector.formats.pieces import Piece, Rules, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.config import Table
    from connector.core.messages import MessageBatch, Reject
    from connector.formats.keys import KeyReader
    from connector.formats.leaves import Format, Leaf, Part, Path


def effective_keys(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row: those configured, else the Kafka coordinates, or none to append."""
    return () if table.append else tuple(table.keys) or COORDINATES


class TableDecoder:
    """Decodes messages of one table. `base` holds the columns that the platform's table has already.

    `keys` reads the keys of tombstones, where these are deletes.
    """

    def __init__(self, table: Table, wire: Format, base: TableSchema, keys: KeyReader | None = None) -> None:
        self._wire, self._keys = wire, keys
        self._rejects_tombstones = table.tombstones == "reject"
        self._rules = Rules(
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
        tombstones: list[int] = []
        if not all(values):
            rows = [i for i, value in enumerate(values) if value]
            empty = [i for i, value in enumerate(values) if value == b""]
            tombstones = [i for i, value in enumerate(values) if value is None]
            rejects += [reject(messages, i, "empty", "the value has no bytes") for i in empty]
        parts, broken = self._wire.read(messages, rows, self._types) if rows else ([], [])
        keys, bad = self._deletes_in(messages, tombstones)
        rejects += [*broken, *bad]
        named = [self._named(part) for part in parts]
        self._widen(named)
        pieces = [Piece(self._rules, messages, part, columns) for part, columns in zip(parts, named, strict=True)]
        for piece in pieces:
            piece.conform(self.schema, rejects)
        self._lengthen(pieces)
        deletes = self._deletes(messages, keys, rejects) if self._keys and keys else None
        batch, numbers = joined(pieces, self.schema)
        nulled, cut = sum(p.nulled for p in pieces), sum(p.cut for p in pieces)
        ignored = 0 if self._keys or self._rejects_tombstones else len(tombstones)
        return Decoded(batch, numbers, rejects, ignored, nulled, cut, deletes)

    def _deletes_in(self, messages: MessageBatch, tombstones: list[int]) -> tuple[list[Part], list[Reject]]:
        """Return the keys of the messages numbered `tombstones`, where they mean deletes, and the rejects."""
        if self._rejects_tombstones:
            detail = "the message has no value (on_tombstone: reject)"
            return [], [reject(messages, i, "tombstone", detail) for i in tombstones]
        return self._keys.read(messages, tombstones) if self._keys and tombstones else ([], [])

    def _deletes(self, messages: MessageBatch, parts: list[Part], rejects: list[Reject]) -> Deletes | None:
        """Bring the keys of tombstones into the table's key columns, whose types records have told, if any came."""
        if len(self.schema.only(self._rules.keys).columns) < len(self._rules.keys):
            self._guess(parts)
        keys = self.schema.only(self._rules.keys)
        pieces = [Piece(self._rules, messages, part, self._key_columns(part)) for part in parts]
        unfit: list[Reject] = []
        for piece in pieces:
            piece.conform(keys, unfit)
        self._lengthen(pieces)
        rejects += map(bad_key, unfit)
        batch, numbers = joined(pieces, self.schema.only(self._rules.keys))
        return Deletes(batch, numbers) if len(numbers) else None

    def _guess(self, parts: list[Part]) -> None:
        """Take in key columns that no record and no table has told yet, as the keys of tombstones have them."""
        known = {c.name.lower() for c in self.schema.only(self._rules.keys).columns}
        guessed = [
            Column(key, leaf.type, self._lengths.get(key.lower(), 0))
            for part in parts
            for key, leaf in self._key_columns(part).items()
            if key.lower() not in known
        ]
        found = TableSchema().joined(guessed)
        self.schema = self.schema.joined(found.columns)

    def _key_columns(self, part: Part) -> dict[str, Leaf]:
        return self._keys.columns(part, self.schema, self._names) if self._keys else {}

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

    def _lengthen(self, pieces: list[Piece]) -> None:
        longest: dict[str, int] = {}
        for piece in pieces:
            for name, length in piece.lengths.items():
                longest[name] = max(length, longest.get(name, 0))
        grown = [
            Column(c.name, c.type, longest[c.name]) for c in self.schema.columns if longest.get(c.name, 0) > c.length
        ]
        if grown:
            self.schema = self.schema.joined(grown)
