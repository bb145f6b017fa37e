"""Owns the Kafka keys of tombstones: their bytes become the key columns of the rows to delete.

Never looks at a value, and never knows a table's types. Invariant: a key that is not surely understood becomes a
reject: it deletes nothing rather than something else.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pyarrow as pa

from connector.core.columns import ColumnType
from connector.core.messages import reject
from connector.core.names import safe_name
from connector.formats.avro import HEADER, AvroFormat
from connector.formats.json_objects import JsonFormat
from connector.formats.json_values import Place, leaf_of
from connector.formats.leaves import Leaf, Part, numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connector.config import Table
    from connector.core.columns import TableSchema
    from connector.core.messages import MessageBatch, Reject
    from connector.formats.avro_values import Style
    from connector.formats.leaves import Path, Schemas

_SCALAR: Path = ()  # the path of a key that is one value
_FIELD = "kafka_celonis_key"
_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_NO_RECORDS = _PRIMITIVES | {"enum", "fixed", "array", "map", "union"}


class KeyReader:
    """Reads the keys of one table's tombstones in its `key_format`; `schemas` is needed for Avro."""

    def __init__(self, table: Table, schemas: Schemas | None, style: Style) -> None:
        self._keys, self._format = table.keys, table.key_format
        self._guesses_json = table.format == "json"
        self._avro = AvroFormat(_KeySchemas(schemas), style) if schemas else None
        self._json = JsonFormat(columnar=False)  # numbers of several sorts in one column must stay exact

    def read(self, messages: MessageBatch, rows: Sequence[int]) -> tuple[list[Part], list[Reject]]:
        """Read the keys of the messages numbered `rows` (ascending); raises RegistryUnavailable.

        What is one value stands at the empty path: as what it is, and last as its text where `auto` leaves both open.
        """
        keys = {i: cast("bytes | None", messages.messages[i].key()) for i in rows}
        rejects = [reject(messages, i, "null_key", "a tombstone without a Kafka key") for i in rows if not keys[i]]
        given = {i: key for i, key in keys.items() if key}
        framed = {i: key for i, key in given.items() if self._is_avro(key)}
        plain = {i: key for i, key in given.items() if i not in framed}
        parts: list[Part] = []
        if framed and self._avro:
            found, broken = self._avro.read(_keyed(messages, framed), list(framed), {})
            parts += (Part([_scalar(leaf) for leaf in part.leaves], part.rows) for part in found)
            rejects += map(bad_key, broken)
        if plain:
            parts += self._plain(messages, plain, rejects)
        return [p for p in parts if self._understood(p, messages, rejects)], rejects

    def columns(self, part: Part, schema: TableSchema, names: Mapping[Path, str]) -> dict[str, Leaf]:
        """Return the leaves of `part` by key column; `names` are those that records have given to paths."""
        if _is_scalar(part):
            column = schema.get(self._keys[0])
            text = column is not None and column.type is ColumnType.STRING
            return {self._keys[0]: part.leaves[-1 if text else 0]}
        wanted = {key.lower(): key for key in self._keys}
        found: dict[str, Leaf] = {}
        for leaf in sorted(part.leaves, key=lambda leaf: leaf.path not in names):
            name = names.get(leaf.path) or safe_name(".".join(leaf.path))
            if name.lower() in wanted:
                found.setdefault(wanted[name.lower()], leaf)
        return found

    def _is_avro(self, key: bytes) -> bool:
        guessed = self._format == "auto" and not self._guesses_json and len(key) >= HEADER and key[0] == 0
        return self._format == "avro" or guessed

    def _plain(self, messages: MessageBatch, keys: Mapping[int, bytes], rejects: list[Reject]) -> list[Part]:
        """Read keys that are JSON or text."""
        objects: dict[int, bytes] = {}
        values: dict[int, Any] = {}
        texts: dict[int, str] = {}
        maybe_text = self._format == "auto"
        for i, key in keys.items():
            try:
                found = self._value(key)
            except ValueError as e:
                rejects.append(reject(messages, i, "bad_key", _told(str(e))))
                continue
            if found is None:
                rejects.append(reject(messages, i, "null_key", _told("it is null")))
            elif isinstance(found, dict):
                objects[i] = key
            else:
                values[i] = found
                texts[i] = key.decode() if maybe_text and not isinstance(found, str) else found
        parts: list[Part] = []
        if objects:
            found_parts, broken = self._json.read(_keyed(messages, objects), list(objects), {})
            parts += found_parts
            rejects += map(bad_key, broken)
        if values:
            parts.append(_scalars(values, texts if maybe_text else {}))
        return parts

    def _value(self, key: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return a key as JSON has it, or its text where it is none, or none is wanted; raises ValueError."""
        if self._format == "json" or (self._format == "auto" and self._guesses_json):
            try:
                found = orjson.loads(key)
            except orjson.JSONDecodeError as e:
                if self._format == "json":
                    raise ValueError(f"it is not JSON: {e}") from None
            else:
                if not isinstance(found, list):
                    return found
                if self._format == "json":
                    raise ValueError("it is an array")
        if b"\x00" in key:
            raise ValueError("it is binary, not text: set key_format")
        return key.decode()

    def _understood(self, part: Part, messages: MessageBatch, rejects: list[Reject]) -> bool:
        """Say whether the key columns can be told apart in `part`, else add its rows to `rejects`."""
        if not part.leaves or not _is_scalar(part) or len(self._keys) == 1:
            return True
        detail = _told(f"it is one value, and the table has keys {', '.join(self._keys)}")
        rejects += [reject(messages, int(i), "bad_key", detail) for i in part.rows]
        return False


class _KeySchemas:
    """Schemas of which each is one of records: of any other value it makes a record with this value alone.

    In Avro both have the same bytes.
    """

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def get(self, schema_id: int) -> tuple[str, tuple[str, ...]]:
        text, references = self._schemas.get(schema_id)
        try:
            schema = json.loads(text)
        except ValueError:
            return text, references  # whoever reads it says what is wrong
        if _kind(schema) in _NO_RECORDS:
            fields = [{"name": _FIELD, "type": schema}]
            text = json.dumps({"type": "record", "name": f"{_FIELD}_record", "fields": fields})
        return text, references


def bad_key(broken: Reject) -> Reject:
    """Return the reject of a tombstone for what was found wrong when its key was taken for a record."""
    if broken.reason == "null_key":
        return broken._replace(detail=_told(broken.detail))
    return broken._replace(reason="bad_key", detail=_told(f"{broken.reason}: {broken.detail}"))


def _told(detail: str) -> str:
    return f"the Kafka key of a tombstone: {detail}"


def _keyed(messages: MessageBatch, keys: Mapping[int, bytes]) -> MessageBatch:
    """Return `messages` with these keys as their values."""
    values: list[bytes | None] = [None] * len(messages.values)
    for i, key in keys.items():
        values[i] = key
    return replace(messages, values=values)


def _kind(schema: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    while isinstance(schema, dict):
        schema = schema.get("type")
    return "union" if isinstance(schema, list) else str(schema)


def _is_scalar(part: Part) -> bool:
    return bool(part.leaves) and part.leaves[0].path == _SCALAR


def _scalar(leaf: Leaf) -> Leaf:
    return leaf._replace(path=_SCALAR) if leaf.path == (_FIELD,) else leaf


def _scalars(values: Mapping[int, Any], texts: Mapping[int, Any]) -> Part:
    """Return keys that are one value each, at the empty path, and behind them their `texts`, if any are given."""
    found = list(values.values())
    leaf = leaf_of(Place(_SCALAR, found, set(map(type, found))))
    leaves = [leaf] if leaf else []
    if texts:
        leaves.append(Leaf(_SCALAR, ColumnType.STRING, pa.array(texts.values(), pa.string())))
    return Part(leaves, numbers_of(list(values)))
