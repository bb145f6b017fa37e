"""The simulation: the real connector in thousands of seeded schedules of faults, judged by the laws.

`SIM=1000` runs fewer, `make sim N=1000000` many more, `SEED=7 make sim` shows one with all that happened.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.property.cores import on_all_cores
from tests.property.simulation.run import Failure, run_seeds, trace_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

SCHEDULES = int(os.environ.get("SIM", "20000"))
TOGETHER = 500


FIRSTS = range(0, SCHEDULES, TOGETHER)


def broken_from(first: int) -> str:
    """Return what broke in the schedules from `first`, or nothing."""
    try:
        run_seeds(range(first, min(first + TOGETHER, SCHEDULES)))
    except Failure as e:
        return str(e)
    return ""


@pytest.fixture(scope="module")
def broken() -> Iterator[dict[int, Future[str]]]:
    with on_all_cores(broken_from, FIRSTS) as begun:
        yield begun


@pytest.mark.parametrize("first", FIRSTS)
def test_the_laws_hold_in_every_schedule_from(first: int, broken: dict[int, Future[str]]) -> None:
    if what := broken[first].result():
        pytest.fail(what, pytrace=False)


def test_a_seed_is_a_schedule_whatever_the_order_of_sets() -> None:
    told = []
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-m", "tests.property.simulation.run", "--digests", "--seeds", "100"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        told.append(done.stdout.splitlines())
    assert len(told[0]) == 100
    assert told[0] == told[1]


def test_a_trace_tells_what_happened_and_how_it_ended() -> None:
    trace, broken = trace_of(5)
    assert broken is None
    assert any("execute job" in line for line in trace)
