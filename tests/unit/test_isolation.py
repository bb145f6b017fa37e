"""The search for records that a job fails on, stepped by hand against a platform that refuses some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.hours import Now
from connector.core.loads import JobFailed, Load, Target
from connector.core.messages import Decoded, Deletes
from connector.core.offsets import OffsetRange
from connector.isolation import Isolation
from connector.spool.chunks import build_chunks
from tests.fakes import message_batch
from tests.unit.bench import A0, A1, B0

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.core.loads import Prepared
    from tests.unit.bench import Bench

    Make = Callable[..., Bench]


class Platform:
    """Fails every job that holds a bad value; keeps what arrived, and counts the pushes."""

    def __init__(self, bench: Bench, *bad: int) -> None:
        self.bench, self.bad = bench, set(bad)
        self.stored: list[int] = []
        self.pushes = 0

    def run(self, steps: int = 400) -> None:
        """Let everything go on until nothing moves any more."""
        for _ in range(steps):
            self.bench.dead_letters.acknowledge()
            if self.bench.pusher.to_prepare:
                self.bench.pusher.prepared()
            if self.bench.pusher.to_apply:
                self._apply(self.bench.pusher.to_apply[0])
            self.bench.step(1)

    def _apply(self, prepared: Prepared) -> None:
        self.pushes += 1
        tables = [pq.read_table(chunk.path) for chunk in build_chunks(prepared.load)]
        values = [v for table in tables for v in table.column("v").to_pylist()]
        if self.bad.isdisjoint(values):
            self.stored += values
            self.bench.pusher.done()
        else:
            self.bench.pusher.to_apply.popleft()
            said = ("row 1: too large",)
            self.bench.pusher.receipts.append(JobFailed(prepared.load, prepared.job_id, "ERROR", said))


def _values(*numbers: int) -> list[bytes | None]:
    return [b"%d" % n for n in numbers]


@pytest.mark.parametrize("bad", [0, 1, 37, 62, 63])
def test_one_bad_record_goes_to_the_dead_letters_with_what_the_job_said_and_the_rest_arrives(
    make: Make, bad: int
) -> None:
    bench = make({A0: _values(*range(64))}, isolate=40, limit=100)
    platform = Platform(bench, bad)
    platform.run()
    assert sorted(platform.stored) == [n for n in range(64) if n != bad]
    assert [(r.offset, r.reason) for r in bench.dead_letters.sent] == [(bad, "job_error")]
    assert "row 1: too large" in bench.dead_letters.sent[0].detail
    assert bench.source.offsets[A0] == 64
    assert platform.pushes <= 2 + 2 * 6 + 2


def test_several_bad_records_of_several_partitions_are_all_found(make: Make) -> None:
    bench = make({A0: _values(*range(20)), A1: _values(*range(100, 130))}, isolate=60, limit=200)
    platform = Platform(bench, 3, 4, 111, 129)
    platform.run(900)
    assert sorted(platform.stored) == [n for n in [*range(20), *range(100, 130)] if n not in platform.bad]
    assert sorted((r.tp, r.offset) for r in bench.dead_letters.sent) == [(A0, 3), (A0, 4), (A1, 11), (A1, 29)]
    assert bench.source.offsets == {A0: 20, A1: 30}


def test_after_the_search_loads_are_as_large_as_before(make: Make) -> None:
    bench = make({A0: _values(*range(8))}, isolate=40, limit=100)
    platform = Platform(bench, 5)
    platform.run()
    before = platform.pushes
    bench.source.log[A0] += _values(*range(100, 150))
    platform.run()
    assert platform.pushes - before <= 2
    assert sorted(platform.stored)[-50:] == list(range(100, 150))
    platform.run(100)
    assert bench.sink("a").isolation.limit is None


def test_a_bad_column_halts_the_table_soon_and_the_others_flow(make: Make) -> None:
    bench = make({A0: _values(*range(16)), B0: _values(1000)}, isolate=40, limit=100)
    platform = Platform(bench, *range(16))
    platform.run()
    assert "it is not the records" in (bench.sink("a").halted or "")
    assert platform.stored == [1000]
    assert len(bench.dead_letters.sent) == 3
    assert bench.source.offsets[A0] <= 3


def test_a_search_ends_where_its_pushes_end(make: Make) -> None:
    bench = make({A0: _values(*range(64))}, isolate=3, limit=100)
    platform = Platform(bench, 63)
    platform.run()
    assert "within 3 pushes (job_error_pushes)" in (bench.sink("a").halted or "")
    assert not bench.dead_letters.sent


def _fail_twice(bench: Bench) -> None:
    """Let the first load be flushed, and both of its jobs fail."""
    bench.step()
    bench.step(61)
    for _ in range(2):
        prepared = bench.executing()
        bench.pusher.to_apply.clear()
        bench.pusher.receipts.append(JobFailed(prepared.load, prepared.job_id, "ERROR", ()))
        bench.step()


def test_the_rest_of_a_topic_is_held_back_while_a_part_of_it_is_tried(make: Make) -> None:
    bench = make({A0: _values(*range(64))}, isolate=40, limit=100)
    _fail_twice(bench)
    bench.step()
    assert bench.sink("a").push is not None
    assert bench.pusher.to_prepare[-1].rows == 32
    bench.step()
    assert bench.pipeline.held_back(Now(bench.now, bench.now)) in ({A0: "isolating"}, {})


def test_a_partition_lost_during_the_search_ends_it(make: Make) -> None:
    bench = make({A0: _values(*range(8))}, isolate=40, limit=100)
    _fail_twice(bench)
    assert bench.sink("a").isolation.limit == 4
    bench.take_away(A0)
    assert bench.sink("a").isolation.limit is None


def test_a_delete_that_a_job_fails_on_is_given_up_like_a_record() -> None:
    messages = message_batch(b"1", None, b"3")
    batch = pa.RecordBatch.from_pydict({"v": [1, 3]})
    deletes = Deletes(pa.RecordBatch.from_pydict({"v": [2]}), np.array([1]))
    isolation = Isolation(10)
    load = Load("l", Target("T", ("v",)), TableSchema(), (), (OffsetRange("orders", 0, 1, 2),), Trigger.AGE, 0.0)
    assert isolation.failed(load, "no such key") is None
    left = isolation.without_condemned(messages, Decoded(batch, np.array([0, 2]), deletes=deletes))
    assert [(r.offset, r.reason, r.detail) for r in left.rejects] == [(1, "job_error", "no such key")]
    assert left.batch.to_pydict() == {"v": [1, 3]}
    assert left.deletes is not None
    assert len(left.deletes.rows) == left.deletes.batch.num_rows == 0
    elsewhere = message_batch(b"1", None, topic="other")
    untouched = Decoded(batch, np.array([0, 2]))
    assert isolation.without_condemned(elsewhere, untouched) is untouched
