"""How the service stands, as numbers."""

from __future__ import annotations

import math
from typing import Any

from connector.core.offsets import TopicPartition
from connector.observe.gauges import DEPENDENCIES, Board, BudgetGauges, Gauges, IntentGauges, TableGauges
from connector.observe.instruments import Instruments

A0, A1, B0 = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)
NOTHING = Gauges(
    tables=(),
    lag={},
    committed_lag={},
    lost={},
    paused={},
    stuck=(),
    ready=False,
    missing=(),
    intents=IntentGauges(0, 0.0),
    budget=BudgetGauges(0, 0.0, 0.0),
    spool_bytes=0,
    memory_bytes=0,
    elapsed=0.0,
)


class Shown:
    """A board, and what a scrape of it finds."""

    def __init__(self) -> None:
        self.make = Instruments()
        self.board = Board(self.make)

    def show(self, **changes: Any) -> None:
        self.board.show(NOTHING._replace(**changes))

    def value(self, name: str, **labels: str) -> float | None:
        return self.make.registry.get_sample_value(f"kafka_celonis_{name}", labels)


def test_each_table_shows_what_it_holds_and_since_when() -> None:
    shown = Shown()
    shown.show(tables=[TableGauges("T", 10, 1000, 2.5, 9.5, 120.0, None), TableGauges("U", 0, 0, 0.0, 0.0, 0.0, "403")])
    assert shown.value("buffered_records", table="T") == 10
    assert shown.value("buffered_bytes", table="T") == 1000
    assert shown.value("buffered_age_seconds", table="T") == 2.5
    assert shown.value("staleness_seconds", table="T") == 9.5
    assert shown.value("waiting_record_seconds", table="T") == 120
    assert (shown.value("halted", table="T"), shown.value("halted", table="U")) == (0, 1)


def test_both_lags_are_shown_and_a_partition_that_left_is_not() -> None:
    shown = Shown()
    shown.show(lag={A0: 5, A1: 6}, committed_lag={A0: 8})
    assert shown.value("lag_messages", topic="a", partition="1") == 6
    assert shown.value("committed_lag_messages", topic="a", partition="0") == 8
    assert shown.value("committed_lag_messages", topic="a", partition="1") is None
    shown.show(lag={A1: 0, B0: 1}, committed_lag={B0: 2}, lost={"b": 3})
    assert shown.value("lag_messages", topic="a", partition="0") is None
    assert shown.value("lag_messages", topic="a", partition="1") == 0
    assert shown.value("committed_lag_messages", topic="a", partition="0") is None
    assert shown.value("lost_messages", topic="b") == 3


def test_a_reason_holds_partitions_back_as_long_as_it_holds_any_and_its_seconds_add_up() -> None:
    shown = Shown()
    shown.show(paused={A0: "budget", A1: "budget", B0: "halted"}, elapsed=1.0)
    assert shown.value("paused_partitions", reason="budget") == 2
    shown.show(paused={B0: "halted"}, elapsed=1.5)
    assert shown.value("paused_partitions", reason="budget") is None
    assert shown.value("paused_partitions", reason="halted") == 1
    assert shown.value("paused_seconds_total", reason="budget") == 1.0
    assert shown.value("paused_seconds_total", reason="halted") == 2.5


def test_stuck_partitions_are_counted_by_topic_and_a_topic_without_any_shows_none() -> None:
    shown = Shown()
    shown.show(lag={A0: 5, A1: 6, B0: 0}, stuck=[A0, A1])
    assert (shown.value("stuck_partitions", topic="a"), shown.value("stuck_partitions", topic="b")) == (2, 0)
    shown.show(lag={B0: 0})
    assert (shown.value("stuck_partitions", topic="a"), shown.value("stuck_partitions", topic="b")) == (None, 0)


def test_the_budget_shows_what_is_left_when_the_next_push_may_be_and_whether_its_ledger_is_trusted() -> None:
    shown = Shown()
    shown.show(budget=BudgetGauges(7, 12.5, 120.0))
    names = "pushes_left", "next_push_seconds", "pushes_per_hour", "ledger_trouble", "budget_alone"
    assert [shown.value(name) for name in names] == [7, 12.5, 120, 0, 0]
    shown.show(budget=BudgetGauges(7, math.inf, 240.0, "no broker answers", alone=True))
    assert [shown.value(name) for name in names] == [7, math.inf, 240, 1, 1]


def test_each_dependency_shows_whether_it_is_missing_also_one_that_never_was() -> None:
    shown = Shown()
    shown.show(missing=["celonis", "topics"])
    assert {name: shown.value("missing", dependency=name) for name in DEPENDENCIES} == {
        "brokers": 0,
        "topics": 1,
        "ledger": 0,
        "schema_registry": 0,
        "celonis": 1,
        "spool": 0,
    }
    shown.show()
    assert shown.value("missing", dependency="celonis") == 0


def test_the_disk_the_memory_the_intents_and_the_membership_are_shown_as_they_are() -> None:
    shown = Shown()
    names = "spool_bytes", "memory_bytes", "open_intents", "open_intent_age_seconds", "ready"
    shown.show(spool_bytes=8, memory_bytes=9, intents=IntentGauges(3, 61.5), ready=True)
    assert [shown.value(name) for name in names] == [8, 9, 3, 61.5, 1]
    shown.show()
    assert [shown.value(name) for name in names] == [0, 0, 0, 0, 0]
