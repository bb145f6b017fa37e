"""Owns the way from a load's segments to its chunks: the last record of each key, one schema, no lost partition.

Runs in the threads of the pusher; never touches a buffer. Invariant: the chunks of a load agree on their columns, a
key stands in at most one row of one of them, and a segment that is right already goes up as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connector.core.columns import COORDINATES, OF_ARROW
from connector.core.conform import convert
from connector.core.loads import Chunk
from connector.errors import SpoolDamaged
from connector.spool.segments import ParquetFile, check_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from connector.core.loads import Load, Segment

    Mask = npt.NDArray[np.bool_]

_ORDER = "__order"


def build_chunks(load: Load) -> tuple[Chunk, ...]:
    """Return the chunks of `load`, checked; none when no record of it is left. May be called again.

    Raises:
        SpoolFull: the disk did not take a chunk that had to be written anew.
        SpoolDamaged: the disk lost a segment.
    """
    masks = _survivors(load, [_live(segment) for segment in load.segments])
    chunks = (_chunk(load, i, s, m) for i, (s, m) in enumerate(zip(load.segments, masks, strict=True)))
    return tuple(chunk for chunk in chunks if chunk)


def _live(segment: Segment) -> Mask:
    return np.repeat(
        np.fromiter((r.live for r in segment.runs), np.bool_, len(segment.runs)),
        np.fromiter((r.rows for r in segment.runs), np.int64, len(segment.runs)),
    )


def _survivors(load: Load, live: list[Mask]) -> list[Mask]:
    """Keep, of the rows that are live, the last of each key by (partition, offset); memory: the key columns."""
    keys = load.target.keys
    if not keys or keys == COORDINATES or not load.segments:
        return live
    tables = [
        _keys_of(load, s).append_column(_ORDER, pa.array(o)) for s, o in zip(load.segments, _order(load), strict=True)
    ]
    rows = pa.concat_tables(t.filter(pa.array(m)) for t, m in zip(tables, live, strict=True))
    names = [name for name in rows.column_names if name != _ORDER]
    last = rows.group_by(names, use_threads=False).aggregate([(_ORDER, "max")]).column(f"{_ORDER}_max")
    if len(last) == rows.num_rows:
        return live
    kept = np.sort(last.to_numpy())
    return [
        m & np.isin(t.column(_ORDER).to_numpy(), kept, assume_unique=True) for t, m in zip(tables, live, strict=True)
    ]


def _keys_of(load: Load, segment: Segment) -> pa.Table:
    wanted = {key.lower() for key in load.target.keys}
    columns = [c for c in load.schema.columns if c.name.lower() in wanted]
    names = [known.name for c in columns if (known := segment.schema.get(c.name))]
    with _reading(segment):
        table = pq.read_table(segment.path, columns=names)
    return _conformed(table, pa.schema([load.schema.arrow().field(c.name) for c in columns]))


def _order(load: Load) -> Iterator[npt.NDArray[np.int64]]:
    """Yield one number per row of each segment: the partition counts first, then the arrival, which is by offset."""
    ranks = {r.tp: n for n, r in enumerate(load.ranges)}
    arrived = 0
    for segment in load.segments:
        counts = np.fromiter((r.rows for r in segment.runs), np.int64, len(segment.runs))
        rank = np.fromiter((ranks.get(r.tp, 0) for r in segment.runs), np.int64, len(segment.runs))
        yield (np.repeat(rank, counts) << 40) + np.arange(arrived, arrived + segment.rows)
        arrived += segment.rows


def _chunk(load: Load, number: int, segment: Segment, mask: Mask) -> Chunk | None:
    rows = int(mask.sum())
    if not rows:
        return None
    if rows == segment.rows and segment.schema.stands_like(load.schema):
        return Chunk(segment.path, rows, check_file(segment.path, rows))
    ranges = [r.range for r in segment.runs if r.live]
    file = ParquetFile(segment.path.parent, load.target.table, f"{number}.{load.id}.chunk", load.schema.arrow())
    try:
        _copy(segment, mask, file)
        path = file.close(ranges)
    except BaseException:
        file.discard()
        raise
    return Chunk(path, rows, check_file(path, rows))


def _copy(segment: Segment, mask: Mask, file: ParquetFile) -> None:
    first = 0
    with _reading(segment), pq.ParquetFile(segment.path) as source:
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            kept = table.filter(pa.array(mask[first : first + table.num_rows]))
            first += table.num_rows
            if kept.num_rows:
                file.write(_conformed(kept, file.schema).to_batches())


def _conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns of `schema`: widened, or null where it had none."""
    names = {name.lower(): name for name in table.column_names}
    columns = [
        _widened(table.column(names[f.name.lower()]), f.type)
        if f.name.lower() in names
        else pa.nulls(table.num_rows, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _widened(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """Return `column` as a record of this type would stand in a batch of the wanted one."""
    if column.type == wanted:
        return column
    chunks = (convert(chunk, OF_ARROW[column.type], OF_ARROW[wanted]).values for chunk in column.chunks)
    return pa.chunked_array(chunks, wanted)


class _reading:  # noqa: N801 - reads as a statement
    """Name the segment that cannot be read back."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, pa.ArrowInvalid)):
            raise SpoolDamaged(
                f"{self._segment.path.name} cannot be read back: {error}", hint="check the disk of spool.directory"
            ) from error
