"""Bytes to Arrow: one module a format, chosen by a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.errors import ConfigError
from connector.formats.avro import AvroFormat
from connector.formats.avro_values import Style
from connector.formats.decoder import TableDecoder, effective_keys
from connector.formats.json_objects import JsonFormat
from connector.formats.keys import KeyReader

if TYPE_CHECKING:
    from connector.config import Table
    from connector.core.columns import TableSchema
    from connector.formats.leaves import Schemas

__all__ = ["effective_keys", "make_decoder"]


def make_decoder(table: Table, base: TableSchema, schemas: Schemas | None) -> TableDecoder:
    """Return the decoder of a table whose columns on the platform are `base`."""
    if schemas is None and "avro" in (table.format, table.key_format):
        raise ConfigError(["schema_registry: needed by tables with format avro: add schema_registry.url"])
    style = Style(table.decimals, table.binary)
    keys = KeyReader(table, schemas, style) if table.tombstones == "delete" else None
    wire = AvroFormat(schemas, style) if table.format == "avro" and schemas else JsonFormat()
    return TableDecoder(table, wire, base, keys)
