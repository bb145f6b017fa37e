"""Owns the columnar reader of JSON: the shape of a table's objects, which it is told, and when it may be used at all.

Never judges a message: it reads all of a batch or nothing. Invariant: what it reads equals what orjson reads; the
shape only grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from connector.core.columns import ARROW, OF_ARROW, ColumnType
from connector.formats.leaves import Leaf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from connector.formats.json_values import Place
    from connector.formats.leaves import Path

_NESTED = 500  # brackets in one message; fewer than these cannot exhaust the stack of a recursive reader
_MOST = 1 << 30  # bytes at once
_OPEN, _CLOSE, _NEWLINE = b"{}\n"
_NUMBERS = {ColumnType.INTEGER, ColumnType.FLOAT}


class Shape:
    """The places of the objects seen so far, and the column types of the values seen at each."""

    def __init__(self) -> None:
        self.places: dict[Path, set[ColumnType]] = {}
        self._arrays: set[Path] = set()
        self._told: tuple[object, pa.Schema | None] = (None, None)

    def widen(self, places: Iterable[Place], leaves: Iterable[Leaf]) -> None:
        """Take in what the exact reader found."""
        before = sum(map(len, self.places.values())), len(self._arrays)
        for place in places:
            self.places.setdefault(place.path, set())
            if list in place.sorts:
                self._arrays.add(place.path)
        for leaf in leaves:
            self.places[leaf.path].update(sort.type for sort in leaf.sorts or (leaf,))
        if before != (sum(map(len, self.places.values())), len(self._arrays)):
            self._told = (None, None)

    def arrow(self, types: Mapping[Path, ColumnType]) -> pa.Schema | None:
        """Return the shape as the columnar reader is told, or None when it cannot read these objects right.

        `types`: what the columns of the table hold. A place where values of several sorts were seen is read as what
        its column holds; a batch with another sort is refused then, and read one by one.
        """
        if self._told[0] is not types:
            self._told = (types, self._schema(types))
        return self._told[1]

    def _schema(self, types: Mapping[Path, ColumnType]) -> pa.Schema | None:
        tree: dict[str, Any] = {}
        for path, seen in self.places.items():
            if not seen:
                continue
            kind = _read_as(seen, types.get(path))
            if kind is None or path in self._arrays:
                return None
            node = tree
            for name in path[:-1]:
                node = node.setdefault(name, {})
                if not isinstance(node, dict):
                    return None  # an object here, a scalar there
            if isinstance(node.setdefault(path[-1], kind), dict):
                return None
        return pa.schema(_fields(tree)) if tree else None


def _read_as(seen: set[ColumnType], column: ColumnType | None) -> ColumnType | None:
    """Return the type to read a place as, so that nothing is lost on the way into its column; None: there is none.

    The columnar reader takes integers for doubles, which only a column of doubles bears.
    """
    kind = next(iter(seen)) if len(seen) == 1 else column if column in seen else None
    if column is None and seen <= _NUMBERS:
        return ColumnType.FLOAT if ColumnType.FLOAT in seen else ColumnType.INTEGER
    return None if kind is ColumnType.FLOAT and column not in (ColumnType.FLOAT, None) else kind


def _fields(tree: dict[str, Any]) -> list[pa.Field]:
    return [pa.field(n, pa.struct(_fields(k)) if isinstance(k, dict) else ARROW[k]) for n, k in tree.items()]


def read_columns(values: Sequence[bytes], told: pa.Schema) -> list[Leaf] | None:
    """Read all of `values` at once, or None when they must be looked at one by one."""
    text = _Text(values)
    spread = not text.one_a_line
    if spread:
        text = _Text([value.strip(b" \t\r\n") for value in values])
    if not (text.delimited and text.harmless):
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(text.joined),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text.joined) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=told, unexpected_field_behavior="infer", newlines_in_values=spread
            ),
        )
        known = table.schema.equals(told) or _only_nulls_beside(table.schema, told)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None
    if table.num_rows != len(values) or not known:
        return None  # two objects in one message, or a name that is new
    leaves = [leaf for name in table.column_names for leaf in _leaves((name,), table.column(name).combine_chunks())]
    finite = (pc.all(pc.is_finite(leaf.values)).as_py() for leaf in leaves if leaf.type is ColumnType.FLOAT)
    return leaves if all(f is not False for f in finite) else None  # NaN and Infinity are no JSON


class _Text:
    """Values joined by newlines, and what must be known of them before a laxer reader than orjson may read them."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.joined = b"\n".join(values)
        self._values = values
        self._bytes = np.frombuffer(self.joined, np.uint8)
        self._lengths = np.fromiter(map(len, values), np.int64, len(values))

    @property
    def one_a_line(self) -> bool:
        """Whether no value has a newline inside or an end of white space."""
        return bool(np.count_nonzero(self._bytes == _NEWLINE) == len(self._values) - 1) and self.delimited

    @property
    def delimited(self) -> bool:
        """Whether every value begins with { and ends with }.

        Then each seam is an end of an object: `}` and `{` with nothing but a newline between them stand nowhere
        inside one. So as many objects as values are one object a value.
        """
        if not self._lengths.all():
            return False
        ends = np.cumsum(self._lengths + 1) - 1
        opened, closed = self._bytes[ends - self._lengths] == _OPEN, self._bytes[ends - 1] == _CLOSE
        return bool(opened.all() and closed.all())

    @property
    def harmless(self) -> bool:
        """Whether this is UTF-8, of a sane size, and not nested so deep that a recursive reader would break."""
        if not self.joined.isascii():
            try:
                self.joined.decode()
            except UnicodeDecodeError:
                return False
        long = [self._values[i] for i in np.flatnonzero(self._lengths >= _NESTED).tolist()]
        nested = any(value.count(b"[") + value.count(b"{") >= _NESTED for value in long)
        return len(self.joined) <= _MOST and not nested


def _only_nulls_beside(found: Iterable[pa.Field], told: Iterable[pa.Field]) -> bool:
    """Say whether all that was found and not told are nulls, and objects of nothing but nulls."""
    wanted = {f.name: f.type for f in told}
    for f in found:
        if f.name not in wanted:
            if not (pa.types.is_null(f.type) or (pa.types.is_struct(f.type) and _only_nulls_beside(f.type, ()))):
                return False
        elif not f.type.equals(wanted[f.name]) and not _only_nulls_beside(f.type, wanted[f.name]):
            return False
    return True


def _leaves(path: Path, values: pa.Array) -> list[Leaf]:
    if pa.types.is_struct(values.type):
        return [leaf for f in values.type for leaf in _leaves((*path, f.name), pc.struct_field(values, f.name))]
    return [] if pa.types.is_null(values.type) else [Leaf(path, OF_ARROW[values.type], values)]
