"""Owns which row of each key is the last one in a load: it alone goes up, as an upsert or as a delete.

Never writes, and reads nothing but key columns and the column of `order_by`: what it needs of memory is theirs.
Invariant: of the rows of a key, records and deletes together, exactly one is the last. Without `order_by` it is the
one that stands last by (partition, offset). With it a delete ends all that stands before it, and of the records behind
the last delete the one with the highest value wins: nulls lose to all values, and of equals the later one wins.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connector.core.columns import COORDINATES
from connector.spool.reading import conformed, reading

if TYPE_CHECKING:
    import numpy.typing as npt

    from connector.core.loads import Load, Segment

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.int64]

_PLACE, _DELETED, _VALUE = "@place", "@deleted", "@value"  # no column of a table is called like this
_LOST = -1  # the rank of a record that a later delete of its key ends


def last_rows(load: Load) -> list[Mask]:
    """Return, for each segment of `load`, which of its rows go up; raises SpoolDamaged."""
    live = [_live(segment) for segment in load.segments]
    keys = load.target.keys
    if not keys or keys == COORDINATES or not load.segments:
        return live
    rows = pa.concat_tables(_candidates(load, s, m) for s, m in zip(load.segments, live, strict=True))
    names = [name for name in rows.column_names if name not in (_PLACE, _DELETED, _VALUE)]
    rank = rows.column(_PLACE).to_numpy() if load.target.order_by is None else _ranked(rows, names)
    ranked = rows.select(names).append_column(_PLACE, pa.array(rank))
    last = ranked.group_by(names, use_threads=False).aggregate([(_PLACE, "max")]).column(f"{_PLACE}_max")
    if len(last) == rows.num_rows:
        return live
    return _back_in_segments(live, np.isin(rank, last.to_numpy()))


def _live(segment: Segment) -> Mask:
    return np.repeat(
        np.fromiter((r.live for r in segment.runs), np.bool_, len(segment.runs)),
        np.fromiter((r.rows for r in segment.runs), np.int64, len(segment.runs)),
    )


def _back_in_segments(live: list[Mask], kept: Mask) -> list[Mask]:
    """Return `kept`, which has a place for each row that is live, by segment and with a place for every row."""
    masks = [m.copy() for m in live]
    ends = accumulate(int(m.sum()) for m in live)
    for mask, end in zip(masks, ends, strict=True):
        mask[mask] = kept[end - int(mask.sum()) : end]
    return masks


def _candidates(load: Load, segment: Segment, live: Mask) -> pa.Table:
    """Return the rows of a segment that are live: the key columns, the place of each, and what `order_by` needs."""
    keys, order_by = load.schema.only(load.target.keys), load.target.order_by
    wanted = [c.name for c in keys.columns] + ([order_by] if order_by else [])
    names = [c.name for c in segment.schema.only(wanted).columns]
    with reading(segment):
        found = pq.read_table(segment.path, columns=names)
    table = _comparable(conformed(found, keys.arrow())).append_column(_PLACE, pa.array(_places(load, segment)))
    if order_by:
        values = conformed(found, load.schema.only([order_by]).arrow())
        order = values.column(0) if values.num_columns else pa.nulls(segment.rows)
        deleted = pa.repeat(pa.scalar(segment.deletes), segment.rows)
        table = table.append_column(_DELETED, deleted).append_column(_VALUE, order)
    return table if live.all() else table.filter(pa.array(live))


def _comparable(keys: pa.Table) -> pa.Table:
    """Return key columns in which what the platform finds equal is equal: 0.0 and -0.0 are one key."""
    columns = [pc.add(c, 0.0) if pa.types.is_floating(c.type) else c for c in keys.columns]
    return pa.table(columns, names=keys.column_names)


def _places(load: Load, segment: Segment) -> Numbers:
    """Return one number per row: by partition, then by offset; no two rows of a load that are live share one.

    Partitions follow each other in as many numbers as they have offsets here. The ranges of the runs of a partition do
    not overlap, so that inside one its row count is as good as the offset.
    """
    base, total = {}, 0
    for r in load.ranges:
        base[r.tp] = total - r.start
        total += r.end - r.start
    counts = np.fromiter((r.rows for r in segment.runs), np.int64, len(segment.runs))
    starts = np.fromiter((base.get(r.tp, 0) + r.range.start for r in segment.runs), np.int64, len(segment.runs))
    before = np.cumsum(counts) - counts
    places = np.repeat(starts - before, counts) + np.arange(segment.rows)
    for run, start, first in zip(segment.runs, starts.tolist(), before.tolist(), strict=True):
        if run.places is not None:
            places[first : first + run.rows] = run.places.astype(np.int64) + start
    return places


def _ranked(rows: pa.Table, keys: list[str]) -> Numbers:
    """Return the rank of each row: by value, nulls (so deletes too) and NaN first, then by place."""
    valid = pc.invert(pc.is_null(rows.column(_VALUE), nan_is_null=True))
    values = pc.if_else(valid, rows.column(_VALUE), None)
    sorted_by = {"valid": valid, "value": values, "place": rows.column(_PLACE)}
    order = pc.sort_indices(pa.table(sorted_by), sort_keys=[(name, "ascending") for name in sorted_by]).to_numpy()
    rank = np.empty(rows.num_rows, np.int64)
    rank[order] = np.arange(rows.num_rows)
    if pc.any(rows.column(_DELETED)).as_py():
        rank[_ended(rows, keys)] = _LOST
    return rank


def _ended(rows: pa.Table, keys: list[str]) -> Mask:
    """Return which rows stand before a delete of their key."""
    numbered = rows.select(keys).append_column(_PLACE, pa.array(np.arange(rows.num_rows)))
    lists = numbered.group_by(keys, use_threads=False).aggregate([(_PLACE, "list")]).column(f"{_PLACE}_list")
    by_key = lists.combine_chunks()
    grouped, bounds = by_key.flatten().to_numpy(), by_key.offsets.to_numpy()
    place = rows.column(_PLACE).to_numpy()[grouped]
    deleted = rows.column(_DELETED).to_numpy()[grouped]
    last_delete = np.maximum.reduceat(np.where(deleted, place, _LOST), bounds[:-1])
    ended = np.empty(rows.num_rows, np.bool_)
    ended[grouped] = place < np.repeat(last_delete, np.diff(bounds))
    return ended
