"""Owns the small steps of decoder tests: a table, messages in, rows and reasons out."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import fastavro
import orjson

from connector.config import Table
from connector.core.columns import TableSchema
from connector.errors import UnknownSchema
from connector.formats import make_decoder
from tests.fakes import message_batch

if TYPE_CHECKING:
    from connector.core.messages import Decoded
    from connector.formats.decoder import TableDecoder


class Registry:
    """Schemas by id, each with those it refers to; `away` is raised instead of any answer."""

    def __init__(self, **schemas: Any) -> None:
        self.schemas: dict[int, tuple[str, tuple[str, ...]]] = {}
        self.away: Exception | None = None
        for name, schema in schemas.items():
            self.add(int(name.removeprefix("s")), schema)

    def add(self, number: int, schema: Any, *references: Any) -> None:
        self.schemas[number] = json.dumps(schema), tuple(json.dumps(r) for r in references)

    def get(self, schema_id: int) -> tuple[str, tuple[str, ...]]:
        if self.away:
            raise self.away
        if schema_id not in self.schemas:
            raise UnknownSchema(f"no schema {schema_id}")
        return self.schemas[schema_id]


def record(*fields: tuple[str, Any], name: str = "R") -> dict[str, Any]:
    """Return a record schema of (name, type) pairs."""
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


def avro(schema: Any, value: Any, number: int = 1) -> bytes:
    """Return a message in the format of a schema registry."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return b"\x00" + number.to_bytes(4, "big") + out.getvalue()


def json_table(base: TableSchema | None = None, **settings: Any) -> TableDecoder:
    """Return the decoder of a JSON table, by default one that appends and so has no columns of its own."""
    settings.setdefault("append", "keys" not in settings)
    return make_decoder(Table(topics=["t"], format="json", **settings), base or TableSchema(), None)


def avro_table(registry: Registry, base: TableSchema | None = None, **settings: Any) -> TableDecoder:
    """Return the decoder of an Avro table, like `json_table`."""
    settings.setdefault("append", "keys" not in settings)
    return make_decoder(Table(topics=["t"], format="avro", **settings), base or TableSchema(), registry)


def decode(decoder: TableDecoder, *values: Any) -> Decoded:
    """Decode one batch; what is no bytes goes in as JSON, None as a tombstone."""
    raw = [v if v is None or isinstance(v, bytes) else orjson.dumps(v) for v in values]
    decoded = decoder.decode(message_batch(*raw))
    decoded.batch.validate(full=True)
    assert decoded.batch.schema == decoder.schema.arrow()
    assert decoded.batch.num_rows == len(decoded.rows)
    assert sorted([*decoded.rows.tolist(), *(r.offset for r in decoded.rejects)]) == [
        i for i, v in enumerate(raw) if v is not None
    ]
    return decoded


def rows(decoded: Decoded) -> list[dict[str, Any]]:
    """Return the records without their nulls."""
    return [{k: v for k, v in row.items() if v is not None} for row in decoded.batch.to_pylist()]


def reasons(decoded: Decoded) -> dict[int, str]:
    """Return the reason of each reject by the number of its message."""
    return {r.offset: r.reason for r in decoded.rejects}


def types(decoder: TableDecoder) -> dict[str, str]:
    """Return the column types by name."""
    return {c.name: c.type.value for c in decoder.schema.columns}
