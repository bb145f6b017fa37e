"""Owns one Parquet file while it is written: the safe subset of Parquet, its row groups, its name and its metadata.

Never knows about buffers or loads. Invariant: a file that carries a final name is complete, its footer counts the
rows that went in, and it is smaller than the platform's limit of a chunk.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from connector.config import MAX_CHUNK
from connector.core.offsets import merge_ranges
from connector.errors import SpoolDamaged, SpoolFull

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from connector.core.offsets import OffsetRange

ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 64 << 20  # so that one row group never makes a file outgrow the platform's limit
_SAFE_PARQUET: dict[str, Any] = {
    "compression": "snappy",
    "data_page_version": "1.0",
    "version": "2.6",
    "use_dictionary": False,  # plain and snappy: half the CPU, and files of the same size
    "write_statistics": False,  # nobody filters by them
    "store_schema": False,
}
_NAME_LENGTH = 150  # file systems take 255 bytes; the rest is for the number and the ending


class ParquetFile:
    """A Parquet file that grows by row groups: snappy, v1 data pages, millisecond timestamps.

    `label` sets it apart from the table's other files.
    Every method raises SpoolFull when the disk does not take it; the file is worthless then.
    """

    def __init__(self, directory: Path, table: str, label: str, schema: pa.Schema) -> None:
        self.rows = 0
        self._directory, self._table, self._label = directory, table, label
        self._path = directory / f"{_readable(table)}.{label}.open"
        self.schema = schema
        with disk_errors(self._path):
            self._sink = pa.OSFile(str(self._path), "wb")
            try:
                self._writer = pq.ParquetWriter(self._sink, schema, **_SAFE_PARQUET)
            except OSError:
                self._path.unlink()
                raise

    @property
    def size(self) -> int:
        """Bytes written so far, without the footer."""
        return int(self._sink.tell())

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Append the rows of `batches`, in row groups bounded by rows and by bytes."""
        table = pa.Table.from_batches(batches, self.schema)
        rows = table.num_rows
        group = max(1, min(ROW_GROUP_ROWS, rows * ROW_GROUP_BYTES // max(1, table.nbytes)))
        with disk_errors(self._path):
            self._writer.write_table(table, row_group_size=group)
        self.rows += rows

    def close(self, ranges: Sequence[OffsetRange]) -> Path:
        """Finish the file; return its final path, which names the table and the offset `ranges` of its rows."""
        merged = merge_ranges(ranges)
        with disk_errors(self._path):
            self._writer.add_key_value_metadata(
                {"kafka_celonis.table": self._table, "kafka_celonis.ranges": json.dumps([list(r) for r in merged])}
            )
            self._writer.close()
            self._sink.close()
            return self._path.rename(self._directory / self._final_name(merged))

    def discard(self) -> None:
        """Give the file up: release its handle and delete it."""
        for closeable in (self._writer, self._sink):
            try:
                closeable.close()
            except OSError:
                continue  # a full disk cannot take a footer, and nobody needs it
        self._path.unlink(missing_ok=True)

    def _final_name(self, ranges: Sequence[OffsetRange]) -> str:
        covered = ",".join(f"{_readable(r.topic)}-{r.partition}-{r.start}-{r.end}" for r in ranges)
        return f"{f'{_readable(self._table)}@{covered}'[:_NAME_LENGTH]}.{self._label}.parquet"


def check_file(path: Path, rows: int) -> int:
    """Return the size of a finished file in bytes, after checking its footer against the `rows` it must hold.

    Raises:
        SpoolDamaged: the disk did not keep what was written.
    """
    try:
        found = pq.read_metadata(path).num_rows
        size = path.stat().st_size
    except (OSError, pa.ArrowInvalid) as e:
        raise SpoolDamaged(f"{path.name} cannot be read back: {e}", hint="check the disk of spool.directory") from e
    if found != rows:
        raise SpoolDamaged(
            f"{path.name} holds {found} rows instead of {rows}", hint="check the disk of spool.directory"
        )
    if size >= MAX_CHUNK:
        raise SpoolFull(f"{path.name} has {size} bytes, the platform takes 1 GB", hint="lower spool.chunk_bytes")
    return size


class disk_errors:  # noqa: N801 - reads as a statement
    """Turn what the operating system says about the disk into SpoolFull."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise SpoolFull(
                f"cannot write {self._path.name} to {self._path.parent}: {error}",
                hint="free the disk, or point spool.directory to a larger one",
            ) from error


def _readable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)[:80]
