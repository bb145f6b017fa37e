"""Owns the shapes of the Data Push API: a job as it is asked for and as it is answered, chunks, CSV options.

Never sends. Invariant: what is sent names only what was set; what is read tolerates nulls and unknown fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from connector.core.jobs import Status


@dataclass(frozen=True, slots=True)
class ColumnParsing:
    """How one CSV column is read."""

    column: str
    date_format: str | None = None
    thousands_separator: str | None = None
    decimal_separator: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the element of `additionalColumnOptions`."""
        return _present(
            columnName=self.column,
            dateFormat=self.date_format,
            thousandsSeparator=self.thousands_separator,
            decimalSeparator=self.decimal_separator,
        )


@dataclass(frozen=True, slots=True)
class CsvParsing:
    """How CSV chunks are read; each chunk repeats its header."""

    escape_sequence: str | None = None
    quote_sequence: str | None = None
    separator_sequence: str | None = None
    line_ending: str | None = None
    char_set: str | None = None
    decimal_separator: str | None = None
    thousand_separator: str | None = None
    date_format: str | None = None
    columns: tuple[ColumnParsing, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return `csvParsingOptions`."""
        return _present(
            escapeSequence=self.escape_sequence,
            quoteSequence=self.quote_sequence,
            separatorSequence=self.separator_sequence,
            lineEnding=self.line_ending,
            charSet=self.char_set,
            decimalSeparator=self.decimal_separator,
            thousandSeparator=self.thousand_separator,
            dateFormat=self.date_format,
            additionalColumnOptions=[c.to_wire() for c in self.columns] or None,
        )


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job to create. `table_schema` is the contract's `tableSchema`; `keys` empty: DELTA appends."""

    table: str
    keys: tuple[str, ...] = ()
    table_schema: dict[str, Any] | None = None
    connection_id: str | None = None
    type: Literal["DELTA", "REPLACE"] = "DELTA"
    file_type: Literal["PARQUET", "CSV"] = "PARQUET"
    upsert_strategy: Literal["UPSERT_WITH_UNCHANGED_METADATA", "UPSERT_WITH_NULLIFICATION"] | None = None
    fallback_varchar_length: int | None = None
    csv: CsvParsing | None = None

    def to_wire(self, pool_id: str) -> dict[str, Any]:
        """Return the body of the request that creates the job."""
        return _present(
            targetName=self.table,
            dataPoolId=pool_id,
            connectionId=self.connection_id,
            type=self.type,
            fileType=self.file_type,
            keys=list(self.keys) or None,
            tableSchema=self.table_schema,
            upsertStrategy=self.upsert_strategy,
            fallbackVarcharLength=self.fallback_varchar_length,
            csvParsingOptions=self.csv.to_wire() if self.csv else None,
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the platform tells it. `last_modified`: milliseconds since the epoch, 0 where it is not told."""

    id: str
    status: Status
    table: str
    connection_id: str | None = None
    table_schema: dict[str, Any] | None = None
    logs: tuple[str, ...] = field(default=())
    last_modified: int = 0

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Job:
        """Read a job; raises ValueError, KeyError or TypeError when it is none."""
        return cls(
            id=_text(wire["id"]),
            status=Status(wire["status"]),
            table=str(wire.get("targetName") or ""),
            connection_id=str(wire.get("connectionId") or "") or None,
            table_schema=wire.get("tableSchema"),
            logs=tuple(str(line) for line in wire.get("logs") or ()),
            last_modified=int(wire.get("lastModified") or 0),
        )


@dataclass(frozen=True, slots=True)
class UploadedChunk:
    """A chunk that a job holds."""

    id: str
    type: Literal["UPSERT", "DELETE"]
    checksum: str | None

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> UploadedChunk:
        """Read a chunk; raises KeyError or TypeError when it is none."""
        return cls(_text(wire["id"]), wire["type"], wire.get("checksum"))


def _present(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON holds
    return {name: value for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("an id is missing")
    return value
