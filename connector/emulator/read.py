"""Owns the SQL that reads chunks: every column in the type of the plan, with the silent changes of the platform.

    STRING      cut at its length
    DATE(TIME)  NULL outside the years 1400 to 9999, and precise to the millisecond

Never runs it. Invariant: a value that cannot be read ends the query with a text after `FAILED`, which names the column
only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.columns import ColumnType
from connector.emulator.dates import strptime_format
from connector.emulator.inspect import csv_signs
from connector.emulator.store import chunk_file, sql_type, text
from connector.emulator.store import identifier as q
from connector.emulator.wire import FileType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from connector.emulator.plan import Plan
    from connector.emulator.store import StoredChunk, StoredColumn
    from connector.emulator.wire import CsvColumn, CsvOptions

FAILED = "load-failed:"


def source_of(directory: Path, plan: Plan, group: Sequence[StoredChunk], *, keys_only: bool = False) -> str:
    """Return a SELECT over the files of chunks that have the same columns."""
    files = "[" + ", ".join(text(chunk_file(directory, c.chunk.id)) for c in group) + "]"
    columns = group[0].columns
    wanted = {k.lower() for k in plan.keys} if keys_only else {c.name.lower() for c in plan.columns}
    if plan.job.file_type is FileType.PARQUET:
        reader = f"read_parquet({files}, union_by_name = true)"  # else the first file's width would be that of all
        values = {c.name: q(c.name) for c in columns}
    else:
        reader = _read_csv(files, columns, plan.job.csv_parsing_options)
        values = {c.name: _parsed(c, plan.job.csv_parsing_options) for c in columns}
    selected = [
        f"{_shaped(values[c.name], plan.column(c.name))} AS {q(c.name)}" for c in columns if c.name.lower() in wanted
    ]
    return f"SELECT {', '.join(selected)} FROM {reader}"


def _shaped(value: str, column: StoredColumn) -> str:
    typed = f"{value}::{sql_type(column)}"
    match column.type:
        case ColumnType.STRING:
            return f"left({typed}, {column.length})"
        case ColumnType.DATE:
            return _in_years(typed)
        case ColumnType.DATETIME:
            return _in_years(f"date_trunc('millisecond', {typed})")
        case ColumnType.TIME:
            return f"({typed} - to_microseconds(microsecond({typed}) % 1000))"
    return typed


def _in_years(value: str) -> str:
    return f"CASE WHEN year({value}) BETWEEN 1400 AND 9999 THEN {value} END"


def _read_csv(files: str, columns: Sequence[StoredColumn], options: CsvOptions | None) -> str:
    separator, quote, escape = csv_signs(options)
    names = ", ".join(f"{text(c.name)}: 'VARCHAR'" for c in columns)
    return (
        f"read_csv({files}, auto_detect = false, header = true, delim = {text(separator)}, quote = {text(quote)}, "
        f"escape = {text(escape)}, nullstr = '', columns = {{{names}}})"
    )


def _parsed(column: StoredColumn, options: CsvOptions | None) -> str:
    """Return the value of a CSV column in its type; what cannot be read ends the query."""
    raw = q(column.name)
    if column.type is ColumnType.STRING or column.type is None:
        return raw
    special = _special(column.name, options)
    if column.type in (ColumnType.DATE, ColumnType.DATETIME):
        value = _date(raw, column, special, options)
    elif column.type in (ColumnType.INTEGER, ColumnType.FLOAT):
        value = f"try_cast({_number(raw, special, options)} AS {sql_type(column)})"
    else:
        value = f"try_cast({raw} AS {sql_type(column)})"
    message = text(f"{FAILED} Column {column.name}: a value is not a {column.type}")
    return f"CASE WHEN {raw} IS NOT NULL AND {value} IS NULL THEN error({message}) ELSE {value} END"


def _special(name: str, options: CsvOptions | None) -> CsvColumn | None:
    special = (options and options.additional_column_options) or ()
    return next((c for c in special if c.column_name.lower() == name.lower()), None)


def _date(raw: str, column: StoredColumn, special: CsvColumn | None, options: CsvOptions | None) -> str:
    pattern = (special.date_format if special else None) or (options.date_format if options else None)
    if not pattern:
        return f"try_cast({raw} AS {sql_type(column)})"
    return f"try_strptime({raw}, {text(strptime_format(pattern))})"


def _number(raw: str, special: CsvColumn | None, options: CsvOptions | None) -> str:
    thousands = (special and special.thousands_separator) or (options and options.thousand_separator)
    decimal = (special and special.decimal_separator) or (options and options.decimal_separator)
    if thousands:
        raw = f"replace({raw}, {text(thousands)}, '')"
    return f"replace({raw}, {text(decimal)}, '.')" if decimal and decimal != "." else raw
