"""Owns the numbers that say how the service stands, as of the last look at it.

Never looks by itself. Invariant: what is gone (a partition that left, a reason that holds nothing back any more) is not
shown any more.
"""

from __future__ import annotations

from collections import Counter as Counted
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from prometheus_client import Gauge

    from connector.core.offsets import TopicPartition
    from connector.observe.instruments import Instruments


DEPENDENCIES = ("brokers", "topics", "ledger", "schema_registry", "celonis", "spool")


class TableGauges(NamedTuple):
    """How one table stands.

    Records and bytes in its buffer, the age of the oldest there (seconds), `staleness`: that of the oldest in the
    buffer or in the load in flight, `waiting`: what a push is worth in weighted record-seconds, and why it is halted.
    """

    table: str
    records: int
    size: int
    age: float
    staleness: float
    waiting: float
    halted: str | None


class BudgetGauges(NamedTuple):
    """How the budget stands.

    `pushes_left` in this hour, `next_push`: seconds until the next can be granted, `hourly`: the pushes that a whole
    hour brings, `trouble`: why the ledger cannot be trusted, `alone`: whether this replica paces by itself because of
    that.
    """

    pushes_left: int
    next_push: float
    hourly: float
    trouble: str | None = None
    alone: bool = False


class IntentGauges(NamedTuple):
    """How many partitions are under an intent, and since when (seconds) the oldest of their jobs is known."""

    partitions: int
    age: float


class Gauges(NamedTuple):
    """How the service stands, `elapsed` seconds after the last look; `ready`: the group has taken us in.

    `missing`: those of DEPENDENCIES that are not there.
    `lag`: messages between position and end, `committed_lag`: between the committed offset and the end, `lost`:
    messages by topic, `paused`: partitions and the reason that holds them back, `stuck`: those that do not move.
    """

    tables: Iterable[TableGauges]
    lag: Mapping[TopicPartition, int]
    committed_lag: Mapping[TopicPartition, int]
    lost: Mapping[str, int]
    paused: Mapping[TopicPartition, str]
    stuck: Collection[TopicPartition]
    ready: bool
    missing: Collection[str]
    intents: IntentGauges
    budget: BudgetGauges
    spool_bytes: int
    memory_bytes: int
    elapsed: float


class Board:
    """Shows how the service stands."""

    def __init__(self, make: Instruments) -> None:
        gauge = make.gauge
        self._ready = gauge("ready")
        self._missing = gauge("missing")
        self._lag = gauge("lag_messages")
        self._committed_lag = gauge("committed_lag_messages")
        self._lost = gauge("lost_messages")
        self._stuck = gauge("stuck_partitions")
        self._paused = gauge("paused_partitions")
        self._paused_seconds = make.counter("paused_seconds")
        self._intents = gauge("open_intents")
        self._intent_age = gauge("open_intent_age_seconds")
        self._spool = gauge("spool_bytes")
        self._memory = gauge("memory_bytes")
        self._tables = _Tables(make)
        self._budget = _Budget(make)

    def show(self, gauges: Gauges) -> None:
        """Set all of them."""
        self._tables.show(gauges.tables)
        self._budget.show(gauges.budget)
        self._ready.set(gauges.ready)
        for dependency in DEPENDENCIES:
            self._missing.labels(dependency).set(dependency in gauges.missing)
        _replace(self._lag, {(tp.topic, str(tp.partition)): messages for tp, messages in gauges.lag.items()})
        _replace(self._committed_lag, {(tp.topic, str(tp.partition)): n for tp, n in gauges.committed_lag.items()})
        _replace(self._stuck, {(topic,): 0 for topic, _ in gauges.lag} | _counted(tp.topic for tp in gauges.stuck))
        _replace(self._paused, _counted(gauges.paused.values()))
        for reason in set(gauges.paused.values()):
            self._paused_seconds.labels(reason).inc(gauges.elapsed)
        for topic, messages in gauges.lost.items():
            self._lost.labels(topic).set(messages)
        self._intents.set(gauges.intents.partitions)
        self._intent_age.set(gauges.intents.age)
        self._spool.set(gauges.spool_bytes)
        self._memory.set(gauges.memory_bytes)

    def unready(self) -> None:
        """Show, at the end, that nobody looks any more."""
        self._ready.set(0)


class _Tables:
    """The gauges by table."""

    def __init__(self, make: Instruments) -> None:
        gauge = make.gauge
        self._records = gauge("buffered_records")
        self._bytes = gauge("buffered_bytes")
        self._age = gauge("buffered_age_seconds")
        self._staleness = gauge("staleness_seconds")
        self._waiting = gauge("waiting_record_seconds")
        self._halted = gauge("halted")

    def show(self, tables: Iterable[TableGauges]) -> None:
        for t in tables:
            self._records.labels(t.table).set(t.records)
            self._bytes.labels(t.table).set(t.size)
            self._age.labels(t.table).set(t.age)
            self._staleness.labels(t.table).set(t.staleness)
            self._waiting.labels(t.table).set(t.waiting)
            self._halted.labels(t.table).set(1 if t.halted else 0)


class _Budget:
    """The gauges of the budget."""

    def __init__(self, make: Instruments) -> None:
        self._left = make.gauge("pushes_left")
        self._hourly = make.gauge("pushes_per_hour")
        self._next = make.gauge("next_push_seconds")
        self._trouble = make.gauge("ledger_trouble")
        self._alone = make.gauge("budget_alone")

    def show(self, budget: BudgetGauges) -> None:
        self._left.set(budget.pushes_left)
        self._hourly.set(budget.hourly)
        self._next.set(budget.next_push)
        self._trouble.set(1 if budget.trouble else 0)
        self._alone.set(1 if budget.alone else 0)


def _counted(names: Iterable[str]) -> dict[tuple[str, ...], int]:
    return {(name,): n for name, n in Counted(names).items()}


def _replace(gauge: Gauge, values: Mapping[tuple[str, ...], int]) -> None:
    """Show exactly `values`; what stays is never gone for a moment, in which someone may scrape."""
    for labels in {tuple(s.labels.values()) for m in gauge.collect() for s in m.samples} - values.keys():
        gauge.remove(*labels)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
