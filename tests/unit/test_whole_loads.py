"""Loads that replace a table: each carries its partitions to their ends, whatever the last messages were."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from connector.config import Memory, Spool
from connector.core.flush import Trigger
from connector.core.intents import Committed, parse
from connector.core.loads import Target
from connector.core.offsets import OffsetRange
from connector.errors import ConnectorError
from connector.spool.whole import WholeSpool
from tests.unit.bench import A0, A1, Bench
from tests.unit.spool.test_buffer_and_chunks import NARROW, P0, P1, add, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Bench]


def test_a_load_reaches_to_the_end_of_each_partition_that_it_has_rows_of(tmp_path: Path) -> None:
    spool = WholeSpool(Spool(directory=tmp_path), Memory(), {P0: 9, P1: 7})
    buffer = spool.buffer(Target("t", ()))
    add(buffer, [("x", 1), ("y", 2)], start=3)
    assert list(buffer.held) == [OffsetRange("t", 0, 3, 5)], "until then only what was read"
    load = buffer.flush(NARROW, Trigger.AGE)
    assert load.ranges == (OffsetRange("t", 0, 3, 9),)
    assert rows_of(load) == [("x", 1), ("y", 2)]
    spool.close()


def test_a_table_that_does_not_fit_is_refused_instead_of_pushed_in_parts(tmp_path: Path) -> None:
    spool = WholeSpool(Spool(directory=tmp_path, bytes=1 << 20), Memory(), {P0: 40_000})
    buffer = spool.buffer(Target("t", ()))
    assert not spool.pressed()
    add(buffer, [(hashlib.sha256(b"%d" % n).hexdigest(), n) for n in range(40_000)])  # does not compress
    buffer.spill()
    with pytest.raises(ConnectorError, match="does not fit into the spool"):
        spool.pressed()
    spool.close()


@pytest.mark.parametrize("tail", [b"bad", None])
def test_the_job_is_decided_on_up_to_the_end_once_all_before_it_is_settled(make: Make, tail: bytes | None) -> None:
    bench = make({A0: [b"1"], A1: [b"2"]}, ends={A0: 2, A1: 1})
    bench.step()
    bench.source.log[A0] = [b"1", tail]
    bench.step()
    bench.step(61)
    bench.pusher.prepared()
    for _ in range(3):
        bench.step()
    if tail:
        assert not bench.pusher.to_apply, "its end would commit a dead letter that nobody has acknowledged"
        bench.dead_letters.acknowledge()
    for _ in range(3):
        bench.step()
    intents = {tp: parse(c.metadata) for tp, c in bench.source.committed.items()}
    assert {tp: intent and intent.end for tp, intent in intents.items()} == {A0: 2, A1: 1}
    bench.pusher.done()
    for _ in range(2):
        bench.step(6)
    assert bench.source.committed == {A0: Committed(2), A1: Committed(1)}
