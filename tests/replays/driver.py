"""Owns the long test of replays: a log, a service under live traffic, and each way once, killed in the middle.

Never looks inside the connector. Invariant: a way is judged after everything produced is committed.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from connector.demo.running import RunningConnector
from tests.integration.world import World, as_json
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from tests.kafka_broker import KafkaBroker

KEYS, PARTITIONS, LIVE_SECONDS, LIVE_MESSAGES = 100_000, 4, 0.5, 1_000
LOOK_SECONDS = 0.1
ROW_BYTES = 10  # at least, of a row in the spool
LOAD_ROWS = 2_000_000  # at which a replay closes a load
WAYS = {"rewind": ("--rewind",), "replace": ("--replace",), "into": ("--into", "OTHER")}
LIMIT = 7200.0  # seconds that one step may take
SECTIONS: dict[str, Any] = {
    "budget": {"pushes_per_hour": 125, "replay_share": 1.0},
    "defaults": {"flush": {"records": 1_000_000, "age": "1 s"}},
}


class Ended(NamedTuple):
    """What read the range in the end, by itself, and where its partitions ended (in offsets)."""

    records: int
    ends: list[int]


class Meter:
    """What a process costs while the `with` block lasts: seconds, CPU seconds, largest resident memory (MB)."""

    def __init__(self, process: RunningConnector) -> None:
        self.seconds = self.cpu = self.rss = 0.0
        self._process = psutil.Process(process.pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._began

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                times, rss = self._process.cpu_times(), self._process.memory_info().rss / 1e6
            except psutil.Error:  # it has ended
                return
            self.cpu, self.rss = max(self.cpu, times.user + times.system), max(self.rss, rss)

    def text(self, way: str, records: int) -> str:
        """Return a line for people; `records` are those that were read meanwhile."""
        each = f"{self.cpu / records * 1e6:.2f} CPU s a million" if records else "none read"
        return f"{way}: {records:,} records after the kill in {self.seconds:.0f} s, {each}, peak RSS {self.rss:.0f} MB"


class Traffic:
    """Messages that keep coming while the `with` block lasts; `total` is the number of all so far."""

    def __init__(self, world: World, topic: str, total: int) -> None:
        self._world, self._topic, self.total = world, topic, total
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LIVE_SECONDS):
            self._world.produce(self._topic, messages(self.total, LIVE_MESSAGES))
            self.total += LIVE_MESSAGES


def messages(first: int, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield (partition, message): a key always goes to the same partition."""
    for n in range(first, first + count):
        yield n % KEYS % PARTITIONS, as_json({"id": f"K{n % KEYS}", "version": n, "amount": n / 7})


def run(kafka: KafkaBroker, folder: Path, count: int, say: Callable[[str], object]) -> list[str]:
    """Run each way over `count` messages, and return what is wrong."""
    with World(kafka, folder, per_hour=10_000, per_second=1_000, executes_in_flight=4) as world:
        topic = world.topic(PARTITIONS)
        world.produce(topic, messages(0, count))
        table = {"topics": [topic], "target": "T", "format": "json", "keys": ["id"]}
        total, problems = count, list[str]()
        with world.connector(table, **SECTIONS) as service:
            world.wait_until_committed(LIMIT)
            for way, options in WAYS.items():
                with Traffic(world, topic, total) as traffic:
                    replay = _killed(world, table, way, options, count // 3)
                    ended = _resumed(replay, way, say)
                    if way == "rewind":
                        _kill_the_service(service, world, count // 3, say)
                total = traffic.total
                world.wait_until_committed(LIMIT)
                problems += [f"{way}: {p}" for p in _differences(world, "T", [total // PARTITIONS] * PARTITIONS)]
                if way == "into":
                    problems += _differences(world, "OTHER", ended.ends)
        return problems


def _killed(world: World, table: dict[str, Any], way: str, options: tuple[str, ...], messages: int) -> RunningConnector:
    """Run a way, and kill it: one that pushes in the middle of it, a rewind once the service has been asked."""
    folder = world.folder / way
    folder.mkdir()
    module = ("connector", "replay", "T", *options, "--yes", "--quiet", "--config")
    settings = world.settings(table, **SECTIONS)
    replay = RunningConnector(folder, settings, {"CELONIS_APP_KEY": world.key}, module)
    replay.start()

    def midway() -> bool:
        log = replay.log(1000)
        match way:
            case "rewind":
                return "gave orders" in log
            case "into":
                return log.count("flushed load") > messages // LOAD_ROWS
        return _spooled(world) > messages * ROW_BYTES

    _until(lambda: midway() or replay.exit_code is not None)
    if replay.exit_code is not None:
        raise AssertionError(replay.log())
    replay.kill()
    return replay


def _resumed(replay: RunningConnector, way: str, say: Callable[[str], object]) -> Ended:
    """Start it again, let it come to its end, and tell what it cost."""
    replay.start()
    with Meter(replay) as meter:
        code = replay.wait(LIMIT)
    if code:
        raise AssertionError(replay.log())
    done = json.loads(replay.log(1))
    say(meter.text(way, int(done["records"])))
    return Ended(int(done["records"]), [r["to"] for _, r in sorted(done["partitions"].items())])


def _kill_the_service(service: RunningConnector, world: World, messages: int, say: Callable[[str], object]) -> None:
    """Kill the service in the middle of what it was told to read again, and tell what the rest costs."""
    before = _decoded(service)
    _until(lambda: _decoded(service) > before + messages)
    service.kill()
    service.start()
    with Meter(service) as meter:
        _until(lambda: world.lag() < LIVE_MESSAGES * 10)
    say(meter.text("rewind, the service", round(_decoded(service))))


def _spooled(world: World) -> int:
    """Return the bytes that a replay has read and not pushed."""
    return sum(file.stat().st_size for file in world.folder.glob("spool/replay-*/records/*/*"))


def _until(what: Callable[[], bool]) -> None:
    """Look now and then, since to look costs a part of a processor."""
    wait_for(lambda: what() or threading.Event().wait(LOOK_SECONDS), LIMIT)


def _decoded(service: RunningConnector) -> float:
    return service.metrics().get("kafka_celonis_records_decoded_total", 0.0)


def _differences(world: World, table: str, ends: list[int]) -> Iterator[str]:
    """Tell how a keyed table differs from the messages below `ends`, one for each partition."""
    found = dict(world.emulator.query(f"SELECT id, version FROM {table}"))
    log = _latest(ends)
    wrong = sorted(key for key in found.keys() | log.keys() if found.get(key) != log.get(key))
    if wrong:
        key = wrong[0]
        yield f"{table}: {len(wrong):,} of {len(log):,} keys are wrong: {key} is {found.get(key)}, not {log.get(key)}"


def _latest(ends: list[int]) -> dict[str, int]:
    """Return the latest version of each key; message k of partition p has version PARTITIONS * k + p."""
    keys = KEYS // PARTITIONS
    versions = (PARTITIONS * k + p for p, end in enumerate(ends) for k in range(max(0, end - keys), end))
    return {f"K{n % KEYS}": n for n in versions}
