"""What breaks around the connector: it says so, loses nothing, and goes on when it heals."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from tests.integration.world import World, as_json, avro_writer
from tests.kafka_broker import KafkaBroker, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kafka

ROW = {"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]}


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path) as made:
        yield made


def _rows(count: int, start: int = 0) -> list[tuple[int, bytes | None]]:
    return [(0, as_json({"n": n})) for n in range(start, start + count)]


def _table(topic: str) -> dict[str, object]:
    return {"topics": [topic], "target": "T", "format": "json"}


def test_a_forbidden_pool_halts_the_table_and_the_service_stays(world: World) -> None:
    topic = world.topic()
    world.produce(topic, _rows(10))
    other = "99999999-2222-3333-4444-555555555555"
    with world.connector(_table(topic), celonis={"pool_id": other}) as connector:
        wait_for(lambda: connector.metrics().get("kafka_celonis_halted") == 1)
        assert connector.get("/readyz", expect=True)
        assert "check celonis.team_url, celonis.pool_id" in connector.log(3)
        assert connector.stop() == 0
    assert world.kafka.committed(world.group, topic) in (0, -1001)


def test_an_expired_key_ends_the_service_with_its_exit_code_and_loses_nothing(world: World) -> None:
    topic = world.topic()
    world.produce(topic, _rows(10))
    right, world.key = world.key, "expired"
    with world.connector(_table(topic)) as connector:
        wait_for(lambda: connector.metrics().get("kafka_celonis_credentials_refused") == 1)
        assert not connector.get("/readyz", expect=True)
        assert connector.stop() == 5, "who is asked to end does not stay to be seen"
        assert "renew celonis.auth" in connector.log(3)
        assert "expired" not in connector.log(100).replace("wrong or expired", "")
    world.key = right
    with world.connector(_table(topic)):
        world.wait_for_rows(10, "T")


def test_an_api_that_is_away_at_start_is_waited_for(world: World) -> None:
    topic = world.topic()
    world.produce(topic, _rows(10))
    world.emulator.add_fault("list:1-3:503")
    with world.connector(_table(topic)):
        world.wait_for_rows(10, "T")


def test_a_registry_that_is_down_holds_its_topic_while_the_others_flow(world: World) -> None:
    avro, plain = world.topic(), world.topic()
    encode = avro_writer(ROW, world.registry.register("row", ROW))
    world.produce(avro, [(0, encode({"n": 1}))])
    world.produce(plain, _rows(5))
    world.registry.failing = (503, {})
    with world.connector({"topics": [avro], "target": "A", "format": "avro"}, _table(plain)) as connector:
        world.wait_for_rows(5, "T")
        wait_for(lambda: connector.metrics().get("kafka_celonis_stalls_total", 0) >= 1)
        assert world.count("A") == 0
        world.registry.failing = None
        world.wait_for_rows(1, "A")


def test_a_broker_that_is_down_at_start_and_in_the_middle_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    with KafkaBroker(tmp_path / "kafka") as broker, World(broker, tmp_path) as world:
        topic = world.topic()
        world.produce(topic, _rows(10))
        broker.stop()
        with world.connector(_table(topic)) as connector:
            wait_for(lambda: "lost brokers" in connector.log(100))
            assert not connector.get("/readyz", expect=True)
            broker.start()
            world.wait_for_rows(10, "T")
            broker.kill()
            wait_for(lambda: connector.get("/readyz").find('"brokers_away":null') < 0)
            broker.start()
            world.produce(topic, _rows(10, start=10))
            world.wait_for_rows(20, "T")
            world.wait_until_committed()


def test_a_full_disk_pauses_and_goes_on_when_it_is_enlarged(world: World) -> None:
    topic = world.topic()
    padding = "x" * 200
    world.produce(topic, [(0, as_json({"n": n, "text": f"{padding}{n * 7919}"})) for n in range(50_000)])
    with world.connector(_table(topic)) as connector:
        resource.prlimit(connector.pid, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        wait_for(lambda: "lost records to the disk" in connector.log(100))
        assert world.count("T") == 0
        resource.prlimit(connector.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        world.wait_for_rows(50_000, "T")
        world.wait_until_committed()
    assert world.emulator.query("SELECT count(DISTINCT n) FROM T") == [(50_000,)]


def test_an_hour_that_others_spent_is_noticed_once_and_consumption_waits(kafka: KafkaBroker, tmp_path: Path) -> None:
    with World(kafka, tmp_path, per_hour=2) as world:
        topic = world.topic()
        with world.connector(_table(topic)) as connector:
            for start in range(0, 40, 10):
                world.produce(topic, _rows(10, start))
                wait_for(lambda start=start: _settled(connector.metrics, world, start))  # type: ignore[misc]
            assert world.emulator.query("SELECT count(*) FROM T") == [(20,)]
            assert connector.metrics()["kafka_celonis_pushes_left"] == 0
            assert connector.stop() == 0
        refused = world.emulator.query("SELECT count(*) FROM _emulator.executes WHERE outcome = 'refused'")
        assert refused == [(1,)], "one refusal is enough"


def _settled(metrics: Callable[[], object], world: World, start: int) -> bool:
    """Say whether the rows from `start` on are stored, or consumption is paused for want of budget."""
    found = metrics()
    assert isinstance(found, dict)
    return world.count("T") >= start + 10 or found.get("kafka_celonis_paused_partitions", 0) >= 1


def test_sigterm_pushes_what_is_in_the_buffers_and_a_restart_of_an_idle_service_pushes_nothing(world: World) -> None:
    topic = world.topic()
    world.produce(topic, _rows(100))
    slow = {**_table(topic), "flush": {"age": "1 h"}}
    with world.connector(slow) as connector:
        wait_for(lambda: connector.metrics().get("kafka_celonis_buffered_records") == 100)
        assert connector.stop() == 0
        assert world.count("T") == 100
        assert world.kafka.committed(world.group, topic) == 100
        jobs = world.emulator.query("SELECT count(*) FROM _emulator.jobs")
        connector.start()
        connector.wait_until_ready()
        wait_for(lambda: connector.metrics().get("kafka_celonis_lag_messages") == 0)
        assert connector.metrics().get("kafka_celonis_records_decoded_total", 0) == 0
        assert connector.stop() == 0
        assert world.emulator.query("SELECT count(*) FROM _emulator.jobs") == jobs
