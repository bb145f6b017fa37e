"""Owns what JSON values mean for columns, and the shape of a table's objects.

Never parses. Invariant: a shape only grows; once a place held values of two sorts or an array, it is no longer
columnar, and the exact reader serves the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from connector.core.columns import ARROW, ColumnType, widened
from connector.formats.leaves import Leaf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connector.formats.leaves import Path

_KINDS: dict[type, ColumnType] = {
    bool: ColumnType.BOOLEAN,
    int: ColumnType.INTEGER,
    float: ColumnType.FLOAT,
    str: ColumnType.STRING,
}
_INT64 = 1 << 63


class Shape:
    """The names and types of the objects seen so far, as far as the columnar reader can take them."""

    def __init__(self) -> None:
        self.columnar = False  # nothing is known yet
        self._kinds: dict[Path, ColumnType | None] = {}
        self._mixed = False
        self._arrow: pa.Schema | None = None

    def widen(self, leaves: Iterable[Leaf], objects: Iterable[dict[str, Any]]) -> None:
        """Take in what the exact reader found in `objects`."""
        for leaf in leaves:
            known = self._kinds.get(leaf.path)
            self._kinds[leaf.path] = widened(known, leaf.type) if known else leaf.type
            self._mixed |= known is not None and ColumnType.STRING in (known, leaf.type) and known is not leaf.type
        self._mixed = self._mixed or any(_beyond_columns(o) for o in objects)
        prefixes = {path[:n] for path in self._kinds for n in range(1, len(path))}
        self._mixed = self._mixed or not prefixes.isdisjoint(self._kinds)
        self.columnar = not self._mixed and bool(self._kinds)
        self._arrow = None

    def arrow(self) -> pa.Schema:
        """Return the shape as the schema that the columnar reader is told."""
        if self._arrow is None:
            tree: dict[str, Any] = {}
            for path, kind in self._kinds.items():
                node = tree
                for name in path[:-1]:
                    node = node.setdefault(name, {})
                node[path[-1]] = kind
            self._arrow = pa.schema(_fields(tree))
        return self._arrow


def _fields(tree: dict[str, Any]) -> list[pa.Field]:
    return [pa.field(n, pa.struct(_fields(k)) if isinstance(k, dict) else ARROW[k]) for n, k in tree.items()]


def _beyond_columns(value: object) -> bool:
    """Say whether an object holds what the columnar reader would change: an array, or numbers and text in turn."""
    if isinstance(value, dict):
        return any(_beyond_columns(v) for v in value.values())
    return isinstance(value, list)


def leaves_of_objects(objects: list[dict[str, Any]]) -> dict[Path, list[Any]]:
    """Return the scalars and arrays of `objects` by their path, None where an object has none."""
    found: dict[Path, list[Any]] = {}
    for row, value in enumerate(objects):
        _walk((), value, row, found, len(objects))
    return found


def _walk(path: Path, value: dict[str, Any], row: int, found: dict[Path, list[Any]], rows: int) -> None:
    stack = [(path, value)]
    while stack:
        at, node = stack.pop()
        for name, inner in node.items():
            if isinstance(inner, dict):
                stack.append(((*at, name), inner))
            elif inner is not None:
                here = (*at, name)
                if here not in found:
                    found[here] = [None] * rows
                found[here][row] = inner


def leaf_of_values(path: Path, values: list[Any]) -> Leaf:
    """Return a leaf of Python values in the narrowest type that holds all of them; arrays become JSON text."""
    kind: ColumnType | None = None
    for sort in {type(v) for v in values}:
        if sort is not type(None):
            here = _KINDS.get(sort, ColumnType.STRING)
            kind = here if kind is None else widened(kind, here)
    if kind is ColumnType.INTEGER and not all(v is None or -_INT64 <= v < _INT64 for v in values):
        kind = ColumnType.FLOAT  # beyond 64 bits JSON numbers are doubles, here as in the columnar reader
    if kind is ColumnType.FLOAT:
        values = [None if v is None else float(v) for v in values]
    if kind is None or kind is ColumnType.STRING:
        kind, values = ColumnType.STRING, [v if v is None or isinstance(v, str) else _text(v) for v in values]
    return Leaf(path, kind, pa.array(values, ARROW[kind]))


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return repr(value) if isinstance(value, float) else orjson.dumps(value).decode()
