"""Deletes beside records: what is kept of them, and which of both goes up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.core.columns import ARROW, Column, ColumnType, TableSchema
from connector.core.flush import Fill, Trigger
from connector.core.loads import Load, Target
from connector.core.messages import Decoded, Deletes, MessageBatch
from connector.core.offsets import OffsetRange, TopicPartition
from connector.spool.buffer import TableBuffer
from connector.spool.chunks import build_chunks
from tests.fakes import FakeMessage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = TableSchema((Column("n", ColumnType.INTEGER), Column("id", ColumnType.STRING)))
DELETE = object()  # in place of a value


def add(
    buffer: TableBuffer,
    rows: Sequence[tuple[Any, Any]],
    *,
    schema: TableSchema = SCHEMA,
    offsets: Sequence[int] = (),
    partition: int = 0,
) -> None:
    """Add one (key, value) a message, all of one partition, from offset 0 or at `offsets`."""
    messages = [FakeMessage("t", partition, offset) for offset in offsets or range(len(rows))]
    gone = np.array([value is DELETE for _, value in rows])
    value_type, key_type = (ARROW[c.type] for c in schema.columns)
    values = pa.array([None if value is DELETE else value for _, value in rows], value_type)
    batch = pa.record_batch([values, pa.array([key for key, _ in rows], key_type)], schema=schema.arrow())
    places = np.arange(len(rows))
    deletes = Deletes(batch.select(["id"]).filter(pa.array(gone)), places[gone]) if gone.any() else None
    decoded = Decoded(batch.filter(pa.array(~gone)), places[~gone], deletes=deletes)
    buffer.add(MessageBatch.of("t", messages), decoded, schema, 1.0)


def of(load: Load) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Return what goes up of a load: (key, value) of the records, and the keys to delete."""
    records, deletes = [], []
    for chunk in build_chunks(load):
        found = pq.read_table(chunk.path).to_pylist()
        assert len(found) == chunk.rows
        if chunk.deletes:
            assert [list(row) for row in found] == [["id"]] * len(found)
            deletes += [row["id"] for row in found]
        else:
            records += [(row["id"], row["n"]) for row in found]
    return sorted(records, key=repr), sorted(deletes, key=repr)


@pytest.fixture
def buffer(tmp_path: Path) -> TableBuffer:
    return TableBuffer(Target("t", ("id",)), tmp_path, 1 << 20)


def test_deletes_alone_are_held_fall_due_and_go_up_as_they_are(buffer: TableBuffer) -> None:
    add(buffer, [("a", DELETE), ("b", DELETE)])
    assert buffer.fill == Fill(2, buffer.pending_bytes, 1.0, 2.0)
    assert list(buffer.held) == [OffsetRange("t", 0, 0, 2)]
    load = buffer.flush(SCHEMA, Trigger.AGE)
    (chunk,), (segment,) = build_chunks(load), load.segments
    assert (load.rows, chunk.path, chunk.deletes, chunk.rows) == (2, segment.path, True, 2)
    assert of(load) == ([], ["a", "b"])


def test_the_last_of_record_and_delete_wins_within_a_batch_and_over_batches(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1), ("a", DELETE), ("b", DELETE), ("b", 2), ("c", 3), ("d", DELETE)])
    buffer.spill()
    add(buffer, [("c", DELETE), ("d", 4), ("e", 5)], offsets=[6, 7, 8])
    assert of(buffer.flush(SCHEMA, Trigger.AGE)) == ([("b", 2), ("d", 4), ("e", 5)], ["a", "c"])


def test_partitions_are_compared_in_their_order_and_a_lost_one_does_not_count(buffer: TableBuffer) -> None:
    add(buffer, [("a", DELETE), ("b", 1), ("c", DELETE)], partition=1)
    add(buffer, [("a", 2), ("b", DELETE), ("d", DELETE)], partition=0, offsets=[100, 101, 102])
    load = buffer.flush(SCHEMA, Trigger.AGE)
    assert of(load) == ([("b", 1)], ["a", "c", "d"])
    assert of(load.without({TopicPartition("t", 1)})) == ([("a", 2)], ["b", "d"])
    assert of(load.without({TopicPartition("t", 0)})) == ([("b", 1)], ["a", "c"])


def test_a_lost_and_regained_partition_counts_only_what_it_read_again(buffer: TableBuffer) -> None:
    add(buffer, [("z", 1)], partition=1)
    add(buffer, [("a", 1), ("b", DELETE)])
    buffer.spill()
    buffer.drop({TopicPartition("t", 0)})
    add(buffer, [("a", DELETE), ("b", 1)])
    assert of(buffer.flush(SCHEMA, Trigger.AGE)) == ([("b", 1), ("z", 1)], ["a"])


def test_places_are_kept_only_where_records_and_deletes_of_a_partition_come_together(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)] * 300, offsets=range(0, 600, 2))
    add(buffer, [("a", DELETE)] * 300, partition=1)
    add(buffer, [("a", 1), ("b", DELETE)] * 150, partition=2)
    runs = [run for segment in buffer.flush(SCHEMA, Trigger.AGE).segments for run in segment.runs]
    assert [run.places is not None for run in runs] == [False, True, False, True]
    assert {run.places.nbytes // run.rows for run in runs if run.places is not None} == {2}, "bytes a row"
    assert all(
        (run.places[:3] == [n, n + 2, n + 4]).all() for n, run in enumerate(runs[1::2]) if run.places is not None
    )


def test_deletes_are_widened_with_the_keys_of_the_load(tmp_path: Path) -> None:
    narrow = TableSchema((Column("n", ColumnType.INTEGER), Column("id", ColumnType.INTEGER)))
    buffer = TableBuffer(Target("t", ("ID",)), tmp_path, 1 << 20)
    add(buffer, [(1, DELETE), (2, DELETE)], schema=narrow)
    add(buffer, [("1", 5), ("3", DELETE)], offsets=[2, 3])
    load = buffer.flush(SCHEMA, Trigger.AGE)
    assert sorted(segment.deletes for segment in load.segments) == [False, True, True]
    assert of(load) == ([("1", 5)], ["2", "3"])


def test_zero_has_no_sign_in_a_key(tmp_path: Path) -> None:
    schema = TableSchema((Column("n", ColumnType.INTEGER), Column("id", ColumnType.FLOAT)))
    buffer = TableBuffer(Target("t", ("id",)), tmp_path, 1 << 20)
    add(buffer, [(0.0, 1), (-0.0, DELETE)], schema=schema)
    assert of(buffer.flush(schema, Trigger.AGE)) == ([], [0.0])


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "values", "winner"),
    [
        pytest.param(ColumnType.INTEGER, [3, 9, 5], 9, id="the highest value wins"),
        pytest.param(ColumnType.INTEGER, [None, -5, None], -5, id="any value wins over null"),
        pytest.param(ColumnType.FLOAT, [-1e9, NAN, None], -1e9, id="and over NaN"),
        pytest.param(ColumnType.FLOAT, [NAN, None, NAN, None], None, id="of these two the later one"),
        pytest.param(ColumnType.STRING, ["2026-01-02", "2026-01-10", "2026-01-1"], "2026-01-10", id="text by its code"),
        pytest.param(ColumnType.BOOLEAN, [False, True, False], True, id="true is more than false"),
        pytest.param(ColumnType.INTEGER, [9, DELETE, 3, 4, 4], 4, id="a delete ends what stands before it"),
        pytest.param(ColumnType.INTEGER, [9, 10, DELETE], DELETE, id="however high that was"),
        pytest.param(ColumnType.INTEGER, [DELETE, 9, DELETE, None], None, id="and null behind it is a record still"),
    ],
)
def test_order_by_chooses_the_last_record_of_a_key(
    tmp_path: Path, kind: ColumnType, values: list[Any], winner: Any
) -> None:
    schema = TableSchema((Column("n", kind), Column("id", ColumnType.STRING)))
    for spills in (True, False):
        buffer = TableBuffer(Target("t", ("id",), "N"), tmp_path, 1 << 20)
        for offset, value in enumerate(values):
            add(buffer, [("a", value)], schema=schema, offsets=[offset])
            if spills:
                buffer.spill()
        add(buffer, [("other", DELETE)], schema=schema, offsets=[len(values)])
        records, deletes = of(buffer.flush(schema, Trigger.AGE))
        assert (records, deletes) == (([], ["a", "other"]) if winner is DELETE else ([("a", winner)], ["other"]))


def test_of_equal_values_the_later_record_wins_and_a_column_that_never_came_decides_nothing(tmp_path: Path) -> None:
    schema = TableSchema((Column("n", ColumnType.INTEGER), Column("id", ColumnType.STRING)))
    for order_by in ("id2", None):
        buffer = TableBuffer(Target("t", ("id",), order_by), tmp_path, 1 << 20)
        add(buffer, [("a", 9), ("a", 1), ("b", 1), ("b", DELETE)], schema=schema)
        assert of(buffer.flush(schema, Trigger.AGE)) == ([("a", 1)], ["b"])
