"""What a flush seals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.loads import (
    Broken,
    Done,
    Doubtful,
    Empty,
    JobFailed,
    Load,
    Prepared,
    Run,
    Segment,
    Target,
    Throttled,
    Unreadable,
    spent,
)
from connector.core.offsets import OffsetRange, TopicPartition

if TYPE_CHECKING:
    from connector.core.loads import Receipt

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


@pytest.mark.parametrize(
    ("receipt", "costs"),
    [
        (Done(LOAD, "j", 12, 200, 3.0), True),
        (JobFailed(LOAD, "j", "ERROR"), True),
        (Throttled(LOAD, None, None, exhausted=True, detail="429"), False),
        (Throttled(LOAD, None, None, exhausted=True, detail="429", executed=True), True),
        (Doubtful(LOAD, None, 0.0, "too late", late=True), False),
        (Doubtful(LOAD, None, 0.0, "504", executed=True), True),
        (Broken(LOAD, "403", "permit it", executed=True), True),
        (Prepared(LOAD, "j", (), 1.0), False),
        (Empty(LOAD), False),
        (Unreadable(LOAD, "gone"), False),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_push_is_spent_once_an_execute_was_sent(receipt: Receipt, *, costs: bool) -> None:
    assert spent(receipt) is costs
