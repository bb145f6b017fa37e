"""Owns the job and the chunk as they stand on the wire: which fields there are, and which values they may have.

Never touches a table. Invariant: a job that could be read can be carried out as far as the request alone can tell;
every field is answered, an unset one as an explicit null, and dates are epoch milliseconds.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from connector.core.columns import MAX_LENGTH, ColumnType
from connector.emulator.answers import ApiError, problem
from connector.emulator.dates import strptime_format
from connector.emulator.settings import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable

SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")
RESERVED = frozenset({"epoch", "_celonis_change_date"})


class Status(StrEnum):
    """`NEW → QUEUED → RUNNING → DONE | ERROR`, and CANCELED from any of the first three."""

    NEW = "NEW"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    ERROR = "ERROR"
    CANCELED = "CANCELED"


FINAL = (Status.DONE, Status.ERROR, Status.CANCELED)
IN_FLIGHT = (Status.QUEUED, Status.RUNNING)


class JobType(StrEnum):
    """What a load does to its table."""

    DELTA = "DELTA"
    REPLACE = "REPLACE"


class FileType(StrEnum):
    """How the chunks are written."""

    PARQUET = "PARQUET"
    CSV = "CSV"


class UpsertStrategy(StrEnum):
    """What happens to a stored value whose column is missing in the load."""

    UNCHANGED = "UPSERT_WITH_UNCHANGED_METADATA"
    NULLIFICATION = "UPSERT_WITH_NULLIFICATION"


class ChunkType(StrEnum):
    """What the rows of a chunk are for."""

    UPSERT = "UPSERT"
    DELETE = "DELETE"


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ColumnTransport(_Wire):
    """One column of a `tableSchema`."""

    column_name: Annotated[str, Field(min_length=1)]
    column_type: ColumnType
    field_length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] | None = None
    decimals: int | None = None
    pk_field: bool | None = None


class TableTransport(_Wire):
    """A `tableSchema`."""

    table_name: str | None = None
    columns: tuple[ColumnTransport, ...] | None = None

    @field_validator("columns")
    @classmethod
    def _distinct(cls, columns: tuple[ColumnTransport, ...] | None) -> tuple[ColumnTransport, ...] | None:
        names = [c.column_name.lower() for c in columns or ()]
        if len(set(names)) < len(names):
            raise ValueError("two columns have the same name, compared without case")
        return columns


class CsvColumn(_Wire):
    """How one column of a CSV file is written."""

    column_name: str
    date_format: str | None = None
    thousands_separator: str | None = None
    decimal_separator: str | None = None


class CsvOptions(_Wire):
    """How a CSV file is written."""

    escape_sequence: str | None = None
    quote_sequence: str | None = None
    separator_sequence: str | None = None
    line_ending: str | None = None
    char_set: str | None = None
    decimal_separator: str | None = None
    thousand_separator: str | None = None
    date_format: str | None = None
    additional_column_options: tuple[CsvColumn, ...] | None = None

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for pattern in (self.date_format, *(c.date_format for c in self.additional_column_options or ())):
            if pattern is not None:
                strptime_format(pattern)
        if self.char_set is not None:
            _codec(self.char_set)
        return self


class NewJob(_Wire):
    """What a client says about a job; unknown fields, and those that are the platform's to fill, are left out."""

    target_name: Annotated[str, Field(min_length=1)]
    type: JobType
    data_pool_id: str | None = None
    connection_id: str | None = None
    file_type: FileType = FileType.PARQUET
    keys: tuple[str, ...] | None = None
    upsert_strategy: UpsertStrategy | None = None
    fallback_varchar_length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] | None = None
    table_schema: TableTransport | None = None
    csv_parsing_options: CsvOptions | None = None
    allow_duplicate: bool | None = None
    foreign_keys: str | None = None
    post_execution_query: str | None = None
    mirror_target_names: tuple[str, ...] | None = None
    change_date: int | None = None
    target_schema: str | None = None

    @field_validator("file_type", mode="before")
    @classmethod
    def _parquet_when_absent(cls, value: object) -> object:
        return FileType.PARQUET if value is None else value

    @field_validator("data_pool_id", "connection_id")
    @classmethod
    def _uuid(cls, value: str | None) -> str | None:
        if value is not None and not is_uuid(value):
            raise ValueError("not a UUID")
        return value

    @model_validator(mode="after")
    def _keys_stand_in_the_schema(self) -> Self:
        declared = {c.column_name.lower() for c in self.columns}
        missing = [key for key in self.keys or () if key.lower() not in declared]
        if declared and missing:
            raise ValueError(f"the tableSchema leaves out the key column {missing[0]}")
        return self

    @property
    def columns(self) -> tuple[ColumnTransport, ...]:
        """The columns of the `tableSchema`; none without one."""
        return (self.table_schema.columns if self.table_schema else None) or ()


class Job(NewJob):
    """A job as it is kept and answered."""

    id: str
    status: Status = Status.NEW
    logs: tuple[str, ...] = ()
    last_modified: int
    last_ping: int | None = None

    def wire(self) -> dict[str, Any]:
        """Return the answer's JSON object."""
        return self.model_dump(mode="json", by_alias=True)


class Chunk(_Wire):
    """A chunk as it is answered."""

    id: str
    creation_date: int
    type: ChunkType
    push_job_id: str
    checksum: str

    def wire(self) -> dict[str, Any]:
        """Return the answer's JSON object."""
        return self.model_dump(mode="json", by_alias=True)


def read_job(body: object, pool: str, *, strict: bool) -> NewJob:
    """Return the job that `body` asks for in `pool`.

    Raises:
        ApiError: 400 with everything that is wrong with it.
    """
    try:
        job = NewJob.model_validate(body)
    except ValidationError as e:
        raise ApiError(400, {"errors": [_problem(dict(error)) for error in e.errors()]}) from None
    problems = []
    if job.data_pool_id is not None and job.data_pool_id.lower() != pool.lower():
        problems.append(problem("dataPoolId", "The job names another data pool than the path", "mismatch"))
    if strict:
        problems += [problem("targetName", *p) for p in unsafe_names([job.target_name], reserved=())]
        problems += [problem("tableSchema", *p) for p in unsafe_names(c.column_name for c in job.columns)]
    if problems:
        raise ApiError(400, {"errors": problems})
    return job


def unsafe_names(names: Iterable[str], reserved: Iterable[str] = RESERVED) -> list[tuple[str, str]]:
    """Return (message, code) for every name outside letters, digits, `_` and `-`, or that is to be avoided."""
    problems = []
    for name in names:
        if not SAFE_NAME.fullmatch(name):
            problems.append((f"The name '{name}' has characters other than letters, digits, _ and -", "unsafe-name"))
        elif name.lower() in reserved:
            problems.append((f"The name '{name}' is the platform's own", "reserved-name"))
    return problems


def _problem(error: dict[str, Any]) -> dict[str, Any]:
    attribute = ".".join(str(part) for part in error["loc"]) or "job"
    return problem(attribute, error["msg"], error["type"])


def _codec(char_set: str) -> None:
    try:
        "a".encode(char_set)  # an empty text is not looked at
    except LookupError:
        raise ValueError(f"the charSet '{char_set}' is unknown") from None
