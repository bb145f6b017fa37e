"""Owns what JSON values mean for columns: the places in a batch of objects, and the leaf of each.

Never parses. Invariant: nesting and the number of places are bounded here, whatever a message holds; what goes beyond
is told of the message that does, and never of the others.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import ARROW, ColumnType, widened
from connector.core.conform import convert
from connector.formats.leaves import Leaf

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from connector.formats.leaves import Path

MAX_DEPTH = 64  # of objects in objects; ours: deeper ones are data structures, not records
MAX_PLACES = 2_000  # of one table; ours: bounds memory where the names in objects are data themselves
_KINDS: dict[type, ColumnType] = {
    bool: ColumnType.BOOLEAN,
    int: ColumnType.INTEGER,
    float: ColumnType.FLOAT,
    str: ColumnType.STRING,
    list: ColumnType.STRING,
}
_NULL = type(None)
_NOTHING: dict[str, Any] = {}
_INT64 = 1 << 63


class Unfit(ValueError):  # noqa: N818
    """An object among those asked for cannot become columns; `reason` is that of its reject."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Place(NamedTuple):
    """The values at one path, None where an object has none; `sorts` are their types, without None's."""

    path: Path
    values: list[Any]
    sorts: set[type]


def places_of(objects: list[dict[str, Any]], known: Collection[Path]) -> list[Place]:
    """Return the places of `objects`, also those without any value, in the order in which they appear.

    Raises:
        Unfit: some object nests too deep, or brings in more places than a table that knows `known` may have.
    """
    places: list[Place] = []
    fresh = 0
    for place in _walk((), objects):
        fresh += place.path not in known
        if len(known) + fresh > MAX_PLACES:
            raise Unfit("too_many_columns", f"with its names the table would have more than {MAX_PLACES} columns")
        places.append(place)
    return places


def _walk(path: Path, objects: list[dict[str, Any]]) -> Iterator[Place]:
    if len(path) >= MAX_DEPTH:
        raise Unfit("too_deep", f"objects are nested deeper than {MAX_DEPTH} levels")
    for name in dict.fromkeys(name for o in objects for name in o):
        values = [o.get(name) for o in objects]
        sorts = set(map(type, values))
        if dict in sorts:
            yield from _walk((*path, name), [v if type(v) is dict else _NOTHING for v in values])
            values = [None if type(v) is dict else v for v in values]
            if not sorts - {dict, _NULL}:
                continue
        yield Place((*path, name), values, sorts - {dict, _NULL})


def leaf_of(place: Place) -> Leaf | None:
    """Return the leaf of a place, or None when it has no value; raises Unfit."""
    leaves = [leaf for sort in sorted(place.sorts, key=str) for leaf in _of_sort(place, sort)]
    if len(leaves) < 2:  # noqa: PLR2004
        return leaves[0] if leaves else None
    kind = reduce(widened, (leaf.type for leaf in leaves))
    texts = (convert(leaf.values, leaf.type, kind).values for leaf in leaves)
    return Leaf(place.path, kind, pc.coalesce(*texts), sorts=tuple(leaves))


def _of_sort(place: Place, sort: type) -> Iterator[Leaf]:
    """Yield the values of one Python type: one leaf, and another for integers that only a double holds."""
    values: list[Any] = place.values
    if len(place.sorts) > 1:
        values = [v if type(v) is sort else None for v in values]
    if sort is list:
        values = [None if v is None else _text(v) for v in values]
    kind = _KINDS[sort]
    try:
        yield Leaf(place.path, kind, pa.array(values, ARROW[kind]))
    except OverflowError:
        small = [v if v is None or v < _INT64 else None for v in values]
        large = [None if v is None or v < _INT64 else float(v) for v in values]
        yield Leaf(place.path, kind, pa.array(small, ARROW[kind]))
        yield Leaf(place.path, ColumnType.FLOAT, pa.array(large, ARROW[ColumnType.FLOAT]))


def _text(value: list[Any]) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise Unfit("too_deep", "an array is nested too deep") from None
