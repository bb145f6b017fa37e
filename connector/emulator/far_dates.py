"""Owns dates beyond what the database can read at all, such as the largest 64-bit number of milliseconds.

Never touches a date that the database can read. Invariant: a file with such dates becomes one with NULLs there,
which is what the platform makes of every date after the year 9999.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT = 9_000_000_000_000_000  # milliseconds; the database counts microseconds in 64 bits


def forget_far_dates(path: Path, metadata: Any) -> None:  # noqa: ANN401 - FileMetaData; pyarrow has no types
    """Write the Parquet file at `path` again where the statistics of a millisecond column show such a date."""
    if not any(
        _is_far(metadata.row_group(group).column(i))
        for i in range(metadata.num_columns)
        if "milliseconds" in metadata.schema.column(i).logical_type.to_json()
        for group in range(metadata.num_row_groups)
    ):
        return
    written = path.with_suffix(".near")
    with pq.ParquetFile(path) as source, pq.ParquetWriter(written, source.schema_arrow) as target:
        for group in range(source.num_row_groups):
            target.write_table(_near(source.read_row_group(group)))
    written.replace(path)


def _is_far(chunk: Any) -> bool:  # noqa: ANN401 - ColumnChunkMetaData, as above
    statistics = chunk.statistics
    if statistics is None or not statistics.has_min_max:
        return False
    return bool(max(abs(statistics.min_raw), abs(statistics.max_raw)) > _LIMIT)


def _near(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ms":
            numbers = table.column(i).cast(pa.int64())
            inside = pc.and_(pc.less_equal(numbers, _LIMIT), pc.greater_equal(numbers, -_LIMIT))
            near = pc.if_else(inside, numbers, pa.scalar(None, pa.int64())).cast(field.type)
            table = table.set_column(i, field, near)
    return table
