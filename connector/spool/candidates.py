"""Owns what choosing the last row of each key looks at: the keys of each live row, where it stands, and its value.

Never chooses. Invariant: no two live rows of a load share a place, and what is in memory is one row group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connector.spool.reading import conformed, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from connector.core.loads import Load, Run, Segment
    from connector.core.offsets import TopicPartition

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.int64]

ROW, PLACE, DELETED, VALUE = "@row", "@place", "@deleted", "@value"  # no column of a table is called like this


def candidates(load: Load) -> Iterator[pa.Table]:
    """Yield the live rows of `load` by row group: keys, number among all rows, place, and what `order_by` needs.

    Raises:
        SpoolDamaged: the disk lost a segment.
    """
    keys, order_by = load.schema.only(load.target.keys), load.target.order_by
    wanted = [c.name for c in keys.columns] + ([order_by] if order_by else [])
    bases = _bases(load)
    before = 0
    for segment in load.segments:
        names = [c.name for c in segment.schema.only(wanted).columns]
        rows = Rows(segment)
        for first, found in _row_groups(segment, names):
            live = rows.live(first, found.num_rows)
            table = _comparable(conformed(found, keys.arrow()))
            table = table.append_column(ROW, pa.array(np.arange(found.num_rows) + (before + first)))
            table = table.append_column(PLACE, pa.array(rows.places(bases, first, found.num_rows)))
            if order_by:
                values = conformed(found, load.schema.only([order_by]).arrow())
                order = values.column(0) if values.num_columns else pa.nulls(found.num_rows)
                deleted = pa.repeat(pa.scalar(segment.deletes), found.num_rows)
                table = table.append_column(DELETED, deleted).append_column(VALUE, order)
            yield table if live.all() else table.filter(pa.array(live))
        before += segment.rows


class Rows:
    """Where the rows of a segment come from."""

    def __init__(self, segment: Segment) -> None:
        self._runs = segment.runs
        self._ends = np.cumsum(np.fromiter((r.rows for r in segment.runs), np.int64, len(segment.runs)))

    def live(self, first: int, count: int) -> Mask:
        """Return which of `count` rows from `first` on are of partitions that were not lost."""
        runs, skipped = self._of(first, count)
        live = np.fromiter((r.live for r in runs), np.bool_, len(runs))
        return np.repeat(live, [r.rows for r in runs])[skipped : skipped + count]

    def places(self, bases: Mapping[TopicPartition, int], first: int, count: int) -> Numbers:
        """Return the place of `count` rows from `first` on: by partition, then by offset.

        The ranges of the runs of a partition do not overlap, so that inside one its row count is as good as the offset.
        """
        runs, skipped = self._of(first, count)
        found = [_places(run, bases.get(run.tp, 0) + run.range.start) for run in runs]
        return np.concatenate(found)[skipped : skipped + count]

    def _of(self, first: int, count: int) -> tuple[Sequence[Run], int]:
        """Return the runs that hold these rows, and how many rows of the first run stand before them."""
        start, stop = np.searchsorted(self._ends, [first, first + count - 1], side="right").tolist()
        return self._runs[start : stop + 1], first - int(self._ends[start - 1] if start else 0)


def _places(run: Run, start: int) -> Numbers:
    return (np.arange(run.rows) if run.places is None else run.places.astype(np.int64)) + start


def _row_groups(segment: Segment, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Yield the columns `names` of each row group, with the number of its first row."""
    first = 0
    with reading(segment), pq.ParquetFile(segment.path) as file:
        for group in range(file.num_row_groups):
            found = file.read_row_group(group, columns=list(names))
            yield first, found
            first += found.num_rows


def _comparable(keys: pa.Table) -> pa.Table:
    """Return key columns in which what the platform finds equal is equal: 0.0 and -0.0 are one key."""
    columns = [pc.add(c, 0.0) if pa.types.is_floating(c.type) else c for c in keys.columns]
    return pa.table(columns, names=keys.column_names)


def _bases(load: Load) -> Mapping[TopicPartition, int]:
    """Return what makes a place of an offset, for each partition: they follow each other, as many as offsets here."""
    bases, total = {}, 0
    for r in load.ranges:
        bases[r.tp] = total - r.start
        total += r.end - r.start
    return bases
