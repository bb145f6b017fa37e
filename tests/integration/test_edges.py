"""The edges of the machine and the network: it says what is wrong, loses nothing, and ends when it is told to."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from connector.demo.running import RunningConnector, free_port
from connector.emulator import Emulator
from connector.emulator.certificate import certificates
from connector.emulator.faults import OPERATIONS
from tests.integration.world import World, as_json, avro_writer
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka

ROWS = 1_000
DRAIN, MARGIN = 3.0, 15.0  # seconds; the margin is for leaving a group whose coordinator is away, on a busy machine
ROW: dict[str, Any] = {"type": "record", "name": "Row", "fields": [{"name": "n", "type": "long"}]}


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path) as made:
        yield made


def _append(topic: str, **more: Any) -> dict[str, Any]:
    return {"topics": [topic], "target": "T", "format": "json", "append": True, **more}


def _produce(world: World, topic: str, rows: int = ROWS, start: int = 0) -> None:
    world.produce(topic, [(0, as_json({"n": n})) for n in range(start, start + rows)])


def _stands_once(world: World, rows: int = ROWS) -> None:
    """Wait until all is committed, and look whether every row is there once."""
    world.wait_until_committed()
    sums = "SELECT count(*), count(DISTINCT n), sum(n) FROM T"
    assert world.emulator.query(sums) == [(rows, rows, rows * (rows - 1) // 2)]


# --- the spool ----------------------------------------------------------------------------------------------------


def test_a_spool_that_cannot_be_written_ends_the_start_with_the_setting_to_change(world: World) -> None:
    (world.folder / "file").write_text("no directory")
    spool = {"directory": str(world.folder / "file" / "spool")}
    with world.connector(_append("any"), spool=spool) as connector:
        assert connector.wait() == 2
        assert "spool.directory: cannot use" in connector.log()
        assert "mount a writable volume there" in connector.log()


def test_a_spool_that_breaks_while_it_runs_holds_its_tables_until_it_is_mended(world: World) -> None:
    topic = world.topic()
    records = world.folder / "spool" / "records"
    with world.connector(_append(topic)) as connector:
        connector.wait_until_ready()
        shutil.rmtree(records)
        records.write_text("no directory")
        _produce(world, topic)
        wait_for(lambda: str(records) in connector.log(100))
        assert connector.exit_code is None
        records.unlink()
        records.mkdir()
        _stands_once(world)


# --- SIGTERM in each state ----------------------------------------------------------------------------------------


class State(NamedTuple):
    """A state to be in when SIGTERM comes; `reached` looks for it. `produced` rows stand in the topic before."""

    name: str
    reached: Callable[[World, RunningConnector], object]
    latencies: Mapping[str, float] = MappingProxyType({})
    produced: int = ROWS


def _statuses(world: World) -> list[Any]:
    return [status for (status,) in world.emulator.query("SELECT status FROM _emulator.jobs")]


def _has(status: str) -> Callable[[World, RunningConnector], object]:
    return lambda world, _: status in _statuses(world)


STATES = (
    State(
        "while it consumes",
        lambda _, connector: connector.metrics().get("kafka_celonis_records_decoded_total", 0) > 0,
        produced=200_000,
    ),
    State("while it uploads", lambda world, _: "NEW" in _statuses(world), {"upload": 1.5}),
    State("while it uploads for longer than it may drain", lambda world, _: "NEW" in _statuses(world), {"upload": 5.0}),
    State("while a job runs", lambda world, _: "RUNNING" in _statuses(world), {"run": 1.5}),
    State(
        "while a job runs for longer than it may drain", lambda world, _: "RUNNING" in _statuses(world), {"run": 6.0}
    ),
)


@pytest.mark.parametrize("state", STATES, ids=[state.name for state in STATES])
def test_sigterm_ends_it_in_time_and_a_restart_loses_and_doubles_nothing(
    kafka: KafkaBroker, tmp_path: Path, state: State
) -> None:
    with World(kafka, tmp_path, latencies=state.latencies) as world:
        topic = world.topic()
        _produce(world, topic, state.produced)
        with _draining(world, _append(topic)) as connector:
            wait_for(lambda: state.reached(world, connector))
            _ends_in_time(connector)
            connector.start()
            _stands_once(world, state.produced)


def _draining(world: World, table: dict[str, Any], **sections: dict[str, Any]) -> RunningConnector:
    """Return a connector that has DRAIN seconds to end."""
    settings = {**world.settings(table, **sections), "drain_timeout": DRAIN}
    return RunningConnector(world.folder, settings, {"CELONIS_APP_KEY": world.key})


def _ends_in_time(connector: RunningConnector) -> None:
    begun = time.monotonic()
    assert connector.stop() == 0, connector.log()
    assert time.monotonic() - begun < DRAIN + MARGIN


def test_sigterm_while_it_waits_for_the_budget(world: World) -> None:
    topic = world.topic()
    _produce(world, topic)
    with _draining(world, _append(topic), budget={"clock_speed": 60, "pushes_per_hour": 6}) as connector:
        world.wait_for_rows(ROWS, "T")
        _produce(world, topic, ROWS, start=ROWS)
        wait_for(lambda: connector.metrics().get("kafka_celonis_buffered_records") == ROWS)
        _ends_in_time(connector)
        assert world.count("T") == ROWS
        connector.start()
        _stands_once(world, 2 * ROWS)


def test_sigterm_before_the_group_is_joined(world: World) -> None:
    topic = world.topic()
    _produce(world, topic)
    away = {"brokers": f"127.0.0.1:{free_port()}"}
    with _draining(world, _append(topic), kafka=away) as connector:
        wait_for(lambda: "lost brokers" in connector.log(100))
        _ends_in_time(connector)
    with world.connector(_append(topic)):
        _stands_once(world)


def test_sigterm_while_the_registry_is_away(world: World) -> None:
    topic = world.topic()
    encode = avro_writer(ROW, world.registry.register("row", ROW))
    world.produce(topic, [(0, encode({"n": n})) for n in range(ROWS)])
    world.registry.failing = (503, {})
    with _draining(world, _append(topic, format="avro")) as connector:
        wait_for(lambda: connector.metrics().get("kafka_celonis_stalls_total", 0) >= 1)
        _ends_in_time(connector)
        world.registry.failing = None
        connector.start()
        _stands_once(world)


def test_sigterm_while_it_waits_for_a_job_that_it_found(kafka: KafkaBroker, tmp_path: Path) -> None:
    with World(kafka, tmp_path, latencies={"run": 8.0}) as world:
        topic = world.topic()
        _produce(world, topic)
        with _draining(world, _append(topic)) as connector:
            wait_for(lambda: "RUNNING" in _statuses(world))
            connector.kill()
            connector.start()
            wait_for(lambda: "found intent" in connector.log(100))
            _ends_in_time(connector)
            assert world.count("T") == 0
            connector.start()
            _stands_once(world)


# --- what answers in the place of Celonis -------------------------------------------------------------------------


def test_a_server_that_answers_every_operation_with_a_page_and_200_loses_and_doubles_nothing(world: World) -> None:
    topic = world.topic()
    for operation in OPERATIONS:
        world.emulator.add_fault(f"{operation}:1:html-after")
    world.emulator.add_fault("execute:2:html-before")
    _produce(world, topic)
    with world.connector(_append(topic)) as connector:
        _stands_once(world)
        _produce(world, topic, ROWS, start=ROWS)
        _stands_once(world, 2 * ROWS)
        assert "look at what answers in the place of Celonis" in connector.log(200)


def test_a_name_that_does_not_resolve_is_waited_for_and_named(world: World) -> None:
    topic = world.topic()
    _produce(world, topic)
    gone = {"team_url": "http://no-such-host.invalid"}
    with _draining(world, _append(topic), celonis=gone) as connector:
        wait_for(lambda: "no answer from http://no-such-host.invalid" in connector.log(100))
        assert "check celonis.team_url" in connector.log(100)
        assert connector.exit_code is None
        _ends_in_time(connector)
    with world.connector(_append(topic)):
        _stands_once(world)


# --- TLS ----------------------------------------------------------------------------------------------------------


def test_a_certificate_of_an_unknown_issuer_is_waited_for_and_one_of_a_known_issuer_taken(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with World(kafka, tmp_path, tls=True) as world:
        topic = world.topic()
        _produce(world, topic)
        with _draining(world, _append(topic)) as connector:
            wait_for(lambda: "CERTIFICATE_VERIFY_FAILED" in connector.log(100))
            assert "set celonis.ca_file to its issuer, or renew it" in connector.log(100)
            assert connector.exit_code is None
            _ends_in_time(connector)
        with world.connector(_append(topic), celonis={"ca_file": str(world.emulator.ca_file)}):
            _stands_once(world)


def test_an_expired_certificate_is_named_and_nothing_is_lost(kafka: KafkaBroker, tmp_path: Path) -> None:
    expired = certificates(tmp_path / "emulator" / "tls", "127.0.0.1", life=timedelta(minutes=-30))
    with World(kafka, tmp_path, tls=True) as world:
        topic = world.topic()
        _produce(world, topic)
        with _draining(world, _append(topic), celonis={"ca_file": str(expired.ca)}) as connector:
            wait_for(lambda: "certificate has expired" in connector.log(100))
            assert "or renew it" in connector.log(100)
            assert connector.exit_code is None
            _ends_in_time(connector)
        assert world.kafka.committed(world.group, topic) < 0
        _renew(world, expired.ca.parent)
        with world.emulator, world.connector(_append(topic), celonis={"ca_file": str(expired.ca)}):
            _stands_once(world)


def _renew(world: World, folder: Path) -> None:
    """Let the emulator come again with certificates made anew."""
    world.emulator.__exit__(None, None, None)
    shutil.rmtree(folder)
    world.emulator = Emulator(world.emulator.settings)
