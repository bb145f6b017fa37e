"""Replays on a real broker, while live messages flow: each way, and interrupted in the middle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import World, as_json
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from connector.demo.running import RunningConnector
    from tests.kafka_broker import KafkaBroker

KEYS, ROWS, PARTITIONS = 50, 1000, 2
PACE: dict[str, Any] = {"budget": {"pushes_per_hour": 125, "replay_share": 1.0}}  # so that turns come fast
pytestmark = pytest.mark.kafka


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000, executes_in_flight=4) as made:
        yield made


def _table(topic: str, **more: Any) -> dict[str, Any]:
    return {"topics": [topic], "target": "T", "format": "json", "keys": ["id"], **more}


def _produce(world: World, topic: str, first: int, count: int = ROWS) -> None:
    rows = ({"id": f"K{n % KEYS}", "version": n} for n in range(first, first + count))
    world.produce(topic, [(n % PARTITIONS, as_json(row)) for n, row in enumerate(rows)])


def _latest(total: int) -> dict[str, int]:
    return {f"K{n % KEYS}": n for n in range(total)}


def _stored(world: World, table: str) -> dict[str, int]:
    found = world.emulator.query(f"SELECT id, version FROM {table}")
    assert len(found) == len(dict(found))
    return dict(found)


def _replay(connector: RunningConnector, *options: str, code: int = 0) -> dict[str, Any]:
    """Run the command to its end, and return its summary."""
    found, said = connector.ask("replay", *options, "--yes", "--quiet")
    assert found == code, said
    summary = next((line for line in said.splitlines() if line.startswith('{"replay"')), "{}")
    return dict(json.loads(summary))


def test_a_range_goes_into_another_table_beside_the_service(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    with world.connector(_table(topic), **PACE) as connector:
        world.wait_until_committed()
        done = _replay(connector, "T", "--into", "OTHER", "--to", "200")
        _produce(world, topic, ROWS)
        world.wait_until_committed()
        assert (done["ended"], done["messages"], done["records"], done["pushes"]) == ("done", 400, 400, 1)
        assert _stored(world, "OTHER") == _latest(400)
        assert _stored(world, "T") == _latest(2 * ROWS)
        again = _replay(connector, "T", "--into", "OTHER", "--to", "200")
        assert again["records"] == 400, "what is over begins anew"


def test_the_service_reads_a_range_again_and_the_table_equals_the_log(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    with world.connector(_table(topic), **PACE) as connector:
        world.wait_until_committed()
        done = _replay(connector, "T", "--rewind", "--from", "100")
        assert done["ended"] == "done"
        _produce(world, topic, ROWS)
        world.wait_until_committed()
        wait_for(lambda: connector.metrics().get("kafka_celonis_records_decoded_total") == 3 * ROWS - 200)
        assert _stored(world, "T") == _latest(2 * ROWS)


def test_a_table_is_built_anew_while_live_messages_come_and_nothing_is_lost(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    with world.connector(_table(topic), **PACE) as connector:
        world.wait_until_committed()
        _produce(world, topic, ROWS)
        done = _replay(connector, "T", "--replace")
        assert (done["ended"], done["pushes"]) == ("done", 1)
        _produce(world, topic, 2 * ROWS)
        world.wait_until_committed()
        assert _stored(world, "T") == _latest(3 * ROWS)


def test_what_would_put_old_values_over_new_ones_is_refused_with_the_ways_that_do_not(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0, 10)
    with world.connector(_table(topic), **PACE) as connector:
        code, said = connector.ask("replay", "T", "--yes")
    assert code == 2
    assert "would overwrite newer ones" in said
    assert "--rewind" in said
