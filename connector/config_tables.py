"""Owns the settings of tables: what goes where, when it is flushed, and what becomes of its values.

Never reads a file. Invariant: what a table sets itself stands, also 0 and null; `defaults` fill the rest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from connector.config_types import GIB, Bytes, Model, Seconds
from connector.core.columns import MAX_LENGTH, ColumnType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOPIC_IN_TARGET = "{topic}"
Tombstones = Literal["delete", "ignore", "reject"]


class Flush(Model):
    """A table is flushed when the first of these is reached."""

    records: int = Field(1_000_000, ge=1)
    """Records in the buffer."""
    bytes: Bytes = Field(GIB, ge=1)
    """Bytes in the buffer, in memory and on disk."""
    age: Seconds = Field(60.0, gt=0)
    """Seconds since the first record of the buffer."""


class ColumnSettings(Model):
    """What is known of one column beforehand."""

    type: ColumnType | None = None
    """Type of the column; without it the type is inferred."""
    length: int | None = Field(None, ge=1, le=MAX_LENGTH)
    """Length of a STRING from the start; it still grows with the data."""
    exclude: bool = False
    """Leave this column out."""


class TableDefaults(Model):
    """Settings that every table may have; `defaults` sets them for all."""

    format: Literal["avro", "json"] | None = None
    """How message values are encoded."""
    flush: Flush = Flush()
    """When the table is flushed."""
    weight: float = Field(1.0, gt=0)
    """How much a waiting record of this table counts against one of another, when pushes are scarce."""
    max_staleness: Seconds | None = Field(None, gt=0)
    """The longest a record should wait until its job is done; such tables are pushed before others, when it is time."""
    decimals: Literal["double", "string"] = "double"
    """What becomes of decimals, which the platform does not know."""
    binary: Literal["base64", "hex"] = "base64"
    """How bytes become text."""
    long_strings: Literal["reject", "truncate"] = "reject"
    """What becomes of strings over 65,000 bytes."""
    on_job_error: Literal["isolate", "halt"] = "isolate"
    """When a job fails twice: search for the records it fails on, which are rejected, or halt the table."""
    job_error_pushes: int = Field(40, ge=1)
    """The most pushes that one such search may cost; a million records take about forty."""


class Table(TableDefaults):
    """Topics that go to one table, or to one each."""

    format: Literal["avro", "json"]
    """How message values are encoded."""
    topics: list[str] = Field(min_length=1)
    """Names, or regular expressions that begin with `^`."""
    target: str = TOPIC_IN_TARGET
    """Name of the table; `{topic}` stands for the topic's name."""
    keys: list[str] = Field([])
    """Columns whose values identify a row: the last record of a key wins. None: the Kafka coordinates are the key."""
    order_by: str | None = None
    """The column whose highest value makes a record the last of its key within a push; without it the offset."""
    on_tombstone: Tombstones | None = None
    """What a message without a value means; without it `delete` where the table has keys, else `ignore`."""
    key_format: Literal["auto", "json", "avro", "text"] = "auto"
    """How Kafka keys of tombstones are encoded; `auto` sees it from the key and the table's format."""
    append: bool = False
    """Append without any key; a push that is repeated repeats its rows."""
    columns: dict[str, ColumnSettings] = Field({})
    """What is known of columns beforehand, by their final name."""

    @property
    def tombstones(self) -> Tombstones:
        """What a message without a value means: `on_tombstone`, or what stands for it."""
        return self.on_tombstone or ("delete" if self.keys else "ignore")

    @field_validator("topics")
    @classmethod
    def _patterns_compile(cls, value: list[str]) -> list[str]:
        for topic in value:
            if topic.startswith("^"):
                try:
                    re.compile(topic)
                except re.error as e:
                    raise ValueError(f"{topic!r} is not a regular expression: {e}") from None
        return value

    @model_validator(mode="after")
    def _keys_or_append(self) -> Self:
        problems = list(self._key_problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _key_problems(self) -> Iterator[str]:
        keys = {key.lower() for key in self.keys}
        if self.append and self.keys:
            yield "append and keys exclude each other: remove one of them"
        if excluded := sorted(k for k in self.keys if k in self.columns and self.columns[k].exclude):
            yield f"key columns cannot be excluded: {', '.join(excluded)}"
        if self.order_by and not keys:
            yield "order_by tells which record of a key is the last: set keys too"
        if self.order_by and self.order_by.lower() in keys:
            yield f"order_by cannot be a key: all records of a key have the same {self.order_by}"
        if self.order_by in self.columns and self.columns[self.order_by].exclude:
            yield f"the column of order_by cannot be excluded: {self.order_by}"
        if self.on_tombstone == "delete" and not keys:
            yield "on_tombstone: delete needs keys, whose values the Kafka keys hold: set ignore or reject"


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge by presence, one level deep: what a table sets itself stands, also 0 and null."""
    result = {**defaults, **own}
    if isinstance(defaults.get("flush"), dict) and isinstance(own.get("flush"), dict):
        result["flush"] = {**defaults["flush"], **own["flush"]}
    return result
