"""The budget of a running connector on a real broker: over a ledger, and where the ledger cannot be trusted."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import SPEED, World, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka
ROWS = 20


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path, clock_speed=SPEED) as made:
        yield made


def _table(topic: str) -> dict[str, Any]:
    return {"topics": [topic], "target": "T", "format": "json"}


def _over(ledger: str) -> dict[str, Any]:
    return {"mode": "ledger", "clock_speed": SPEED, "ledger": {"topic": ledger}}


def _produce(world: World, topic: str) -> None:
    world.produce(topic, [(0, as_json({"n": n})) for n in range(ROWS)])


def test_the_command_shows_what_was_spent_over_the_ledger_and_by_whom(world: World) -> None:
    topic, ledger = world.topic(), f"ledger-{uuid.uuid4().hex[:8]}"
    connector = world.connector(_table(topic), budget=_over(ledger))
    assert "does not exist yet" in connector.ask("budget")[1]
    _produce(world, topic)
    with connector:
        world.wait_for_rows(ROWS, "T")
        code, said = connector.ask("budget")
        assert code == 0, said
        assert f"topic {ledger}" in said
        assert "100% of 240" in said
        assert "an hour come in" in said


def test_a_ledger_that_is_not_as_it_must_be_is_named_and_the_replica_paces_by_itself(world: World) -> None:
    topic = world.topic()
    ledger = world.kafka.create_topic(config={"message.timestamp.type": "CreateTime"})
    _produce(world, topic)
    with world.connector(_table(topic), budget=_over(ledger)) as connector:
        world.wait_for_rows(ROWS, "T")
        assert connector.metrics()["kafka_celonis_budget_alone"] == 1
        assert "pacing without the budget ledger" in connector.log(200)
        assert "LogAppendTime" in connector.log(200)
        code, said = connector.ask("budget")
        assert code == 4
        assert ledger in said
        assert "LogAppendTime" in said


def test_a_paced_service_is_asked_by_its_port(world: World) -> None:
    topic = world.topic()
    _produce(world, topic)
    with world.connector(_table(topic)) as connector:
        world.wait_for_rows(ROWS, "T")
        code, said = connector.ask("budget")
        assert code == 0, said
        assert "mode: paced, at most 240" in said
        assert "pushes_left: " in said
