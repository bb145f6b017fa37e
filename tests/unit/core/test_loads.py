"""What a flush seals."""

from __future__ import annotations

from pathlib import Path

from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.loads import Load, Run, Segment, Target
from connector.core.offsets import OffsetRange, TopicPartition

A, B = OffsetRange("t", 0, 0, 5), OffsetRange("t", 1, 0, 3)
SEGMENT = Segment(Path("x"), TableSchema(), 6, 100, (Run(A, 4), Run(B, 2)))
LOAD = Load("1", Target("t", ()), TableSchema(), (SEGMENT, SEGMENT), (A, B), Trigger.AGE, 0.0)


def test_a_load_sums_its_segments() -> None:
    assert (LOAD.rows, LOAD.size) == (12, 200)


def test_a_load_without_a_partition_keeps_its_files_and_marks_its_rows() -> None:
    less = LOAD.without({TopicPartition("t", 1)})
    assert less.ranges == (A,)
    assert [[(r.tp.partition, r.live) for r in s.runs] for s in less.segments] == [[(0, True), (1, False)]] * 2
    assert less.rows == LOAD.rows


def test_a_partition_that_was_lost_stays_lost() -> None:
    less = LOAD.without({TopicPartition("t", 1)}).without({TopicPartition("t", 0)})
    assert less.ranges == ()
    assert not any(r.live for s in less.segments for r in s.runs)
