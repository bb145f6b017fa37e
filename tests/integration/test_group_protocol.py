"""`kafka.group_protocol: consumer`, the protocol of KIP-848: the same promises on the same broker."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from connector.config import Kafka
from connector.core.offsets import TopicPartition
from connector.demo.running import RunningConnector
from tests.integration.world import World, as_json
from tests.kafka_broker import wait_for
from tests.unit.kafka.reader import Reader

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

NEW: dict[str, Any] = {"group_protocol": "consumer", "properties": {}}
MESSAGES, KILLS, PARTITIONS, KEYS = 60_000, 3, 3, 500


def _reader(kafka: KafkaBroker, group: str, topic: str) -> Reader:
    return Reader(Kafka.model_validate({"brokers": kafka.bootstrap, "group": group, **NEW}), topic)


def _append(topic: str, target: str = "T") -> dict[str, Any]:
    return {"topics": [topic], "target": target, "format": "json", "append": True}


def _statuses(world: World) -> list[Any]:
    return [status for (status,) in world.emulator.query("SELECT status FROM _emulator.jobs")]


def test_partitions_go_to_a_second_member_at_their_committed_offset_and_come_back(kafka: KafkaBroker) -> None:
    topic, group = kafka.create_topic(2), uuid.uuid4().hex
    both = {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    for partition in (0, 1):
        kafka.produce(topic, b"a", b"b", partition=partition)
    one = _reader(kafka, group, topic)
    one.until(lambda: all(one.source.positions.get(tp) == 2 for tp in both))
    one.commit()
    other = _reader(kafka, group, topic)
    one.until(lambda: (other.poll(), len(one.source.assigned) == len(other.source.assigned) == 1)[1])
    [moved] = other.source.assigned
    assert one.listener.names() == ["assigned", "revoked"]
    kafka.produce(topic, b"c", partition=moved.partition)
    other.until_at(moved, 3)
    assert other.offsets == {moved: [2]}
    other.source.close()
    one.until(lambda: one.source.assigned == both)
    one.until_at(moved, 3)
    assert one.offsets[moved] == [0, 1, 2]
    one.source.close()


def test_a_job_that_runs_while_its_connector_dies_is_waited_for_and_its_rows_stand_once(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with World(kafka, tmp_path, latencies={"run": 3.0}) as world:
        topic = world.topic()
        world.produce(topic, [(0, as_json({"n": n})) for n in range(10)])
        with world.connector(_append(topic), kafka=NEW) as connector:
            wait_for(lambda: "RUNNING" in _statuses(world))
            connector.kill()
            connector.start()
            world.wait_until_committed()
        assert world.emulator.query("SELECT n FROM T ORDER BY n") == [(n,) for n in range(10)]


def test_a_job_that_was_decided_and_not_executed_is_rolled_forward(kafka: KafkaBroker, tmp_path: Path) -> None:
    with World(kafka, tmp_path) as world:
        world.emulator.add_fault("execute:1:503")
        topic = world.topic()
        world.produce(topic, [(0, as_json({"n": n})) for n in range(10)])
        with world.connector(_append(topic), kafka=NEW) as connector:
            wait_for(lambda: "execute: 503" in connector.log(100) or "throttled" in connector.log(100))
            connector.kill()
            assert _statuses(world) == ["NEW"]
            connector.start()
            world.wait_until_committed()
        assert _statuses(world) == ["DONE"]
        assert world.count("T") == 10


def test_two_connectors_that_are_killed_in_turns_lose_and_double_nothing(kafka: KafkaBroker, tmp_path: Path) -> None:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000) as world:
        log, keyed = world.topic(PARTITIONS), world.topic(PARTITIONS)
        rows = [{"n": n, "id": n % KEYS} for n in range(MESSAGES)]
        for topic in (log, keyed):
            world.produce(topic, [(row["id"] % PARTITIONS, as_json(row)) for row in rows])
        tables = [_append(log), {"topics": [keyed], "target": "K", "format": "json", "keys": ["id"]}]
        flush = {"flush": {"records": 4_000, "age": "500 ms"}}
        pair = [_in_folder(world, name, tables, flush) for name in ("one", "other")]
        with pair[0], pair[1]:
            for turn in range(KILLS):
                world.wait_for_rows(min(MESSAGES, world.count("T") + 1), "T")
                pair[turn % 2].kill()
                pair[turn % 2].start()
            world.wait_until_committed(120)
        sums = "SELECT count(*), count(DISTINCT n), sum(n) FROM T"
        assert world.emulator.query(sums) == [(MESSAGES, MESSAGES, MESSAGES * (MESSAGES - 1) // 2)]
        last = sorted({row["id"]: row["n"] for row in rows}.items())
        assert world.emulator.query("SELECT id, n FROM K ORDER BY id") == last


def _in_folder(world: World, name: str, tables: list[dict[str, Any]], defaults: dict[str, Any]) -> RunningConnector:
    folder = world.folder / name
    folder.mkdir()
    settings = world.settings(*tables, kafka=NEW, defaults=defaults, spool={"directory": str(folder / "spool")})
    return RunningConnector(folder, settings, {"CELONIS_APP_KEY": world.key})
