"""The wall clock jumps an hour either way: ages follow the other clock, and the budget of no hour is exceeded."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from connector.core.hours import HOUR, Now, TeamClock, hour_of
from connector.core.paced import PacedBudget
from tests.unit.bench import A0

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.bench import Bench

    Make = Callable[..., Bench]

NOON = 12 * HOUR
LIMIT = 20  # pushes an hour: one in three minutes


class Clocks:
    """Steps a bench with two clocks: `mono` goes on, `utc` is what somebody set. `executed` counts jobs by hour."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.mono, self.utc = 1000.0, NOON + 600
        self.executed: Counter[int] = Counter()

    def step(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass, and step."""
        self.mono += seconds
        self.utc += seconds
        before = len(self._bench.pusher.to_apply)
        self._bench.pipeline.step(Now(self.mono, self.utc))
        self.executed[hour_of(self.utc)] += len(self._bench.pusher.to_apply) - before

    def work(self) -> None:
        """Let a message come and two minutes pass; every job that is executed succeeds."""
        bench = self._bench
        bench.source.log[A0].append(b"1")
        for _ in range(24):
            self.step(5)
            if bench.pusher.to_prepare:
                bench.pusher.prepared()
            self.step()
            self.step()
            if bench.pusher.to_apply:
                bench.pusher.done()
            self.step()


@pytest.fixture
def clocks(make: Make) -> Clocks:
    return Clocks(make({A0: []}, budget=PacedBudget(LIMIT, TeamClock())))


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_an_age_is_no_older_and_no_younger_after_a_jump(make: Make, jump: float) -> None:
    bench = make({A0: [b"1"]})
    clocks = Clocks(bench)
    clocks.step()
    clocks.utc += jump
    clocks.step(59)
    assert not bench.pusher.to_prepare
    clocks.step(1)
    assert len(bench.pusher.to_prepare) == 1


def test_a_clock_that_jumps_earns_nothing_by_it(clocks: Clocks) -> None:
    for _ in range(10):
        clocks.work()
    before = clocks.executed.total()
    assert before >= 5
    for jump in (HOUR, -HOUR, 600, -600) * 20:
        clocks.utc += jump
        clocks.step()
    assert clocks.executed.total() == before
    for _ in range(10):
        clocks.work()
    assert clocks.executed.total() > before


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_clock_does_no_more_is_executed_than_time_has_earned(make: Make, seed: int) -> None:
    bench = make({A0: []}, budget=PacedBudget(LIMIT, TeamClock()))
    clocks, choose = Clocks(bench), random.Random(seed)
    began = clocks.mono
    for _ in range(40):
        clocks.work()
        clocks.utc += choose.choice((0, 0, -HOUR, HOUR))
    assert clocks.executed.total() <= (clocks.mono - began) * LIMIT / HOUR
    for _ in range(20):
        clocks.work()
    assert bench.source.offsets[A0] >= 40  # the last ones are perhaps still in the buffer
