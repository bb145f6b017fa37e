"""Owns how fresh the tables are under one budget of pushes: the product's own schedule, against others and the optimum.

Simulated in slots of 15 s, 240 pushes an hour, a push taking no time. Never measures the pipeline: what a push takes
comes on top, the same for all. Invariant: every policy sees the same records, and records that are never pushed count.

    python -m benchmarks.freshness [--picture]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.decode import ratio
from benchmarks.freshness_policies import OURS, POLICIES, SLOT, Backlog, Tables
from connector.core.flush import Trigger
from connector.core.schedule import Candidate, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.freshness_policies import Floats, Policy

PICTURE = Path(__file__).parent / "freshness.svg"
HOURS, WARM_UP = 20, 5  # the rarest push of 300 tables comes every two and a half hours
RECORDS = 20_000.0  # a second, of all tables: the fluid limit, in which the optimum is a floor
BUSY = 0.1  # of the time, in bursts
BURST = 40  # slots that one lasts on average: ten minutes


@dataclass(frozen=True, slots=True)
class Scenario:
    """Some tables, and what comes for them: rows by slot and table."""

    name: str
    tables: Tables
    coming: NDArray[np.int64]
    steady: bool


def scenarios() -> list[Scenario]:
    """Return all scenarios, the same in every run."""
    choose_ = np.random.default_rng(1)
    counts = ((20, False), (60, True), (100, False), (300, True))
    steady = [_steady(f"steady, {n} tables", n, zipf(n), choose_, weighted=w) for n, w in counts]
    few = np.array([0.97 / 3] * 3 + [0.03 / 57] * 57)
    skewed = [_steady("97 % in 3 of 60", 60, few, choose_, weighted=w) for w in (False, True)]
    bursts = [_bursts(f"bursts, {n} tables", n, zipf(n), choose_, weighted=w) for n, w in counts]
    return [*steady, *skewed, *bursts, _bursts("bursts, 100 equal tables", 100, np.full(100, 0.01), choose_)]


def zipf(count: int) -> Floats:
    """Return the shares of tables whose rates fall as 1/rank."""
    shares = 1.0 / np.arange(1, count + 1)
    return np.asarray(shares / shares.sum())


def _tables(count: int, shares: Floats, draw: np.random.Generator, *, weighted: bool) -> Tables:
    weights = draw.choice([1.0, 4.0, 16.0], count) if weighted else np.ones(count)
    return Tables(weights, RECORDS * shares)


def _steady(name: str, count: int, shares: Floats, draw: np.random.Generator, *, weighted: bool = False) -> Scenario:
    tables = _tables(count, shares, draw, weighted=weighted)
    coming = draw.poisson(tables.rates * SLOT, (int(HOURS * 3600 / SLOT), count))
    return Scenario(name + ", weights" * weighted, tables, coming, steady=True)


def _bursts(name: str, count: int, shares: Floats, draw: np.random.Generator, *, weighted: bool = False) -> Scenario:
    """Let each table be on for a while, at ten times its mean rate, and off for nine times as long."""
    tables = _tables(count, shares, draw, weighted=weighted)
    on = np.zeros((int(HOURS * 3600 / SLOT), count), dtype=bool)
    for table in range(count):
        slot, busy = 0, draw.random() < BUSY
        while slot < len(on):
            lasts = draw.geometric(1 / BURST if busy else BUSY / (1 - BUSY) / BURST)
            on[slot : slot + lasts, table] = busy
            slot, busy = slot + lasts, not busy
    return Scenario(name + ", weights" * weighted, tables, draw.poisson(on * tables.rates * SLOT / BUSY), steady=False)


def mean_wait(scenario: Scenario, make: Callable[[Tables], Policy]) -> float:
    """Return the mean weighted wait of records until their push, in seconds, after the warm-up.

    By Little's law: the weighted records that wait, over time, divided by those that come.
    """
    policy, weights = make(scenario.tables), scenario.tables.weights
    count, first = len(weights), WARM_UP * 3600 / SLOT
    backlog = Backlog(np.zeros(count, dtype=np.int64), np.zeros(count), np.zeros(count))
    waited = came = 0.0
    for slot, rows in enumerate(scenario.coming):
        now = (slot + 1) * SLOT
        if slot >= first:
            waited += float(weights @ (backlog.rows + rows / 2)) * SLOT
            came += float(weights @ rows)
        backlog.add(rows, now)
        if (table := policy(backlog, now)) is not None:
            backlog.push(table)
    return waited / came


def freshness_to_optimum_steady() -> float:
    """Return our mean weighted wait as a multiple of the optimum, in the worst of the steady scenarios."""
    return max(mean_wait(s, POLICIES[OURS]) / s.tables.optimum for s in scenarios() if s.steady)


def choose_to_max() -> tuple[float, float]:
    """Return what choosing among 1,000 tables costs, as a multiple of `max()` by area alone, and in milliseconds."""
    draw, now = random.Random(1), 1000.0
    candidates = [
        Candidate(f"t{i}", n := draw.randrange(1, 9999), n * draw.uniform(0, now), 0.0, n, Trigger.AGE, 1.0, staleness)
        for i, staleness in enumerate([None, 50_000.0] * 500)
    ]

    def work() -> object:
        return choose(candidates, now, slot=SLOT, service=10.0, pressed=False, replay_allowed=True)

    times = []
    for _ in range(50):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return ratio(lambda: max(candidates, key=lambda c: c.bid(now)), work), statistics.median(times) * 1e3


def main() -> None:
    """Measure and print a table; with --picture also draw it."""
    options = argparse.ArgumentParser(description="How fresh tables are, by who is pushed next.")
    options.add_argument("--picture", action="store_true", help=f"draw benchmarks/{PICTURE.name}")
    picture = options.parse_args().picture
    print(f"| mean wait, s | {' | '.join(POLICIES)} | optimum | ours to optimum |")
    print("|---" * (len(POLICIES) + 3) + "|")
    found: dict[str, tuple[dict[str, float], float | None]] = {}
    for s in scenarios():
        waits = {name: mean_wait(s, make) for name, make in POLICIES.items()}
        optimum = s.tables.optimum if s.steady else None
        found[s.name] = waits, optimum
        floor = f"{optimum:.1f} | {waits[OURS] / optimum:.3f}" if optimum else "- | -"
        print(f"| {s.name} | {' | '.join(f'{w:.1f}' for w in waits.values())} | {floor} |", flush=True)
    times, milliseconds = choose_to_max()
    print(f"\nChoosing among 1,000 tables: {milliseconds:.2f} ms, {times:.1f} times max() by area.")
    if picture:
        from benchmarks.freshness_picture import draw  # noqa: PLC0415, only the picture needs its library

        draw(found, PICTURE)


if __name__ == "__main__":
    main()
