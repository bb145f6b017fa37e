"""Owns JSON messages, one object each: a columnar reader, and orjson as its judge.

Never guesses dates from text. Invariant: what is read in columns equals what orjson reads; a batch for which that is
not certain beforehand, or which the columnar reader refuses, goes through orjson message by message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from connector.core.columns import ARROW, ColumnType
from connector.core.messages import reject
from connector.formats.json_values import Shape, leaf_of_values, leaves_of_objects
from connector.formats.leaves import Leaf, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.core.messages import MessageBatch, Reject

_LONG = 1024  # a message needs this many bytes to be nested as deep
_OPEN, _CLOSE, _NEWLINE = b"{}\n"


class JsonFormat:
    """Decodes objects. The shape of the table's objects is learnt once and then only widened."""

    def __init__(self, *, columnar: bool = True) -> None:
        self._columnar = columnar
        self._shape = Shape()

    def read(self, messages: MessageBatch, rows: Sequence[int]) -> tuple[list[Part], list[Reject]]:
        """Decode the messages numbered `rows` as one part."""
        values = _values(messages, rows)
        if self._columnar and self._shape.columnar:
            columns = _columns(values, self._shape)
            if columns is not None:
                return [Part(columns, np.array(rows, np.int64))], []
        objects, good, rejects = _objects(messages, rows, values)
        leaves = [leaf_of_values(path, found) for path, found in leaves_of_objects(objects).items()]
        if self._columnar:
            self._shape.widen(leaves, objects)
        return [Part(leaves, np.array(good, np.int64))], rejects


def _values(messages: MessageBatch, rows: Sequence[int]) -> Sequence[bytes]:
    if len(rows) == len(messages.values):
        return messages.values  # type: ignore[return-value]  # none is a tombstone
    return [messages.values[i] or b"" for i in rows]


def _columns(values: Sequence[bytes], shape: Shape) -> list[Leaf] | None:
    """Read all of `values` at once, or None when they must be looked at one by one."""
    joined = b"\n".join(values)
    if not _plain(values, joined):
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(joined),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(joined) + 1),
            parse_options=pj.ParseOptions(explicit_schema=shape.arrow(), unexpected_field_behavior="infer"),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None
    if table.num_rows != len(values) or not table.schema.equals(shape.arrow()):
        return None  # two objects in one message, or a name that is new
    leaves = [leaf for name in table.column_names for leaf in _leaves((name,), table.column(name))]
    finite = (pc.all(pc.is_finite(leaf.values)).as_py() for leaf in leaves if leaf.type is ColumnType.FLOAT)
    return leaves if all(f is not False for f in finite) else None  # NaN and Infinity are no JSON


def _plain(values: Sequence[bytes], joined: bytes) -> bool:
    """Say whether the columnar reader reads the same as orjson: it is laxer about what is tested here."""
    text = np.frombuffer(joined, np.uint8)
    seams = np.flatnonzero(text == _NEWLINE)
    if len(seams) != len(values) - 1 or text[0] != _OPEN or text[-1] != _CLOSE:
        return False
    if not ((text[seams - 1] == _CLOSE).all() and (text[seams + 1] == _OPEN).all()):
        return False  # not one object a line, from its first to its last byte
    if not joined.isascii():
        try:
            joined.decode()
        except UnicodeDecodeError:
            return False
    return max(map(len, values)) < _LONG or not any(v.count(b"[") + v.count(b"{") >= _LONG // 2 for v in values)


def _objects(
    messages: MessageBatch, rows: Sequence[int], values: Sequence[bytes]
) -> tuple[list[dict[str, Any]], list[int], list[Reject]]:
    """Read one by one: the objects, the number of each one's message, and the rejects."""
    objects: list[dict[str, Any]] = []
    good: list[int] = []
    rejects: list[Reject] = []
    for i, value in zip(rows, values, strict=True):
        try:
            found = orjson.loads(value)
        except orjson.JSONDecodeError as e:
            rejects.append(reject(messages, i, *_why(value, e)))
            continue
        if isinstance(found, dict):
            objects.append(found)
            good.append(i)
        else:
            rejects.append(reject(messages, i, "not_an_object", f"the value is {type(found).__name__}, not an object"))
    return objects, good, rejects


def _why(value: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    try:
        value.decode()
    except UnicodeDecodeError as e:
        return "not_utf8", f"byte {e.start} is not UTF-8"
    return "broken_json", str(error)


def _leaves(path: tuple[str, ...], values: pa.ChunkedArray | pa.Array) -> list[Leaf]:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_struct(values.type):
        return [leaf for f in values.type for leaf in _leaves((*path, f.name), pc.struct_field(values, f.name))]
    if pa.types.is_null(values.type):
        return []
    return [Leaf(path, next(k for k in ColumnType if ARROW[k] == values.type), values)]
