"""Owns what is looked at when a chunk comes in: is it a Parquet or CSV file, what are its columns, are the keys there.

Never reads rows. Invariant: of a file that passes, every column has a name and a type of the API; what the contract
calls unsupported is refused always, what nothing public shows to work when `strict`.
"""

from __future__ import annotations

import codecs
import csv
import shutil
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from connector.core.columns import ColumnType
from connector.emulator.answers import ApiError, invalid, problem
from connector.emulator.far_dates import forget_far_dates
from connector.emulator.store import StoredColumn
from connector.emulator.wire import FileType, unsafe_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from connector.emulator.wire import CsvOptions, NewJob

_CODECS = frozenset({"SNAPPY", "UNCOMPRESSED"})
_MAGIC = b"PAR1"
_V2_PAGE = b"\x15\x06"  # a page header begins with its type (thrift compact): 3 is DATA_PAGE_V2
_PLAIN = {
    "BOOLEAN": ColumnType.BOOLEAN,
    "INT32": ColumnType.INTEGER,
    "INT64": ColumnType.INTEGER,
    "INT96": ColumnType.DATETIME,
    "FLOAT": ColumnType.FLOAT,
    "DOUBLE": ColumnType.FLOAT,
}
_LOGICAL = {
    "STRING": ColumnType.STRING,
    "INT": ColumnType.INTEGER,
    "DATE": ColumnType.DATE,
    "TIME": ColumnType.TIME,
    "TIMESTAMP": ColumnType.DATETIME,
    "UNKNOWN": None,  # a column of nothing but nulls
}
_LENIENT = {"ENUM": ColumnType.STRING, "JSON": ColumnType.STRING}


def inspect(path: Path, job: NewJob, *, strict: bool) -> tuple[StoredColumn, ...]:
    """Return the columns of a chunk of `job`.

    Raises:
        ApiError: 400 for a file that cannot be used.
    """
    columns = _parquet(path, strict=strict) if job.file_type is FileType.PARQUET else _csv(path, job)
    names = [c.name.lower() for c in columns]
    problems = [("The file has no columns", "no-columns")] if not columns else []
    if len(set(names)) < len(names):
        problems.append(("Two columns have the same name, compared without case", "duplicate-column"))
    problems += [(f"The key column {k} is missing", "missing-key") for k in job.keys or () if k.lower() not in names]
    if strict:
        problems += unsafe_names(c.name for c in columns)
    if problems:
        raise ApiError(400, {"errors": [problem("file", *p) for p in problems]})
    return columns


def _parquet(path: Path, *, strict: bool) -> tuple[StoredColumn, ...]:
    try:
        _check_magic(path)
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
    except (pa.ArrowException, OSError):
        raise invalid("file", "The file is not a readable Parquet file", "bad-parquet") from None
    if nested:
        raise invalid("file", f"The column {nested[0]} is nested: structs, lists and maps are not supported", "nested")
    if strict:
        _refuse_unshown(path, metadata)
    forget_far_dates(path, metadata)
    columns = (metadata.schema.column(i) for i in range(metadata.num_columns))
    return tuple(StoredColumn(c.name, _type(c, strict=strict)) for c in columns)


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:  # the library looks at the end only
            raise pa.ArrowInvalid("the file does not begin like a Parquet file")


def _type(column: Any, *, strict: bool) -> ColumnType | None:  # noqa: ANN401 - a ColumnSchema; pyarrow has no types
    physical, logical = column.physical_type, column.logical_type
    kind = logical.type
    if kind == "DECIMAL":
        raise invalid("file", f"The column {column.name} is a DECIMAL, which is not supported", "decimal")
    if strict and ("micro" in logical.to_json() or "nano" in logical.to_json()):
        raise invalid("file", f"The column {column.name} is not in milliseconds", "time-unit")
    if strict and kind == "INT" and column.converted_type not in ("INT_32", "INT_64"):
        raise invalid("file", f"The column {column.name} is not a signed integer of 32 or 64 bits", "integer")
    if kind in _LOGICAL:
        return _LOGICAL[kind]
    if kind == "NONE" and physical in _PLAIN:
        return _PLAIN[physical]
    if not strict and kind in _LENIENT:
        return _LENIENT[kind]
    raise invalid("file", f"The column {column.name} has a type that is not supported", "unsupported-type")


def _refuse_unshown(path: Path, metadata: Any) -> None:  # noqa: ANN401 - FileMetaData, as above
    with path.open("rb") as file:
        for group in range(metadata.num_row_groups):
            for i in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(i)
                if chunk.compression not in _CODECS:
                    raise invalid("file", f"The compression {chunk.compression} is not supported", "compression")
                file.seek(chunk.data_page_offset)
                if file.read(2) == _V2_PAGE:
                    raise invalid("file", "Data pages of version 2 are not supported", "data-page")


def _csv(path: Path, job: NewJob) -> tuple[StoredColumn, ...]:
    declared = {c.column_name.lower(): c.column_type for c in job.columns}
    try:
        _to_utf8(path, job.csv_parsing_options)
        header = next(_csv_rows(path, job.csv_parsing_options), [])
    except (UnicodeDecodeError, csv.Error):
        raise invalid("file", "The file is not a readable CSV file", "bad-csv") from None
    return tuple(StoredColumn(name, declared.get(name.lower(), ColumnType.STRING)) for name in header)


def _csv_rows(path: Path, options: CsvOptions | None) -> Iterator[list[str]]:
    separator, quote, escape = csv_signs(options)
    with path.open(encoding="utf-8", newline="") as file:
        first = islice(file, 1000)  # a header may have line ends in its quotes, but not without end
        if len(separator) == 1:
            same = escape == quote
            yield from csv.reader(
                first, delimiter=separator, quotechar=quote, escapechar=None if same else escape, doublequote=same
            )
        else:
            yield from (line.rstrip("\r\n").split(separator) for line in first)


def csv_signs(options: CsvOptions | None) -> tuple[str, str, str]:
    """Return separator, quote and escape, with RFC 4180 for what is not said."""
    if options is None:
        return ",", '"', '"'
    quote = options.quote_sequence or '"'
    return options.separator_sequence or ",", quote, options.escape_sequence or quote


def _to_utf8(path: Path, options: CsvOptions | None) -> None:
    """Write the file again in UTF-8 without a byte order mark, unless that is what it is."""
    char_set = codecs.lookup((options and options.char_set) or "utf-8").name
    with path.open("rb") as file:
        marked = file.read(3) == codecs.BOM_UTF8
    if char_set == "utf-8" and not marked:
        return
    recoded = path.with_suffix(".utf8")
    encoding = "utf-8-sig" if char_set == "utf-8" else char_set
    with path.open(encoding=encoding, newline="") as source, recoded.open("w", encoding="utf-8", newline="") as target:
        shutil.copyfileobj(source, target)
    recoded.replace(path)
