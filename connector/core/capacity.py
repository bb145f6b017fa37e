"""Owns how the pushes of an hour go to tables in the long run: push rates, staleness, loads, and the disk they need.

Never measures: rates and sizes are given. Invariant: the push rates together stay within the budget, and no table is
pushed more often than records come or, but for its `max_staleness`, than its flush policy lets it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from connector.core.hours import HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.core.flush import FlushPolicy

_HALVINGS = 200  # of the interval in which the level lies: down to the last bit of a float
_ROUNDING = 1 + 1e-6


class Bound(StrEnum):
    """What decides how often a table is pushed."""

    RECORDS = "records"
    BYTES = "bytes"
    AGE = "age"
    STALENESS = "staleness"
    BUDGET = "budget"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a table asks for: records per second, bytes of a record on disk, and its settings.

    `copies`: how often a load lies on disk while it is pushed.
    """

    table: str
    rate: float
    record_bytes: float
    policy: FlushPolicy
    weight: float = 1.0
    max_staleness: float | None = None
    copies: int = 1

    @property
    def eligible(self) -> tuple[float, Bound]:
        """Pushes per second as the flush policy alone would have it, and which of its limits comes first."""
        intervals = (
            (1 / self.rate + self.policy.age, Bound.AGE),
            (self.policy.records / self.rate, Bound.RECORDS),
            (max(1.0, self.policy.size / self.record_bytes) / self.rate, Bound.BYTES),
        )
        interval, bound = min(intervals)
        return 1 / interval, bound

    def deadline(self, service: float) -> float:
        """Return the pushes per second that `max_staleness` needs, or all that make sense; 0 without one."""
        if self.max_staleness is None:
            return 0.0
        return 1 / (1 / self.rate + max(0.0, self.max_staleness - service))


@dataclass(frozen=True, slots=True)
class Limits:
    """What all tables share. `service`: seconds from a flush to DONE; `loads`: how many may be on the way at once."""

    pushes_per_hour: int
    chunk_bytes: int
    spool_bytes: int
    service: float = 5.0
    in_flight: int = 1
    loads: int = 4

    @property
    def slot(self) -> float:
        """Seconds from one push to the next: by the budget, or by the service where that takes longer."""
        return max(HOUR / self.pushes_per_hour, self.service / self.in_flight)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What becomes of one table: pushes per second, mean and worst staleness, records and bytes of a load.

    Staleness is the seconds from a record's arrival to the end of its job.
    """

    demand: Demand
    bound: Bound
    pushes: float
    mean: float
    worst: float
    records: float
    size: float
    chunks: int

    @property
    def wait(self) -> float:
        """Seconds from the first record of a buffer to its flush."""
        return _wait(self.demand.rate, self.pushes)


@dataclass(frozen=True, slots=True)
class Plan:
    """The tables in the order given, and what holds for all of them.

    `mean` is the staleness weighted by records and weights; `optimum` what the square-root law would reach with all of
    the budget and no other rule; `interval` the seconds between two pushes of a table, were the same pushes spread
    evenly over the tables. `binding`: the flush
    policies and deadlines ask for more than the budget. `spool` and `spool_hour` are bytes: as a rule, and after an
    hour in which nothing could be pushed.
    """

    limits: Limits
    tables: tuple[TablePlan, ...]
    binding: bool
    mean: float
    optimum: float
    interval: float
    spool: float
    spool_hour: float

    @property
    def pushes(self) -> float:
        """Pushes per second of all tables."""
        return sum(t.pushes for t in self.tables)

    @property
    def fixed(self) -> float:
        """Mean staleness with fixed intervals and as many pushes."""
        return self.interval / 2 + self.limits.service


def plan(demands: Sequence[Demand], limits: Limits) -> Plan:
    """Return the plan: the square-root law within what each table allows and asks for."""
    live = [d for d in demands if d.rate > 0]
    budget = 1 / limits.slot
    rates = dict(zip((d.table for d in live), push_rates(live, limits), strict=True))
    wanted = sum(max(d.eligible[0], d.deadline(limits.service)) for d in live)
    binding = wanted > budget
    tables = tuple(_table(d, rates.get(d.table, 0.0), limits, binding=binding) for d in demands)
    spool = _spool(tables, limits, binding=binding)
    return Plan(
        limits=limits,
        tables=tables,
        binding=binding,
        mean=_mean(tables),
        optimum=_optimum(live, budget) + limits.service if live else 0.0,
        interval=len(live) / sum(rates.values()) if live else 0.0,
        spool=spool,
        spool_hour=spool + HOUR * sum(d.rate * d.record_bytes for d in live),
    )


def push_rates(demands: Sequence[Demand], limits: Limits) -> list[float]:
    """Return pushes per second of each table (all with records), in the order given.

    Rate i is level * √(weight * records per second), held between what the deadline needs and what the flush policy
    allows; the level is the highest that the budget bears. Where the deadlines alone need more than there is, each
    gets its part of it, and tables without deadline get nothing.
    """
    budget = 1 / limits.slot
    floors = [d.deadline(limits.service) for d in demands]
    if sum(floors) >= budget:
        return [floor * budget / sum(floors) for floor in floors]
    bounds = [(f, max(f, d.eligible[0]), math.sqrt(d.weight * d.rate)) for f, d in zip(floors, demands, strict=True)]

    def at(level: float) -> list[float]:
        return [min(max(level * share, low), high) for low, high, share in bounds]

    low, high = 0.0, max((high / share for _, high, share in bounds), default=0.0)
    if sum(at(high)) <= budget:
        return at(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(at(middle)) <= budget else (low, middle)
    return at(low)


def _table(demand: Demand, pushes: float, limits: Limits, *, binding: bool) -> TablePlan:
    if not demand.rate:
        return TablePlan(demand, Bound.IDLE, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
    wait = _wait(demand.rate, pushes)
    records = 1 + demand.rate * wait
    size = records * demand.record_bytes
    return TablePlan(
        demand=demand,
        bound=_bound(demand, pushes, limits),
        pushes=pushes,
        mean=_mean_wait(demand.rate, wait) + limits.service,
        worst=_worst(demand, wait, limits, binding=binding),
        records=records,
        size=size,
        chunks=math.ceil(size / limits.chunk_bytes) if math.isfinite(size) else 0,
    )


def _wait(rate: float, pushes: float) -> float:
    """Return how long a buffer is open: the interval less the time until its first record."""
    return max(0.0, 1 / pushes - 1 / rate) if pushes else math.inf


def _mean_wait(rate: float, wait: float) -> float:
    """Return the mean wait of records in a buffer open for `wait`: the first all of it, later ones half on average."""
    if math.isinf(wait):
        return wait
    return (wait + rate * wait * wait / 2) / (1 + rate * wait)


def _worst(demand: Demand, wait: float, limits: Limits, *, binding: bool) -> float:
    kept, late = wait + limits.service, wait + limits.service + limits.slot * binding
    most = demand.max_staleness
    return min(late, most) if most is not None and kept <= most * _ROUNDING else late


def _bound(demand: Demand, pushes: float, limits: Limits) -> Bound:
    (eligible, trigger), deadline = demand.eligible, demand.deadline(limits.service)
    if pushes * _ROUNDING >= max(eligible, deadline):
        return trigger if eligible >= deadline else Bound.STALENESS
    return Bound.STALENESS if pushes <= deadline * _ROUNDING else Bound.BUDGET


def _mean(tables: Sequence[TablePlan]) -> float:
    live = [(t.demand.weight * t.demand.rate, t.mean) for t in tables if t.demand.rate]
    return sum(w * mean for w, mean in live) / sum(w for w, _ in live) if live else 0.0


def _optimum(demands: Sequence[Demand], budget: float) -> float:
    """Return the least weighted mean wait that `budget` pushes per second allow: (Σ√(wλ))² / (2 B Σwλ)."""
    loads = [d.weight * d.rate for d in demands]
    return sum(map(math.sqrt, loads)) ** 2 / (2 * budget * sum(loads))


def _spool(tables: Sequence[TablePlan], limits: Limits, *, binding: bool) -> float:
    """Return the bytes of all buffers at their largest, and of the largest loads that are on their way at once."""
    late = limits.slot * binding
    live = [t for t in tables if t.demand.rate]
    buffers = sum(t.size + late * t.demand.rate * t.demand.record_bytes for t in live)
    loads = sorted((t.size * t.demand.copies for t in live), reverse=True)
    return buffers + sum(loads[: limits.loads])
