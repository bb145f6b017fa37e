"""The last row of each key among more rows than are chosen among at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from connector.core.columns import Column, ColumnType, TableSchema
from connector.core.flush import Trigger
from connector.core.loads import Load, Run, Segment, Target
from connector.core.offsets import OffsetRange
from connector.errors import SpoolDamaged, SpoolFull
from connector.spool import parts
from connector.spool.hashes import hashes
from connector.spool.last import RowSet, last_rows
from connector.spool.segments import ParquetFile, check_file

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 5000
SCHEMA = TableSchema((Column("id", ColumnType.STRING), Column("n", ColumnType.INTEGER)))


def load_of(directory: Path, keys: list[str], order_by: str | None = None) -> Load:
    """Return a load of rows with these keys, of one partition, in two segments; `n` falls."""
    segments = []
    half = len(keys) // 2
    for number, (first, stop) in enumerate([(0, half), (half, len(keys))]):
        file = ParquetFile(directory, "t", str(number), SCHEMA.arrow())
        columns = [pa.array(keys[first:stop]), pa.array(range(-first, -stop, -1), pa.int64())]
        file.write([pa.record_batch(columns, schema=SCHEMA.arrow())])
        path = file.close([])
        size, run = check_file(path, stop - first), Run(OffsetRange("t", 0, first, stop), stop - first)
        segments.append(Segment(path, SCHEMA, stop - first, size, (run,)))
    ranges = (OffsetRange("t", 0, 0, len(keys)),)
    return Load("x", Target("t", ("id",), order_by), SCHEMA, tuple(segments), ranges, Trigger.AGE, 0.0)


@pytest.mark.parametrize("distinct", [1, 7, ROWS // 2, ROWS])
@pytest.mark.parametrize("order_by", [None, "n"])
def test_however_many_rows_are_chosen_among_at_once_the_same_ones_go_up_and_no_scratch_file_stays(
    tmp_path: Path, distinct: int, order_by: str | None
) -> None:
    keys = [f"K{n * 7 % distinct}" for n in range(ROWS)]
    load = load_of(tmp_path, keys, order_by)
    files = sorted(tmp_path.iterdir())
    places = reversed(range(ROWS)) if order_by else range(ROWS)  # who comes last here wins
    winners = {keys[n]: n for n in places}
    expected = np.isin(np.arange(ROWS), list(winners.values()))
    for part_rows in (3, 100, ROWS, 10 * ROWS):
        assert (np.concatenate(list(last_rows(load, part_rows))) == expected).all()
    assert sorted(tmp_path.iterdir()) == files


def test_parts_hold_all_rows_of_a_key_and_share_the_rows_evenly(tmp_path: Path) -> None:
    tables = [pa.table({"id": [f"{n % 500:09}" for n in range(first, first + 1000)]}) for first in range(0, 4000, 1000)]
    with parts.spread(tables, 8, tmp_path / "scratch") as found:
        keys = [[k for table in part for k in table.column("id").to_pylist()] for part in found]
    assert sorted(k for part in keys for k in part) == sorted(k for t in tables for k in t.column("id").to_pylist())
    assert sum(len(set(part)) for part in keys) == 500, "no key is in two parts"
    assert max(map(len, keys)) < 2 * 4000 // 8
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_no_scratch_files_is_told_of_as_a_full_one(tmp_path: Path) -> None:
    with pytest.raises(SpoolFull, match="none"), parts.spread([], 2, tmp_path / "none" / "scratch"):
        pass


def test_where_no_row_comes_there_is_no_part(tmp_path: Path) -> None:
    with parts.spread([], 2, tmp_path / "scratch") as found:
        assert list(found) == []
    assert not list(tmp_path.iterdir())


def cut(path: Path) -> None:
    """Take the end off a file, as a disk may that lost what was written last."""
    os.truncate(path, path.stat().st_size * 3 // 4)


def empty_stream(path: Path) -> None:
    """Leave a file that can be read and has no rows."""
    with pa.ipc.open_stream(path.read_bytes()) as known, pa.ipc.new_stream(path, known.schema):
        pass


@pytest.mark.parametrize("damage", [Path.unlink, cut, empty_stream])
def test_a_part_that_the_disk_lost_is_not_taken_for_one_without_rows(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    scratch = tmp_path / "scratch"
    with parts.spread([pa.table({"id": range(1000)})], 2, scratch) as found:
        whole, lost = next(found), next(found)
        damage(scratch / "1.arrow")
        assert 0 < sum(table.num_rows for table in whole) < 1000
        with pytest.raises(SpoolDamaged, match=r"1\.arrow .*check the disk"):
            list(lost)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.string(), ["", "a", "b", "ab", "ba", "\0", "x" * 70_000, "ä", None]),
        (pa.int64(), [0, 1, -1, 1 << 62, None]),
        (pa.float64(), [0.0, 1.0, -1.5, 1e300, float("nan")]),
        (pa.bool_(), [True, False]),
        (pa.date32(), [0, 1, -1]),
        (pa.time32("ms"), [0, 1]),
        (pa.timestamp("ms"), [0, 1, -1]),
    ],
)
def test_equal_keys_have_equal_hashes_wherever_they_stand_and_others_hardly_ever(
    kind: pa.DataType, values: list[Any]
) -> None:
    column = pa.array(values, kind)
    whole = hashes([pa.chunked_array([column])])
    for first in range(len(values)):
        part = pa.chunked_array([column.slice(first), column.slice(0, first)])
        assert (hashes([part]) == np.concatenate([whole[first:], whole[:first]])).all()
    known = [h for h, value in zip(whole.tolist(), values, strict=True) if value is not None]
    assert len(set(known)) == len(known)
    both = pa.chunked_array([column]), pa.chunked_array([column[::-1]])
    assert hashes(both).tolist() != hashes(both[::-1]).tolist(), "the order of the columns counts"


def test_a_set_of_rows_tells_what_is_not_in_it_from_any_row_on() -> None:
    rows = RowSet(100)
    rows.add(np.array([3, 8, 9, 64, 99]))
    rows.add(np.array([8, 10]))
    for first in range(100):
        found = rows.without(first, 100 - first)
        assert (np.flatnonzero(~found) + first).tolist() == [n for n in (3, 8, 9, 10, 64, 99) if n >= first]
