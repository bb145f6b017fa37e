"""Owns everything that takes part: broker, registry, proxy, emulator, producer and three connectors of one group.

Never judges. Invariant: everything is a process or a thread that ends with the `with` block.
"""

from __future__ import annotations

import os
import random
import signal
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from connector.demo.registry import RegistryServer
from connector.demo.running import RunningConnector
from tests.chaos.emulator import POOL, EmulatorProcess, draw_faults
from tests.chaos.producing import Producing
from tests.chaos.proxy import CuttingProxy
from tests.chaos.workload import PARTITIONS, STREAMS
from tests.kafka_broker import SILENT, KafkaBroker, wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

CONNECTORS = 3
_SESSIONS: dict[str, dict[str, int]] = {
    "classic": {"session.timeout.ms": 4000, "heartbeat.interval.ms": 500},
    "consumer": {},  # the broker says so
}
_LOOK_SECONDS = 10.0


class Stage:
    """A context manager; `messages` go to each stream within `seconds`; `protocol` keeps the group."""

    def __init__(self, folder: Path, *, messages: int, seconds: float, seed: int, protocol: str) -> None:
        self.folder, self.choose = folder, random.Random(seed)
        self.group, self._key = f"chaos-{seed}", uuid.uuid4().hex
        self.exits: list[str] = []
        self.resting: set[RunningConnector] = set()  # stopped or stalled on purpose
        self._messages, self._seconds, self._seed, self._protocol = messages, seconds, seed, protocol

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            (self.folder / "kafka").mkdir(parents=True)
            self.broker = parts.enter_context(KafkaBroker(self.folder / "kafka"))
            registry = parts.enter_context(RegistryServer())
            self.emulator = parts.enter_context(EmulatorProcess(self.folder, self._key))
            self.start_emulator()
            self.proxy = parts.enter_context(CuttingProxy(self.emulator.port))
            self.topics = {s.name: self.broker.create_topic(PARTITIONS, f"chaos.{s.name}") for s in STREAMS}
            self.dead_letters = self.broker.create_topic(name="chaos.dead-letters")
            self.connectors = [self._connector(n, registry.url) for n in range(CONNECTORS)]
            for connector in self.connectors:
                parts.enter_context(connector)
            self.producing = parts.enter_context(
                Producing(
                    self.broker.bootstrap,
                    self.topics,
                    registry,
                    count=self._messages,
                    seconds=self._seconds,
                    seed=self._seed,
                )
            )
            self._parts = parts.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._parts.close()

    def _connector(self, number: int, registry: str) -> RunningConnector:
        folder = self.folder / f"connector-{number}"
        folder.mkdir()
        settings = {
            "kafka": {
                "brokers": self.broker.bootstrap,
                "group": self.group,
                "dead_letter_topic": self.dead_letters,
                "commit_interval": "1 s",
                "group_protocol": self._protocol,
                "properties": {**_SESSIONS[self._protocol], "client.id": client_id(number)},
            },
            "schema_registry": {"url": registry},
            "celonis": {
                "team_url": self.proxy.url,
                "pool_id": POOL,
                "auth": {"app_key": "${CHAOS_APP_KEY}"},
                "request_timeout": "3 s",
                "upload_timeout": "10 s",
            },
            "budget": {"clock_speed": 60},
            "defaults": {"flush": {"age": "1500 ms", "records": 20_000}},
            "tables": [{"topics": [self.topics[s.name]], "target": s.name, **s.table} for s in STREAMS],
            "spool": {"directory": str(folder / "spool")},
            "drain_timeout": "15 s",
        }
        return RunningConnector(folder, settings, {"CHAOS_APP_KEY": self._key})

    def start_emulator(self, *, faulty: bool = True) -> None:
        """Start the emulator with faults of its own, or without."""
        self.emulator.start(draw_faults(self.choose) if faulty else [])

    # --- looking, and what a supervisor does -------------------------------------------------------------------

    def supervise(self) -> None:
        """Start again what ended by itself, as an orchestrator does."""
        for number, connector in enumerate(self.connectors):
            if connector in self.resting:
                continue
            if (code := connector.exit_code) is not None:
                self.exits.append(f"connector {number}: exit {code}")
                connector.start()

    def until_requests(self, operation: str, more: int) -> None:
        """Wait until `more` requests of `operation` have come to the emulator, for some seconds at most."""
        goal = (self.emulator.requests() or {}).get(operation, 0) + more

        def reached() -> bool:
            return (self.emulator.requests() or {}).get(operation, 0) >= goal

        try:
            wait_for(reached, _LOOK_SECONDS)
        except AssertionError:
            self.supervise()  # nothing moves: the hour may be spent

    def has_evicted(self, number: int) -> bool:
        """Return whether the broker says that a connector is no member of the group.

        Each question has a client of its own: librdkafka 2.16 aborts the process when a broker goes away under one
        whose question was not answered in time.
        """
        settings: dict[str, Any] = {"bootstrap.servers": self.broker.bootstrap, "logger": SILENT}
        admin = AdminClient(settings)
        try:
            asked = admin.describe_consumer_groups([self.group], request_timeout=5)
            described = asked[self.group].result(10)
        except (KafkaException, TimeoutError):
            return False
        return client_id(number) not in {member.client_id for member in described.members}

    def open_partitions(self) -> dict[str, str]:
        """Return the partitions whose end is not committed, or that carry an intent, and how they stand."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": self.group, "logger": SILENT})
        try:
            return self._open(consumer)
        except KafkaException as e:
            return {"all": e.args[0].str()}
        finally:
            consumer.close()

    def _open(self, consumer: Consumer) -> dict[str, str]:
        wanted = [TopicPartition(topic, p) for topic in self.topics.values() for p in range(PARTITIONS)]
        found = {}
        for at in consumer.committed(wanted, timeout=10):
            _, end = consumer.get_watermark_offsets(TopicPartition(at.topic, at.partition), timeout=10)
            if max(at.offset, 0) != end or at.metadata:
                found[f"{at.topic}[{at.partition}]"] = f"{at.offset} of {end} {at.metadata or ''}".strip()
        return found

    def ends(self, name: str) -> int:
        """Return how many messages Kafka has of a stream."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "look", "logger": SILENT})
        partitions = [TopicPartition(self.topics[name], p) for p in range(PARTITIONS)]
        try:
            return sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions)
        finally:
            consumer.close()


def client_id(number: int) -> str:
    """Return the client id of a connector, by which the broker's view of the group names it."""
    return f"chaos-{number}"


def stall(connector: RunningConnector) -> None:
    """Let a connector stand still, with its connections open."""
    os.kill(connector.pid, signal.SIGSTOP)


def go_on(connector: RunningConnector) -> None:
    """Let it go on."""
    os.kill(connector.pid, signal.SIGCONT)
