"""Owns the long test of replays: a log, a service under live traffic, and each way once, killed in the middle.

Never looks inside the connector. Invariant: a way is judged after everything produced is committed.
"""

from __future__ import annotations

import json
import threading
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
WAYS = {"rewind": ("--rewind",), "replace": ("--replace",), "into": ("--into", "OTHER")}
LIMIT = 7200.0  # seconds that one step may take
SECTIONS: dict[str, Any] = {
    "budget": {"pushes_per_hour": 125, "replay_share": 1.0},
    "defaults": {"flush": {"records": 1_000_000, "age": "1 s"}},
}


class Cost(NamedTuple):
    """CPU seconds and the largest resident memory (MB) of a process."""

    cpu: float
    rss: float


class Ended(NamedTuple):
    """What the last run of a replay read by itself, the ends of its partitions, and what it cost."""

    records: int
    ends: list[int]
    cost: Cost

    def text(self, way: str) -> str:
        """Return a line for people."""
        each = f"{self.cost.cpu / self.records * 1e6:.1f} CPU s a million, " if self.records else ""
        return f"{way}: {self.records:,} messages read after the kill, {each}peak RSS {self.cost.rss:.0f} MB"


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
        with world.connector(table, **SECTIONS):
            world.wait_until_committed(LIMIT)
            for way, options in WAYS.items():
                with Traffic(world, topic, total) as traffic:
                    done = _killed_and_resumed(world, table, way, options)
                total = traffic.total
                world.wait_until_committed(LIMIT)
                problems += [f"{way}: {p}" for p in _differences(world, "T", [total // PARTITIONS] * PARTITIONS)]
                if way == "into":
                    problems += _differences(world, "OTHER", done.ends)
                say(done.text(way))
        return problems


def _killed_and_resumed(world: World, table: dict[str, Any], way: str, options: tuple[str, ...]) -> Ended:
    """Run a way, kill it in the middle, run it to its end; return how the last run ended."""
    folder = world.folder / way
    folder.mkdir()
    module = ("connector", "replay", "T", *options, "--yes", "--quiet", "--config")
    settings = world.settings(table, **SECTIONS)
    replay = RunningConnector(folder, settings, {"CELONIS_APP_KEY": world.key}, module)
    replay.start()
    sign = "gave orders" if way == "rewind" else "flushed load" if way == "into" else "assigned partitions"
    wait_for(lambda: sign in replay.log(1000) or replay.exit_code is not None, LIMIT)
    replay.kill()
    replay.start()
    cost = _watch(replay)
    if replay.exit_code:
        raise AssertionError(replay.log())
    done = json.loads(replay.log(1))
    ends = [r["to"] for _, r in sorted(done["partitions"].items())]
    return Ended(int(done["records"]), ends, cost)


def _watch(replay: RunningConnector) -> Cost:
    """Wait for the end of a process, and return what it had cost when it was last seen."""
    process, cost = psutil.Process(replay.pid), Cost(0.0, 0.0)
    while replay.exit_code is None:
        try:
            with process.oneshot():
                times, rss = process.cpu_times(), process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            break
        cost = Cost(max(cost.cpu, times.user + times.system), max(cost.rss, rss))
        threading.Event().wait(0.05)
    replay.wait(LIMIT)
    return cost


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
