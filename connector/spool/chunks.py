"""Owns the way from a load's segments to its chunks: the last record of each key, one schema, no lost partition.

Runs in the threads of the pusher; never touches a buffer. Invariant: the chunks of a load agree on their columns (those
of deletes have the keys alone), a key stands in at most one row of one of them, and a segment that is right already
goes up as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from connector.core.loads import Chunk
from connector.spool.last import PART_ROWS, last_rows
from connector.spool.memory import give_back
from connector.spool.reading import conformed, reading
from connector.spool.segments import ParquetFile, check_file

if TYPE_CHECKING:
    from connector.core.loads import Load, Segment
    from connector.spool.candidates import Mask


def build_chunks(load: Load, part_rows: int = PART_ROWS) -> tuple[Chunk, ...]:
    """Return the chunks of `load`, checked; none when no record of it is left. May be called again.

    The last row of each key is chosen among some `part_rows` rows at a time.

    Raises:
        SpoolFull: the disk did not take a chunk that had to be written anew, or scratch files.
        SpoolDamaged: the disk lost a segment, or a scratch file.
    """
    discard_chunks(load)  # of an earlier call: its scratch files take their place
    pairs = zip(load.segments, last_rows(load, part_rows), strict=True)
    chunks = (_chunk(load, number, segment, mask) for number, (segment, mask) in enumerate(pairs))
    try:
        return tuple(chunk for chunk in chunks if chunk)
    finally:
        give_back()


def discard_chunks(load: Load) -> None:
    """Delete what was written anew for `load`."""
    for directory in {segment.path.parent for segment in load.segments}:
        for chunk in directory.glob(f"*.{load.id}.chunk.*"):
            chunk.unlink(missing_ok=True)


def _chunk(load: Load, number: int, segment: Segment, mask: Mask) -> Chunk | None:
    rows = int(mask.sum())
    if not rows:
        return None
    schema = load.schema.only(load.target.keys) if segment.deletes else load.schema
    if rows == segment.rows and segment.schema.stands_like(schema):
        return Chunk(segment.path, rows, check_file(segment.path, rows), segment.deletes)
    ranges = [r.range for r in segment.runs if r.live]
    file = ParquetFile(segment.path.parent, load.target.table, f"{number}.{load.id}.chunk", schema.arrow())
    try:
        _copy(segment, mask, file)
        path = file.close(ranges)
    except BaseException:
        file.discard()
        raise
    return Chunk(path, rows, check_file(path, rows), segment.deletes)


def _copy(segment: Segment, mask: Mask, file: ParquetFile) -> None:
    first = 0
    with reading(segment), pq.ParquetFile(segment.path) as source:
        for group in range(source.num_row_groups):
            table = source.read_row_group(group)
            kept = table.filter(pa.array(mask[first : first + table.num_rows]))
            first += table.num_rows
            if kept.num_rows:
                file.write(conformed(kept, file.schema).to_batches())
