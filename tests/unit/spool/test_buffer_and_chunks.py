"""Buffers become segments, segments become chunks: real files, read back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.config import Table
from connector.core.columns import COORDINATES, Column, ColumnType, TableSchema
from connector.core.flush import Trigger
from connector.core.loads import Load, Target
from connector.core.messages import Decoded, MessageBatch
from connector.core.offsets import OffsetRange, TopicPartition
from connector.errors import SpoolFull
from connector.formats import make_decoder
from connector.spool.buffer import TableBuffer
from connector.spool.chunks import build_chunks
from connector.spool.segments import ROW_GROUP_ROWS, check_file
from tests.fakes import FakeMessage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NARROW = TableSchema((Column("id", ColumnType.STRING), Column("n", ColumnType.INTEGER)))
WIDE = TableSchema((Column("id", ColumnType.STRING), Column("n", ColumnType.FLOAT), Column("x", ColumnType.BOOLEAN)))
P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def add(
    buffer: TableBuffer,
    rows: Sequence[tuple[Any, ...]],
    *,
    schema: TableSchema = NARROW,
    partition: int = 0,
    start: int = 0,
    now: float = 0.0,
) -> None:
    """Add one row a message, all of one partition."""
    messages = MessageBatch.of("t", [FakeMessage("t", partition, start + i) for i in range(len(rows))])
    arrow = schema.arrow()
    columns = [pa.array([row[i] for row in rows], f.type) for i, f in enumerate(arrow)]
    batch = pa.RecordBatch.from_arrays(columns, schema=arrow)
    buffer.add(messages, Decoded(batch, np.arange(len(rows))), schema, now)


def rows_of(load: Load) -> list[tuple[Any, ...]]:
    """Return the rows of all chunks of `load`, in order."""
    tables = [pq.read_table(chunk.path) for chunk in build_chunks(load)]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


@pytest.fixture
def buffer(tmp_path: Path) -> TableBuffer:
    return TableBuffer(Target("t", ("id",)), tmp_path, 1 << 20)


def test_an_empty_buffer_holds_nothing(buffer: TableBuffer) -> None:
    assert buffer.fill.records == 0
    assert list(buffer.held) == []


def test_records_count_from_the_first_one_of_the_buffer(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)], now=5.0)
    add(buffer, [("b", 2)], start=1, now=9.0)
    assert (buffer.fill.records, buffer.fill.opened_at) == (2, 5.0)
    assert list(buffer.held) == [OffsetRange("t", 0, 0, 2)]
    load = buffer.flush(NARROW, Trigger.AGE)
    assert (load.rows, load.ranges, load.opened_at) == (2, (OffsetRange("t", 0, 0, 2),), 5.0)
    assert buffer.fill.records == 0


def test_a_segment_that_is_right_goes_up_as_it_is(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1), ("b", 2)])
    load = buffer.flush(NARROW, Trigger.AGE)
    (chunk,) = build_chunks(load)
    assert chunk.path == load.segments[0].path
    assert (chunk.rows, chunk.size) == (2, chunk.path.stat().st_size)


def test_files_say_what_they_hold_in_their_name_and_metadata(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)], partition=3, start=70)
    (segment,) = buffer.flush(NARROW, Trigger.AGE).segments
    assert segment.path.name == "t@t-3-70-71.1.parquet"
    metadata = pq.read_metadata(segment.path).metadata
    assert json.loads(metadata[b"kafka_celonis.ranges"]) == [["t", 3, 70, 71]]
    assert metadata[b"kafka_celonis.table"] == b"t"


def test_files_are_written_in_the_safe_subset_of_parquet(buffer: TableBuffer) -> None:
    schema = TableSchema((Column("id", ColumnType.STRING), Column("t", ColumnType.DATETIME)))
    add(buffer, [("a", 1)] * (ROW_GROUP_ROWS + 1), schema=schema)
    (segment,) = buffer.flush(schema, Trigger.AGE).segments
    file = pq.ParquetFile(segment.path)
    group = file.metadata.row_group(0)
    assert group.column(0).compression == "SNAPPY"
    assert group.column(1).physical_type == "INT64"
    assert "timeUnit=milliseconds" in str(file.schema.column(1).logical_type)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [ROW_GROUP_ROWS, 1]


def test_the_last_record_of_a_key_wins_across_chunks_by_offset_not_by_arrival(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1), ("b", 1)], partition=1, start=10)
    add(buffer, [("a", 2), ("c", 1)], partition=0, start=5)
    add(buffer, [("c", 2)], partition=0, start=7)
    load = buffer.flush(NARROW, Trigger.AGE)
    assert sorted(rows_of(load)) == [("a", 1), ("b", 1), ("c", 2)]


def test_keys_compare_across_segments_and_a_segment_without_survivors_vanishes(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1), ("b", 1)])
    add(buffer, [("a", 2.5, True), ("b", 2.0, None)], schema=WIDE, start=2)
    load = buffer.flush(WIDE, Trigger.AGE)
    assert len(load.segments) == 2
    assert rows_of(load) == [("a", 2.5, True), ("b", 2.0, None)]


def test_an_older_segment_is_widened_to_the_schema_of_the_load(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1), ("b", None)])
    add(buffer, [("c", 2.5, True)], schema=WIDE, start=2)
    assert rows_of(buffer.flush(WIDE, Trigger.AGE)) == [("a", 1.0, None), ("b", None, None), ("c", 2.5, True)]


def test_values_of_an_older_segment_widen_as_those_of_a_batch_do(buffer: TableBuffer) -> None:
    add(buffer, [("a", (1 << 53) + 1)])
    add(buffer, [("b", 1.0, None)], schema=WIDE, start=1)
    text = TableSchema((Column("id", ColumnType.STRING), Column("n", ColumnType.STRING)))
    load = buffer.flush(WIDE, Trigger.AGE)
    assert rows_of(load) == [("a", 2.0**53, None), ("b", 1.0, None)]
    assert rows_of(replace(load, schema=text)) == [("a", "9007199254740993"), ("b", "1.0")]


def test_a_column_that_flips_between_types_makes_one_file_more_not_one_each_time(tmp_path: Path) -> None:
    decoder = make_decoder(Table(topics=["t"], format="json", append=True), TableSchema(), None)
    buffer = TableBuffer(Target("t", ()), tmp_path, 1 << 20)
    for i, value in enumerate((b"1", b"1.5", b"2", b"2.5", b"3", b"3.5")):
        messages = MessageBatch.of("t", [FakeMessage("t", 0, i, b'{"n":%b}' % value)])
        buffer.add(messages, decoder.decode(messages), decoder.schema, 0.0)
    load = buffer.flush(decoder.schema, Trigger.AGE)
    assert len(load.segments) == 2
    assert rows_of(load) == [(1.0,), (1.5,), (2.0,), (2.5,), (3.0,), (3.5,)]


def test_keys_compare_as_what_they_have_widened_to(tmp_path: Path) -> None:
    buffer = TableBuffer(Target("t", ("n",)), tmp_path, 1 << 20)
    add(buffer, [("old", 7)])
    add(buffer, [("new", 7.0, None), ("other", 7.5, None)], schema=WIDE, start=1)
    assert rows_of(buffer.flush(WIDE, Trigger.AGE)) == [("new", 7.0, None), ("other", 7.5, None)]


def test_tables_without_keys_keep_every_record(tmp_path: Path) -> None:
    for keys in ((), COORDINATES):
        buffer = TableBuffer(Target("t", keys), tmp_path, 1 << 20)
        add(buffer, [("a", 1), ("a", 1)])
        assert rows_of(buffer.flush(NARROW, Trigger.AGE)) == [("a", 1), ("a", 1)]


def test_a_dropped_partition_leaves_the_others_whole(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)], partition=0)
    add(buffer, [("b", 1)], partition=1)
    buffer.spill()
    add(buffer, [("c", 1)], partition=0, start=1)
    add(buffer, [("d", 1)], partition=1, start=1)
    buffer.drop({P0})
    assert list(buffer.held) == [OffsetRange("t", 1, 0, 2)]
    load = buffer.flush(NARROW, Trigger.AGE)
    assert rows_of(load) == [("b", 1), ("d", 1)]
    assert load.ranges == (OffsetRange("t", 1, 0, 2),)


def test_a_load_without_a_lost_partition_is_built_again_from_the_same_files(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)], partition=0)
    add(buffer, [("a", 2), ("b", 2)], partition=1)
    load = buffer.flush(NARROW, Trigger.AGE)
    assert sorted(rows_of(load)) == [("a", 2), ("b", 2)]
    assert rows_of(load.without({P1})) == [("a", 1)]
    assert len(list(load.segments[0].path.parent.glob("*.chunk.*"))) == 1, "those of the first time are gone"
    assert build_chunks(load.without({P0, P1})) == ()


def test_dropping_the_last_partition_deletes_every_file(buffer: TableBuffer, tmp_path: Path) -> None:
    add(buffer, [("a", 1)])
    buffer.spill()
    buffer.drop({P0})
    assert list(tmp_path.iterdir()) == []
    assert buffer.fill.records == 0


def test_a_lost_and_regained_partition_starts_anew_behind_its_dead_records(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1), ("b", 1)], partition=0)
    add(buffer, [("z", 1)], partition=1)
    buffer.drop({P0})
    add(buffer, [("a", 1), ("b", 1)], partition=0)
    assert sorted(rows_of(buffer.flush(NARROW, Trigger.AGE))) == [("a", 1), ("b", 1), ("z", 1)]


def test_files_are_rolled_before_they_outgrow_their_limit(tmp_path: Path) -> None:
    buffer = TableBuffer(Target("t", ()), tmp_path, 1 << 16)
    for i in range(10):
        add(buffer, [(f"{j * 7919**3 % 10**12}", j) for j in range(1000)], start=i * 1000)
        buffer.spill()
    load = buffer.flush(NARROW, Trigger.BYTES)
    assert len(load.segments) > 2
    assert all(s.size < (1 << 16) + 1000 for s in load.segments)
    assert sum(chunk.rows for chunk in build_chunks(load)) == 10_000
    assert [r.range.start for s in load.segments for r in s.runs] == [i * 1000 for i in range(10)]


def test_a_footer_that_counts_other_rows_is_found(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)])
    (segment,) = buffer.flush(NARROW, Trigger.AGE).segments
    with pytest.raises(SpoolFull, match="holds 1 rows instead of 2"):
        check_file(segment.path, 2)


def test_a_segment_that_cannot_be_read_back_is_named(buffer: TableBuffer) -> None:
    add(buffer, [("a", 1)])
    load = buffer.flush(NARROW, Trigger.AGE)
    load.segments[0].path.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(SpoolFull, match="t@t-0-0-1"):
        build_chunks(load)


def test_a_directory_that_takes_nothing_is_said_with_the_setting(tmp_path: Path) -> None:
    buffer = TableBuffer(Target("t", ()), tmp_path / "gone", 1 << 16)
    add(buffer, [("a", 1)])
    with pytest.raises(SpoolFull, match=r"spool\.directory"):
        buffer.spill()


def test_a_full_disk_leaves_a_buffer_that_can_be_cleared(tmp_path: Path) -> None:
    (tmp_path / "t.1.open").symlink_to("/dev/full")
    buffer = TableBuffer(Target("t", ()), tmp_path, 1 << 16)
    add(buffer, [(f"{j * 7919**3 % 10**12}", j) for j in range(50_000)])
    with pytest.raises(SpoolFull, match="No space left"):
        buffer.flush(NARROW, Trigger.AGE)
    assert list(buffer.held) == [OffsetRange("t", 0, 0, 50_000)]
    buffer.clear()
    assert list(tmp_path.iterdir()) == []
    add(buffer, [("a", 1)])
    assert rows_of(buffer.flush(NARROW, Trigger.AGE)) == [("a", 1)]
