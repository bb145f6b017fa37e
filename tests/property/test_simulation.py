"""The simulation: the real connector in thousands of seeded schedules of faults, judged by the laws.

`SIM=1000` runs fewer, `make sim N=1000000` many more, `SEED=7 make sim` shows one with all that happened.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.property.simulation.run import Failure, run_seeds, trace_of

SCHEDULES = int(os.environ.get("SIM", "20000"))
TOGETHER = 500


@pytest.mark.parametrize("first", range(0, SCHEDULES, TOGETHER))
def test_the_laws_hold_in_every_schedule_from(first: int) -> None:
    try:
        run_seeds(range(first, min(first + TOGETHER, SCHEDULES)))
    except Failure as e:
        pytest.fail(str(e), pytrace=False)


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
