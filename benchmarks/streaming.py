"""Owns the whole path under load: a real broker, the connector as a process of its own, the emulator in this one.

Never judges what arrives beyond its number of rows (the tests do). Invariant: what is measured runs in the same
minutes as its floor.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import Producer

from benchmarks.decode import SCHEMA, avro_values, events
from connector.demo.registry import RegistryServer
from connector.demo.running import RunningConnector
from connector.emulator import Emulator, EmulatorSettings
from tests.kafka_broker import KafkaBroker

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

POOL = "11111111-2222-3333-4444-555555555555"
PARTITIONS = 4
ROUNDS = 3
LOOK_SECONDS = 0.5  # each look costs the connector a millisecond


class Cost(NamedTuple):
    """CPU seconds and the largest resident memory (MB) of one run, and how long it took (seconds)."""

    cpu: float
    rss: float
    seconds: float


class Ground:
    """A broker, a registry and an emulator that knows one key; a context manager."""

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            self.folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="kafka-celonis-bench-")))
            (self.folder / "kafka").mkdir()
            self.broker = parts.enter_context(KafkaBroker(self.folder / "kafka"))
            self.registry = parts.enter_context(RegistryServer())
            self.key = uuid.uuid4().hex
            settings = EmulatorSettings(
                directory=self.folder / "emulator", app_keys={self.key: [POOL]}, pools={POOL: "bench"}
            )
            self.emulator = parts.enter_context(Emulator(settings))
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def fill(self, topic: str, values: list[bytes], count: int) -> None:
        """Produce `count` messages to a new topic, `values` over and over."""
        self.broker.create_topic(PARTITIONS, topic)
        producer = Producer(
            {"bootstrap.servers": self.broker.bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000}
        )
        for sent in range(count):
            while True:
                try:
                    producer.produce(topic, values[sent % len(values)], partition=sent % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.5)
        producer.flush()

    def stream(self, tables: list[dict[str, Any]], rows: int, module: str = "benchmarks.connector_process") -> Cost:
        """Run a connector until `rows` are in DONE jobs, or it has ended by itself, and return what it cost."""
        run = uuid.uuid4().hex[:8]
        folder = self.folder / run
        folder.mkdir()
        began = time.monotonic()
        connector = RunningConnector(folder, self._settings(run, tables), {"CELONIS_APP_KEY": self.key}, (module,))
        with connector:
            while connector.exit_code is None and _pushed_rows(connector) < rows:
                time.sleep(LOOK_SECONDS)
            seconds = time.monotonic() - began
            if connector.stop():
                raise RuntimeError(connector.log())
        cpu, rss = map(float, connector.log(lines=1).split())
        return Cost(cpu, rss, seconds)

    def _settings(self, run: str, tables: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "kafka": {"brokers": self.broker.bootstrap, "group": run, "dead_letter_topic": None},
            "schema_registry": {"url": self.registry.url},
            "celonis": {
                "team_url": self.emulator.url,
                "pool_id": POOL,
                "auth": {"app_key": "${CELONIS_APP_KEY}"},
            },
            "budget": {"clock_speed": 60},  # no wait for a turn, which costs nothing but time
            "tables": [t | {"target": f"T{run}_{{topic}}"} for t in tables],
            "defaults": {"format": "avro"},
            "spool": {"directory": str(self.folder / f"spool-{run}")},
        }


def end_to_end(ground: Ground, count: int = 2_000_000) -> tuple[float, Cost]:
    """Return the connector's CPU as a multiple of the floor's (median of rounds in turn), and the last run's cost.

    Avro, ten flat fields, about 75 bytes; default settings but for the age, so that the last rows go at once.
    """
    ground.registry.register("flat-value", SCHEMA)
    ground.fill("flat", avro_values(events(100_000)), count)
    table = {"topics": ["flat"], "flush": {"age": "1 s"}}
    ratios = []
    for _ in range(ROUNDS):
        floor = _floor(ground, "flat", count)
        cost = ground.stream([table], count)
        ratios.append(cost.cpu / floor)
    return statistics.median(ratios), cost


def resident_memory(ground: Ground, size: int = 5_000_000_000, tables: int = 20) -> Cost:
    """Return the cost of `size` bytes of messages in `tables` tables, with default settings."""
    values = avro_values([e | {"note": uuid.uuid4().hex * 30} for e in events(10_000)])
    count = size // tables // (sum(map(len, values)) // len(values))
    topics = [f"memory-{n}" for n in range(tables)]
    for topic in topics:
        ground.fill(topic, values, count)
    return ground.stream([{"topics": topics, "flush": {"age": "20 s"}}], count * tables)


def _floor(ground: Ground, topic: str, count: int) -> float:
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks.floor", ground.broker.bootstrap, topic, str(count)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout
    return float(out)


def _pushed_rows(connector: RunningConnector) -> float:
    return connector.metrics().get("kafka_celonis_pushed_rows_total", 0)
