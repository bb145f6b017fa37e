"""Owns which row of each key is the last one in a load: it alone goes up, as an upsert or as a delete.

Never writes but to scratch files that are gone when it ends, and reads nothing but key columns and the column of
`order_by`. A load of many rows is spread over parts by the hash of its keys, so what this needs of memory is what a
part needs, and a bit for each row. Invariant: of the rows of a key, records and deletes together, exactly one is the
last. Without `order_by` it is the one that stands last by (partition, offset). With it a delete ends all that stands
before it, and of the records behind the last delete the one with the highest value wins: nulls lose to all values, and
of equals the later one wins.
"""

from __future__ import annotations

from itertools import chain
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connector.core.columns import COORDINATES
from connector.spool.candidates import DELETED, PLACE, ROW, VALUE, Rows, candidates
from connector.spool.parts import scratch_of, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from connector.core.loads import Load
    from connector.spool.candidates import Mask, Numbers

PART_ROWS = 250_000  # chosen among at once, or up to three times as many; some 100 bytes of memory a row
MOST_PARTS = 256  # files that are open at once
_LOST = -1  # the rank of a record that a later delete of its key ends


def last_rows(load: Load, part_rows: int = PART_ROWS) -> Iterator[Mask]:
    """Yield, for each segment of `load`, which of its rows go up; all is chosen before the first is given.

    Raises:
        SpoolFull: the disk did not take the scratch files.
        SpoolDamaged: the disk lost a segment, or a scratch file.
    """
    keys = load.target.keys
    chosen = keys and keys != COORDINATES
    lost = _lost_rows(load, part_rows) if chosen else None
    first = 0
    for segment in load.segments:
        mask = Rows(segment).live(0, segment.rows)
        if lost:
            mask &= lost.without(first, segment.rows)
        first += segment.rows
        yield mask


class RowSet:
    """A set of row numbers below `count`, a bit each."""

    def __init__(self, count: int) -> None:
        self._bits = np.zeros(ceil(count / 8), np.uint8)

    def add(self, rows: Numbers) -> None:
        """Take in row numbers."""
        np.bitwise_or.at(self._bits, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))

    def without(self, first: int, count: int) -> Mask:
        """Return which of `count` rows from `first` on are not in it."""
        start = first >> 3
        found = np.unpackbits(self._bits[start : (first + count + 7) >> 3], bitorder="little").view(np.bool_)
        wanted = found[first - 8 * start :][:count]
        return np.logical_not(wanted, out=wanted)


def _lost_rows(load: Load, part_rows: int) -> RowSet:
    """Return the rows, counted over all segments, that are not the last of their key."""
    lost = RowSet(load.rows)
    choice = _Choice(lost, _step(load, part_rows))
    rows = candidates(load)
    if load.rows <= part_rows or choice.take(rows, part_rows):
        choice.end(rows)
        return lost
    parts = min(ceil(load.rows / part_rows), MOST_PARTS)
    with spread(chain(choice.held, rows), parts, scratch_of(load)) as found:
        for part in found:
            _Choice(lost, choice.step).end(part)
    return lost


def _step(load: Load, part_rows: int) -> int | None:
    """Return after how many rows some may be given up; None where only all rows of a key together tell which.

    With `order_by`, a delete ends what stands before it, be it in a later batch.
    """
    return part_rows if load.target.order_by is None or not any(s.deletes for s in load.segments) else None


class _Choice:
    """Rows among which the last of each key is chosen in steps, so that many of one key take little memory."""

    def __init__(self, lost: RowSet, step: int | None) -> None:
        self.held: list[pa.Table] = []
        self.step = step
        self._lost, self._survivors = lost, 0

    def take(self, tables: Iterator[pa.Table], most: int) -> bool:
        """Take in `tables`, until there are more than `most` rows that cannot be given up; return whether all are in.

        Without steps nothing is taken in.
        """
        if self.step is None:
            return False
        for table in tables:
            self._hold(table, self.step)
            if self._survivors > most:
                return False
        return True

    def end(self, tables: Iterable[pa.Table]) -> None:
        """Take in `tables`, and choose."""
        for table in tables:
            self._hold(table, self.step)
        if self.held:
            _survivors(pa.concat_tables(self.held), self._lost)

    def _hold(self, table: pa.Table, step: int | None) -> None:
        self.held.append(table)
        if step and sum(t.num_rows for t in self.held) >= 2 * self._survivors + step:
            self.held = [_survivors(pa.concat_tables(self.held), self._lost)]
            self._survivors = self.held[0].num_rows


def _survivors(rows: pa.Table, lost: RowSet) -> pa.Table:
    """Return the last row of each key, and add the others to `lost`."""
    keys = [name for name in rows.column_names if name not in (ROW, PLACE, DELETED, VALUE)]
    rank = _ranked(rows, keys) if VALUE in rows.column_names else rows.column(PLACE).to_numpy()
    ranked = rows.select(keys).append_column(PLACE, pa.array(rank))
    last = ranked.group_by(keys, use_threads=False).aggregate([(PLACE, "max")]).column(f"{PLACE}_max")
    if len(last) == rows.num_rows:
        return rows
    kept = np.isin(rank, last.to_numpy())
    lost.add(rows.column(ROW).to_numpy()[~kept])
    return rows.filter(pa.array(kept))


def _ranked(rows: pa.Table, keys: list[str]) -> Numbers:
    """Return the rank of each row: by value, nulls (so deletes too) and NaN first, then by place."""
    valid = pc.invert(pc.is_null(rows.column(VALUE), nan_is_null=True))
    values = pc.if_else(valid, rows.column(VALUE), None)
    sorted_by = {"valid": valid, "value": values, "place": rows.column(PLACE)}
    order = pc.sort_indices(pa.table(sorted_by), sort_keys=[(name, "ascending") for name in sorted_by]).to_numpy()
    rank = np.empty(rows.num_rows, np.int64)
    rank[order] = np.arange(rows.num_rows)
    if pc.any(rows.column(DELETED)).as_py():
        rank[_ended(rows, keys)] = _LOST
    return rank


def _ended(rows: pa.Table, keys: list[str]) -> npt.NDArray[np.bool_]:
    """Return which rows stand before a delete of their key."""
    numbered = rows.select(keys).append_column(PLACE, pa.array(np.arange(rows.num_rows)))
    lists = numbered.group_by(keys, use_threads=False).aggregate([(PLACE, "list")]).column(f"{PLACE}_list")
    by_key = lists.combine_chunks()
    grouped, bounds = by_key.flatten().to_numpy(), by_key.offsets.to_numpy()
    place = rows.column(PLACE).to_numpy()[grouped]
    deleted = rows.column(DELETED).to_numpy()[grouped]
    last_delete = np.maximum.reduceat(np.where(deleted, place, _LOST), bounds[:-1])
    ended = np.empty(rows.num_rows, np.bool_)
    ended[grouped] = place < np.repeat(last_delete, np.diff(bounds))
    return ended
