"""Owns JSON messages, one object each: a columnar reader, and orjson as its judge.

Never guesses dates from text. Invariant: what is read in columns equals what orjson reads; a batch for which that is
not certain beforehand, or which the columnar reader refuses, goes through orjson message by message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from connector.core.messages import reject
from connector.formats.json_columns import Shape, read_columns
from connector.formats.json_values import Unfit, leaf_of, places_of
from connector.formats.leaves import Part, numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connector.core.columns import ColumnType
    from connector.core.messages import MessageBatch, Reject
    from connector.formats.json_values import Place
    from connector.formats.leaves import Leaf, Path

_LONGEST_REST = 32  # batches that go straight to orjson after the columnar reader refused good ones time and again


class JsonFormat:
    """Decodes objects. The shape of the table's objects is learnt once and then only widened."""

    def __init__(self, *, columnar: bool = True) -> None:
        self._columnar = columnar
        self._shape = Shape()
        self._rest = self._resting = 0

    def read(
        self, messages: MessageBatch, rows: Sequence[int], types: Mapping[Path, ColumnType]
    ) -> tuple[list[Part], list[Reject]]:
        """Decode the messages numbered `rows` as one part."""
        values = _values(messages, rows)
        told = self._shape.arrow(types) if self._columnar and not self._resting else None
        leaves = read_columns(values, told) if told else None
        if leaves is not None:
            self._rest = 0
            return [Part(leaves, numbers_of(rows))], []
        objects, numbers, rejects = _objects(messages, rows, values)
        leaves, good = self._leaves(messages, objects, numbers, rejects)
        self._pause(in_vain=told is not None and not rejects and told == self._shape.arrow(types))
        return [Part(leaves, numbers_of(good))], rejects

    def _pause(self, *, in_vain: bool) -> None:
        """Leave the columnar reader out for a while, and ever longer, when it refuses what is neither bad nor new."""
        if in_vain:
            self._rest = self._resting = min(_LONGEST_REST, 2 * self._rest + 1)
        else:
            self._resting = max(0, self._resting - 1)

    def _leaves(
        self, messages: MessageBatch, objects: list[dict[str, Any]], numbers: Sequence[int], rejects: list[Reject]
    ) -> tuple[list[Leaf], Sequence[int]]:
        """Return the leaves of `objects` and the numbers of their messages, without those that are unfit."""
        try:
            return self._taken_in(objects), numbers
        except Unfit:
            fit: list[dict[str, Any]] = []
            good: list[int] = []
            known = set(self._shape.places)
            for found, i in zip(objects, numbers, strict=True):
                try:
                    places = places_of([found], known)
                    _leaves_of(places)
                except Unfit as e:
                    rejects.append(reject(messages, i, e.reason, str(e)))
                else:
                    known.update(place.path for place in places)
                    fit.append(found)
                    good.append(i)
            return self._taken_in(fit), good

    def _taken_in(self, objects: list[dict[str, Any]]) -> list[Leaf]:
        places = places_of(objects, self._shape.places)
        leaves = _leaves_of(places)
        self._shape.widen(places, leaves)
        return leaves


def _leaves_of(places: list[Place]) -> list[Leaf]:
    return [leaf for leaf in map(leaf_of, places) if leaf is not None]


def _values(messages: MessageBatch, rows: Sequence[int]) -> Sequence[bytes]:
    if len(rows) == len(messages.values):
        return messages.values  # type: ignore[return-value]  # none is a tombstone
    return [messages.values[i] or b"" for i in rows]


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
    return "too_deep" if "depth limit" in str(error) else "broken_json", str(error)
