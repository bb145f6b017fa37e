"""Intents on a real broker: what stands with the offset while a job runs, and what a new process makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition

from connector.core.intents import parse
from tests.integration.world import World, as_json
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from connector.demo.running import RunningConnector
    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path, latencies={"run": 3.0}) as made:
        yield made


def _append(topic: str) -> dict[str, object]:
    return {"topics": [topic], "target": "T", "format": "json", "append": True}


def _note(world: World, topic: str) -> str:
    consumer = Consumer({"bootstrap.servers": world.kafka.bootstrap, "group.id": world.group})
    try:
        return consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].metadata or ""
    finally:
        consumer.close()


def _killed_while_its_job_runs(world: World, topic: str, connector: RunningConnector) -> str:
    """Return the job that ran when the connector was killed."""
    world.produce(topic, [(0, as_json({"n": n})) for n in range(10)])
    wait_for(lambda: world.emulator.query("SELECT 1 FROM _emulator.jobs WHERE status IN ('QUEUED', 'RUNNING')"))
    connector.kill()
    intent = parse(_note(world, topic))
    assert intent is not None
    assert intent.end == 10
    return intent.job


def test_a_job_that_runs_while_its_connector_dies_is_waited_for_and_its_rows_stand_once(world: World) -> None:
    topic = world.topic()
    with world.connector(_append(topic)) as connector:
        job = _killed_while_its_job_runs(world, topic, connector)
        code, listed = connector.ask("intents")
        assert (code, listed.splitlines()[-1][: len(topic) + 10]) == (0, f"{topic}[0]  0..10")
        assert job in listed
        connector.start()
        world.wait_until_committed()
        assert _note(world, topic) == ""
        assert "no open intents" in connector.ask("intents")[1]
        world.produce(topic, [(0, as_json({"n": 10}))])
        world.wait_until_committed()
        assert connector.stop() == 0
    assert world.emulator.query("SELECT n FROM T ORDER BY n") == [(n,) for n in range(11)]


def test_a_job_that_was_decided_and_not_executed_is_rolled_forward(world: World) -> None:
    topic = world.topic()
    world.emulator.add_fault("execute:1:503")
    with world.connector(_append(topic)) as connector:
        world.produce(topic, [(0, as_json({"n": n})) for n in range(10)])
        wait_for(lambda: parse(_note(world, topic)))
        connector.kill()
        job = parse(_note(world, topic))
        assert job is not None
        assert world.emulator.query("SELECT id, status FROM _emulator.jobs") == [(job.job, "NEW")]
        connector.start()
        world.wait_for_rows(10, "T")
        world.wait_until_committed()
    assert world.emulator.query("SELECT id, status FROM _emulator.jobs") == [(job.job, "DONE")]
    assert world.count("T") == 10


def test_an_intent_of_an_unknown_job_holds_an_append_table_until_a_person_moves_the_offset(world: World) -> None:
    topic, other = world.topic(), world.topic()
    tables = [_append(topic), {**_append(other), "target": "OTHER"}]
    with world.connector(*tables) as connector:
        job = _killed_while_its_job_runs(world, topic, connector)
        world.emulator.wait_idle(20)
        world.delete_job(job)
        connector.start()
        world.produce(other, [(0, as_json({"n": 1}))])
        world.wait_for_rows(1, "OTHER")
        code, told = connector.ask("status")
        assert (code, "refused" in connector.get("/metrics")) == (3, True)
        assert f"partition {topic}[0]: its intent names job {job}, which Celonis does not know" in told
        assert "--reset-offsets" in told
        assert world.kafka.committed(world.group, topic) == 0
        connector.stop()
        world.kafka.admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(world.group, [TopicPartition(topic, 0, 10)])]
        )[world.group].result(30)
        connector.start()
        world.produce(topic, [(0, as_json({"n": 10}))])
        world.wait_for_rows(11, "T")
        assert connector.ask("status")[0] == 0
