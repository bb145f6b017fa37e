"""Owns Avro messages with the 5-byte header of a schema registry: a vectorised decoder, and fastavro as its judge.

Never fetches a schema itself and never touches a table. Invariant: a batch that the vectorised decoder refuses is
decoded again record by record, so every message is either a row or a reject that says why.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastavro import parse_schema, schemaless_reader
from pyruhvro import deserialize_array

from connector.core.messages import reject
from connector.errors import UnknownSchema
from connector.formats.avro_schema import AvroPlan, NotARecord, plan
from connector.formats.avro_values import finish, raw_type, textual
from connector.formats.leaves import Leaf, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.core.messages import MessageBatch, Reject
    from connector.formats.avro_schema import LeafPlan
    from connector.formats.avro_values import Style
    from connector.formats.leaves import Schemas

HEADER = 5  # magic byte 0, then the schema id, big endian


class AvroFormat:
    """Decodes with the writer schemas of `schemas`; `columnar` False leaves everything to the reference."""

    def __init__(self, schemas: Schemas, style: Style, *, columnar: bool = True) -> None:
        self._schemas, self._style, self._columnar = schemas, style, columnar
        self._plans: dict[bytes, AvroPlan | tuple[str, str]] = {}

    def read(self, messages: MessageBatch, rows: Sequence[int]) -> tuple[list[Part], list[Reject]]:
        """Decode the messages numbered `rows`, one part a schema id; raises RegistryUnavailable."""
        by_header = _by_header(messages.values, rows)
        plans = {header: self._plan(header) for header in by_header}
        parts: list[Part] = []
        rejects: list[Reject] = []
        for header, numbers in by_header.items():
            known = plans[header]
            if isinstance(known, AvroPlan):
                part, broken = self._decode(known, messages, numbers)
                rejects += broken
                parts.append(part)
            else:
                rejects += [reject(messages, i, *known) for i in numbers]
        return parts, rejects

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

    def _decode(self, known: AvroPlan, messages: MessageBatch, numbers: Sequence[int]) -> tuple[Part, list[Reject]]:
        datums = [messages.values[i][HEADER:] for i in numbers]  # type: ignore[index]
        if self._columnar and known.columnar and known.leaves:
            batch = _columns(known, datums)
            if batch is not None:
                return Part(_leaves_of_batch(known, batch, self._style), np.array(numbers, np.int64)), []
        records, good, rejects = _records(known, messages, numbers, datums)
        if rejects and self._columnar and known.columnar and known.leaves:
            batch = _columns(known, [datums[i] for i in good])
            if batch is not None:
                rows = np.array([numbers[i] for i in good], np.int64)
                return Part(_leaves_of_batch(known, batch, self._style), rows), rejects
        leaves = [_leaf_of_records(known, leaf, records, self._style) for leaf in known.leaves]
        return Part(leaves, np.array([numbers[i] for i in good], np.int64)), rejects


def _by_header(values: list[bytes | None], rows: Sequence[int]) -> dict[bytes, Sequence[int]]:
    """Return the numbers of the messages by their header; nearly always there is only one."""
    headers = [values[i][:HEADER] for i in rows]  # type: ignore[index]
    if len(set(headers)) == 1:
        return {headers[0]: rows}
    by_header: dict[bytes, list[int]] = {}
    for i, header in zip(rows, headers, strict=True):
        by_header.setdefault(header, []).append(i)
    return dict(by_header)


def _columns(known: AvroPlan, datums: list[bytes]) -> pa.RecordBatch | None:
    """Decode all of `datums` at once, or None when one of them is damaged."""
    try:
        batch = deserialize_array(datums, known.text)
    except (ValueError, UnicodeDecodeError, OverflowError, pa.ArrowException):
        return None
    return batch if batch.num_rows == len(datums) else None


def _records(
    known: AvroPlan, messages: MessageBatch, numbers: Sequence[int], datums: list[bytes]
) -> tuple[list[dict[str, Any]], list[int], list[Reject]]:
    """Decode one by one: the records, the index of each in `datums`, and the rejects."""
    schema = parse_schema(known.wire)
    records: list[dict[str, Any]] = []
    good: list[int] = []
    rejects: list[Reject] = []
    for index, datum in enumerate(datums):
        try:
            records.append(schemaless_reader(io.BytesIO(datum), schema))  # type: ignore[arg-type]
        except Exception as e:  # noqa: BLE001 - fastavro raises whatever the bytes provoke
            detail = f"cannot be read with its schema: {type(e).__name__}: {e}"
            rejects.append(reject(messages, numbers[index], "broken_avro", detail))
        else:
            good.append(index)
    return records, good, rejects


def _leaves_of_batch(known: AvroPlan, batch: pa.RecordBatch, style: Style) -> list[Leaf]:
    leaves = []
    for leaf in known.leaves:
        values = batch.column(leaf.path[0])
        for name in leaf.path[1:]:
            values = _child(values, name)
        if leaf.scalar is None:
            values = textual(values.to_pylist(), leaf.schema, known.named, style)
        leaves.append(finish(leaf, values, known.named, style))
    return leaves


def _child(values: pa.StructArray, name: str) -> pa.Array:
    """Return a field of a struct, null where the struct is null."""
    return pc.struct_field(values, name)


def _leaf_of_records(known: AvroPlan, leaf: LeafPlan, records: list[dict[str, Any]], style: Style) -> Leaf:
    found = [_at(record, leaf) for record in records]
    if leaf.scalar is None:
        values = textual(found, leaf.schema, known.named, style)
    else:
        values = pa.array(found, raw_type(leaf.scalar))
    return finish(leaf, values, known.named, style)


def _at(record: Any, leaf: LeafPlan) -> Any:  # noqa: ANN401 - whatever Avro holds
    for name in leaf.path:
        if record is None:
            return None
        record = record[name]
    return record
