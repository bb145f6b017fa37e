"""What is told of a running service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from connector.config import Settings, Table
from connector.core.entries import Entry, Kind
from connector.core.hours import Now, TeamClock
from connector.core.intents import Committed, Intent, Origin
from connector.core.offsets import TopicPartition
from connector.core.paced import PacedBudget
from connector.core.watch import PATIENCE
from connector.deadlines import Deadlines
from connector.dependencies import Dependencies
from connector.errors import ConnectorError
from connector.ledger import LedgerBudget
from connector.observe.gauges import DEPENDENCIES
from connector.observe.health import PATIENCE as PATIENCE_OF_HEALTH
from connector.observe.health import Health
from connector.observe.metrics import Metrics
from connector.reporting import Reporter
from connector.routing import Routes
from tests.fakes import FakeSource
from tests.unit.bench import A0, A1, B0

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from connector.core.entries import Anchor, Stamped
    from tests.unit.bench import Bench

    Make = Callable[..., Bench]

POOL = "11111111-2222-3333-4444-555555555555"


class Consumer(FakeSource):
    """A source that tells how it stands; `lags` replaces what it would find."""

    def __init__(self, log: Mapping[TopicPartition, Sequence[bytes | None]]) -> None:
        super().__init__(log)
        self.joined = True
        self.away: str | None = None
        self.forbidden: dict[str, str] = {}
        self.absent: tuple[str, ...] | None = ()
        self.lost: dict[str, int] = {}
        self.lags: dict[TopicPartition, int] = {}

    def lag(self) -> dict[TopicPartition, int]:
        return super().lag() | self.lags


class SilentLedger:
    """A ledger that is never read to its end."""

    trouble: str | None = "no broker answers"
    anchor: Anchor | None = None
    generation = 1

    def append(self, entry: Entry) -> None:
        assert entry.replica == "me"

    def read(self) -> list[Stamped]:
        return []

    def close(self) -> None:
        return None


class Reported:
    """A pipeline over fakes, its reporter, and what they tell."""

    def __init__(
        self,
        make: Make,
        log: Mapping[TopicPartition, Sequence[bytes | None]],
        dependencies: Dependencies | None = None,
        **options: Any,
    ) -> None:
        self.source = Consumer(log)
        self.bench = make(log, source=self.source, **options)
        self.metrics, self.health = Metrics(), Health(lambda: self.bench.now)
        self.routes = Routes([Table(topics=["a"], format="json", target="a", max_staleness=3600)])
        self.reporter = Reporter(
            pipeline=self.bench.pipeline,
            source=self.source,
            spool=self.bench.spool,
            budget=options.get("budget", self.bench.budget),
            mode="paced",
            pushes_per_hour=240,
            deadlines=Deadlines(self.routes, slot=15.0, executing=1),
            dependencies=dependencies or Dependencies({}),
            health=self.health,
            metrics=self.metrics,
        )

    def look(self, seconds: float = 1.0, *, stopping: bool = False) -> None:
        self.bench.now += seconds
        self.reporter.look(Now(self.bench.now, self.bench.now), stopping=stopping)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"kafka_celonis_{name}", labels)

    @property
    def troubles(self) -> dict[str, str]:
        troubles = self.health.status()["troubles"]
        assert isinstance(troubles, dict)
        return troubles


def test_a_record_is_stale_from_its_arrival_until_its_job_is_done(make: Make) -> None:
    found = Reported(make, {A0: [b"1"] * 3}, records=3)
    bench = found.bench
    bench.step()
    found.look(2.0)
    assert (found.value("staleness_seconds", table="a"), found.value("buffered_age_seconds", table="a")) == (2, 0)
    found.source.log[A0] += [b"2"]
    bench.step()
    found.look(3.0)
    assert (found.value("staleness_seconds", table="a"), found.value("buffered_age_seconds", table="a")) == (5, 3)
    assert found.value("waiting_record_seconds", table="a") == pytest.approx(3 * 5.0 + 1 * 3.0)
    bench.executing()
    bench.pusher.done()
    bench.step()
    found.look(1.0)
    assert (found.value("staleness_seconds", table="a"), found.value("buffered_age_seconds", table="a")) == (4, 4)


def test_a_table_with_nothing_to_push_is_not_stale(make: Make) -> None:
    found = Reported(make, {A0: [b"1"]}, records=1)
    found.bench.step()
    found.bench.executing()
    found.bench.pusher.done()
    found.bench.step()
    found.look(9.0)
    assert (found.value("staleness_seconds", table="a"), found.value("waiting_record_seconds", table="a")) == (0, 0)


def test_what_is_read_and_not_committed_is_the_difference_of_the_lags(make: Make) -> None:
    found = Reported(make, {A0: [b"1"] * 4, B0: []})
    found.source.batch = 3
    found.bench.step()
    found.source.committed.pop(B0)
    found.look()
    assert found.value("lag_messages", topic="a", partition="0") == 1
    assert found.value("committed_lag_messages", topic="a", partition="0") == 4
    assert found.value("committed_lag_messages", topic="b", partition="0") is None, "nothing is known of it"


def test_it_looks_once_a_second_and_always_while_stopping(make: Make) -> None:
    found = Reported(make, {A0: [b"1"] * 2})
    found.look()
    found.bench.step()
    found.look(0.5)
    assert found.value("buffered_records", table="a") is None
    found.look(0.5)
    assert found.value("buffered_records", table="a") == 2
    found.look(0.1, stopping=True)
    assert found.health.status()["stopping"] is True


def test_the_seconds_in_which_partitions_are_held_back_add_up(make: Make) -> None:
    found = Reported(make, {A0: [], A1: []})
    found.bench.dead_letters.full = True
    for _ in range(4):
        found.look(1.0)
    assert found.value("paused_partitions", reason="dead_letters") == 2
    assert found.value("paused_seconds_total", reason="dead_letters") == 3, "since the first look"


def test_a_partition_that_should_move_and_does_not_is_told_once_and_counts_as_trouble_until_it_moves(
    make: Make,
) -> None:
    found = Reported(make, {A0: []})
    found.source.lags = {A0: 5}
    found.look()
    with capture_logs() as lines:
        for _ in range(int(PATIENCE) + 5):
            found.look()
    (line,) = lines
    assert line.pop("hint").startswith("look for the partition's leader")
    expected = {"topic": "a", "partition": 0, "position": 0, "lag": 5, "seconds": PATIENCE}
    assert line == {"event": "stuck partition", "log_level": "warning"} | expected
    assert found.value("stuck_partitions", topic="a") == 1
    assert found.troubles["partition a[0]"].startswith("stuck at offset 0 with 5 messages to read (look for")
    assert found.health.ready()[0]
    found.source.positions[A0] = 1
    with capture_logs() as lines:
        found.look()
        found.look()
    assert lines == [{"event": "healed partition", "log_level": "info", "topic": "a", "partition": 0}]
    assert (found.value("stuck_partitions", topic="a"), found.troubles) == (0, {})


def test_no_partition_is_stuck_while_no_broker_can_be_reached_or_it_is_held_back(make: Make) -> None:
    found = Reported(make, {A0: []})
    found.source.lags, found.source.away = {A0: 5}, "all brokers are down"
    for _ in range(100):
        found.look()
    found.source.away, found.bench.dead_letters.full = None, True
    for _ in range(100):
        found.look()
    assert found.troubles == {}


def test_everything_that_waits_for_a_person_is_a_trouble_with_its_reason(make: Make) -> None:
    nowhere = TopicPartition("nowhere", 0)
    found = Reported(make, {A0: [b"1"], nowhere: [b"1"]})
    found.bench.step()
    found.bench.sink("a").halted = "403 (grant the permission)"
    found.source.forbidden = {"secret": "not authorized (grant READ)"}
    found.source.gone = {B0: "5 messages are gone"}
    found.look()
    assert found.troubles.keys() == {"table a", "topic nowhere", "topic secret", "partition b[0]"}
    assert found.troubles["table a"] == "403 (grant the permission)"
    assert "no entry takes topic nowhere" in found.troubles["topic nowhere"]
    assert found.troubles["partition b[0]"].startswith("5 messages are gone (")
    assert found.health.ready()[1]["halted_tables"] == ["a"]


def test_the_status_tells_of_the_budget(make: Make) -> None:
    found = Reported(make, {A0: []}, limit=7)
    found.bench.budget.opens_in = 12.34
    found.look()
    assert found.health.status()["budget"] == {
        "mode": "paced",
        "pushes_left": 7,
        "next_push_seconds": 12.3,
        "alone": False,
        "ledger_trouble": None,
    }
    found.bench.budget.opens_in = float("inf")
    found.look()
    budget = found.health.status()["budget"]
    assert isinstance(budget, dict)
    assert budget["next_push_seconds"] is None, "JSON knows no infinity"
    assert found.value("next_push_seconds") == float("inf")


def test_a_ledger_that_is_not_trusted_is_told_first_and_then_that_the_replica_goes_it_alone(make: Make) -> None:
    clock = TeamClock()
    me = Entry(Kind.ALIVE, group="g", replica="me", pool="p", rate=240.0, share=0.0, in_flight=1, replay_share=0.25)
    budget = LedgerBudget(SilentLedger(), me, clock, PacedBudget(240.0, clock), low_water=5)
    found = Reported(make, {A0: []}, budget=budget)
    budget.step(Now(found.bench.now, found.bench.now), 1.0)
    found.look()
    assert (found.value("ledger_trouble"), found.value("budget_alone")) == (1, 0)
    found.look(100.0)
    budget.step(Now(found.bench.now, found.bench.now), 1.0)
    found.look()
    assert (found.value("ledger_trouble"), found.value("budget_alone")) == (1, 1)
    told = found.health.status()["budget"]
    assert isinstance(told, dict)
    assert (told["alone"], told["ledger_trouble"]) == (True, "no broker answers")


def test_pushes_that_take_longer_than_the_deadlines_allow_are_warned_of(make: Make) -> None:
    found = Reported(make, {A0: []})
    found.look()
    with capture_logs() as lines:
        found.look()
        for _ in range(50):
            found.bench.pipeline.pushes.times.done(3600.0, 3600.0)
        found.look()
        found.look()
    assert [line["event"] for line in lines] == ["deadlines are in danger"]


def test_it_is_ready_from_when_the_group_takes_it_in_until_it_leaves(make: Make) -> None:
    found = Reported(make, {A0: []})
    found.source.joined = False
    found.look()
    assert found.value("ready") == 0
    found.source.joined = True
    found.look()
    assert found.value("ready") == 1
    found.look(stopping=True)
    assert found.value("ready") == 0


def test_the_hour_brings_each_replica_the_part_of_its_partitions(make: Make) -> None:
    found = Reported(make, {A0: []})
    found.source.share = 0.25
    found.look()
    assert found.value("pushes_per_hour") == 60


def test_an_intent_is_open_from_the_decision_on_a_job_until_its_end(make: Make) -> None:
    found = Reported(make, {A0: [b"1"], A1: [b"2"]}, records=2)
    found.bench.step()
    found.look()
    assert (found.value("open_intents"), found.value("open_intent_age_seconds")) == (0, 0)
    found.bench.executing()
    found.look()
    found.look(7.0)
    assert (found.value("open_intents"), found.value("open_intent_age_seconds")) == (2, 7)
    found.bench.pusher.done()
    found.bench.step()
    found.look()
    assert (found.value("open_intents"), found.value("open_intent_age_seconds")) == (0, 0)


def test_an_intent_that_is_found_counts_from_when_it_was(make: Make) -> None:
    found = Reported(make, {A0: []})
    note = Intent.of("job-7", 5, Origin("cluster", "id-b", "b", keyed=False)).text()
    found.source.log[B0] = [b"1"] * 9
    found.source.committed[B0] = Committed(2, note)
    found.bench.assign(B0)
    found.look()
    found.look(3.0)
    assert (found.value("open_intents"), found.value("open_intent_age_seconds")) == (1, 3)
    assert ("rebalanced", "assigned") in found.bench.observer.events
    found.bench.take_away(B0)
    found.look()
    assert (found.value("open_intents"), found.value("open_intent_age_seconds")) == (0, 0)
    assert found.bench.observer.events[-1] == ("rebalanced", "lost")


def test_what_is_missing_is_named_with_its_reason_and_takes_readiness_away(make: Make) -> None:
    found = Reported(make, {A0: []})
    found.source.absent = None
    with capture_logs() as logs:
        found.look()
        unknown = found.health.ready()
        found.source.absent = ("orders", "^x")
        found.look(0.2)
        assert not found.health.ready()[0]
        status = found.health.status()
        found.source.absent = ("^x",)
        found.look(0.2)
        assert found.health.ready()[0], "an expression that matches nothing yet is no fault"
        found.source.absent = ("orders", "^x")
        for _ in range(2):
            found.look(PATIENCE_OF_HEALTH)
        assert found.health.ready()[0], "the other topics go on"
        found.source.away = "all down"
        found.look()
        found.look(PATIENCE_OF_HEALTH)
        found.look(0.2)
    assert (unknown[0], unknown[1]["reasons"]) == (False, ["topics: not known yet which of them are there"])
    absent = "does not exist: create it, mend its name in tables, or grant DESCRIBE"
    assert status["reasons"] == [f"topic orders: {absent}"]
    pattern = "matches no topic yet: create one, mend it in tables, or grant DESCRIBE"
    assert status["absent_topics"] == found.health.status()["absent_topics"] == {"orders": absent, "^x": pattern}
    told = [entry["event"] for entry in logs if "ready" in entry["event"]]
    assert told == ["became ready", "is not ready any more"]


def _away() -> None:
    raise ConnectorError("it does not answer")


@pytest.mark.parametrize(
    ("name", "shown"), [("Celonis", "celonis"), ("schema registry", "schema_registry"), ("spool directory", "spool")]
)
def test_a_dependency_that_is_away_is_shown_by_its_kind(make: Make, name: str, shown: str) -> None:
    found = Reported(make, {A0: []}, dependencies=Dependencies({name: _away}))
    found.look()
    missing = {kind: found.value("missing", dependency=kind) for kind in DEPENDENCIES}
    assert missing == dict.fromkeys(DEPENDENCIES, 0) | {shown: 1}


def test_every_dependency_that_is_asked_for_has_a_kind(make: Make, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "kafka": {"brokers": "127.0.0.1:1"},
            "celonis": {"team_url": "http://127.0.0.1:1", "pool_id": POOL, "auth": {"app_key": "key"}},
            "schema_registry": {"url": "http://127.0.0.1:1"},
            "tables": [{"topics": ["a"], "target": "A", "format": "json"}],
            "spool": {"directory": str(tmp_path / "spool")},
        }
    )
    every = Dependencies.of(settings).missing(0.0)  # none has answered yet
    found = Reported(make, {A0: []}, dependencies=Dependencies(dict.fromkeys(every, _away)))
    found.look()
    assert sum(found.value("missing", dependency=kind) or 0 for kind in DEPENDENCIES) == len(every) == 3


def test_brokers_topics_and_ledger_are_shown_as_missing_too_but_not_an_expression_without_a_match(make: Make) -> None:
    found = Reported(make, {A0: []})
    found.source.absent = ("^x",)
    found.look()
    assert [found.value("missing", dependency=kind) for kind in ("brokers", "topics")] == [0, 0]
    found.source.absent, found.source.away = ("orders",), "all down"
    found.look()
    assert [found.value("missing", dependency=kind) for kind in ("brokers", "topics")] == [1, 1]


def test_a_ledger_that_cannot_be_trusted_is_missing_until_it_is_paced_alone(make: Make) -> None:
    clock = TeamClock()
    me = Entry(Kind.ALIVE, "g", "me", "pool", 240.0, 0.0, 1)
    budget = LedgerBudget(SilentLedger(), me, clock, PacedBudget(240, clock), low_water=5)
    found = Reported(make, {A0: []}, budget=budget)
    found.bench.step()
    found.look()
    assert found.health.status()["reasons"] == ["budget ledger: no broker answers"]
    assert found.value("missing", dependency="ledger") == 1
    assert not found.health.ready()[0]
    found.bench.now += 70
    found.bench.step()
    found.look()
    assert found.health.ready()[0]
