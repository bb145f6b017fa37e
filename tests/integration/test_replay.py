"""Replays on a real broker, while live messages flow: each way, and interrupted in the middle."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import NewPartitions

from connector.celonis.auth import KeyAuth
from connector.celonis.client import DataPushClient
from connector.config_file import load
from connector.core.offsets import TopicPartition
from connector.core.orders import Order, OrderKind, OrderState
from connector.core.replays import Way
from connector.demo.running import RunningConnector
from connector.errors import ConnectorError
from connector.kafka.orders import give_orders, read_orders
from connector.replayer import Replayer
from connector.replaying import Request, outline
from connector.wholeness import Grown
from tests.integration.world import POOL, World, as_json
from tests.kafka_broker import SILENT, wait_for
from tests.unit.kafka.reader import settings as source_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from connector.replay import Progress
    from tests.kafka_broker import KafkaBroker

KEYS, ROWS, PARTITIONS = 50, 1000, 2
MANY = 60_000  # messages: some ten pushes, where a load is closed at half a megabyte
PACE: dict[str, Any] = {  # turns come fast, and loads are small
    "budget": {"pushes_per_hour": 125, "replay_share": 1.0},
    "spool": {"bytes": "2 MiB"},
    "kafka": {"properties": {"session.timeout.ms": 4000, "heartbeat.interval.ms": 500}},
}
MOMENTS = [("gave orders", "hold"), ("uploaded chunks",), ("pushed load",), ("gave orders", "resume")]  # to die
COUNTED = "SELECT count(*), count(DISTINCT version), sum(version) FROM"
pytestmark = pytest.mark.kafka


@pytest.fixture
def world(kafka: KafkaBroker, tmp_path: Path) -> Iterator[World]:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000, executes_in_flight=4) as made:
        yield made


def _table(topic: str, name: str = "T", **more: Any) -> dict[str, Any]:
    return {"topics": [topic], "target": name, "format": "json", **({} if more else {"keys": ["id"]}), **more}


def _service(world: World, *tables: dict[str, Any], **sections: Any) -> RunningConnector:
    return world.connector(*tables, **(PACE | sections))


def _produce(world: World, topic: str, first: int, count: int = ROWS) -> None:
    rows = ({"id": f"K{n % KEYS}", "version": n, "note": _noise(n)} for n in range(first, first + count))
    world.produce(topic, [(n % PARTITIONS, as_json(row)) for n, row in enumerate(rows)])


def _noise(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()  # does not compress


def _latest(total: int) -> dict[str, int]:
    return {f"K{n % KEYS}": n for n in range(total)}


def _stored(world: World, table: str) -> dict[str, int]:
    found = world.emulator.query(f"SELECT id, version FROM {table}")
    assert len(found) == len(dict(found))
    return dict(found)


def _all_of(total: int) -> list[tuple[int, int, int]]:
    """Return what COUNTED says of a table that holds each version once."""
    return [(total, total, total * (total - 1) // 2)]


def _replay(connector: RunningConnector, *options: str, code: int = 0) -> dict[str, Any]:
    """Run the command to its end, and return its summary."""
    found, said = connector.ask("replay", *options, "--yes", "--quiet")
    assert found == code, said
    return _summary(said)


def _summary(said: str) -> dict[str, Any]:
    return dict(json.loads(next((line for line in said.splitlines() if line.startswith('{"replay"')), "{}")))


class _Process:
    """The command as a process that can be killed, and started again with the same words."""

    def __init__(self, world: World, name: str, tables: tuple[dict[str, Any], ...], *options: str) -> None:
        folder = world.folder / name
        folder.mkdir()
        module = ("connector", "replay", *options, "--yes", "--quiet", "--config")
        settings = world.settings(*tables, **PACE)
        self.connector = RunningConnector(folder, settings, {"CELONIS_APP_KEY": world.key}, module)
        self._read = 0

    def kill_when(self, what: Callable[[], object]) -> None:
        """Start it, and end it as `kill -9` does as soon as `what` is true."""
        self._until(what)
        self.connector.kill()

    def stop_when(self, what: Callable[[], object]) -> None:
        """Start it, and send SIGTERM as soon as `what` is true."""
        self._until(what)
        self.connector.stop()

    def _until(self, what: Callable[[], object]) -> None:
        self.start()
        wait_for(lambda: what() or self.connector.exit_code is not None, 60)
        assert self.connector.exit_code is None, self._log[self._read :]

    def start(self) -> None:
        self._read = len(self._log)
        self.connector.start()

    def wrote(self, *texts: str) -> bool:
        """Return whether a line with all of `texts` came since its start."""
        return any(all(text in line for text in texts) for line in self._log[self._read :].splitlines())

    def end(self) -> dict[str, Any]:
        """Start it, let it come to its end, and return its summary."""
        self.start()
        return self.summary(0)

    def fails(self) -> tuple[int, str]:
        """Return how it ended, and all that it wrote since its start."""
        code = self.connector.wait(60)
        return code, self._log[self._read :]

    def summary(self, code: int) -> dict[str, Any]:
        assert self.connector.wait(60) == code, self._log[self._read :]
        return dict(json.loads(self.connector.log(1)))

    @property
    def _log(self) -> str:
        try:
            return self.connector.log(10_000)
        except FileNotFoundError:
            return ""


def test_a_range_goes_into_another_table_beside_the_service(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    with _service(world, _table(topic)) as connector:
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
    with _service(world, _table(topic)) as connector:
        world.wait_until_committed()
        done = _replay(connector, "T", "--rewind", "--from", "100")
        assert done["ended"] == "done"
        _produce(world, topic, ROWS)
        world.wait_until_committed()
        wait_for(lambda: connector.metrics().get("kafka_celonis_records_decoded_total") == 3 * ROWS - 200)
        assert _stored(world, "T") == _latest(2 * ROWS)


def test_what_cannot_be_done_is_refused_with_what_can_and_nothing_is_done_without_consent(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0, 10)
    with _service(world, _table(topic)) as connector:
        world.wait_until_committed()
        for options, said in (
            ("T --yes", ("would overwrite newer ones", "--rewind")),
            ("NONE --into OTHER --yes", ("NONE: no table of the configuration: there are T",)),
            ("T --into t --yes", ("--into t: the service fills that table",)),
            ("T --into OTHER", ("effect: OTHER takes the range", "not agreed to, so nothing was done")),
        ):
            code, answer = connector.ask("replay", *options.split())
            assert code == 2, answer
            assert all(text in answer for text in said), answer
        code, plan = connector.ask("replay", "--all", "--into", "{table}_X", "--dry-run")
    assert code == 0
    assert "go on?" not in plan
    assert "effect: T_X takes the range" in plan
    assert world.count("OTHER", "T_X") == 0


def test_killed_and_interrupted_in_the_middle_rows_are_appended_elsewhere_exactly_once(world: World) -> None:
    topic = world.topic(PARTITIONS)
    table = _table(topic, append=True)
    _produce(world, topic, 0, MANY)
    process = _Process(world, "replay", (table,), "T", "--into", "OTHER")
    with _service(world, table):
        process.kill_when(lambda: world.count("OTHER"))
        _produce(world, topic, MANY)
        before = world.count("OTHER")
        process.stop_when(lambda: world.count("OTHER") > before)
        interrupted = process.summary(7)
        done = process.end()
        again = process.end()
        world.wait_until_committed()
    assert 0 < before < MANY
    assert (interrupted["ended"], done["ended"]) == ("interrupted", "done")
    assert done["records"] < MANY - before, "it went on where it was"
    assert done.get("before", 0) + done.get("rolled_forward", 0) > 0, "and says so"
    assert (again["ended"], again["pushes"]) == ("done", 0), "to do it again would double the rows"
    assert world.emulator.query(f"{COUNTED} OTHER") == _all_of(MANY)
    assert world.emulator.query(f"{COUNTED} T") == _all_of(MANY + ROWS)


def test_killed_between_any_steps_a_table_is_built_anew_and_no_row_is_lost_or_doubled(world: World) -> None:
    topic = world.topic(PARTITIONS)
    table = _table(topic, append=True)
    _produce(world, topic, 0)
    process = _Process(world, "replay", (table,), "T", "--replace")
    with _service(world, table):
        world.wait_until_committed()
        for number, moment in enumerate(MOMENTS, 1):
            process.kill_when(partial(process.wrote, *moment))
            _produce(world, topic, number * ROWS)
        done = process.end()
        _produce(world, topic, 5 * ROWS)
        world.wait_until_committed()
    assert (done["ended"], done["pushes"]) == ("done", 0)
    assert done["before"] == done["messages"] >= ROWS, "what earlier runs did is told"
    assert world.emulator.query(f"{COUNTED} T") == _all_of(6 * ROWS)


def test_killed_while_the_rows_are_swapped_the_table_is_not_taken_for_one_without_rows(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000, latencies={"run": 3.0}) as world:
        topic = world.topic()
        table = _table(topic, append=True)
        _in_a_transaction(world, topic, 10)  # at whose end stands what is no message
        process = _Process(world, "replay", (table,), "T", "--replace")
        running = "SELECT 1 FROM _emulator.jobs WHERE status = 'RUNNING'"
        process.kill_when(lambda: world.emulator.query(running))
        assert process.end()["ended"] == "done"
        assert world.emulator.query(f"{COUNTED} T") == _all_of(10)
        assert world.emulator.query("SELECT count(*) FROM _emulator.jobs") == [(1,)], "rolled forward, and no other"


def _in_a_transaction(world: World, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": world.kafka.bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    for n in range(count):
        producer.produce(topic, as_json({"id": f"K{n}", "version": n, "note": ""}))
    producer.commit_transaction(30)


@pytest.mark.parametrize("what", ["partition", "topic"])
def test_a_table_that_grows_while_it_is_rebuilt_is_left_as_before_and_built_anew_with_all(
    world: World, what: str
) -> None:
    topic = world.topic()
    kafka, place = world.kafka, TopicPartition(topic, 1) if what == "partition" else TopicPartition(f"{topic}-more", 0)
    service = _service(world, _table(f"^{topic}", append=True))
    world.produce(topic, [(0, as_json({"id": "K", "version": n})) for n in range(10)])
    with service:
        world.wait_until_committed()

    def grow(_: Progress) -> None:
        if kafka.admin.list_topics(timeout=10).topics.get(place.topic, topic) == topic:
            kafka.create_topic(1, place.topic)
        elif place.partition not in kafka.admin.list_topics(timeout=10).topics[topic].partitions:
            kafka.admin.create_partitions([NewPartitions(topic, 2)])[topic].result(30)

    settings = load(world.folder / "connector.yaml", {"CELONIS_APP_KEY": world.key})
    found = outline(settings, Request(("T",), Way.REPLACE, "earliest", "latest"), 0)
    with pytest.raises(Grown, match=re.escape(f"{place} came to T")):
        Replayer(settings, found, lambda: False, grow).run()
    assert world.emulator.query("SELECT status FROM _emulator.jobs ORDER BY status") == [("DONE",), ("NEW",)]
    assert read_orders(settings.kafka, [TopicPartition(topic, 0)]) == {}, "it flows"
    world.produce(place.topic, [(place.partition, as_json({"id": "K", "version": n})) for n in range(10, 20)])
    assert _replay(service, "T", "--replace")["records"] == 20
    assert world.emulator.query(f"{COUNTED} T") == _all_of(20)


def test_of_two_tables_the_one_that_grows_is_let_go_and_the_other_goes_on_behind_its_new_rows(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    with World(kafka, tmp_path, per_hour=10_000, per_second=1_000, latencies={"run": 2.0}) as world:
        first, second = world.topic(), world.topic()
        service = _service(world, _table(first, append=True), _table(second, "U", append=True))
        rows = [(0, as_json({"id": "K", "version": n})) for n in range(40)]
        grown: list[str] = []

        def grow(_: Progress) -> None:
            if not grown and world.emulator.query("SELECT 1 FROM _emulator.jobs WHERE status = 'RUNNING'"):
                grown.append(second)
                kafka.admin.create_partitions([NewPartitions(second, 2)])[second].result(30)
                for topic in (first, second):
                    world.produce(topic, rows[30:])

        world.produce(first, rows[:30])  # more of them, so that its job goes first
        world.produce(second, rows[:5])
        with service:
            world.wait_until_committed()
            settings = load(world.folder / "connector.yaml", {"CELONIS_APP_KEY": world.key})
            partitions = [TopicPartition(topic, 0) for topic in (first, second)]
            while not grown or any(order.open for order in read_orders(settings.kafka, partitions).values()):
                found = outline(settings, Request((), Way.REPLACE, "earliest", "latest"), 0)
                with pytest.raises(Grown, match=re.escape(f"{second}[1] came to U")):
                    Replayer(settings, found, lambda: False, grow).run()
            world.wait_until_committed()
        assert world.emulator.query(f"{COUNTED} T") == _all_of(40)
        assert world.emulator.query("SELECT version FROM U ORDER BY version") == [
            (n,) for n in [*range(5), *range(30, 40)]
        ]


def test_replays_of_two_tables_run_at_once_and_the_same_one_runs_once(world: World) -> None:
    topics = [world.topic(PARTITIONS), world.topic(PARTITIONS)]
    tables = tuple(_table(topic, name) for topic, name in zip(topics, ("T", "U"), strict=True))
    _produce(world, topics[0], 0, MANY)
    _produce(world, topics[1], 0)
    process = _Process(world, "replay", tables, "T", "--into", "OTHER", "--budget-share", "0.01")
    with _service(world, *tables) as connector:
        process.start()
        wait_for(lambda: process.wrote("assigned partitions"), 60)
        _replay(connector, "U", "--into", "ANOTHER")
        code, said = connector.ask("replay", "T", "--into", "OTHER", "--yes", "--quiet")
        assert (code, "runs this replay" in said) == (4, True), said
        process.connector.stop()
        assert process.summary(7)["ended"] == "interrupted"
        _replay(connector, "T", "--into", "OTHER")
    assert _stored(world, "OTHER") == _latest(MANY)
    assert _stored(world, "ANOTHER") == _latest(ROWS)


def test_a_replay_that_would_never_have_a_push_is_refused_with_the_way_out(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    with _service(world, _table(topic), budget={"pushes_per_hour": 250}) as connector:
        world.wait_until_committed()
        code, said = connector.ask("replay", "T", "--into", "OTHER", "--yes", "--quiet")
        assert code == 2, said
        assert "0 pushes an hour are left" in said
        assert "lower budget.pushes_per_hour" in said
    code, said = connector.ask("replay", "T", "--into", "OTHER", "--yes", "--quiet", "--budget-share", "0.003")
    assert (code, "0.75 pushes an hour" in said, "give --budget-share" in said) == (2, True, True), said


def test_a_table_is_emptied_only_where_that_is_allowed(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    with _service(world, _table(topic)) as connector:
        world.wait_until_committed()
        world.produce(topic, [(0, b"no JSON"), (1, b"no JSON")])
        world.wait_until_committed()
        for start in ("latest", str(ROWS // PARTITIONS)):  # no message, and messages of which no row comes
            code, said = connector.ask("replay", "T", "--replace", "--from", start, "--yes", "--quiet")
            assert (code, "T would be empty" in said, "--allow-empty" in said) == (6, True, True), said
            assert _stored(world, "T") == _latest(ROWS)
        done = _replay(connector, "T", "--replace", "--from", "latest", "--allow-empty")
        assert done["ended"] == "done"
        assert world.count("T") == 0
        _produce(world, topic, 0)
        world.wait_until_committed()
    assert _stored(world, "T") == _latest(ROWS)


def test_what_retention_takes_before_it_is_read_is_left_out_from_earliest_and_refused_else(world: World) -> None:
    topic = world.topic(PARTITIONS)
    table = _table(topic)
    _produce(world, topic, 0)
    with _service(world, table) as connector:
        world.wait_until_committed()
        for low, start in ((100, "earliest"), (200, "150")):
            process = _Process(world, start, (table,), "T", "--replace", "--from", start)
            process.kill_when(partial(process.wrote, "assigned partitions"))
            for partition in range(PARTITIONS):
                place = ClientPartition(topic, partition, low)
                world.kafka.admin.delete_records([place])[place].result(30)
            if start != "earliest":
                process.start()
                code, said = process.fails()
                assert (code, "messages 150 to 199 were deleted" in said) == (6, True), said
                assert "the same command with --abandon forgets this replay" in said
                assert connector.ask("replay", "T", "--replace", "--from", start, "--abandon")[0] == 0
            assert process.end()["ended"] == "done"
            assert _stored(world, "T") == _latest(ROWS)


def test_killed_before_the_table_is_emptied_the_same_command_empties_it(world: World) -> None:
    topic = world.topic(PARTITIONS)
    table = _table(topic)
    _produce(world, topic, 0)
    process = _Process(world, "replay", (table,), "T", "--replace", "--from", str(ROWS // PARTITIONS), "--allow-empty")
    with _service(world, table):
        world.produce(topic, [(0, b"no JSON"), (1, b"no JSON")])
        world.wait_until_committed()
        process.kill_when(partial(process.wrote, "revoked partitions"))  # all is read, and nothing is emptied
        assert process.end()["ended"] == "done"
        assert world.count("T") == 0
        _produce(world, topic, 0)
        world.wait_until_committed()
    assert _stored(world, "T") == _latest(ROWS)


def test_stopped_while_it_waits_to_empty_the_table_the_same_command_empties_it(world: World) -> None:
    topic = world.topic(PARTITIONS)
    table = _table(topic)
    _produce(world, topic, 0)
    options = ("T", "--replace", "--from", str(ROWS // PARTITIONS), "--allow-empty")
    process = _Process(world, "replay", (table,), *options, "--budget-share", "0.01")  # its turn comes much later
    with _service(world, table) as connector:
        world.produce(topic, [(0, b"no JSON"), (1, b"no JSON")])
        world.wait_until_committed()
        process.stop_when(partial(process.wrote, "revoked partitions"))
        assert process.summary(7)["ended"] == "interrupted"
        assert world.count("T") == KEYS
        assert _replay(connector, *options)["ended"] == "done"
        assert world.count("T") == 0


def test_of_several_tables_those_without_rows_are_left_and_told_of_also_by_who_goes_on(world: World) -> None:
    topics = [world.topic(PARTITIONS), world.topic(PARTITIONS)]
    tables = tuple(_table(topic, name, append=True) for topic, name in zip(topics, ("T", "U"), strict=True))
    for topic in topics:
        _produce(world, topic, 0)
    process = _Process(world, "replay", tables, "--all", "--replace", "--from", str(ROWS // PARTITIONS))
    with _service(world, *tables):
        world.wait_until_committed()
        world.produce(topics[0], [(n, as_json({"id": "new", "version": 0, "note": ""})) for n in range(PARTITIONS)])
        world.produce(topics[1], [(n, b"no JSON") for n in range(PARTITIONS)])
        world.wait_until_committed()
        process.kill_when(partial(process.wrote, "gave orders", "resume"))
        _produce(world, topics[1], ROWS)
        process.start()
        code, said = process.fails()
        world.wait_until_committed()
    assert (code, "so U would be empty: left as before" in said) == (6, True), said
    assert world.count("T") == PARTITIONS
    assert world.emulator.query(f"{COUNTED} U") == _all_of(2 * ROWS)


def test_a_rewind_that_no_service_follows_stands_and_says_so(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    service = _service(world, _table(topic))
    with service:
        world.wait_until_committed()
    done = _replay(service, "T", "--rewind", code=8)
    assert (done["ended"], done["service_follows"]) == ("ordered", "at its next start")
    with service:
        wait_for(lambda: service.metrics().get("kafka_celonis_records_decoded_total") == ROWS)
        assert _replay(service, "T", "--rewind")["service_follows"] == "now"


def test_a_service_that_cannot_follow_orders_in_time_is_left_alone(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    service = _service(world, _table(topic))
    settings = load(world.folder / "connector.yaml", {"CELONIS_APP_KEY": world.key})
    found = outline(settings, Request(("T",), Way.REPLACE, "earliest", "latest"), 0)
    client = {"bootstrap.servers": world.kafka.bootstrap, "group.id": world.group, "enable.auto.commit": False}
    stranger = Consumer(client | {"logger": SILENT})
    stranger.subscribe([topic])
    try:
        wait_for(lambda: stranger.poll(0.5) or stranger.assignment())
        with pytest.raises(ConnectorError, match="has not followed the order for"):
            Replayer(settings, found, lambda: False, lambda _: None, patience=2.0).run()
    finally:
        stranger.close()
    with service:
        world.wait_until_committed()
    assert _stored(world, "T") == _latest(ROWS)


@pytest.mark.parametrize("kind", [OrderKind.HOLD, OrderKind.REWIND])
def test_a_replace_that_is_refused_takes_back_no_order_of_another_replay(world: World, kind: OrderKind) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    there = source_settings(world.kafka.bootstrap, world.group)
    standing = {TopicPartition(topic, 0): Order(kind, OrderState.ASKED, "other", 0)}
    give_orders(there, standing)
    connector = _service(world, _table(topic))
    code, said = connector.ask("replay", "T", "--replace", "--yes", "--quiet")
    assert (code, f"replay other has a {kind} open" in said) == (4, True), said
    assert read_orders(there, [TopicPartition(topic, p) for p in range(PARTITIONS)]) == standing


def test_a_replace_that_no_service_has_taken_in_is_not_undone_by_the_same_command_again(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0)
    service = _service(world, _table(topic, append=True))
    assert _replay(service, "T", "--replace")["service_follows"] == "at its next start"
    code, said = service.ask("replay", "T", "--replace", "--yes", "--quiet")
    assert (code, "does not know yet that this table was built anew" in said) == (6, True), said
    _produce(world, topic, ROWS)
    with service:
        world.wait_until_committed()
    assert world.emulator.query(f"{COUNTED} T") == _all_of(2 * ROWS)


def test_a_table_that_a_replay_holds_which_does_not_come_back_is_let_go(world: World) -> None:
    topic = world.topic(PARTITIONS)
    table = _table(topic, append=True)
    _produce(world, topic, 0)
    process = _Process(world, "replay", (table,), "T", "--replace")
    with _service(world, table) as connector:
        world.wait_until_committed()
        process.kill_when(lambda: process.wrote("replaying"))
        _produce(world, topic, ROWS)
        assert world.count("T") == ROWS, "it is held"
        code, said = connector.ask("replay", "T", "--abandon")
        assert code == 0, said
        assert "forgot the plan and the progress of replay" in said
        assert f"{topic}[0]: withdrew the order to hold" in said
        world.wait_until_committed()
        assert "nothing to abandon" in connector.ask("replay", "T", "--abandon")[1]
    assert world.emulator.query(f"{COUNTED} T") == _all_of(2 * ROWS)


def test_over_the_ledger_a_replay_draws_on_the_pushes_of_the_service(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0, MANY)
    ledger = {"mode": "ledger", "ledger": {"topic": f"ledger-{topic}"}, "pushes_per_hour": 240}
    with _service(world, _table(topic), budget=ledger) as connector:
        world.wait_until_committed()
        done = _replay(connector, "T", "--into", "OTHER", "--budget-share", "1")
        _produce(world, topic, MANY)
        world.wait_until_committed()
    assert done["pushes"] > 1
    assert _stored(world, "OTHER") == _latest(MANY)
    assert _stored(world, "T") == _latest(MANY + ROWS)


def test_a_table_that_refuses_rows_ends_a_replay_with_the_reason_though_all_was_read(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0, 10)
    as_text = {"version": {"type": "STRING"}}
    first = _service(world, _table(topic, keys=["id"], columns=as_text))
    _replay(first, "T", "--into", "OTHER", "--to", "1")
    with DataPushClient(world.emulator.url, POOL, KeyAuth("AppKey", world.key)) as client:
        for job in client.list_jobs():
            client.delete_job(job.id)  # so that nobody knows of what type its columns are
    second = _service(world, _table(topic, keys=["id"], job_error_pushes=3))
    code, said = second.ask("replay", "T", "--into", "OTHER", "--yes", "--quiet")
    assert code == 6, said
    assert "Column version: its type cannot change" in said.splitlines()[-1], "one line"
    assert "then give the same command again" in said.splitlines()[-1]
    told = _summary(said)
    assert (told["ended"], told["error"] in said.splitlines()[-1], told["pushes"]) == ("failed", True, 0)


def test_a_push_that_was_begun_before_is_told_of_by_the_run_that_ends_it(world: World) -> None:
    topic = world.topic(PARTITIONS)
    _produce(world, topic, 0, 10)
    process = _Process(world, "replay", (_table(topic, append=True),), "T", "--into", "OTHER")
    world.emulator.add_fault("execute:1:503")
    process.kill_when(partial(process.wrote, "throttled push"))
    done = process.end()
    assert (done["ended"], done["rolled_forward"], done["pushes"]) == ("done", 1, 0)
    assert world.emulator.query(f"{COUNTED} OTHER") == _all_of(10)


def test_what_was_gone_before_it_was_read_is_told(world: World) -> None:
    topic = world.topic()
    world.produce(topic, [(0, as_json({"id": f"K{n}"})) for n in range(10)])
    _service(world, _table(topic))
    settings = load(world.folder / "connector.yaml", {"CELONIS_APP_KEY": world.key})
    found = outline(settings, Request(("T",), Way.INTO, "earliest", "latest", into="OTHER"), 0)
    place = ClientPartition(topic, 0, 4)
    world.kafka.admin.delete_records([place])[place].result(30)
    done = Replayer(settings, found, lambda: False, lambda _: None).run()
    assert done is not None
    assert (done.lost, done.records) == ({topic: 4}, 6)


def test_dead_letters_become_rows_once_what_refused_them_is_mended(world: World) -> None:
    topic, other = world.topic(PARTITIONS), world.topic()
    values = [n if n % 5 else f"word {n}" for n in range(10)]
    world.produce(topic, [(n % PARTITIONS, as_json({"n": value})) for n, value in enumerate(values)])
    world.produce(other, [(0, b"no json")])
    others = _table(other, "U", append=True)
    with _service(world, _table(topic, append=True, columns={"n": {"type": "INTEGER"}}), others) as connector:
        world.wait_until_committed()
        assert world.count("T") == 8
        assert len(world.rejects(3)) == 3
        assert connector.stop() == 0
    mended = _table(topic, "W", columns={"n": {"type": "STRING"}})
    with _service(world, mended, others) as connector:
        for _ in range(2):  # letters that are rows already are upserted
            done = _replay(connector, "W", "--dead-letters")
            assert (done["ended"], done["records"], done["passed_over"]) == ("done", 2, {"other_topic": 1})
            assert world.emulator.query("SELECT n FROM W ORDER BY n") == [("word 0",), ("word 5",)]
        code, said = connector.ask("replay", "U", "--dead-letters", "--yes")
    assert (code, "U appends: a dead letter that is a row already" in said) == (2, True), said
