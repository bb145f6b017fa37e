"""Owns the ways to give out pushes that `benchmarks/freshness.py` compares: the product's own, and what it could be.

Never decides for the product: that is `connector.core.schedule.choose`, called here as the pipeline calls it.
Invariant: a policy sees what has come, never what will come; only `proportional` is told the mean rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from connector.core.flush import Trigger
from connector.core.schedule import Candidate, choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Policy = Callable[["Backlog", float], int | None]  # what waits, and now → the table that is pushed

SLOT = 15.0  # seconds between pushes: 240 an hour at an even rate


@dataclass(frozen=True, slots=True)
class Tables:
    """Their weights and mean rates, in records a second."""

    weights: Floats
    rates: Floats

    @property
    def optimum(self) -> float:
        """The least mean weighted wait at these rates, in seconds: (Σ√(w·λ))² / (2·B·Σ w·λ), B pushes a second.

        A table that is pushed r times a second, evenly, lets its records wait 1/(2r) on average, all together
        Σ w·λ/(2·r) / Σ w·λ. By Cauchy and Schwarz this is least under Σ r = B at r ∝ √(w·λ). Uneven pushes only add
        to it, and they are uneven where 1/r is not a whole number of slots: it is a floor, not always a ceiling.
        """
        flow = self.weights * self.rates
        return float(np.sqrt(flow).sum() ** 2 * SLOT / (2 * flow.sum()))


@dataclass(slots=True)
class Backlog:
    """What waits, by table: rows, the sum of their arrival times, the arrival of the first."""

    rows: NDArray[np.int64]
    arrivals: Floats
    opened_at: Floats

    def add(self, rows: NDArray[np.int64], now: float) -> None:
        """Take in what came evenly over the slot that ends now."""
        self.opened_at = np.where(self.rows == 0, now - SLOT, self.opened_at)
        self.rows = self.rows + rows
        self.arrivals = self.arrivals + rows * (now - SLOT / 2)

    def push(self, table: int) -> None:
        """Let go of what waits in a table."""
        self.rows[table], self.arrivals[table] = 0, 0.0


def product(tables: Tables) -> Policy:
    """Ask the product; the age of every buffer makes it eligible at once."""
    names = [f"table-{i:04}" for i in range(len(tables.weights))]
    index, weights = {name: i for i, name in enumerate(names)}, tables.weights.tolist()

    def policy(backlog: Backlog, now: float) -> int | None:
        waiting = zip(
            names, backlog.rows.tolist(), backlog.arrivals.tolist(), backlog.opened_at.tolist(), weights, strict=True
        )
        candidates = [Candidate(t, rows, sum_, first, rows, Trigger.AGE, w) for t, rows, sum_, first, w in waiting]
        choice = choose(candidates, now, slot=SLOT, service=0.0, pressed=False, replay_allowed=False)
        return index[choice.candidate.table] if choice else None

    return policy


def intervals(tables: Tables) -> Policy:
    """Push each table in turn, but no empty one: what the same fixed interval for all comes to."""
    count, last = len(tables.weights), -1

    def policy(backlog: Backlog, now: float) -> int | None:
        nonlocal last
        del now
        turns = ((last + step) % count for step in range(1, count + 1))
        last = next((i for i in turns if backlog.rows[i]), last)
        return last if last >= 0 and backlog.rows[last] else None

    return policy


def proportional(tables: Tables) -> Policy:
    """Push in proportion to the mean rate of records."""
    share = tables.rates / tables.rates.sum()
    credit = np.zeros(len(share))

    def policy(backlog: Backlog, now: float) -> int | None:
        del now
        credit[:] += share
        table = int(np.argmax(np.where(backlog.rows > 0, credit, -np.inf)))
        credit[table] -= 1
        return table if backlog.rows[table] else None

    return policy


def oldest(tables: Tables) -> Policy:
    """Push the table with the oldest record."""
    del tables

    def policy(backlog: Backlog, now: float) -> int | None:
        del now
        table = int(np.argmin(np.where(backlog.rows > 0, backlog.opened_at, np.inf)))
        return table if backlog.rows[table] else None

    return policy


def fullest(tables: Tables) -> Policy:
    """Push the table with the most records."""
    del tables

    def policy(backlog: Backlog, now: float) -> int | None:
        del now
        table = int(np.argmax(backlog.rows))
        return table if backlog.rows[table] else None

    return policy


POLICIES: dict[str, Callable[[Tables], Policy]] = {
    "waiting area (ours)": product,
    "fixed intervals": intervals,
    "in proportion to rates": proportional,
    "oldest record first": oldest,
    "most records first": fullest,
}
OURS = next(iter(POLICIES))
