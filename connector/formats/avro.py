"""Owns Avro messages with the 5-byte header of a schema registry: a vectorised decoder, and fastavro as its judge.

Never fetches a schema itself and never touches a table. Invariant: a batch that the vectorised decoder refuses is
decoded again record by record, so every message is either a row or a reject that says why.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastavro import schemaless_reader
from fastavro._read_py import schemaless_reader as slow_reader
from pyruhvro import deserialize_array

from connector.core.messages import reject
from connector.errors import UnknownSchema
from connector.formats.avro_schema import AvroPlan, NotARecord, plan
from connector.formats.avro_values import finish, raw_type, textual
from connector.formats.leaves import Part, numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connector.core.columns import ColumnType
    from connector.core.messages import MessageBatch, Reject
    from connector.formats.avro_schema import LeafPlan
    from connector.formats.avro_values import Style
    from connector.formats.leaves import Leaf, Path, Schemas

_FEW = 256  # messages that are not worth halving
Record = dict[str, Any]
HEADER = 5  # magic byte 0, then the schema id, big endian
_END = b"\x9d\x5a\xc3\x17\x2e\xb4\x68\x41"  # put behind a message; no part of it repeats, so no shift looks like it


class AvroFormat:
    """Decodes with the writer schemas of `schemas`; `columnar` False leaves everything to the reference."""

    def __init__(self, schemas: Schemas, style: Style, *, columnar: bool = True) -> None:
        self._schemas, self._style, self._columnar = schemas, style, columnar
        self._plans: dict[bytes, AvroPlan | tuple[str, str]] = {}
        self._alone = True  # the last batch was of one schema

    def read(
        self, messages: MessageBatch, rows: Sequence[int], types: Mapping[Path, ColumnType]
    ) -> tuple[list[Part], list[Reject]]:
        """Decode the messages numbered `rows`, one part a schema id; raises RegistryUnavailable."""
        del types  # the schema says all
        tried = self._alone
        if tried:
            leaves = self._at_once((messages.values[rows[0]] or b"")[:HEADER], messages, rows)
            if leaves is not None:
                return [Part(leaves, numbers_of(rows))], []
        by_header = _by_header(messages.values, rows)
        self._alone = len(by_header) == 1
        plans = {header: self._plan(header) for header in by_header}
        parts: list[Part] = []
        rejects: list[Reject] = []
        for header, numbers in by_header.items():
            known = plans[header]
            if isinstance(known, AvroPlan):
                parts += self._parts(header, known, messages, numbers, rejects, tried=tried and self._alone)
            else:
                rejects += [reject(messages, i, *known) for i in numbers]
        return parts, rejects

    def _parts(
        self,
        header: bytes,
        known: AvroPlan,
        messages: MessageBatch,
        numbers: Sequence[int],
        rejects: list[Reject],
        *,
        tried: bool,
    ) -> list[Part]:
        """Decode messages of one schema: at once, else in halves, so that a damaged one costs its neighbours only."""
        leaves = None if tried else self._at_once(header, messages, numbers)
        if leaves is not None:
            return [Part(leaves, numbers_of(numbers))]
        if len(numbers) <= _FEW or not (self._columnar and known.text):
            return [self._one_by_one(known, messages, numbers, rejects)]
        middle = len(numbers) // 2
        halves = (numbers[:middle], numbers[middle:])
        return [p for half in halves for p in self._parts(header, known, messages, half, rejects, tried=False)]

    def _plan(self, header: bytes) -> AvroPlan | tuple[str, str]:
        """Return the plan of a header, or the (reason, detail) of its rejects."""
        if header in self._plans:
            return self._plans[header]
        if len(header) < HEADER:
            return "broken_avro", f"{len(header)} bytes are shorter than the 5-byte header of a schema registry"
        if header[0] != 0:
            return "wrong_magic", f"the first byte is {header[0]}, not 0: this is not the format of a schema registry"
        schema_id = int.from_bytes(header[1:], "big")
        try:
            text, references = self._schemas.get(schema_id)
        except UnknownSchema as e:
            return "unknown_schema", str(e)  # not kept: it may be registered later
        try:
            self._plans[header] = plan(text, references)
        except NotARecord as e:
            self._plans[header] = ("not_a_record", f"schema {schema_id}: {e}")
        except ValueError as e:
            self._plans[header] = ("unreadable_schema", f"schema {schema_id}: {e}")
        return self._plans[header]

    def _at_once(self, header: bytes, messages: MessageBatch, numbers: Sequence[int]) -> list[Leaf] | None:
        """Decode in columns, or None when one is damaged, has another header, or the schema is not for this."""
        known = self._plan(header)
        if not (self._columnar and isinstance(known, AvroPlan) and known.text):
            return None
        try:
            batch = deserialize_array([value + _END for value in _values(messages, numbers)], known.text)
            if not _framed(batch, header):
                return None
            return [_leaf_of_columns(known, leaf, batch.column("record"), self._style) for leaf in known.leaves]
        except (ValueError, OverflowError, TypeError, pa.ArrowException):
            return None

    def _one_by_one(
        self, known: AvroPlan, messages: MessageBatch, numbers: Sequence[int], rejects: list[Reject]
    ) -> Part:
        """Return the records of one schema, and add to `rejects` what is none."""
        datums = [value[HEADER:] for value in _values(messages, numbers)]
        records, good = _sound([_record(known, datum) for datum in datums], messages, numbers, rejects)
        try:
            leaves = _leaves(known, records, self._style)
        except Exception:  # noqa: BLE001 - some record holds a value without a meaning: seek it
            judged = [_judged(known, record, self._style) for record in records]
            records, good = _sound(judged, messages, good, rejects)
            leaves = _leaves(known, records, self._style)
        return Part(leaves, numbers_of(good))


def _sound(
    read: Sequence[Record | _Broken], messages: MessageBatch, numbers: Sequence[int], rejects: list[Reject]
) -> tuple[list[Record], Sequence[int]]:
    """Return the records and the numbers of their messages, and add to `rejects` what is broken."""
    pairs = list(zip(numbers, read, strict=True))
    rejects += [reject(messages, i, *r) for i, r in pairs if isinstance(r, _Broken)]
    good = [(i, r) for i, r in pairs if not isinstance(r, _Broken)]
    return [r for _, r in good], [i for i, _ in good]


class _Broken(NamedTuple):
    """Why a datum is no record."""

    reason: str
    detail: str


def _values(messages: MessageBatch, rows: Sequence[int]) -> Sequence[bytes]:
    """Return the values of the messages numbered `rows`, none of which is a tombstone."""
    if len(rows) == len(messages.values):
        return messages.values  # type: ignore[return-value]
    return [messages.values[i] for i in rows]  # type: ignore[misc]


def _by_header(values: list[bytes | None], rows: Sequence[int]) -> dict[bytes, list[int]]:
    """Return the numbers of the messages by their header."""
    by_header: dict[bytes, list[int]] = {}
    for i in rows:
        by_header.setdefault(values[i][:HEADER], []).append(i)  # type: ignore[index]
    return by_header


def _framed(batch: pa.RecordBatch, header: bytes) -> bool:
    """Say whether every message has this header, and its record ended where the message does."""
    ids = batch.column("id").view(pa.int32()).to_numpy() == np.frombuffer(header, np.int32, 1, 1)
    ends = batch.column("end").view(pa.int64()).to_numpy() == np.frombuffer(_END, np.int64)
    return bool(batch.column("magic").true_count == 0 and ids.all() and ends.all())


def _leaf_of_columns(known: AvroPlan, leaf: LeafPlan, records: pa.StructArray, style: Style) -> Leaf:
    values = records.field(leaf.path[0])
    for name in leaf.path[1:]:
        values = pc.struct_field(values, name)
    if leaf.scalar is None:
        values = textual(values.to_pylist(), leaf.schema, known.named, style)
    elif leaf.scalar.avro in ("string", "enum"):
        values = values.cast(pa.string())
        values.validate(full=True)  # the decoder does not look whether it is UTF-8
    elif leaf.scalar.avro == "fixed":
        values = _glued(values)
    else:
        values = values.cast(raw_type(leaf.scalar))
    return finish(leaf, values, known.named, style)


def _glued(values: pa.StructArray) -> pa.Array:
    """Return the bytes of a fixed that was read as doubles and a float (`avro_schema`)."""
    parts = [part.fill_null(0.0).to_numpy(zero_copy_only=False) for part in values.flatten()]
    raw = np.hstack([part.view(np.uint8).reshape(len(values), part.itemsize) for part in parts])
    whole = pa.Array.from_buffers(pa.binary(raw.shape[1]), len(values), [None, pa.py_buffer(raw.tobytes())])
    return pc.if_else(values.is_valid(), whole.cast(pa.binary()), None)


def _record(known: AvroPlan, datum: bytes) -> Record | _Broken:
    """Read one datum. Of a recursive schema in Python, whose stack has a limit: the compiled reader would crash."""
    stream = io.BytesIO(datum)
    read = slow_reader if known.recursive else schemaless_reader
    try:
        record = read(stream, known.wire)
    except RecursionError:
        return _Broken("too_deep", "records are nested too deep")
    except Exception as e:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
        return _Broken("broken_avro", f"cannot be read with its schema: {type(e).__name__}: {e}")
    left = len(datum) - stream.tell()
    return _Broken("broken_avro", f"{left} bytes are left over when it is read with its schema") if left else record  # type: ignore[return-value]


def _judged(known: AvroPlan, record: Record, style: Style) -> Record | _Broken:
    """Return the record when leaves can be made of it."""
    try:
        _leaves(known, [record], style)
    except Exception as e:  # noqa: BLE001 - whatever the values provoke
        deep = isinstance(e, RecursionError) or "ecursion" in str(e)
        return _Broken("too_deep" if deep else "broken_avro", f"a value has no meaning: {type(e).__name__}: {e}")
    return record


def _leaves(known: AvroPlan, records: list[Record], style: Style) -> list[Leaf]:
    return [_leaf_of_records(known, leaf, records, style) for leaf in known.leaves]


def _leaf_of_records(known: AvroPlan, leaf: LeafPlan, records: list[Record], style: Style) -> Leaf:
    found: list[Any] = records
    for name in leaf.path:
        found = [None if outer is None else outer[name] for outer in found]
    if leaf.scalar is None:
        values = textual(found, leaf.schema, known.named, style)
    else:
        values = pa.array(found, raw_type(leaf.scalar))
    return finish(leaf, values, known.named, style)
